"""The static activations are torch.nn's own, with torch.nn's own options."""

import pytest
import torch
from torch import nn

from dynact.activations import create
from tests.activations.oracles import prelu
from tests.activations.samples import layer, normal, state_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("relu", nn.ReLU),
        ("leaky_relu", nn.LeakyReLU),
        ("prelu", nn.PReLU),
        ("relu6", nn.ReLU6),
        ("sigmoid", nn.Sigmoid),
        ("silu", nn.SiLU),
        ("gelu", nn.GELU),
        ("gelu_tanh", nn.GELU),
        ("mish", nn.Mish),
        ("hardswish", nn.Hardswish),
        ("elu", nn.ELU),
        ("softplus", nn.Softplus),
        ("identity", nn.Identity),
    ],
)
def test_kind(name: str, kind: type[nn.Module]) -> None:
    assert type(create(name, 4)) is kind


def test_options_reach_the_layer() -> None:
    assert create("leaky_relu", 4, negative_slope=0.3).negative_slope == 0.3
    assert create("gelu", 4, approximate="tanh").approximate == "tanh"
    assert create("elu", 4, alpha=0.5).alpha == 0.5
    assert create("softplus", 4, beta=2.0).beta == 2
    assert create("relu", 4, inplace=True).inplace


def test_tanh_is_no_option_of_gelu_tanh() -> None:
    assert create("gelu_tanh", 4).approximate == "tanh"
    with pytest.raises(ValueError, match="unknown option 'approximate' for gelu_tanh"):
        create("gelu_tanh", 4, approximate="none")


def test_prelu_starts_at_a_quarter() -> None:
    assert create("prelu", 3).weight.tolist() == [0.25] * 3
    assert create("prelu", 3, init=0.5).weight.tolist() == [0.5] * 3


def test_prelu_with_one_slope_for_all_channels() -> None:
    module, x = layer("prelu", 3, shared=True), normal(2, 3, 4)
    assert module.weight.shape == (1,)
    expected = torch.from_numpy(prelu(x.numpy(), state_of(module)))
    torch.testing.assert_close(module(x), expected, rtol=1e-15, atol=0)


def test_the_two_approximations_are_near_gelu() -> None:
    x = torch.linspace(-6, 6, 10_001, dtype=torch.float64)
    exact = create("gelu", 3)(x)
    # The largest differences, as they are known.
    for name, bound in (("gelu_tanh", 4.8e-4), ("quick_gelu", 0.0204)):
        assert 0.9 * bound < (create(name, 3)(x) - exact).abs().max() < bound
