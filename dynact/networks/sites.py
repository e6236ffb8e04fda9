"""Where a network calls an activation: found by running it once and watching."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, UntypedStorage, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torchvision.ops import SqueezeExcitation

from dynact import activations
from dynact.schema.redact import error_line

# torch's activations; the names are those of the registry where it has them.
MODULES: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.LeakyReLU: "leaky_relu",
    nn.PReLU: "prelu",
    nn.ELU: "elu",
    nn.SELU: "selu",
    nn.CELU: "celu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.Hardswish: "hardswish",
    nn.Hardtanh: "hardtanh",
    nn.Softplus: "softplus",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.Hardsigmoid: "hardsigmoid",
}

# The same as functions and as methods of a tensor.
FUNCTIONS: dict[object, str] = {
    getattr(home, name + in_place): name
    for name in MODULES.values()
    for home in (functional, torch, Tensor)
    for in_place in ("", "_")
    if hasattr(home, name + in_place)
}

GATE = "in a gate or inside another activation"
_GATES = ("sigmoid", "hardsigmoid")


@dataclass(frozen=True)
class Site:
    """One call of an activation in a forward pass."""

    name: str
    """The caller's path and the activation's name in it, as in ``"layer1.0.relu#2"``; ``#2`` says
    which, where the caller calls one of that name several times."""
    original: str
    """What the network calls there, by its name in the registry or, failing that, in torch."""
    channels: int
    """0 where unknown."""
    height: int | None
    """``None``, as is `width`, where the input is (N, C) or of unknown layout."""
    width: int | None
    obstacle: str = ""
    """Why no other activation can be placed here; empty where it can."""


@dataclass(frozen=True)
class Call:
    """A site, and where in the code it is."""

    site: Site
    caller: str
    """Path of the module whose forward makes the call."""
    child: str
    """Path below the caller of the activation; empty where it is a function."""
    is_only_call: bool
    """Whether the caller calls the child once, and nothing else goes by its name."""
    memory: frozenset[UntypedStorage]
    """Of its input and output; alive, or a later tensor's could be taken for it."""
    device: torch.device
    dtype: torch.dtype

    @property
    def writes_in_place(self) -> bool:
        """Whether its output lies where its input does."""
        return len(self.memory) == 1


def find_sites(model: nn.Module, example_input: Tensor | list[Tensor]) -> list[Site]:
    """Return every call of an activation that model(example_input) makes, in order.

    Found are the calls of torch's modules and functions, in eval mode. A module that is called
    three times is three sites.

    Not every call is that of an activation of feature maps. Sigmoid and hard sigmoid make gates
    and scores, and the ReLU inside a squeeze-and-excitation block is a part of its gate; it acts
    on one value a channel, where a spatial activation has nothing to look at. They are listed
    with `GATE` as their obstacle.

    Parameters
    ----------
    model
        Any network; it is not changed.
    example_input
        Its one argument, on its device.

    Raises
    ------
    ValueError
        If the network does not run on the example.
    """
    return [call.site for call in observe(model, example_input)]


def observe(model: nn.Module, example_input: Tensor | list[Tensor]) -> list[Call]:
    """Return the calls that `find_sites` tells the sites of."""
    watched = copy.deepcopy(model).eval()
    watch = _Watch(watched)
    try:
        with torch.no_grad(), watch:
            watched(example_input)
    except Exception as error:
        raise ValueError(f"the network fails on the example input: {error_line(error)}") from error
    return watch.calls()


class _Watch(TorchFunctionMode):
    """Watches a network of its own, whose modules tell it when they begin and end."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._paths = {module: path for path, module in model.named_modules()}
        self._running: list[nn.Module] = []
        self._runs: Counter[str] = Counter()
        self._met: list[Call] = []
        self._last_of_linear: Tensor | None = None
        for module in self._paths:
            module.register_forward_pre_hook(self._begin)
            module.register_forward_hook(self._end)

    def _begin(self, module: nn.Module, _args: object) -> None:
        self._running.append(module)
        self._runs[self._paths[module]] += 1

    def _end(self, _module: nn.Module, _args: object, _output: object) -> None:
        self._running.pop()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        y = func(*args, **(kwargs or {}))
        if func is functional.linear:
            self._last_of_linear = y
        elif func in FUNCTIONS:
            self._meet(FUNCTIONS[func], args[0] if args else (kwargs or {})["input"], y)
        return y

    def _meet(self, original: str, x: Tensor, y: Tensor) -> None:
        *callers, top = self._running
        caller, child = top, ""
        if callers and type(top) in MODULES:
            original = MODULES[type(top)]
            caller, child = callers[-1], _path_below(callers[-1], top)
        path = self._paths[caller]
        unknown = self._obstacle_to_channels(x)
        site = Site(
            name=f"{path}.{child or original}".lstrip("."),
            original=original,
            channels=0 if unknown else x.shape[1],
            height=x.shape[2] if x.dim() == 4 else None,
            width=x.shape[3] if x.dim() == 4 else None,
            obstacle=GATE if self._is_gate(original) else unknown,
        )
        memory = frozenset((x.untyped_storage(), y.untyped_storage()))
        self._met.append(Call(site, path, child, False, memory, x.device, x.dtype))

    def _is_gate(self, original: str) -> bool:
        return original in _GATES or any(map(_has_activations_of_its_own, self._running))

    def _obstacle_to_channels(self, x: Tensor) -> str:
        if x.dim() not in (2, 4):
            return f"channels unknown: its input has {x.dim()} dimensions, not 2 or 4"
        # Such as in ConvNeXt, where images are (N, H, W, C) there.
        if x.dim() == 4 and x is self._last_of_linear:
            return "channels unknown: its input comes from a fully connected layer, channels last"
        return ""

    def calls(self) -> list[Call]:
        """Return the calls in order, each with a name of its own."""
        total = Counter(call.site.name for call in self._met)
        seen: Counter[str] = Counter()
        calls = []
        for call in self._met:
            name, runs = call.site.name, self._runs[call.caller]
            seen[name] += 1
            repeated = f"{call.caller} runs {runs} times in one pass" if runs > 1 else ""
            site = replace(
                call.site,
                name=f"{name}#{seen[name]}" if total[name] > 1 else name,
                obstacle=call.site.obstacle or repeated,
            )
            is_only_call = call.child != "" and total[name] == 1
            calls.append(replace(call, site=site, is_only_call=is_only_call))
        return calls


def _path_below(caller: nn.Module, module: nn.Module) -> str:
    """Return the path of a module below its caller; empty where it is kept elsewhere."""
    paths = caller.named_modules(remove_duplicate=False)
    return next((path for path, found in paths if found is module), "")


def _has_activations_of_its_own(module: nn.Module) -> bool:
    return isinstance(module, SqueezeExcitation) or type(module).__module__.startswith(
        f"{activations.__name__}."
    )
