"""FReLU: an activation whose threshold is a small spatial window of the input."""

import torch
from torch import nn

from dynact.activations._checks import check_input, odd_integer, positive_integer


class FReLU(nn.Module):
    """Funnel activation, y = max(x, T(x)) with T(x) = BN(depthwise k×k conv of x).

    (N, C, H, W) → (N, C, H, W). Parameters: C·k² + 2C, and C more with `bias`.
    Least traffic: 2 passes in inference, 8 in training.
    Source: Ma, Zhang, Sun, "Funnel Activation for Visual Recognition", arXiv 2007.11824,
    section 3.

    Parameters
    ----------
    channels
        C.
    kernel_size
        k, odd.
    bias
        Whether the convolution has a bias, as in the official code; BN makes it redundant.

    Raises
    ------
    ValueError
        An option out of range, an even k, or an input that is not (N, C, H, W). In training
        also a batch with one value a channel, which BN cannot normalise.
    """

    def __init__(self, channels: int, kernel_size: int = 3, bias: bool = True) -> None:
        super().__init__()
        self.channels = positive_integer("channels", channels)
        size = odd_integer("kernel_size", kernel_size)
        self.conv = depthwise_conv(channels, (size, size), bias=bias)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the larger of x and its funnel condition, elementwise."""
        check_input(x, self.channels)
        return torch.maximum(x, self.bn(self.conv(x)))


class FReLULight(nn.Module):
    """Light funnel activation, T(x) = BN(depthwise 1×3 of x) + BN(depthwise 3×1 of x), no biases.

    (N, C, H, W) → (N, C, H, W). Parameters: 6C + 4C.
    Least traffic: 2 passes in inference, 8 in training.
    Source: the official code of arXiv 2007.11824, for networks of depthwise convolutions.

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
        self.conv_1x3 = depthwise_conv(channels, (1, 3), bias=False)
        self.bn_1x3 = nn.BatchNorm2d(channels)
        self.conv_3x1 = depthwise_conv(channels, (3, 1), bias=False)
        self.bn_3x1 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the larger of x and its funnel condition, elementwise."""
        check_input(x, self.channels)
        condition = self.bn_1x3(self.conv_1x3(x)) + self.bn_3x1(self.conv_3x1(x))
        return torch.maximum(x, condition)


def depthwise_conv(channels: int, kernel_size: tuple[int, int], bias: bool) -> nn.Conv2d:
    """Return a size-keeping depthwise convolution with the paper's weights, N(0, std 0.01)."""
    height, width = kernel_size
    conv = nn.Conv2d(
        channels,
        channels,
        kernel_size,
        padding=(height // 2, width // 2),
        groups=channels,
        bias=bias,
    )
    nn.init.normal_(conv.weight, std=0.01)
    return conv
