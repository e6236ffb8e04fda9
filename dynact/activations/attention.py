"""Squeeze-and-excitation and Maxout: the two ideas that DY-ReLU has as special cases."""

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
