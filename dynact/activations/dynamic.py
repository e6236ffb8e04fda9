"""DY-ReLU A, B and C: activations whose lines are computed from the input."""

from typing import ClassVar

import torch
from torch import nn

from dynact.activations._checks import check_input, positive_number
from dynact.activations._dyrelu import DyReLU
from dynact.activations._tensors import in_dtype_of


class DyReLUA(DyReLU):
    """Dynamic ReLU, the K lines shared by all positions and channels.

    y = max_k (a^k·x + b^k), with [Δa, Δb] = 2σ(fc2(relu(fc1(GAP x)))) − 1, a^k = α^k + λa·Δa^k,
    b^k = λb·Δb^k and α = (1, 0, …). Row j of fc2 is a_1 … a_K, b_1 … b_K.
    (N, C), (N, C, L) or (N, C, H, W) → the same. Parameters: Ch + h + 2Kh + 2K, h = max(1, C//R).
    Least traffic: 3 passes in inference, 8 in training.
    Source: Chen et al., "Dynamic ReLU", arXiv 2003.10027, variant A.

    Parameters
    ----------
    channels
        C.
    reduction
        R.
    k
        K, the number of lines.
    lambda_a, lambda_b
        How far slopes and intercepts may go from α and 0.
    gate
        σ: "sigmoid", or "hardsigmoid" for relu6(v + 3)/6, another function.

    Raises
    ------
    ValueError
        An option out of range, or an input with other dimensions or channels.
    """

    shares_lines = True


class DyReLUB(DyReLU):
    """Dynamic ReLU, the K lines of each channel shared by all positions.

    As DyReLUA, with lines of its own for each channel: y_c = max_k (a_c^k·x_c + b_c^k). Row
    c·2K + j of fc2 is channel c's a_1 … a_K, b_1 … b_K.
    Parameters: Ch + h + 2KCh + 2KC, h = max(1, C//R).
    Least traffic: 3 passes in inference, 8 in training.
    Source: arXiv 2003.10027, variant B. Shapes, options and errors are DyReLUA's.
    """

    shares_lines = False


class DyReLUC(DyReLU):
    """Dynamic ReLU, lines for each channel, weighed by position.

    y = π·max_k (a_c^k·x_c + b_c^k), with π = min(γ·H·W·softmax(z/τ), 1) over all H·W positions
    and z a 1×1 convolution of x to one channel. As π ≥ 0, that is the paper's maximum over
    weighed lines.
    (N, C, H, W) → the same. Parameters: DyReLUB's + C + 1.
    Least traffic: 3 passes in inference, as pooling and 1×1 convolution share one; 8 in training.
    Source: arXiv 2003.10027, variant C. Options and errors are DyReLUA's, and:

    Parameters
    ----------
    tau
        τ, the temperature, positive.
    gamma
        γ, positive: the share of positions that may reach 1.
    """

    shares_lines = False
    dims: ClassVar[tuple[int, ...]] = (4,)

    def __init__(
        self,
        channels: int,
        reduction: int = 8,
        k: int = 2,
        lambda_a: float = 1.0,
        lambda_b: float = 0.5,
        gate: str = "sigmoid",
        *,
        tau: float = 10.0,
        gamma: float = 1 / 3,
    ) -> None:
        super().__init__(channels, reduction, k, lambda_a, lambda_b, gate)
        self.tau = positive_number("tau", tau)
        self.gamma = positive_number("gamma", gamma)
        self.spatial = nn.Conv2d(channels, 1, kernel_size=1)

    def position_weights(self, x: torch.Tensor) -> torch.Tensor:
        """Return π for x, (N, 1, H, W), in [0, 1]."""
        z: torch.Tensor = self.spatial(x).flatten(1) / self.tau
        # In float16 a softmax over a large map falls below the smallest normal number.
        dtype = torch.float64 if z.dtype == torch.float64 else torch.float32
        share = torch.softmax(z, dim=-1, dtype=dtype)
        weights = (self.gamma * z.shape[1] * share).clamp(max=1)
        return in_dtype_of(x, weights).reshape(x.shape[0], 1, *x.shape[2:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the largest of the K lines at each element, weighed by position."""
        check_input(x, self.channels, self.dims)
        a, b = self.coefficients(x)
        return self.largest_line(x, a, b) * self.position_weights(x)
