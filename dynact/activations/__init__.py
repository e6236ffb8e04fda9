"""The activations dynact can measure, each made by its name.

What is declared here is known without torch: a layer's module is imported when one is made.
"""

import difflib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynact.activations._checks import positive_integer

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Activation",
    "activation",
    "create",
    "implementations",
    "input_channels",
    "least_passes",
    "names",
    "near_names",
    "obstacle_in_networks",
    "writes_in_place",
]

REFERENCE = "reference"
# Written in plain PyTorch: what each operator does can be watched.
PLAIN = (REFERENCE, "lines")

_FUNNEL = "arXiv 2007.11824"
_DYNAMIC = "arXiv 2003.10027"
_ACON = "arXiv 2009.04759"
_APA = "arXiv 2407.08567"
_GLU = "arXiv 2002.05202"


@dataclass(frozen=True)
class Activation:
    """What is known of an activation before it is made."""

    title: str
    """As its paper spells it."""
    layer: str
    """Where its class or factory is: ``"module:name"`` in this package."""
    inference_passes: int
    """See `least_passes`."""
    training_passes: int
    papers: tuple[str, ...] = ()
    halves_channels: bool = False
    """Whether its input has twice the channels of its output."""
    writes_in_place: bool = False
    """Whether its output takes the place of its input."""
    also: tuple[str, ...] = ()
    """What else it is called, as whoever knows it by that may type it."""


