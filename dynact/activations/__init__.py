"""The activations dynact can measure, each made by its name."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from dynact.activations._checks import positive_integer
from dynact.activations.acon import AconC, MetaAconC
from dynact.activations.attention import SE, Maxout
from dynact.activations.controls import DWConvBNReLU, FunnelAvgPool, FunnelMaxPool
from dynact.activations.dynamic import DyReLUA, DyReLUB, DyReLUC
from dynact.activations.funnel import FReLU, FReLULight
from dynact.activations.static import per_element, prelu

__all__ = ["create", "least_passes", "names"]


@dataclass(frozen=True)
class _Activation:
    factory: Callable[..., nn.Module]
    inference: int
    training: int


# Each with the least passes over a tensor of the input's size, see `least_passes`.
_ACTIVATIONS: dict[str, _Activation] = {
    "relu": _Activation(per_element(nn.ReLU), 2, 5),
    "leaky_relu": _Activation(per_element(nn.LeakyReLU), 2, 5),
    "prelu": _Activation(prelu, 2, 5),
    "relu6": _Activation(per_element(nn.ReLU6), 2, 5),
    "sigmoid": _Activation(per_element(nn.Sigmoid), 2, 5),
    "silu": _Activation(per_element(nn.SiLU), 2, 5),
    "gelu": _Activation(per_element(nn.GELU), 2, 5),
    "mish": _Activation(per_element(nn.Mish), 2, 5),
    "hardswish": _Activation(per_element(nn.Hardswish), 2, 5),
    "frelu": _Activation(FReLU, 2, 8),
    "frelu_light": _Activation(FReLULight, 2, 8),
    "dyrelu_a": _Activation(DyReLUA, 3, 8),
    "dyrelu_b": _Activation(DyReLUB, 3, 8),
    "dyrelu_c": _Activation(DyReLUC, 3, 8),
    "se": _Activation(SE, 3, 7),
    "maxout": _Activation(Maxout, 2, 5),
    "acon_c": _Activation(AconC, 2, 5),
    "meta_acon_c": _Activation(MetaAconC, 3, 8),
    "identity": _Activation(per_element(nn.Identity), 0, 0),
    "dwconv_bn_relu": _Activation(DWConvBNReLU, 2, 8),
    "funnel_maxpool": _Activation(FunnelMaxPool, 2, 5),
    "funnel_avgpool": _Activation(FunnelAvgPool, 2, 5),
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
    if name not in _ACTIVATIONS:
        near = difflib.get_close_matches(name.lower().replace("-", "_"), _ACTIVATIONS)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(names())}"
        raise ValueError(f"unknown activation {name!r}: {hint}")
    positive_integer("channels", channels)
    factory = _ACTIVATIONS[name].factory
    accepted = _options(factory)
    for option in options:
        if option not in accepted:
            takes = ", ".join(accepted) or "no options"
            raise ValueError(f"unknown option {option!r} for {name}: it takes {takes}")
    return factory(channels, **options)


def names() -> tuple[str, ...]:
    """Return every name that `create` knows."""
    return tuple(_ACTIVATIONS)


def least_passes(name: str, training: bool) -> int:
    """Return how many tensors of the input's size any implementation must read or write.

    The input is read and the output written, and the input is read once more where the output
    hangs on a global statistic of it: 2 or 3. The backward pass reads the output's gradient and
    the input, or the output, and writes the input's gradient. Where a gradient flows through a
    statistic, its sum over the output's gradient has to be there before any of the input's
    gradient is: both are read twice, in SE only the first: 3, 5 or 4. In training the
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
    activation = _ACTIVATIONS[name]
    return activation.training if training else activation.inference


def _options(factory: Callable[..., nn.Module]) -> list[str]:
    parameters = inspect.signature(factory).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in named and p.name != "channels"]
