"""PReLU as one graph."""

import torch
from torch import Tensor, nn

from dynact.activations._checks import finite_number, positive_integer
from dynact.activations._tensors import in_dtype_of
from dynact.activations.fused.graph import Graph
from dynact.activations.fused.masks import is_positive


class FusedPReLU(nn.PReLU):
    """``torch.nn.PReLU`` as one graph: its parameter and options; x's dtype, under autocast too."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x where it is positive, and x times the slope elsewhere."""
        if not x.is_floating_point():
            raise ValueError(f"input must have floating point numbers, got {x.dtype}")
        channels = x.shape[1] if x.dim() > 1 else 1
        if self.num_parameters not in (1, channels):
            raise ValueError(
                f"input must have {self.num_parameters} channels, got {tuple(x.shape)}"
            )
        return _RECTIFIED(x, self.weight)


def prelu(channels: int, shared: bool = False, init: float = 0.25) -> FusedPReLU:
    """`dynact.activations.static.prelu` as one graph: its parameters, options and errors."""
    slopes = 1 if shared else positive_integer("channels", channels)
    return FusedPReLU(slopes, init=finite_number("init", init))


def _rectified(x: Tensor, weight: Tensor) -> Tensor:
    return torch.where(x > 0, x, _slope(x, weight) * x)


def _differentiable(x: Tensor, weight: Tensor) -> Tensor:
    positive = is_positive(x).detach()
    return x * (positive + (1 - positive) * _slope(x, weight))


def _slope(x: Tensor, weight: Tensor) -> Tensor:
    weight = in_dtype_of(x, weight)
    return weight.reshape(1, -1, *(1,) * (x.dim() - 2)) if x.dim() > 1 else weight


_RECTIFIED = Graph(_rectified, _differentiable)
