"""ACON: a smooth maximum of two learnt lines, with a learnt or computed sharpness."""

import torch
from torch import nn

from dynact.activations._checks import check_input, positive_integer
from dynact.activations._tensors import in_dtype_of, spatial_mean


class AconC(nn.Module):
    """ACON-C, y = d·σ(β·d) + p2·x with d = (p1 − p2)·x, and p1, p2, β learnt for each channel.

    (N, C, H, W) → the same. Parameters: 3C.
    Least traffic: 2 passes in inference, 5 in training.
    Source: Ma et al., "Activate or Not: Learning Customized Activation", arXiv 2009.04759;
    first values as in the official code.

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
        self.p1 = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.p2 = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the smooth maximum of p1·x and p2·x."""
        check_input(x, self.channels)
        return smooth_maximum(x, self.p1, self.p2, self.beta)


class MetaAconC(nn.Module):
    """Meta-ACON: ACON-C with β = σ(fc2(fc1(GAP x))), one for each sample and channel.

    (N, C, H, W) → the same. Parameters: 2C + Ch + h + hC + C, h = max(R, C//R), and 2h + 2C more
    with `batch_norm`.
    Least traffic: 3 passes in inference, 8 in training.
    Source: arXiv 2009.04759; first values and h as in the official code.

    Parameters
    ----------
    channels
        C.
    reduction
        R.
    batch_norm
        Whether BN follows each of fc1 and fc2, as in the official code; with it a training
        batch needs two samples or more.

    Raises
    ------
    ValueError
        An option out of range, or an input that is not (N, C, H, W).
    NotImplementedError
        In training with `batch_norm`, a batch of one sample.
    """

    def __init__(self, channels: int, reduction: int = 16, batch_norm: bool = False) -> None:
        super().__init__()
        self.channels = positive_integer("channels", channels)
        hidden = max(positive_integer("reduction", reduction), channels // reduction)
        self.batch_norm = batch_norm
        self.p1 = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.p2 = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.fc1 = nn.Linear(channels, hidden)
        self.bn1 = nn.BatchNorm1d(hidden) if batch_norm else nn.Identity()
        self.fc2 = nn.Linear(hidden, channels)
        self.bn2 = nn.BatchNorm1d(channels) if batch_norm else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the smooth maximum of p1·x and p2·x, as sharp as the sample asks."""
        check_input(x, self.channels)
        return smooth_maximum(x, self.p1, self.p2, self.sharpness(x))

    def sharpness(self, x: torch.Tensor) -> torch.Tensor:
        """Return β for x, (N, C, 1, 1)."""
        if self.batch_norm and self.training and x.shape[0] == 1:
            raise NotImplementedError("BN after each fc needs two samples or more to train on")
        beta = torch.sigmoid(self.bn2(self.fc2(self.bn1(self.fc1(spatial_mean(x))))))
        return beta.reshape(*beta.shape, 1, 1)


def meta_acon_c_bn(channels: int, reduction: int = 16) -> MetaAconC:
    """`MetaAconC` with BN after each fc, as in the official code."""
    return MetaAconC(channels, reduction, batch_norm=True)


def smooth_maximum(
    x: torch.Tensor, p1: torch.Tensor, p2: torch.Tensor, beta: torch.Tensor
) -> torch.Tensor:
    """Return d·σ(β·d) + p2·x with d = (p1 − p2)·x, in x's dtype."""
    d = in_dtype_of(x, p1 - p2) * x
    return d * torch.sigmoid(in_dtype_of(x, beta) * d) + in_dtype_of(x, p2) * x
