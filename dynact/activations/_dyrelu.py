"""What DY-ReLU A, B and C share: lines computed from the input, and the largest of them."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from dynact.activations._checks import check_input, finite_number, positive_integer
from dynact.activations._tensors import in_dtype_of, is_channels_last, spatial_mean

GATES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "hardsigmoid": functional.hardsigmoid,
}


class DyReLU(nn.Module):
    """A line generator [Δa, Δb] = 2σ(fc2(relu(fc1(GAP x)))) − 1 and the largest line of K.

    a^k = α^k + λa·Δa^k and b^k = λb·Δb^k, with α = (1, 0, …): with Δ = 0 the layer is ReLU.
    """

    shares_lines: ClassVar[bool]
    dims: ClassVar[tuple[int, ...]] = (2, 3, 4)

    # Buffers, so that they follow the module's device; constants, so no part of a state_dict.
    alpha_beta: torch.Tensor
    lambdas: torch.Tensor

    def __init__(
        self,
        channels: int,
        reduction: int = 8,
        k: int = 2,
        lambda_a: float = 1.0,
        lambda_b: float = 0.5,
        gate: str = "sigmoid",
    ) -> None:
        super().__init__()
        self.channels = positive_integer("channels", channels)
        self.k = positive_integer("k", k)
        hidden = max(1, channels // positive_integer("reduction", reduction))
        if gate not in GATES:
            raise ValueError(f"gate must be one of {', '.join(GATES)}, got {gate!r}")
        self.gate = gate
        self.fc1 = nn.Linear(channels, hidden)
        self.groups = 1 if self.shares_lines else channels
        self.fc2 = nn.Linear(hidden, 2 * k * self.groups)
        span_a, span_b = finite_number("lambda_a", lambda_a), finite_number("lambda_b", lambda_b)
        self.register_buffer("lambdas", torch.tensor([span_a] * k + [span_b] * k), persistent=False)
        relu = torch.tensor([1.0] + [0.0] * (2 * k - 1))
        self.register_buffer("alpha_beta", relu, persistent=False)

    def coefficients(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the slopes a and the intercepts b for x, each (N, C, K), for A (N, 1, K)."""
        hidden = torch.relu(self.fc1(spatial_mean(x)))
        delta = 2 * GATES[self.gate](self.fc2(hidden)) - 1
        lines = self.alpha_beta + self.lambdas * delta.reshape(x.shape[0], self.groups, 2 * self.k)
        a, b = in_dtype_of(x, lines).chunk(2, dim=-1)
        return a, b

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the largest of the K lines at each element."""
        check_input(x, self.channels, self.dims)
        a, b = self.coefficients(x)
        return self.largest_line(x, a, b)

    def largest_line(self, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return max_k (a^k·x + b^k) for x (N, C, …) and a, b (N, C or 1, K)."""
        return largest_of_stacked(x, a, b)


def largest_of_stacked(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return max_k (a^k·x + b^k) for x (N, C, …) and a, b (N, C or 1, K), in x's memory format."""
    # max(dim) always writes a contiguous result, so channels_last goes through its own
    # contiguous view, (N, H, W, C); converting the result back would cost two more passes.
    channel_dim = x.dim() - 1 if is_channels_last(x) else 1
    shape = [1] * x.dim()
    shape[0], shape[channel_dim] = a.shape[0], a.shape[1]
    a, b = a.reshape(*shape, a.shape[2]), b.reshape(*shape, b.shape[2])
    y = (x.movedim(1, channel_dim).unsqueeze(-1) * a + b).max(dim=-1).values
    return y.movedim(channel_dim, 1)
