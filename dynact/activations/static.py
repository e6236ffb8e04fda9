"""The static activations: torch.nn's own and two that it lacks, behind one kind of factory.

`per_element` makes a factory of a layer that acts on each element alone; `prelu` is the one
static activation that has to know its channels.
"""

import functools
from collections.abc import Callable

import torch
from torch import nn

from dynact.activations._checks import finite_number, positive_integer
from dynact.activations._tensors import in_dtype_of


def per_element(layer: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Give `layer` the signature of a registry factory: channels first, then its own options."""

    def build(_channels: int, **options: object) -> nn.Module:
        return layer(**options)

    # The registry reads the options it may pass on from the layer's signature.
    return functools.update_wrapper(build, layer, updated=())


def prelu(channels: int, shared: bool = False, init: float = 0.25) -> nn.PReLU:
    """PReLU, y = max(x, 0) + w·min(x, 0) (He et al. 2015, arXiv 1502.01852, section 2.1).

    Parameters
    ----------
    channels
        C. The layer has C parameters, one slope a channel; 1 where `shared`.
    shared
        One slope for all channels.
    init
        The slopes' first value.
    """
    slopes = 1 if shared else positive_integer("channels", channels)
    return nn.PReLU(slopes, init=finite_number("init", init))


class QuickGELU(nn.Module):
    """The sigmoid form of GELU, y = x·σ(1.702·x).

    Any shape → the same. No parameters.
    Least traffic: 2 passes in inference, 5 in training.
    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415, section 2; as
    CLIP's code has it.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, each element scaled by its gate."""
        return x * torch.sigmoid(1.702 * x)


class SquaredReLU(nn.Module):
    """Squared ReLU, y = max(x, 0)².

    Any shape → the same. No parameters.
    Least traffic: 2 passes in inference, 5 in training.
    Source: So et al., "Primer: Searching for Efficient Transformers for Language Modeling", arXiv
    2109.08668.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the square of the rectified x."""
        return in_dtype_of(x, torch.square(torch.relu(x)))


relu = per_element(nn.ReLU)
relu_inplace = per_element(lambda: nn.ReLU(inplace=True))
leaky_relu = per_element(nn.LeakyReLU)
relu6 = per_element(nn.ReLU6)
sigmoid = per_element(nn.Sigmoid)
silu = per_element(nn.SiLU)
gelu = per_element(nn.GELU)
gelu_tanh = per_element(lambda: nn.GELU(approximate="tanh"))
quick_gelu = per_element(QuickGELU)
mish = per_element(nn.Mish)
hardswish = per_element(nn.Hardswish)
elu = per_element(nn.ELU)
softplus = per_element(nn.Softplus)
squared_relu = per_element(SquaredReLU)
identity = per_element(nn.Identity)
