"""Controls: layers that tell what an activation's own idea adds to its ingredients."""

import torch
from torch import nn
from torch.nn import functional

from dynact.activations._checks import check_input, positive_integer
from dynact.activations._tensors import in_dtype_of, per_channel
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
        return funnel_of_peaks(x)


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
        return funnel_of_means(x)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels at each position, what DyT and Derf stand in for.

    y_c = γ_c·(x_c − mean)/√(variance + 10⁻⁶) + β_c, both statistics of a position's channels.
    (N, C), (N, C, L) or (N, C, H, W) → the same. Parameters: 2C.
    Least traffic: 2 passes in inference, 5 in training. All that a position's statistics and their
    gradients hang on is at that position, and is read once.
    Source: Ba et al., "Layer Normalization", arXiv 1607.06450, section 3; in the form that
    ConvNeXt's code (arXiv 2201.03545) has for this layout, operator by operator. torchvision's
    transposes to `torch.nn.functional.layer_norm` instead.

    Parameters
    ----------
    channels
        C.

    Raises
    ------
    ValueError
        An option out of range, or an input with other dimensions or channels.
    """

    def __init__(self, channels: int) -> None:
        # torch's is over the last dimension; of it are the parameters alone.
        super().__init__(positive_integer("channels", channels), eps=1e-6)
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x normalised at each position, scaled and shifted by channel."""
        check_input(x, self.channels, (2, 3, 4))
        mean = x.mean(dim=1, keepdim=True)
        variance = (x - mean).pow(2).mean(dim=1, keepdim=True)
        y = in_dtype_of(x, (x - mean) / torch.sqrt(variance + self.eps))
        return per_channel(self.weight, x) * y + per_channel(self.bias, x)


def funnel_of_peaks(x: torch.Tensor) -> torch.Tensor:
    """Return the larger of x and the largest value of its window, elementwise."""
    return torch.maximum(x, functional.max_pool2d(x, kernel_size=3, stride=1, padding=1))


def funnel_of_means(x: torch.Tensor) -> torch.Tensor:
    """Return the larger of x and the mean of its window, elementwise."""
    return torch.maximum(x, functional.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
