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
        ("mish", nn.Mish),
        ("hardswish", nn.Hardswish),
        ("identity", nn.Identity),
    ],
)
def test_kind(name: str, kind: type[nn.Module]) -> None:
    assert type(create(name, 4)) is kind


def test_options_reach_the_layer() -> None:
    assert create("leaky_relu", 4, negative_slope=0.3).negative_slope == 0.3
    assert create("gelu", 4, approximate="tanh").approximate == "tanh"
    assert create("relu", 4, inplace=True).inplace


def test_prelu_starts_at_a_quarter() -> None:
    assert create("prelu", 3).weight.tolist() == [0.25] * 3
    assert create("prelu", 3, init=0.5).weight.tolist() == [0.5] * 3


def test_prelu_with_one_slope_for_all_channels() -> None:
    module, x = layer("prelu", 3, shared=True), normal(2, 3, 4)
    assert module.weight.shape == (1,)
    expected = torch.from_numpy(prelu(x.numpy(), state_of(module)))
    torch.testing.assert_close(module(x), expected, rtol=1e-15, atol=0)
