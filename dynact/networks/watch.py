"""Watching a network's forward pass for its calls of activations."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import torch
from torch import Tensor, UntypedStorage, nn
from torch._C._functorch import is_functorch_wrapped_tensor, peek_interpreter_stack
from torch.autograd.function import FunctionCtx
from torch.nn.utils.parametrize import ParametrizationList
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint
from torch.utils._pytree import tree_leaves

from dynact import activations
from dynact.cost import tensors_in
from dynact.networks.gates import Gates
from dynact.networks.known import FUNCTIONS, MODULES, UNSEEN
from dynact.networks.layout import Layout
from dynact.networks.turns import Turns

_GATES = ("sigmoid", "hardsigmoid", "logsigmoid")
# What reads a tensor though it returns none.
_READING = frozenset((
    "item", "tolist", "numpy", "equal", "allclose", "__bool__", "__int__", "__float__", "__index__",
    "__complex__", "__array__", "__contains__", "__setitem__",
))  # fmt: skip


@dataclass(frozen=True)
class Met:
    """A call of an activation, as it was met."""

    caller: str
    """Path of the module whose forward makes the call."""
    child: str
    """Path below the caller of the activation; empty where it is a function."""
    original: str
    shape: tuple[int, ...]
    dtype: torch.dtype | None
    """``None`` where autocast may have made it."""
    device: torch.device
    strides: tuple[int, ...]
    batch: int
    """Of the pass, not of the call."""
    channel_dim: int | None
    memory: tuple[UntypedStorage, ...]
    """Of its input and output; alive, or a later tensor's could be taken for it. Empty where it is
    transformed."""
    writes_in_place: bool
    is_unseen: bool
    """Whether it is a function that torch.compile shows to no mode."""
    is_transformed: bool
    """Whether torch.func calls it, which shows of tensors what one call of many would see."""
    apart: str
    """What calls it between the caller's forward and the call, if it does so apart from that."""
    has_out: bool
    """Whether it is to write its output into a tensor that it is given."""
    is_of_parameter: bool
    """Whether it is called in the making of a parameter."""
    is_gate: bool
    is_read_again: bool
    """Whether its input is, though the call writes into it."""

    @property
    def channels(self) -> int:
        """0 where unknown."""
        return 0 if self.channel_dim is None else self.shape[self.channel_dim]

    @property
    def maps(self) -> tuple[int, int] | None:
        """Height and width, where it has them."""
        if self.channel_dim is None or len(self.shape) != 4:
            return None
        height, width = (self.shape[dim] for dim in (1, 2, 3) if dim != self.channel_dim)
        return height, width


