"""Bounded curves in a normalisation's place: without a statistic, with its scales and shifts."""

import torch
from torch import nn

from dynact.activations._checks import check_input, positive_integer
from dynact.activations._tensors import in_dtype_of, per_channel


class DyT(nn.Module):
    """Dynamic Tanh, y_c = γ_c·tanh(α·x_c) + β_c, with one α for the layer.

    (N, C), (N, C, L) or (N, C, H, W) → the same. Parameters: 2C + 1.
    Least traffic: 2 passes in inference, 5 in training.
    Source: Zhu et al., "Transformers without Normalization", arXiv 2503.10622, section 4; first
    values α = 0.5, γ = 1, β = 0.

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
        self.alpha = nn.Parameter(torch.full((1,), 0.5))
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the bounded x, scaled and shifted by channel."""
        check_input(x, self.channels, (2, 3, 4))
        y = torch.tanh(in_dtype_of(x, self.alpha) * x)
        return y * per_channel(self.weight, x) + per_channel(self.bias, x)


class Derf(nn.Module):
    """Dynamic erf, y_c = γ_c·erf(α·x_c + s) + β_c, with one α and one s for the layer.

    (N, C), (N, C, L) or (N, C, H, W) → the same. Parameters: 2C + 2.
    Least traffic: 2 passes in inference, 5 in training.
    Source: Chen et al., "Stronger Normalization-Free Transformers", arXiv 2512.10938; first
    values α = 0.5, s = 0, γ = 1, β = 0, and `shift` for s, as in the official code.

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
        self.alpha = nn.Parameter(torch.full((1,), 0.5))
        self.shift = nn.Parameter(torch.zeros(1))
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the bounded x, scaled and shifted by channel."""
        check_input(x, self.channels, (2, 3, 4))
        y = torch.erf(in_dtype_of(x, self.alpha) * x + in_dtype_of(x, self.shift))
        return y * per_channel(self.weight, x) + per_channel(self.bias, x)
