"""Layers that take the calls of a block in turns, while the block's own code runs."""

import functools
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn, overrides
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from dynact.networks.classes import another, derived
from dynact.networks.known import FUNCTIONS, LISTS, MODULES

_modes: Any = overrides


class Turns(nn.Module):
    """Layers in one place: the k-th call of a block's forward pass is given to the k-th."""

    def __init__(
        self, layers: Mapping[int, nn.Module], calls: int, copied: frozenset[int] = frozenset()
    ) -> None:
        """Take layers by their turn, from 1; of functions, those that stay have none.

        Those of which the input is `copied` write into it otherwise, which a new layer needs.
        """
        super().__init__()
        for turn, layer in layers.items():
            self.add_module(str(turn), layer)
        self._calls = calls
        self._copied = copied
        self.end()

    def restart(self) -> None:
        """Give the next call to the first."""
        self._turn = 0

    def end(self) -> None:
        """Give no further call to any."""
        self._turn = self._calls

    def take(self) -> nn.Module | None:
        """Return what the next call is given to."""
        self._turn += 1
        if self._turn > self._calls:
            raise RuntimeError(
                f"an activation of a block is called outside of its forward pass, or more often in "
                f"it than the {self._calls} times when others were put in its place"
            )
        return self._modules.get(str(self._turn))

    def is_copied(self) -> bool:
        """Whether the call that was taken last is to leave its input as it is."""
        return self._turn in self._copied

    def forward(self, x: Tensor) -> Tensor:
        """Give a call to the layer whose turn it is."""
        layer = self.take()
        assert layer is not None
        y: Tensor = layer(x)
        return y


class _Meeting(TorchFunctionMode):
    """Gives a block's calls of activations as functions to its layers."""

    def __init__(self, block: nn.Module, places: Mapping[str, str]) -> None:
        super().__init__()
        self._block = block
        self._places = places

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        place = self._places.get(FUNCTIONS.get(func, ""))
        if place is None:
            return func(*args, **kwargs)
        turns: Any = self._block._modules[place]
        layer = turns.take()
        if layer is not None:
            return layer(args[0] if args else kwargs["input"])
        if turns.is_copied():
            if args:
                args = (args[0].clone(), *args[1:])
            else:
                kwargs = kwargs | {"input": kwargs["input"].clone()}
        return func(*args, **kwargs)


@dataclass(frozen=True)
class _Pass:
    """What one swap has a block's forward pass do.

    It holds nothing of a pass: copies of a network that run in several threads share it.
    """

    places: tuple[str, ...]
    """Where below the block `Turns` stand."""
    functions: tuple[tuple[str, str], ...]
    """The activations called as functions, each with the name of those that are for it."""


def take_turns(block: nn.Module, places: tuple[str, ...], functions: Mapping[str, str]) -> None:
    """Have a block's forward pass give its calls to layers.

    Parameters
    ----------
    block
        A module whose own forward makes the calls.
    places
        Where below it `Turns` stand.
    functions
        The names of those that are for activations called as functions, by the activation.
    """
    kind: Any = type(block)
    over = None
    if parametrize.is_parametrized(block):
        # torch's own class for it stays on top, from where it takes it off again.
        over, kind = kind, kind.__bases__[0]
    base, passes = vars(kind).get("_dynact_takes_turns", (kind, ()))
    turning = _class_of(base, (*passes, _Pass(places, tuple(functions.items()))))
    block.__class__ = another(over, turning) if over else turning
    own = vars(block).pop("forward", None)
    if own is not None:
        block.forward = own


def meets_functions(module: nn.Module) -> bool:
    """Return whether a swap has functions met while a module's forward runs."""
    return any(each.functions for each in getattr(type(module), "_dynact_passes", ()))


@functools.cache
def _class_of(base: Any, passes: tuple[_Pass, ...]) -> Any:
    """Return a class like a block's own, but for its forward.

    By a class, not by hooks: an interrupt ends what the pass began too, and torch.fx and whoever
    calls forward itself come by it.
    """

    @functools.wraps(base.__init__)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        # A block may make another of its class, which no swap was done in.
        if type(self) is kind:
            self.__class__ = base
        base.__init__(self, *args, **kwargs)

    @functools.wraps(base.forward)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _run(self, passes, base.forward, (self, *args), kwargs)

    def set_attribute(self: Any, name: str, value: Any) -> None:
        # One of its own would stand before the class's.
        if name == "forward":
            value = functools.update_wrapper(functools.partial(_run_own, self, value), value)
        base.__setattr__(self, name, value)

    def reduced(self: Any, protocol: Any) -> Any:
        if type(self) is not kind:
            return base.__reduce_ex__(self, protocol)
        # No module has the class by a name.
        return _again, (base, passes), self.__getstate__()

    members = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "__init__": init,
        "__setattr__": set_attribute,
        "__reduce_ex__": reduced,
        "forward": forward,
        "_dynact_takes_turns": (base, passes),
        "_dynact_passes": (*getattr(base, "_dynact_passes", ()), *passes),
    }
    kind = derived(base.__name__, (base,), members)
    return kind