class Watch(TorchFunctionMode):
    """Watches a network of its own, whose modules tell it when they begin and end."""

    def __init__(self, batch: int, model: nn.Module) -> None:
        super().__init__()
        self.batch = batch
        """How many samples the pass is of."""
        self.runs: Counter[str] = Counter()
        """How often each module ran, by its path."""
        self.callees: dict[str, set[str]] = {}
        """Whom each module called, by their paths."""
        self._paths = {module: path for path, module in model.named_modules()}
        self._running: list[nn.Module] = []
        self._met: list[Met] = []
        self._layout = Layout()
        self._gates = Gates()
        self._written: dict[UntypedStorage, int] = {}
        self._read_again: set[int] = set()
        # Whose turn it is is none of a block's: the block calls what stands there.
        for module in (each for each in self._paths if not isinstance(each, Turns)):
            module.register_forward_pre_hook(self._begin)
            # Also where a forward raises and its caller goes on.
            module.register_forward_hook(self._end, prepend=True, always_call=True)

    def _begin(self, module: nn.Module, _args: object) -> None:
        path = self._paths[module]
        if self._running:
            self.callees.setdefault(self._paths[self._running[-1]], set()).add(path)
        self._running.append(module)
        self.runs[path] += 1

    def _end(self, _module: nn.Module, _args: object, output: object) -> None:
        self._running.pop()
        if not self._running:
            # What a module keeps, whoever called the network may read.
            self._look_for_what_was_written([output, *map(vars, self._paths)])

    # What is compiled as it runs would take this for code of its own.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in FUNCTIONS:
            return self._meet(func, args, kwargs)
        y = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name != "__get__":
            self._layout.follow(func, args, kwargs, y)
            self._gates.follow(func, args, kwargs, y)
            if name in _READING or any(isinstance(leaf, Tensor) for leaf in tree_leaves(y)):
                self._look_for_what_was_written([args, kwargs])
        return y

    def _look_for_what_was_written(self, values: object) -> None:
        for leaf in tensors_in(values) if self._written else ():
            if not is_functorch_wrapped_tensor(leaf):
                call = self._written.get(leaf.untyped_storage())
                if call is not None:
                    self._read_again.add(call)

    def _meet(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        x: Tensor = args[0] if args else kwargs["input"]
        self._look_for_what_was_written([x])
        # Whoever reads the input after this finds it unwritten, and is seen.
        copied = x.clone()
        args = (copied, *args[1:]) if args else ()
        y: Tensor = func(*args, **({} if args else {"input": copied}), **_others(kwargs))
        number = len(self._met)
        is_transformed = peek_interpreter_stack() is not None
        writes_in_place = y is copied and not is_transformed
        if writes_in_place:
            self._written[x.untyped_storage()] = number
        original, caller, child = self._place(FUNCTIONS[func])
        self._layout.follow(func, (x,), {}, y)
        self._gates.activation(number, original, x, y)
        if original in _GATES or any(map(_has_activations_of_its_own, self._running)):
            self._gates.gates.add(number)
        self._met.append(
            Met(
                caller,
                child,
                original,
                tuple(x.shape),
                x.dtype if x.is_floating_point() and not _is_cast(x) else None,
                x.device,
                x.stride(),
                self.batch,
                None if is_transformed else self._layout.of(x),
                () if is_transformed else (x.untyped_storage(), y.untyped_storage()),
                writes_in_place,
                func in UNSEEN,
                is_transformed,
                _apart(bool(child)),
                kwargs.get("out") is not None,
                any(isinstance(each, ParametrizationList) for each in self._running),
                is_gate=False,
                is_read_again=False,
            )
        )
        return y

    def _place(self, original: str) -> tuple[str, str, str]:
        if not self._running:
            raise ValueError("a hook of the network itself, or its __call__, calls an activation")
        *callers, top = self._running
        if callers and type(top) in MODULES:
            child = _path_below(callers[-1], top)
            return MODULES[type(top)], self._paths[callers[-1]], child
        return original, self._paths[top], ""

    def calls(self) -> list[Met]:
        """Return the calls that were met, in order."""
        return [
            replace(
                met,
                is_gate=number in self._gates.gates,
                is_read_again=number in self._read_again,
            )
            for number, met in enumerate(self._met)
        ]


def _apart(by_child: bool) -> str:
    """Return what within its caller's forward calls again, or goes back, in a way of its own."""
    frame: FrameType | None = sys._getframe()
    modules = 2 if by_child else 1
    while frame is not None and modules > 0:
        code = frame.f_code
        if code.co_filename == checkpoint.__file__:
            return "torch.utils.checkpoint calls it again apart from its block"
        given = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        if isinstance(given, FunctionCtx):
            return "an autograd.Function calls it, which goes back apart from its block"
        modules -= code is nn.Module._call_impl.__code__
        frame = frame.f_back
    return ""


def _is_cast(x: Tensor) -> bool:
    # There is none without values.
    return x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)


def _others(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key != "input"}


def _path_below(caller: nn.Module, module: nn.Module) -> str:
    """Return the shortest path of a module below its caller; empty where it is kept elsewhere."""
    paths = [
        path for path, found in caller.named_modules(remove_duplicate=False) if found is module
    ]
    return min(paths, key=lambda path: path.count("."), default="")


def _has_activations_of_its_own(module: nn.Module) -> bool:
    return type(module).__module__.startswith(f"{activations.__name__}.")
