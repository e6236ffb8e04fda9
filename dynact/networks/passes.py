"""Passes of a copy of a network, without a trace on the network itself."""

import copy
import random
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from types import FunctionType, MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._dynamo.eval_frame import OptimizedModule
from torch._dynamo.exc import TorchDynamoException
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from dynact.cost import tensors_in
from dynact.networks.classes import another
from dynact.schema.redact import error_line

Example = Tensor | list[Tensor] | tuple[Any, ...] | dict[str, Any]


def call_with(model: nn.Module, example_input: Example) -> Any:
    """Return what a network makes of an example."""
    if isinstance(example_input, dict):
        return model(**example_input)
    return model(*example_input) if isinstance(example_input, tuple) else model(example_input)


def fresh(example_input: Example) -> Example:
    """Return an example with a copy of each tensor."""
    found: Example = _changed_once(
        lambda x: x.detach().clone().requires_grad_(x.requires_grad), example_input
    )
    return found


def _changed_once(change: Callable[[Tensor], Tensor], values: object) -> Any:
    """Change each tensor; what was the same one twice is so still, which some code asks for."""
    changed: dict[int, Tensor] = {}

    def change_once(x: Tensor) -> Tensor:
        if id(x) not in changed:
            changed[id(x)] = change(x)
        return changed[id(x)]

    return tree_map_only(Tensor, change_once, values)


def copy_what_it_writes_into(model: nn.Module, example_input: Example) -> None:
    """Have a network that writes into its inputs get copies of them, in each call from now on.

    Or the next call on the same tensors would be on other values.
    """

    @contextmanager
    def watched(network: nn.Module) -> Iterator[list[tuple[Tensor, int]]]:
        given: list[tuple[Tensor, int]] = []

        def note(_module: nn.Module, *args_and_kwargs: object) -> None:
            # Of a network that calls itself, the first call's.
            if not given:
                given.extend((x, x._version) for x in tensors_in(args_and_kwargs))

        # Before hooks of the network's own, which may be what writes.
        network.register_forward_pre_hook(note, prepend=True, with_kwargs=True)
        yield given

    for training in (False, True):
        # Detectors want targets in training.
        with suppress(ValueError):
            given = run_pass(model, example_input, training, watched)
            if any(x._version != version for x, version in given):
                model.register_forward_pre_hook(_copy_inputs, prepend=True, with_kwargs=True)
                return


def _copy_inputs(_module: nn.Module, *args_and_kwargs: object) -> Any:
    return _changed_once(Tensor.clone, args_and_kwargs)


def copied(
    model: nn.Module, instead: Mapping[nn.Module, nn.Module] = MappingProxyType({})
) -> nn.Module:
    """Return a copy of a network, with other modules `instead` of some of its own.

    Raises
    ------
    ValueError
        If it cannot be copied, or is compiled or scripted as a whole or in part.
    """
    own = {id(x) for x in (*model.modules(), *model.parameters())}
    for path, module in model.named_modules():
        named = f"{path!r}, a part of the network," if path else "the network"
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(f"{named} is compiled by torch.jit; swap before that")
        own_forward = vars(module).get("forward")
        if (
            isinstance(module, OptimizedModule)
            or module._compiled_call_impl is not None
            or hasattr(own_forward, "_torchdynamo_orig_callable")
        ):
            raise ValueError(f"{named} is compiled; swap before torch.compile")
        for found in _not_copied(module):
            if id(found) in own:
                raise ValueError(
                    f"{named} has a function or weak reference that holds the "
                    f"{type(found).__name__} of the network itself, as a lambda does that holds "
                    "self; a copy has the same: make that a method"
                )
    # torch refuses to copy parameters that have no shape yet.
    lazy: list[Any] = [x for x in (*model.parameters(), *model.buffers()) if is_lazy(x)]
    anew: dict[int, Any] = {id(x): type(x)(x.requires_grad, x.device, x.dtype) for x in lazy}
    anew |= {id(module): other for module, other in instead.items()}
    try:
        network = copy.deepcopy(model, anew)
    except Exception as error:
        raise ValueError(
            f"the network cannot be copied; swap before its first step ({error_line(error)})"
        ) from None
    for module in network.modules():
        if parametrize.is_parametrized(module):
            # torch takes a parametrisation off a module's class, which its copy has too.
            kind = type(module)
            module.__class__ = another(kind, *kind.__bases__)
    return network


def _not_copied(module: nn.Module) -> Iterator[object]:
    """Yield what a copy of a module holds itself: what its functions and hooks refer to."""
    for value in vars(module).values():
        kept = [*value.values()] if isinstance(value, dict) else value
        for each in kept if isinstance(kept, list | tuple) else [kept]:
            if isinstance(each, FunctionType):
                yield from each.__defaults__ or ()
                for cell in each.__closure__ or ():
                    with suppress(ValueError):
                        yield cell.cell_contents
            # Those of torch's own to parameters, as of an LSTM, are made anew.
            elif isinstance(each, weakref.ref) and isinstance(each(), nn.Module):
                yield each()


