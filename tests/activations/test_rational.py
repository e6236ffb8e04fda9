"""Group rational: its first function, and what its channels share."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from dynact.activations import create
from tests.activations.oracles import ORACLES
from tests.activations.samples import layer, normal, state_of


def test_first_it_is_swish_where_that_was_fitted() -> None:
    x = torch.linspace(-3, 3, 241, dtype=torch.float64).reshape(1, 1, -1)
    y = create("group_rational", 1).double()(x)
    torch.testing.assert_close(y, functional.silu(x), rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("channels", "groups", "expected"), [(64, 8, 8), (12, 8, 4), (9, 8, 1), (64, 4, 4), (6, 1, 1)]
)
def test_as_many_groups_as_divide_the_channels(channels: int, groups: int, expected: int) -> None:
    module = create("group_rational", channels, groups=groups)
    assert module.numerator.shape == (6,)
    assert module.denominator.shape == (expected, 4)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_other_groups(groups: int) -> None:
    module, x = layer("group_rational", 8, groups=groups), normal(2, 8, 4, 3)
    expected = torch.from_numpy(ORACLES["group_rational"](x.numpy(), state_of(module)))
    torch.testing.assert_close(module(x), expected, rtol=1e-11, atol=1e-11)


def test_a_denominator_reaches_its_group_alone() -> None:
    module, x = layer("group_rational", 6), normal(2, 6, 4, 3)
    before = module(x)
    with torch.no_grad():
        module.denominator[1] += 1
    changed = (module(x) != before).flatten(2).any(dim=2).all(dim=0)
    assert changed.tolist() == [False] * 3 + [True] * 3


def test_without_a_denominator_it_is_a_polynomial() -> None:
    module, x = layer("group_rational", 6), normal(2, 6, 4, 3)
    nn.init.zeros_(module.denominator)
    powers = torch.stack([x**j for j in range(6)], dim=-1)
    torch.testing.assert_close(module(x), powers @ module.numerator, rtol=1e-10, atol=1e-10)
