"""Attention to channels, which DY-ReLU has as a special case, and Maxout, the other one."""

import math

import torch
from torch import nn

from dynact.activations._checks import check_input, positive_integer
from dynact.activations._tensors import in_dtype_of, is_channels_last, spatial_mean


class SE(nn.Module):
    """Squeeze-and-excitation, y = x·σ(fc2(relu(fc1(GAP x)))).

    (N, C), (N, C, L) or (N, C, H, W) → the same. Parameters: Ch + h + hC + C, h = max(1, C//R).
    Least traffic: 3 passes in inference, 7 in training.
    Source: Hu et al., "Squeeze-and-Excitation Networks", arXiv 1709.01507, section 3.

    Parameters
    ----------
    channels
        C.
    reduction
        R.

    Raises
    ------
    ValueError
        An option out of range, or an input with other dimensions or channels.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.channels = positive_integer("channels", channels)
        hidden = max(1, channels // positive_integer("reduction", reduction))
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x with each channel scaled by its gate."""
        check_input(x, self.channels, (2, 3, 4))
        gate = torch.sigmoid(self.fc2(torch.relu(self.fc1(spatial_mean(x)))))
        return x * in_dtype_of(x, gate).reshape(*gate.shape, *(1,) * (x.dim() - 2))


class Maxout(nn.Module):
    """Maxout over channels, y_c = max_j (W_c^j·x + b_c^j), one 1×1 convolution from C to K·C.

    Row c·K + j of the convolution is piece j of channel c.
    (N, C, H, W) → the same. Parameters: KC² + KC.
    Least traffic: 2 passes in inference, 5 in training.
    Source: Goodfellow et al., "Maxout Networks", arXiv 1302.4389, section 3.

    Parameters
    ----------
    channels
        C.
    k
        K, the number of pieces.

    Raises
    ------
    ValueError
        An option out of range, or an input that is not (N, C, H, W).
    """

    def __init__(self, channels: int, k: int = 2) -> None:
        super().__init__()
        self.channels = positive_integer("channels", channels)
        self.k = positive_integer("k", k)
        self.conv = nn.Conv2d(channels, k * channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the largest piece of each channel."""
        check_input(x, self.channels)
        pieces: torch.Tensor = self.conv(x).unflatten(1, (self.channels, self.k))
        # max(dim) always writes a contiguous result; see largest_line in _dyrelu.
        if is_channels_last(x):
            y = pieces.permute(0, 3, 4, 1, 2).max(dim=-1).values.movedim(-1, 1)
        else:
            y = pieces.max(dim=2).values
        return in_dtype_of(x, y)


class ECA(nn.Module):
    """Efficient channel attention, y = x·σ(conv(GAP x)): one kernel slides over the channels.

    The kernel has the odd number k of weights nearest to (log2 C + b)/γ, γ = 2 and b = 1, and no
    bias.
    (N, C), (N, C, L) or (N, C, H, W) → the same. Parameters: k.
    Least traffic: 3 passes in inference, 7 in training.
    Source: Wang et al., "ECA-Net", arXiv 1910.03151, section 3.2. The published code leaves k to
    the caller, and its ResNets have 3 throughout.

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
        super().__init__()
        self.channels = positive_integer("channels", channels)
        # Where the whole part is even, the nearest odd number is the one above it.
        size = int((math.log2(channels) + 1) / 2) | 1
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x with each channel scaled by its gate."""
        check_input(x, self.channels, (2, 3, 4))
        gate = torch.sigmoid(self.conv(spatial_mean(x).unsqueeze(1)).squeeze(1))
        return x * in_dtype_of(x, gate).reshape(*gate.shape, *(1,) * (x.dim() - 2))


class GRN(nn.Module):
    """Global response normalisation, y_c = γ_c·(x_c·n_c) + β_c + x_c.

    n_c = g_c / (mean of g over all channels + 10⁻⁶), with g_c the Euclidean norm of channel c
    over all positions.
    (N, C, H, W) → the same. Parameters: 2C, zero at first: the layer starts as the identity.
    Least traffic: 3 passes in inference, 8 in training.
    Source: Woo et al., "ConvNeXt V2", arXiv 2301.00808, section 4, in its algorithm and code for
    (N, H, W, C). Its equation divides by the sum of g, C times the mean.

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
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, each channel stronger the more it responds beside the others."""
        check_input(x, self.channels)
        norm = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        response = in_dtype_of(x, norm / (norm.mean(dim=1, keepdim=True) + 1e-6))
        gamma, beta = in_dtype_of(x, self.gamma), in_dtype_of(x, self.beta)
        return gamma * (x * response) + beta + x
