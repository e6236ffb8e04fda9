"""Controls: layers that tell what an activation's own idea adds to its ingredients."""

import torch
from torch import nn
from torch.nn import functional

from dynact.activations._checks import check_input, positive_integer
from dynact.activations._tensors import in_dtype_of
from dynact.activations.funnel import depthwise_conv


class DWConvBNReLU(nn.Module):
    """FReLU's ingredients without its funnel, y = relu(BN(depthwise 3×3 conv of x)), no bias.

    (N, C, H, W) → the same. Parameters: 9C + 2C.
    Least traffic: 2 passes in inference, 8 in training.

    Parameters
    ----------
    channels
        C.

    Raises
    ------
    ValueError
        As FReLU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = positive_integer("channels", channels)
        self.conv = depthwise_conv(channels, (3, 3), bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rectified convolution."""
        check_input(x, self.channels)
        return in_dtype_of(x, torch.relu(self.bn(self.conv(x))))


class FunnelMaxPool(nn.Module):
    """A funnel without parameters, y = max(x, 3×3 max pooling of x), stride 1, padding 1.

    (N, C, H, W) → the same. No parameters.
    Least traffic: 2 passes in inference, 5 in training.
    Source: an ablation of arXiv 2007.11824.

    Parameters
    ----------
    channels
        C.

    Raises
    ------
    ValueError
        An option out of range, or an input that is not (N, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = positive_integer("channels", channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the larger of x and its pooled window, elementwise."""
        check_input(x, self.channels)
        return torch.maximum(x, functional.max_pool2d(x, kernel_size=3, stride=1, padding=1))


class FunnelAvgPool(nn.Module):
    """As FunnelMaxPool with average pooling; a window at the border averages its padding's zeros.

    (N, C, H, W) → the same. No parameters.
    Least traffic: 2 passes in inference, 5 in training.
    Source: an ablation of arXiv 2007.11824.

    Parameters
    ----------
    channels
        C.

    Raises
    ------
    ValueError
        An option out of range, or an input that is not (N, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = positive_integer("channels", channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the larger of x and its pooled window, elementwise."""
        check_input(x, self.channels)
        return torch.maximum(x, functional.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
