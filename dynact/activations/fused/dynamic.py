"""DY-ReLU A, B and C as one graph: pooling, lines and the largest of them."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dynact.activations._checks import check_input
from dynact.activations._dyrelu import GATES, DyReLU
from dynact.activations._tensors import in_dtype_of, spatial_mean
from dynact.activations.dynamic import DyReLUA, DyReLUB, DyReLUC
from dynact.activations.fused.graph import Graph
from dynact.activations.fused.masks import is_positive


class _Fused(DyReLU):
    def forward(self, x: Tensor) -> Tensor:
        """Return the largest of the K lines at each element."""
        check_input(x, self.channels, self.dims)
        return _LARGEST(x, *_generator(self), gate=self.gate)


class FusedDyReLUA(_Fused, DyReLUA):
    """`DyReLUA` as one graph: its parameters, options and errors."""


class FusedDyReLUB(_Fused, DyReLUB):
    """`DyReLUB` as one graph: its parameters, options and errors."""


class FusedDyReLUC(DyReLUC):
    """`DyReLUC` as one graph: its parameters, options and errors."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the largest of the K lines at each element, weighed by position."""
        check_input(x, self.channels, self.dims)
        spatial = [p for p in (self.spatial.weight, self.spatial.bias) if p is not None]
        return _WEIGHED(
            x, *_generator(self), *spatial, gate=self.gate, tau=self.tau, gamma=self.gamma
        )


def _generator(layer: DyReLU) -> tuple[Tensor, ...]:
    fc1, fc2 = layer.fc1, layer.fc2
    return fc1.weight, fc1.bias, fc2.weight, fc2.bias, layer.alpha_beta, layer.lambdas


def _lines(x: Tensor, generator: Sequence[Tensor], gate: str) -> list[tuple[Tensor, Tensor]]:
    """Return slope and intercept of each line, (N, C or 1, 1, …)."""
    weight_1, bias_1, weight_2, bias_2, alpha_beta, lambdas = generator
    hidden = torch.relu(functional.linear(spatial_mean(x), weight_1, bias_1))
    delta = 2 * GATES[gate](functional.linear(hidden, weight_2, bias_2)) - 1
    terms = alpha_beta.shape[0]
    groups = weight_2.shape[0] // terms
    coefficients = alpha_beta + lambdas * delta.reshape(x.shape[0], groups, terms)
    coefficients = in_dtype_of(x, coefficients)
    per_channel = x.shape[0], groups, *(1,) * (x.dim() - 2)
    each = [coefficients[..., term].reshape(per_channel) for term in range(terms)]
    return list(zip(each[: terms // 2], each[terms // 2 :], strict=True))


def _largest_line(x: Tensor, *generator: Tensor, gate: str) -> Tensor:
    lines = (a * x + b for a, b in _lines(x, generator, gate))
    return functools.reduce(torch.maximum, lines)


def _differentiable_line(x: Tensor, *generator: Tensor, gate: str) -> Tensor:
    """Return the line that is the largest at each element, which has all of the gradient there.

    Of equal ones the first has it, as max(dim) of stacked lines gives it.
    """
    (slope, intercept), *others = _lines(x, generator, gate)
    for a, b in others:
        more, higher = a - slope, b - intercept
        above = is_positive(more * x + higher).detach()
        slope, intercept = slope + above * more, intercept + above * higher
    return slope * x + intercept


def _weighed_line(x: Tensor, *parameters: Tensor, gate: str, tau: float, gamma: float) -> Tensor:
    *generator, weight, bias = parameters
    y = _largest_line(x, *generator, gate=gate)
    return y * _position_weights(x, weight, bias, tau, gamma)


def _differentiable_weighed_line(
    x: Tensor, *parameters: Tensor, gate: str, tau: float, gamma: float
) -> Tensor:
    *generator, weight, bias = parameters
    y = _differentiable_line(x, *generator, gate=gate)
    return y * _position_weights(x, weight, bias, tau, gamma)


def _position_weights(x: Tensor, weight: Tensor, bias: Tensor, tau: float, gamma: float) -> Tensor:
    # In float16 a softmax over a large map falls below the smallest normal number.
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    # A 1×1 convolution to one channel, as a sum that needs no other layout.
    z = (x.to(dtype) * weight.to(dtype).reshape(1, -1, 1, 1)).sum(dim=1) + bias.to(dtype)
    positions = x.shape[2] * x.shape[3]
    share = torch.softmax(z.reshape(x.shape[0], positions) / tau, dim=-1)
    weights = (gamma * positions * share).clamp(max=1).reshape(x.shape[0], 1, *x.shape[2:])
    return in_dtype_of(x, weights)


_LARGEST = Graph(_largest_line, _differentiable_line)
_WEIGHED = Graph(_weighed_line, _differentiable_weighed_line)
