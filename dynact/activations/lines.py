"""DY-ReLU A, B and C as elementwise lines, of which the larger is taken K − 1 times.

The form that people copy from the authors' DynamicHead (its ``dyrelu.py``): plain PyTorch without
a dimension of lines, which spares the largest tensors. Where lines meet, each has half of the
gradient, as torch.maximum has it; of stacked lines the first has all.
"""

import functools

import torch

from dynact.activations._dyrelu import DyReLU
from dynact.activations.dynamic import DyReLUA, DyReLUB, DyReLUC


class _Lines(DyReLU):
    def largest_line(self, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return max_k (a^k·x + b^k) for x (N, C, …) and a, b (N, C or 1, K)."""
        per_channel = *a.shape[:2], *(1,) * (x.dim() - 2)
        lines = (
            a[..., k].reshape(per_channel) * x + b[..., k].reshape(per_channel)
            for k in range(self.k)
        )
        return functools.reduce(torch.maximum, lines)


class LinesDyReLUA(_Lines, DyReLUA):
    """`DyReLUA` as elementwise lines: its parameters, options and errors."""


class LinesDyReLUB(_Lines, DyReLUB):
    """`DyReLUB` as elementwise lines: its parameters, options and errors."""


class LinesDyReLUC(_Lines, DyReLUC):
    """`DyReLUC` as elementwise lines: its parameters, options and errors."""
