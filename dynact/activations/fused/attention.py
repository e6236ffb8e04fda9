"""Squeeze-and-excitation as one graph."""

import torch
from torch import Tensor
from torch.nn import functional

from dynact.activations._checks import check_input
from dynact.activations._tensors import in_dtype_of, spatial_mean
from dynact.activations.attention import SE
from dynact.activations.fused.graph import Graph


class FusedSE(SE):
    """`SE` as one graph: its parameters, options and errors."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x with each channel scaled by its gate."""
        check_input(x, self.channels, (2, 3, 4))
        fc1, fc2 = self.fc1, self.fc2
        return _SCALED(x, fc1.weight, fc1.bias, fc2.weight, fc2.bias)


def _scaled(
    x: Tensor, weight_1: Tensor, bias_1: Tensor, weight_2: Tensor, bias_2: Tensor
) -> Tensor:
    hidden = torch.relu(functional.linear(spatial_mean(x), weight_1, bias_1))
    gate = torch.sigmoid(functional.linear(hidden, weight_2, bias_2))
    return x * in_dtype_of(x, gate).reshape(*gate.shape, *(1,) * (x.dim() - 2))


_SCALED = Graph(_scaled)
