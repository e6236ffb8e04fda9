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


class DyHeadReLU(LinesDyReLUB):
    """DY-ReLU-B as DynamicHead has it: `LinesDyReLUB` with R = 4 and the hard gate.

    y_c = max(a_c^1·x_c + b_c^1, a_c^2·x_c + b_c^2), with a^1 = 1 + 2(σ − ½), a^2 = 2(σ − ½) and
    b^k = σ − ½ of their own σ = relu6(v + 3)/6, v = fc2(relu(fc1(GAP x))).
    (N, C), (N, C, L) or (N, C, H, W) → the same. Parameters: Ch + h + 4Ch + 4C, h = max(1, C//R).
    Least traffic: 3 passes in inference, 8 in training.
    Source: Chen et al., "Dynamic ReLU", arXiv 2003.10027, variant B, where σ is the sigmoid and
    R = 8; this form is ``dyhead/dyrelu.py`` of the code of arXiv 2106.08322, whose fc2 has its
    rows in another order: a^1 of all channels, then b^1, a^2 and b^2.

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

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__(channels, reduction, gate="hardsigmoid")
