"""A learnt rational function of each element, the same for all channels of a group."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from dynact.activations._checks import check_input, positive_integer
from dynact.activations._tensors import in_dtype_of

# Of swish, as published with the paper's code: init.json of Adamdad/rational_kat_cu.
_NUMERATOR = (
    3.054879741161051e-07,
    0.5000007853744493,
    0.24999783422824703,
    0.05326628273219478,
    0.005803034571292244,
    0.0002751961022402342,
)
_DENOMINATOR = (
    -4.111554955950634e-06,
    0.10652899335007572,
    -1.2690007399796238e-06,
    0.0005502331264140556,
)


class GroupRational(nn.Module):
    """KAT's safe Padé unit, y = (a_0 + a_1·x + … + a_5·x⁵) / (1 + |b_1·x + … + b_4·x⁴|).

    All channels share a; b_1 … b_4 are shared by the C/G consecutive channels of a group, with
    G = gcd(groups, C). First values are those of swish.
    (N, C), (N, C, L) or (N, C, H, W) → the same. Parameters: 6 + 4G.
    Least traffic: 2 passes in inference, 5 in training. The gradients of a and b are sums of ten
    products over all elements, made on the way.
    Source: Yang, Wang, "Kolmogorov-Arnold Transformer", arXiv 2409.10594, section 4: orders 5 and
    4, G = 8. As plain PyTorch, by Horner's rule as its kernels. Its code shares a and b in the
    same way, but takes 1 + |b_1|·|x| + … + |b_4|·|x|⁴ below, which from swish starts nearly
    the same.
    arXiv 2505.13813 measures what those sums cost the backward pass.

    Parameters
    ----------
    channels
        C.
    groups
        The most groups there may be.

    Raises
    ------
    ValueError
        An option out of range, or an input with other dimensions or channels.
    """

    def __init__(self, channels: int, groups: int = 8) -> None:
        super().__init__()
        self.channels = positive_integer("channels", channels)
        self.groups = math.gcd(positive_integer("groups", groups), channels)
        self.numerator = nn.Parameter(torch.tensor(_NUMERATOR))
        self.denominator = nn.Parameter(torch.tensor(_DENOMINATOR).repeat(self.groups, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rational function of each element."""
        check_input(x, self.channels, (2, 3, 4))
        grouped = torch.unflatten(x, 1, (self.groups, -1))
        per_group = self.groups, *(1,) * (x.dim() - 1)
        a = in_dtype_of(x, self.numerator).unbind()
        b = [of_all.reshape(per_group) for of_all in in_dtype_of(x, self.denominator).unbind(1)]
        below = 1 + (polynomial(grouped, b) * grouped).abs()
        return (polynomial(grouped, a) / below).flatten(1, 2)


def polynomial(x: torch.Tensor, coefficients: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return c_0 + c_1·x + c_2·x² + …, by Horner's rule."""
    *others, value = coefficients
    for coefficient in reversed(others):
        value = value * x + coefficient
    return value