_ACTIVATIONS = {
    "relu": Activation("ReLU", "static:relu", 2, 5),
    "leaky_relu": Activation("Leaky ReLU", "static:leaky_relu", 2, 5, also=("lrelu",)),
    "prelu": Activation("PReLU", "static:prelu", 2, 5, ("arXiv 1502.01852",)),
    "relu6": Activation("ReLU6", "static:relu6", 2, 5),
    "sigmoid": Activation("Sigmoid", "static:sigmoid", 2, 5),
    "silu": Activation("SiLU", "static:silu", 2, 5, also=("swish",)),
    "gelu": Activation("GELU", "static:gelu", 2, 5),
    "gelu_tanh": Activation("GELU tanh", "static:gelu_tanh", 2, 5),
    "quick_gelu": Activation("QuickGELU", "static:quick_gelu", 2, 5, ("arXiv 1606.08415",)),
    "mish": Activation("Mish", "static:mish", 2, 5),
    "hardswish": Activation("Hardswish", "static:hardswish", 2, 5, also=("hard_swish", "h_swish")),
    "elu": Activation("ELU", "static:elu", 2, 5),
    "softplus": Activation("Softplus", "static:softplus", 2, 5),
    "squared_relu": Activation("Squared ReLU", "static:squared_relu", 2, 5, ("arXiv 2109.08668",)),
    "star_relu": Activation("StarReLU", "curves:star_relu", 2, 5, ("arXiv 2210.13452",)),
    "apa": Activation("APA", "curves:apa", 2, 5, (_APA,)),
    "aglu": Activation("AGLU", "curves:aglu", 2, 5, (_APA,)),
    "xielu": Activation("xIELU", "curves:xielu", 2, 5, ("arXiv 2411.13010",)),
    "dyt": Activation("DyT", "bounded:DyT", 2, 5, ("arXiv 2503.10622",)),
    "derf": Activation("Derf", "bounded:Derf", 2, 5, ("arXiv 2512.10938",)),
    "frelu": Activation("FReLU", "funnel:FReLU", 2, 8, (_FUNNEL,), also=("funnel",)),
    "frelu_light": Activation("FReLU light", "funnel:FReLULight", 2, 8, (_FUNNEL,)),
    "dyrelu_a": Activation("DY-ReLU-A", "dynamic:DyReLUA", 3, 8, (_DYNAMIC,)),
    "dyrelu_b": Activation(
        "DY-ReLU-B", "dynamic:DyReLUB", 3, 8, (_DYNAMIC,), also=("dynamic_relu",)
    ),
    "dyrelu_c": Activation("DY-ReLU-C", "dynamic:DyReLUC", 3, 8, (_DYNAMIC,)),
    "se": Activation("SE", "attention:SE", 3, 7, ("arXiv 1709.01507",)),
    "maxout": Activation("Maxout", "attention:Maxout", 2, 5, ("arXiv 1302.4389",)),
    "acon_c": Activation("ACON-C", "acon:AconC", 2, 5, (_ACON,)),
    "meta_acon_c": Activation("Meta-ACON-C", "acon:MetaAconC", 3, 8, (_ACON,)),
    "identity": Activation("Identity", "static:identity", 0, 0),
    "dwconv_bn_relu": Activation("DWConv-BN-ReLU", "controls:DWConvBNReLU", 2, 8),
    "funnel_maxpool": Activation("Funnel max-pool", "controls:FunnelMaxPool", 2, 5, (_FUNNEL,)),
    "funnel_avgpool": Activation("Funnel avg-pool", "controls:FunnelAvgPool", 2, 5, (_FUNNEL,)),
    "layer_norm": Activation("LayerNorm", "controls:LayerNorm", 2, 5, ("arXiv 1607.06450",)),
    "dyrelu_dyhead": Activation("DY-ReLU-B (DyHead)", "lines:DyHeadReLU", 3, 8, (_DYNAMIC,)),
    "eca": Activation("ECA", "attention:ECA", 3, 7, ("arXiv 1910.03151",)),
    "grn": Activation("GRN", "attention:GRN", 3, 8, ("arXiv 2301.00808",)),
    "group_rational": Activation(
        "Group rational", "rational:GroupRational", 2, 5, ("arXiv 2409.10594",), also=("kat",)
    ),
    "dy_shift_max": Activation("DY-Shift-Max", "shift_max:DyShiftMax", 3, 8, ("arXiv 2108.05894",)),
    "series_act": Activation(
        "Series activation", "series:SeriesActivation", 2, 8, ("arXiv 2305.12972",)
    ),
    "meta_acon_c_bn": Activation("Meta-ACON-C BN", "acon:meta_acon_c_bn", 3, 8, (_ACON,)),
    "swiglu": Activation("SwiGLU", "gates:SwiGLU", 3, 8, (_GLU,), halves_channels=True),
    "geglu": Activation("GEGLU", "gates:GEGLU", 3, 8, (_GLU,), halves_channels=True),
    "relu_inplace": Activation("ReLU in place", "static:relu_inplace", 2, 5, writes_in_place=True),
}
# Other implementations, and where each is, as `Activation.layer`.
_FASTER: dict[str, dict[str, str]] = {
    "prelu": {"fused": "fused.static:prelu"},
    "frelu": {"fused": "fused.funnel:FusedFReLU"},
    "frelu_light": {"fused": "fused.funnel:FusedFReLULight"},
    "dyrelu_a": {"lines": "lines:LinesDyReLUA", "fused": "fused.dynamic:FusedDyReLUA"},
    "dyrelu_b": {"lines": "lines:LinesDyReLUB", "fused": "fused.dynamic:FusedDyReLUB"},
    "dyrelu_c": {"lines": "lines:LinesDyReLUC", "fused": "fused.dynamic:FusedDyReLUC"},
    "se": {"fused": "fused.attention:FusedSE"},
    "acon_c": {"fused": "fused.acon:FusedAconC"},
    "meta_acon_c": {"fused": "fused.acon:FusedMetaAconC"},
    "meta_acon_c_bn": {"fused": "fused.acon:meta_acon_c_bn"},
    "funnel_maxpool": {"fused": "fused.pools:FusedFunnelMaxPool"},
    "funnel_avgpool": {"fused": "fused.pools:FusedFunnelAvgPool"},
}


def create(name: str, channels: int, impl: str = REFERENCE, **options: object) -> "nn.Module":
    """Make the activation called `name` for outputs with `channels` channels.

    Every implementation of it has the same parameters and buffers, by the same names and, under
    the same seed, with the same first values.

    Parameters
    ----------
    name
        One of `names()`.
    channels
        C, the size of the output's dimension 1, and of the input's: see `input_channels`.
    impl
        One of `implementations(name)`: "reference" is the plain form of the code that people copy;
        "lines" takes the larger of elementwise lines; "fused" is one graph of torch.compile, which
        is compiled at the first call, and keeps the input alone for the backward pass.
    **options
        What the layer itself takes, such as reduction=8 for "dyrelu_b".

    Raises
    ------
    ValueError
        An unknown name, implementation or option, or a value that the layer cannot take.
    """
    declared = activation(name)
    if impl not in implementations(name):
        known = ", ".join(implementations(name))
        raise ValueError(f"unknown implementation {impl!r} of {name}: it has {known}")
    factory = _factory(_FASTER[name][impl] if impl != REFERENCE else declared.layer)
    positive_integer("channels", channels)
    accepted = _options(factory)
    for option in options:
        if option not in accepted:
            takes = ", ".join(accepted) or "no options"
            raise ValueError(f"unknown option {option!r} for {name}: it takes {takes}")
    layer: nn.Module = factory(channels, **options)
    return layer


