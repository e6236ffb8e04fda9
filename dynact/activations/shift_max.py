"""DY-Shift-Max: the larger of two mixtures of a channel with another, computed from the input."""

import torch
from torch import nn
from torch.nn import functional

from dynact.activations._checks import check_input, positive_integer
from dynact.activations._tensors import in_dtype_of, spatial_mean

# Coefficients reach this far from their first values.
_SPAN = 2.0


class DyShiftMax(nn.Module):
    """Dynamic Shift-Max, y_c = max_k (a_c^k·x_c + b_c^k·x_{c + s}), k = 1, 2, c + s taken mod C.

    [Δa, Δb] = 4(σ(fc2(relu(fc1(GAP x)))) − ½), σ(v) = relu6(v + 3)/6, a^k = 1 + Δa^k and
    b^k = Δb^k. Row j·C + c of fc2 is channel c's a^1, b^1, a^2, b^2 for j = 0 … 3. The shift s is
    max(1, C//groups).
    (N, C, H, W) → the same. Parameters: Ch + h + 4hC + 4C, h = max(4, C//R).
    Least traffic: 3 passes in inference, 8 in training.
    Source: Li et al., "MicroNet", arXiv 2108.05894, section 4, with J = K = 2. Range, σ and first
    values as in its code for MicroNet-M0; that rounds h to a multiple of 4, and shifts the
    channels within each group by one too, which costs the same.

    Parameters
    ----------
    channels
        C.
    reduction
        R.
    groups
        Those of the neighbouring group convolution, whose channels are mixed.

    Raises
    ------
    ValueError
        An option out of range, or an input that is not (N, C, H, W).
    """

    # A buffer, so that it follows the module's device; a constant, so no part of a state_dict.
    shifted: torch.Tensor

    def __init__(self, channels: int, reduction: int = 8, groups: int = 8) -> None:
        super().__init__()
        self.channels = positive_integer("channels", channels)
        hidden = max(4, channels // positive_integer("reduction", reduction))
        shift = max(1, channels // positive_integer("groups", groups))
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, 4 * channels)
        shifted = (torch.arange(channels) + shift) % channels
        self.register_buffer("shifted", shifted, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the larger mixture at each element."""
        check_input(x, self.channels)
        gate = functional.hardsigmoid(self.fc2(torch.relu(self.fc1(spatial_mean(x)))))
        delta = in_dtype_of(x, 2 * _SPAN * (gate - 0.5))
        a1, b1, a2, b2 = delta.reshape(x.shape[0], 4, self.channels, 1, 1).unbind(1)
        # Of an index the gradient is added up, element by element.
        other = x[:, self.shifted]
        return torch.maximum((a1 + 1) * x + b1 * other, (a2 + 1) * x + b2 * other)
