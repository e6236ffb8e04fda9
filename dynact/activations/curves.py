"""Learnt curves: each a function of one value, whose few parameters the whole layer shares."""

import math

import torch
from torch import nn
from torch.nn import functional

from dynact.activations._tensors import in_dtype_of
from dynact.activations.static import per_element


class StarReLU(nn.Module):
    """StarReLU, y = s·max(x, 0)² + b.

    Any shape → the same. Parameters: 2, s and b.
    Least traffic: 2 passes in inference, 5 in training.
    Source: Yu et al., "MetaFormer Baselines for Vision", arXiv 2210.13452, section 2, whose
    s = 0.8944 and b = −0.4472 give N(0, 1) a mean of 0 and a variance of 1. The official code, and
    this layer, starts to learn both at s = 1 and b = 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the square of the rectified x, scaled and shifted."""
        scale, bias = in_dtype_of(x, self.scale), in_dtype_of(x, self.bias)
        return in_dtype_of(x, scale * torch.relu(x) ** 2 + bias)


class APA(nn.Module):
    """Adaptive Parametric Activation, y = (λ·exp(−κ·x) + 1)^(−1/λ): a sigmoid at λ = κ = 1.

    Any shape → the same. Parameters: 2, λ and κ.
    Least traffic: 2 passes in inference, 5 in training.
    Source: Alexandridis et al., "Adaptive Parametric Activation", arXiv 2407.08567 (ECCV 2024).
    As in the README of the official code, λ is at least 10⁻⁴, both start uniform in (0, 1), and y
    is computed as exp(−softplus(log λ − κ·x)/λ), which does not overflow. ultralytics' class named
    AGLU computes this one; see `AGLU`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lambd = nn.Parameter(torch.rand(1))
        self.kappa = nn.Parameter(torch.rand(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the gate of each element."""
        return adaptive_gate(x, self.lambd, self.kappa)


class AGLU(nn.Module):
    """Adaptive Generalised Linear Unit, y = x·APA(x): SiLU at λ = κ = 1.

    Any shape → the same. Parameters: 2, λ and κ.
    Least traffic: 2 passes in inference, 5 in training.
    Source: arXiv 2407.08567. The README of the official code multiplies the output of its `APA`
    by x, and so does this layer; its ResNets do the same in one autograd function, with κ uniform
    in (0.8, 1.2) at first and λ in (0, 1), as here. ultralytics' class of this name leaves the
    product with x out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lambd = nn.Parameter(torch.rand(1))
        self.kappa = nn.Parameter(torch.empty(1).uniform_(0.8, 1.2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, each element scaled by its gate."""
        return x * adaptive_gate(x, self.lambd, self.kappa)


class XIELU(nn.Module):
    """xIELU, the integral of an ELU that is scaled and shifted, with β = 0.5 and a_n > β.

    y = a_p·x² + β·x where x > 0, and a_n·(exp(x) − 1 − x) + β·x elsewhere, with
    a_p = softplus(α_p) and a_n = β + softplus(α_n), both 0.8 at first.
    Any shape → the same. Parameters: 2, α_p and α_n.
    Least traffic: 2 passes in inference, 5 in training.
    Source: Huang and Schlag, "Deriving Activation Functions Using Integration", arXiv 2411.13010;
    first values as in the official code, which takes exp(x) − 1 of min(x, −10⁻⁶).
    """

    beta = 0.5
    below_zero: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.alpha_p = nn.Parameter(torch.full((1,), _inverse_softplus(0.8)))
        self.alpha_n = nn.Parameter(torch.full((1,), _inverse_softplus(0.8 - self.beta)))
        # Known beforehand, and no state.
        self.register_buffer("below_zero", torch.tensor(-1e-6), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return each element on its side's curve."""
        a_p = in_dtype_of(x, functional.softplus(self.alpha_p))
        a_n = in_dtype_of(x, self.beta + functional.softplus(self.alpha_n))
        above = a_p * x * x + self.beta * x
        exponential = torch.expm1(torch.minimum(x, self.below_zero))
        below = a_n * exponential - a_n * x + self.beta * x
        return in_dtype_of(x, torch.where(x > 0, above, below))


star_relu = per_element(StarReLU)
apa = per_element(APA)
aglu = per_element(AGLU)
xielu = per_element(XIELU)


def adaptive_gate(x: torch.Tensor, lambd: torch.Tensor, kappa: torch.Tensor) -> torch.Tensor:
    """Return APA(x), in x's dtype."""
    lambd = in_dtype_of(x, torch.clamp(lambd, min=1e-4))
    # With β = −1 softplus(v) is −log(1 + exp(−v)).
    exponent = functional.softplus(in_dtype_of(x, kappa) * x - torch.log(lambd), beta=-1.0)
    return in_dtype_of(x, torch.exp((1 / lambd) * exponent))


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
