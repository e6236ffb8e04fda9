"""Gated linear units without their projection: one half of the channels scales the other."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from dynact.activations._checks import check_input, positive_integer


class _Halves(nn.Module):
    """(N, 2C, …) → (N, C, …): one half of the channels, each scaled by its gate in the other."""

    _gate: Callable[[torch.Tensor], torch.Tensor]

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = positive_integer("channels", channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the second half of x, each element scaled by its gate."""
        check_input(x, 2 * self.channels, (2, 3, 4))
        gate, value = x.chunk(2, dim=1)
        return self._gate(gate) * value


class SwiGLU(_Halves):
    """SwiGLU, y_c = SiLU(x_c)·x_{C+c}: the first half of the channels is the gate.

    (N, 2C), (N, 2C, L) or (N, 2C, H, W) → (N, C, …). No parameters.
    Least traffic: 3 passes in inference, 8 in training.
    Source: Shazeer, "GLU Variants Improve Transformer", arXiv 2002.05202, section 2, Swish₁(xW)⊗xV
    of projections xW and xV that come before this layer. DINOv2's SwiGLUFFN has the halves in
    this order; `torch.nn.functional.glu` and timm's GluMlp, by default, take the second as the
    gate.

    Parameters
    ----------
    channels
        C, of the output.

    Raises
    ------
    ValueError
        An option out of range, or an input with other dimensions or channels.
    """

    _gate = staticmethod(functional.silu)


class GEGLU(_Halves):
    """GEGLU, y_c = GELU(x_c)·x_{C+c}: the first half of the channels is the gate.

    (N, 2C), (N, 2C, L) or (N, 2C, H, W) → (N, C, …). No parameters.
    Least traffic: 3 passes in inference, 8 in training.
    Source: arXiv 2002.05202, section 2, GELU(xW)⊗xV. The GEGLU of diffusers takes the second half
    as the gate.

    Parameters
    ----------
    channels
        C, of the output.

    Raises
    ------
    ValueError
        An option out of range, or an input with other dimensions or channels.
    """

    _gate = staticmethod(functional.gelu)