@contextmanager
def same_random_numbers(
    used: Iterable[torch.device] | None = None, seed: int | None = None
) -> Iterator[None]:
    """Draw within it without moving any of the generators of torch, NumPy and Python.

    Parameters
    ----------
    used
        The devices on which is drawn, the host aside; the current accelerator where that is not
        known. Others are not touched: on one of CUDA that takes memory.
    seed
        What all of them begin with, if given.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(_numbers_of(used)):
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed)
                torch.manual_seed(seed)
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def _numbers_of(devices: Iterable[torch.device] | None) -> list[int]:
    """Return by which numbers torch knows accelerators among some devices."""
    if not torch.accelerator.is_available():
        return []
    current = torch.accelerator.current_device_index()
    if devices is None:
        return [current]
    kind = torch.accelerator.current_accelerator()
    numbers = {d.index for d in devices if kind is not None and d.type == kind.type}
    return sorted(current if number is None else number for number in numbers)


def devices_of(model: nn.Module, example_input: Example) -> set[torch.device]:
    """Return where a network and an example are."""
    tensors = *model.parameters(), *model.buffers(), *tensors_in(example_input)
    return {x.device for x in tensors}


def run_pass(
    model: nn.Module,
    example_input: Example,
    training: bool,
    around: Callable[[nn.Module], AbstractContextManager[Any]],
    instead: Mapping[nn.Module, nn.Module] = MappingProxyType({}),
) -> Any:
    """Run a copy of a network once.

    With the example's values: code of the user's may keep what it makes of them for later.

    Parameters
    ----------
    model
        It is not changed, and no random number is drawn.
    example_input
        See `call_with`.
    training
        Whether in train or eval mode.
    around
        What makes of the copy the context of its pass.
    instead
        Modules for the copy, by those of the network whose place they take.

    Returns
    -------
    object
        What that context manager gives.

    Raises
    ------
    ValueError
        If the network cannot be copied, or does not run on the example.
    """
    network = copied(model, instead)
    # Some that change what it does return nothing.
    network.train(training)
    try:
        # As a network is trained: what is computed again in the backward pass is told by that.
        grad = torch.set_grad_enabled(training)
        same = same_random_numbers(devices_of(network, example_input))
        with same, grad, _apart_from(model), around(network) as found:
            # Of its own: a network may write into what it gets.
            call_with(network, fresh(example_input))
    except TorchDynamoException as error:
        raise ValueError(
            "activations cannot be looked for in what the network compiles as it runs, as "
            f"torch.cond does: {error_line(error)}"
        ) from error
    except Exception as error:
        raise ValueError(f"the network fails on the example input: {error_line(error)}") from error
    return found


@contextmanager
def _apart_from(model: nn.Module) -> Iterator[None]:
    """Raise where a copy of a network calls a part of the network itself.

    torch's fast path of attention is off: it calls no activations, and makes other bits.
    """
    own = set(model.modules())

    def refuse(module: nn.Module, _args: object) -> None:
        if module in own:
            raise ValueError(
                f"a copy of it calls the {type(module).__name__} of the network itself, as a "
                "lambda does that holds self: make that a method"
            )

    handle = register_module_forward_pre_hook(refuse)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        handle.remove()


def batch_of(example_input: Example) -> int:
    """Return of how many samples an example is.

    That is the length of its list of images (C, H, W), or the leading size of most elements, as of
    a batch (N, …) beside a mask (1, …); those of integers and vectors count where there are no
    others.
    """
    elements: Counter[int] = Counter()
    others: Counter[int] = Counter()
    for part in tree_leaves(example_input, is_leaf=_is_images):
        for x in part if isinstance(part, list) else [part]:
            if isinstance(x, Tensor) and x.dim() > 0:
                is_likely = x.is_floating_point() and x.dim() > 1
                of = elements if is_likely else others
                of[len(part)] += x.numel()
    return max(elements or others or {1: 1}, key=(elements or others).__getitem__)


def map_batched(
    change: Callable[[Tensor | list[Tensor]], Tensor | list[Tensor]], example_input: Example
) -> Example:
    """Return an example with each tensor or list of images changed that is as long as its batch."""
    batch = batch_of(example_input)

    def changed(part: Any) -> Any:
        is_batched = _is_images(part) or (isinstance(part, Tensor) and part.dim() > 0)
        return change(part) if is_batched and len(part) == batch else part

    found: Example = tree_map(changed, example_input, is_leaf=_is_images)
    return found


def doubled(example_input: Example) -> Example:
    """Return a batch twice over, which tells the dimension of the batch wherever it is met.

    And of a single sample BatchNorm in training may have but one value a channel.
    """
    return map_batched(
        lambda x: torch.cat((x, x)) if isinstance(x, Tensor) else [*x, *x], example_input
    )


def look_in_training(
    model: nn.Module,
    example_input: Example,
    around: Callable[[int, nn.Module], AbstractContextManager[Any]],
) -> Any:
    """Run a copy of a network once in train mode, see `run_pass`.

    On the batch twice over; on the example as it is where that fails, as of a network that mixes
    the samples by a matrix of that size, and where tensors are in what is no tuple, list or dict.

    Returns
    -------
    object
        What the context manager gives that `around` makes of the batch and the copy; None where
        both fail, as those do that want targets in training.
    """
    batch = batch_of(example_input)
    looks = [(doubled(example_input), 2 * batch), (example_input, batch)]
    leaves = sum(isinstance(leaf, Tensor) for leaf in tree_leaves(example_input))
    if len(tensors_in(example_input)) > leaves:
        # Some are in a class of the user's own, of which no batch is made here.
        looks = looks[1:]
    for example, of in looks:
        with suppress(ValueError):
            return run_pass(model, example, True, partial(around, of))
    return None


def _is_images(part: Any) -> bool:
    return (
        isinstance(part, list)
        and bool(part)
        and all(isinstance(x, Tensor) and x.dim() == 3 for x in part)
    )
