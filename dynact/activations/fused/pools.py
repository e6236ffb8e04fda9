"""The funnels without parameters as one graph."""

from torch import Tensor

from dynact.activations._checks import check_input
from dynact.activations.controls import (
    FunnelAvgPool,
    FunnelMaxPool,
    funnel_of_means,
    funnel_of_peaks,
)
from dynact.activations.fused.graph import Graph


class FusedFunnelMaxPool(FunnelMaxPool):
    """`FunnelMaxPool` as one graph: its errors."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the larger of x and its pooled window, elementwise."""
        check_input(x, self.channels)
        return _OF_PEAKS(x)


class FusedFunnelAvgPool(FunnelAvgPool):
    """`FunnelAvgPool` as one graph: its errors."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the larger of x and its pooled window, elementwise."""
        check_input(x, self.channels)
        return _OF_MEANS(x)


_OF_PEAKS = Graph(funnel_of_peaks)
_OF_MEANS = Graph(funnel_of_means)
