"""VanillaNet's series activation: a weighted sum of ReLUs of an element and its neighbours."""

import torch
from torch import nn

from dynact.activations._checks import check_input, positive_integer
from dynact.activations._tensors import in_dtype_of
from dynact.activations.funnel import depthwise_conv


class SeriesActivation(nn.Module):
    """y = BN(depthwise (2n + 1)×(2n + 1) conv of relu(x)), no bias.

    (N, C, H, W) → the same. Parameters: C·(2n + 1)² + 2C.
    Least traffic: 2 passes in inference, 8 in training.
    Source: Chen et al., "VanillaNet", arXiv 2305.12972, section 3.2, n = 3, in the form of its
    code: the paper has a bias a channel within ReLU, the code BN behind the convolution instead.
    First values and BN's ε = 10⁻⁶ as in the code.

    Parameters
    ----------
    channels
        C.
    n
        How far neighbours reach.

    Raises
    ------
    ValueError
        An option out of range, or an input that is not (N, C, H, W). In training also a batch
        with one value a channel, which BN cannot normalise.
    """

    def __init__(self, channels: int, n: int = 3) -> None:
        super().__init__()
        self.channels = positive_integer("channels", channels)
        size = 2 * positive_integer("n", n) + 1
        self.conv = depthwise_conv(channels, (size, size), bias=False)
        # The code truncates at 100 deviations.
        nn.init.normal_(self.conv.weight, std=0.02)
        self.bn = nn.BatchNorm2d(channels, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised sum over each window."""
        check_input(x, self.channels)
        return in_dtype_of(x, self.bn(self.conv(torch.relu(x))))
