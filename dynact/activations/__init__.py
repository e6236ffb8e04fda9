"""The activations dynact can measure, each made by its name."""

import difflib
import inspect
from collections.abc import Callable

from torch import nn

from dynact.activations._checks import positive_integer
from dynact.activations.acon import AconC, MetaAconC
from dynact.activations.attention import SE, Maxout
from dynact.activations.controls import DWConvBNReLU, FunnelAvgPool, FunnelMaxPool
from dynact.activations.dynamic import DyReLUA, DyReLUB, DyReLUC
from dynact.activations.funnel import FReLU, FReLULight
from dynact.activations.static import per_element, prelu

__all__ = ["create", "names"]

_FACTORIES: dict[str, Callable[..., nn.Module]] = {
    "relu": per_element(nn.ReLU),
    "leaky_relu": per_element(nn.LeakyReLU),
    "prelu": prelu,
    "relu6": per_element(nn.ReLU6),
    "sigmoid": per_element(nn.Sigmoid),
    "silu": per_element(nn.SiLU),
    "gelu": per_element(nn.GELU),
    "mish": per_element(nn.Mish),
    "hardswish": per_element(nn.Hardswish),
    "frelu": FReLU,
    "frelu_light": FReLULight,
    "dyrelu_a": DyReLUA,
    "dyrelu_b": DyReLUB,
    "dyrelu_c": DyReLUC,
    "se": SE,
    "maxout": Maxout,
    "acon_c": AconC,
    "meta_acon_c": MetaAconC,
    "identity": per_element(nn.Identity),
    "dwconv_bn_relu": DWConvBNReLU,
    "funnel_maxpool": FunnelMaxPool,
    "funnel_avgpool": FunnelAvgPool,
}


def create(name: str, channels: int, **options: object) -> nn.Module:
    """Make the activation called `name` for inputs with `channels` channels.

    Parameters
    ----------
    name
        One of `names()`.
    channels
        C, the size of the input's dimension 1.
    **options
        What the layer itself takes, such as reduction=8 for "dyrelu_b".

    Raises
    ------
    ValueError
        An unknown name or option, or a value that the layer cannot take.
    """
    if name not in _FACTORIES:
        near = difflib.get_close_matches(name.lower().replace("-", "_"), _FACTORIES)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(names())}"
        raise ValueError(f"unknown activation {name!r}: {hint}")
    positive_integer("channels", channels)
    factory = _FACTORIES[name]
    accepted = _options(factory)
    for option in options:
        if option not in accepted:
            takes = ", ".join(accepted) or "no options"
            raise ValueError(f"unknown option {option!r} for {name}: it takes {takes}")
    return factory(channels, **options)


def names() -> tuple[str, ...]:
    """Return every name that `create` knows."""
    return tuple(_FACTORIES)


def _options(factory: Callable[..., nn.Module]) -> list[str]:
    parameters = inspect.signature(factory).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in named and p.name != "channels"]
