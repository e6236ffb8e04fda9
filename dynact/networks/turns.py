"""Layers that take the calls of a block in turns, while the block's own code runs."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn, overrides
from torch.overrides import TorchFunctionMode

from dynact.networks.known import FUNCTIONS

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
        self._turn = 0

    def restart(self) -> None:
        """Give the next call to the first."""
        self._turn = 0

    def take(self) -> nn.Module | None:
        """Return what the next call is given to."""
        self._turn += 1
        if self._turn > self._calls:
            raise RuntimeError(
                f"a block calls an activation {self._turn} times in one forward pass; it did so "
                f"{self._calls} times when others were put in its place"
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


class _Pass:
    """What is done before and after a block's forward pass.

    It holds nothing of a pass: copies of a network that run in several threads share it.
    """

    def __init__(self, places: tuple[str, ...], functions: Mapping[str, str]) -> None:
        self._places = places
        self._functions = functions

    def begin(self, block: Any, _args: object) -> None:
        # A pass that was interrupted has not come to its end.
        self._restart(block)
        if self._functions:
            # As Dynamo can tell again what it is that is left.
            block._meeting = _Meeting(block, self._functions), block._meeting
            block._meeting[0].__enter__()

    def end(self, block: Any, _args: object, _output: object) -> None:
        if self._functions:
            meeting, block._meeting = block._meeting
            meeting.__exit__(None, None, None)
        self._restart(block)

    def _restart(self, block: nn.Module) -> None:
        for place in self._places:
            turns: Any = block.get_submodule(place)
            turns.restart()


def take_turns(block: Any, places: tuple[str, ...], functions: Mapping[str, str]) -> None:
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
    block._meeting = None
    around = _Pass(places, functions)
    # One of an earlier swap stays within: it leaves to this one what it does not replace.
    block.register_forward_pre_hook(around.begin, prepend=True)
    block.register_forward_hook(around.end, always_call=True)
    if _left_at(block):
        leave_to_itself(block)


def leave_to_itself(module: Any) -> None:
    """Keep what a module calls from being taken for calls of the block that calls it."""
    if not _left_at(module):
        module.register_forward_pre_hook(_leave)
        module.register_forward_hook(_come_back, always_call=True)
    # Outside of all that is done about its own pass.
    before, after = _left_at(module)
    module._forward_pre_hooks.move_to_end(before, last=False)
    module._forward_hooks.move_to_end(after)


def _left_at(module: nn.Module) -> tuple[int, ...]:
    before = [key for key, hook in module._forward_pre_hooks.items() if hook is _leave]
    after = [key for key, hook in module._forward_hooks.items() if hook is _come_back]
    return *before, *after


def _leave(module: Any, _args: object) -> None:
    left: tuple[TorchFunctionMode, ...] = ()
    while isinstance(_modes._get_current_function_mode(), _Meeting):
        left = (_modes._pop_mode(), *left)
    module._left = left


def _come_back(module: Any, _args: object, _output: object) -> None:
    for mode in module._left:
        _modes._push_mode(mode)
    module._left = ()
