"""ACON-C and Meta-ACON as one graph."""

import torch
from torch import Tensor
from torch.nn import functional

from dynact.activations._checks import check_input
from dynact.activations._tensors import spatial_mean
from dynact.activations.acon import AconC, MetaAconC, smooth_maximum
from dynact.activations.fused.graph import Graph


class FusedAconC(AconC):
    """`AconC` as one graph: its parameters, options and errors."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the smooth maximum of p1·x and p2·x."""
        check_input(x, self.channels)
        return _OF_GIVEN(x, self.p1, self.p2, self.beta)


class FusedMetaAconC(MetaAconC):
    """`MetaAconC` as one graph: its parameters, options and errors.

    With BatchNorm after each fc, β is computed before the graph.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the smooth maximum of p1·x and p2·x, as sharp as the sample asks."""
        check_input(x, self.channels)
        if self.batch_norm:
            return _OF_GIVEN(x, self.p1, self.p2, self.sharpness(x))
        fc1, fc2 = self.fc1, self.fc2
        generator = fc1.weight, fc1.bias, fc2.weight, fc2.bias
        return _OF_INPUT(x, self.p1, self.p2, *generator)


def meta_acon_c_bn(channels: int, reduction: int = 16) -> FusedMetaAconC:
    """`FusedMetaAconC` with BN after each fc, as in the official code."""
    return FusedMetaAconC(channels, reduction, batch_norm=True)


def _as_sharp_as_asked(
    x: Tensor,
    p1: Tensor,
    p2: Tensor,
    weight_1: Tensor,
    bias_1: Tensor,
    weight_2: Tensor,
    bias_2: Tensor,
) -> Tensor:
    hidden = functional.linear(spatial_mean(x), weight_1, bias_1)
    beta = torch.sigmoid(functional.linear(hidden, weight_2, bias_2))
    return smooth_maximum(x, p1, p2, beta.reshape(*beta.shape, 1, 1))


_OF_GIVEN = Graph(smooth_maximum)
_OF_INPUT = Graph(_as_sharp_as_asked)