def _run_own(block: Any, own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a forward of the user's own that one block has in place of its class's."""
    return _run(block, block._dynact_passes, own, args, kwargs, is_own=True)


def _run(
    block: Any,
    passes: tuple[_Pass, ...],
    forward: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    is_own: bool = False,
) -> Any:
    met = any(each.functions for each in passes)
    # Compiled code is told nothing of threads and of what takes a child's place later.
    is_first = not torch.compiler.is_compiling() and _enter(block, met=met)
    if "_dynact_in_own" in vars(block):
        # One of the user's own calls what it replaced: the turns are its.
        return forward(*args, **kwargs)
    for each in passes:
        for turns in _turns(block, each.places):
            turns.restart()
    # Those of an earlier swap stay within: they leave to the next what they do not replace.
    meetings: list[Any] = [
        _Meeting(block, dict(each.functions)) for each in reversed(passes) if each.functions
    ]
    if is_own:
        block._dynact_in_own = True
    for meeting in meetings:
        meeting.__enter__()
    try:
        return forward(*args, **kwargs)
    finally:
        for meeting in reversed(meetings):
            # It is not there where a pass was interrupted that had put it aside.
            if _modes._get_current_function_mode() is meeting:
                meeting.__exit__(None, None, None)
        # So that a call outside, as a checkpoint's of its own, is not taken for the first.
        for each in passes:
            for turns in _turns(block, each.places):
                turns.end()
        if is_own:
            del block._dynact_in_own
        if is_first:
            del block._dynact_thread


def _again(base: Any, passes: tuple[_Pass, ...]) -> Any:
    kind = _class_of(base, passes)
    return kind.__new__(kind)


def _turns(block: nn.Module, places: tuple[str, ...]) -> list[Any]:
    return [block.get_submodule(place) for place in places]


def _enter(block: Any, *, met: bool) -> bool:
    """Return whether it is the first pass of several of a block that calls itself."""
    thread = threading.get_ident()
    is_first = "_dynact_thread" not in vars(block)
    if vars(block).setdefault("_dynact_thread", thread) != thread:
        raise RuntimeError("a swapped network runs in two threads at once; give each a copy of it")
    if met and block._dynact_at_last != tuple(map(id, block.children())):
        leave_to_themselves(block)
    return is_first


def leave_to_themselves(block: Any, others: Iterable[nn.Module] = ()) -> None:
    """Keep what a block's callees call from being taken for its own calls.

    Parameters
    ----------
    block
        One whose functions are met.
    others
        Which modules it calls beside those that it holds.
    """
    own = set(block.modules())
    for module in {*others, *_held(block)}:
        is_activation = type(module) in MODULES
        is_simple = type(module).__module__.startswith("torch.nn.modules.") and not (
            is_activation or any(True for _ in module.children())
        )
        is_foreign = is_activation and module not in own
        if not is_simple and not is_foreign and _leave not in module._forward_pre_hooks.values():
            # Outside of hooks that the module has of its own.
            module.register_forward_pre_hook(_leave, prepend=True)
            module.register_forward_hook(_come_back, always_call=True)
    block._dynact_at_last = tuple(map(id, block.children()))


def has_hooks(module: nn.Module) -> bool:
    """Return whether hooks come with a module that are none of a swap."""
    of_module = [
        hook
        for kind in ("forward_pre", "forward", "backward_pre", "backward")
        for hook in getattr(module, f"_{kind}_hooks").values()
    ]
    return any(hook not in (_leave, _come_back) for hook in of_module)


def _held(module: nn.Module) -> list[nn.Module]:
    """Return what a module may call, of all that it holds."""
    found = []
    for child in module.children():
        found.append(child)
        if type(child) in LISTS:
            found += _held(child)
    return found


def _leave(module: Any, _args: object) -> None:
    before: list[TorchFunctionMode] = []
    while (mode := _modes._get_current_function_mode()) is not None:
        before.insert(0, _modes._pop_mode())
    after = [mode for mode in before if not isinstance(mode, _Meeting)]
    for mode in after:
        _modes._push_mode(mode)
    # A module may call itself.
    module._dynact_left = before, len(after), getattr(module, "_dynact_left", None)


def _come_back(module: Any, _args: object, _output: object) -> None:
    before, others, module._dynact_left = module._dynact_left
    for _ in range(others):
        _modes._pop_mode()
    for mode in before:
        _modes._push_mode(mode)
