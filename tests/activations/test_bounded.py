"""DyT and Derf: first values, and that nothing but an element itself decides about its output."""

import pytest
import torch

from dynact.activations import create
from tests.activations.samples import layer, normal

each = pytest.mark.parametrize("name", ["dyt", "derf"])


@pytest.mark.parametrize(("name", "curve"), [("dyt", torch.tanh), ("derf", torch.erf)])
def test_it_starts_as_its_curve_of_half_the_input(name: str, curve: torch.nn.Module) -> None:
    x = normal(2, 3, 4, 5)
    torch.testing.assert_close(create(name, 3).double()(x), curve(x / 2), rtol=1e-15, atol=0)


@each
def test_there_is_no_statistic(name: str) -> None:
    module, x = layer(name, 3), normal(2, 3, 4, 5)
    torch.testing.assert_close(module(x)[:1, :, 1:2], module(x[:1, :, 1:2]), rtol=0, atol=0)


@each
def test_scales_and_shifts_bound_each_channel(name: str) -> None:
    module = layer(name, 3)
    far = module(torch.tensor([[1e6] * 3, [-1e6] * 3], dtype=torch.float64))
    middle, reach = (far[0] + far[1]) / 2, (far[0] - far[1]).abs() / 2
    torch.testing.assert_close(middle, module.bias, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(reach, module.weight.abs(), rtol=1e-12, atol=1e-12)
