"""The learnt curves: first values, what they contain, and where a plain formula would overflow."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from dynact.activations import create
from tests.activations.samples import normal


def with_values(name: str, **values: float) -> nn.Module:
    module = create(name, 3).double()
    for key, value in values.items():
        nn.init.constant_(module.get_parameter(key), value)
    return module


def test_star_relu_starts_as_squared_relu() -> None:
    x = normal(2, 3, 4, 5)
    torch.testing.assert_close(
        create("star_relu", 3).double()(x), create("squared_relu", 3)(x), rtol=0, atol=0
    )


def test_the_papers_star_relu_keeps_a_standard_normal_s_mean_and_variance() -> None:
    module = with_values("star_relu", scale=0.8944, bias=-0.4472)
    x = torch.linspace(-12, 12, 100_001, dtype=torch.float64)
    density = torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)

    y = module(x)

    mean = torch.trapezoid(y * density, x)
    variance = torch.trapezoid((y - mean) ** 2 * density, x)
    # The paper gives four digits.
    assert mean.item() == pytest.approx(0, abs=1e-4)
    assert variance.item() == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize(("name", "kappas"), [("apa", (0.0, 1.0)), ("aglu", (0.8, 1.2))])
def test_first_values_are_uniform(name: str, kappas: tuple[float, float]) -> None:
    torch.manual_seed(0)
    modules = [create(name, 3) for _ in range(300)]
    for key, (low, high) in (("lambd", (0.0, 1.0)), ("kappa", kappas)):
        drawn = torch.cat([module.get_parameter(key).detach() for module in modules])
        assert low <= drawn.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < drawn.max() <= high


def test_all_ones_are_sigmoid_and_silu() -> None:
    x = normal(2, 3, 4, 5)
    apa, aglu = (with_values(name, lambd=1, kappa=1)(x) for name in ("apa", "aglu"))
    torch.testing.assert_close(apa, torch.sigmoid(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(aglu, functional.silu(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lambd", [1e-4, 1e-9, 0.0, -3.0])
def test_the_least_lambda_is_a_gumbel_distribution_and_none_is_below(lambd: float) -> None:
    x = normal(2, 3, 4, 5)
    # (1 + λ·t)^(−1/λ) → exp(−t) as λ → 0; at 10⁻⁴ they differ by about λ·t²·exp(−t)/2.
    torch.testing.assert_close(
        with_values("apa", lambd=lambd, kappa=1)(x), torch.exp(-torch.exp(-x)), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("name", ["apa", "aglu", "xielu"])
def test_large_values_give_finite_values_and_gradients(name: str) -> None:
    torch.manual_seed(0)
    module, x = create(name, 3), torch.tensor([-1e4, -100.0, 100.0, 1e4], requires_grad=True)

    module(x).sum().backward()

    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_xielu_has_the_papers_gradient() -> None:
    module, x = create("xielu", 3).double(), normal(2, 3, 4, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(module(x).sum(), x)

    # Scaled and shifted ELUs: 2·a·x + β above zero and a·(exp(x) − 1) + β below; a = 0.8, β = 0.5.
    above, below = 1.6 * x + 0.5, 0.8 * torch.expm1(x) + 0.5
    torch.testing.assert_close(gradient, torch.where(x > 0, above, below), rtol=1e-6, atol=1e-6)


def test_xielu_far_below_zero_never_rises() -> None:
    # The gradient is β − a_n there, and a_n > β whatever α_n: at its least the gradient is 0.
    x = torch.tensor([-50.0], dtype=torch.float64)
    for alpha_n, expected in ((-30.0, 0.0), (0.0, -math.log(2))):
        module = with_values("xielu", alpha_n=alpha_n)
        gradient = torch.func.grad(lambda v, of=module: of(v).sum())(x)
        assert gradient.item() == pytest.approx(expected, abs=1e-12)