def implementations(name: str) -> tuple[str, ...]:
    """Return the names of an activation's implementations, its reference first.

    Raises
    ------
    ValueError
        If there is no activation of that name.
    """
    activation(name)
    return REFERENCE, *_FASTER.get(name, ())


def names() -> tuple[str, ...]:
    """Return every name that `create` knows."""
    return tuple(_ACTIVATIONS)


def activation(name: str) -> Activation:
    """Return what is declared of an activation.

    Raises
    ------
    ValueError
        If there is none of that name: one line that names near ones.
    """
    if name not in _ACTIVATIONS:
        near = near_names(name)
        hint = f"did you mean {near}?" if near else f"choose from: {', '.join(names())}"
        raise ValueError(f"unknown activation {name!r}; {hint}")
    return _ACTIVATIONS[name]


def near_names(word: str) -> str:
    """Return the names that a word is nearest to, as ``"silu (swish) or hardswish"``; or none."""
    known = {one: name for name, declared in _ACTIVATIONS.items() for one in (name, *declared.also)}
    near: dict[str, str] = {}
    for one in difflib.get_close_matches(word.lower().replace("-", "_"), known):
        near.setdefault(known[one], one)
    return " or ".join(name if name == one else f"{name} ({one})" for name, one in near.items())


def input_channels(name: str, channels: int) -> int:
    """Return the channels of the input of an activation whose output has `channels`.

    As many, but twice as many for one that `halves_channels`; a layer of one's own, any name that
    is not of `names()`, keeps the shape.
    """
    halves = name in _ACTIVATIONS and _ACTIVATIONS[name].halves_channels
    return 2 * channels if halves else channels


def writes_in_place(name: str) -> bool:
    """Return whether an activation's output takes the place of its input; False for one's own."""
    return name in _ACTIVATIONS and _ACTIVATIONS[name].writes_in_place


def obstacle_in_networks(name: str) -> str:
    """Return why an activation can take no other's place in a network; empty where it can."""
    if input_channels(name, 1) != 1:
        return "its input has twice the channels of its output"
    if writes_in_place(name):
        return "it writes into its input, which a network may use elsewhere"
    return ""


def least_passes(name: str, training: bool) -> int:
    """Return how many tensors of the output's size any implementation must read or write.

    The input is read and the output written, and the input is read once more where the output
    hangs on a global statistic of it: 2 or 3. An input of twice the channels counts as two tensors:
    3, and 8 in training. A statistic of one position's channels is not global:
    they stay on the chip from its sum to its use. The backward pass reads the output's gradient and
    the input, or the output, and writes the input's gradient. Where a gradient flows through a
    statistic, its sum over the output's gradient has to be there before any of the input's
    gradient is: both are read twice, in SE and ECA only the first: 3, 5 or 4. In training the
    statistics of BatchNorm are of the batch.

    It holds for a tensor too large to stay on the chip between two passes, at full precision
    (no masks of a bit), and for options that do not reduce the layer to a simpler one, as k=1
    does DY-ReLU.

    Parameters
    ----------
    name
        One of `names()`. Any other is a layer of one's own, of which only this is known, that
        its output depends on each element of the input and its gradient on each of the output's.
    training
        Whether for forward and backward, or for forward alone in inference.
    """
    if name not in _ACTIVATIONS:
        return 4 if training else 2
    declared = _ACTIVATIONS[name]
    return declared.training_passes if training else declared.inference_passes


def _factory(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    factory: Callable[..., Any] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return factory


def _options(factory: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(factory).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in named and p.name != "channels"]
