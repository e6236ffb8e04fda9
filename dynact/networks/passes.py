"""Passes of a copy of a network, without a trace on the network itself."""

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._dynamo.eval_frame import OptimizedModule
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map_only

from dynact.schema.redact import error_line

Example = Tensor | list[Tensor] | tuple[Any, ...] | dict[str, Any]


def call_with(model: nn.Module, example_input: Example) -> Any:
    """Return what a network makes of an example."""
    if isinstance(example_input, dict):
        return model(**example_input)
    return model(*example_input) if isinstance(example_input, tuple) else model(example_input)


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of a network.

    Raises
    ------
    ValueError
        If it cannot be copied, or is compiled or scripted as a whole or in part.
    """
    for path, module in model.named_modules():
        named = f"{path!r}, a part of the network," if path else "the network"
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(f"{named} is compiled by torch.jit; swap before that")
        if isinstance(module, OptimizedModule) or module._compiled_call_impl is not None:
            raise ValueError(f"{named} is compiled; swap before torch.compile")
    # torch refuses to copy parameters that have no shape yet.
    lazy: list[Any] = [x for x in (*model.parameters(), *model.buffers()) if is_lazy(x)]
    anew = {id(x): type(x)(x.requires_grad, x.device, x.dtype) for x in lazy}
    try:
        return copy.deepcopy(model, anew)
    except Exception as error:
        raise ValueError(
            f"the network cannot be copied; swap before its first step ({error_line(error)})"
        ) from None


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Draw within it without moving any of the generators of torch, NumPy and Python."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    accelerator = torch.accelerator.current_accelerator()
    kind = "cuda" if accelerator is None else accelerator.type
    try:
        with torch.random.fork_rng(device_type=kind):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def run_pass(
    model: nn.Module,
    example_input: Example,
    training: bool,
    around: Callable[[nn.Module], AbstractContextManager[Any]],
) -> Any:
    """Run a copy of a network, without values where it can do without them: that takes no time.

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

    Returns
    -------
    object
        What that context manager gives.

    Raises
    ------
    ValueError
        If the network cannot be copied, or does not run on the example.
    """
    without_values = copied(model).to("meta")

    def run(network: nn.Module, example: Example) -> Any:
        with same_random_numbers(), torch.no_grad(), around(network.train(training)) as found:
            call_with(network, example)
        return found

    with suppress(Exception):
        return run(without_values, tree_map_only(Tensor, lambda x: x.to("meta"), example_input))
    try:
        return run(copied(model), example_input)
    except Exception as error:
        raise ValueError(f"the network fails on the example input: {error_line(error)}") from error


def at_least_two(example_input: Example) -> Example:
    """Double a batch of one: of that, BatchNorm in training may have a single value a channel."""
    if isinstance(example_input, Tensor) and len(example_input) == 1:
        return torch.cat((example_input, example_input))
    return example_input
