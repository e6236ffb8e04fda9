"""SE and Maxout beyond what every activation is tested for."""

import pytest
import torch

from dynact.activations import create
from tests.activations.oracles import ORACLES
from tests.activations.samples import layer, normal, state_of


@pytest.mark.parametrize("reduction", [1, 3, 16])
def test_se_hidden_width(reduction: int) -> None:
    module, x = layer("se", 12, reduction=reduction), normal(2, 12, 4, 3)
    assert module.fc1.out_features == {1: 12, 3: 4, 16: 1}[reduction]
    expected = torch.from_numpy(ORACLES["se"](x.numpy(), state_of(module)))
    torch.testing.assert_close(module(x), expected, rtol=1e-11, atol=1e-11)


def test_se_only_scales_each_channel() -> None:
    module, x = layer("se", 6), normal(2, 6, 4, 3)
    scale = (module(x) / x).flatten(2)
    torch.testing.assert_close(scale, scale[:, :, :1].expand_as(scale), rtol=1e-11, atol=0)
    assert (scale > 0).all()
    assert (scale < 1).all()


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_maxout_pieces(k: int) -> None:
    module, x = layer("maxout", 4, k=k), normal(2, 4, 3, 5)
    assert sum(p.numel() for p in module.parameters()) == k * 4 * 4 + k * 4
    expected = torch.from_numpy(ORACLES["maxout"](x.numpy(), state_of(module), k=k))
    torch.testing.assert_close(module(x), expected, rtol=1e-11, atol=1e-11)


def test_maxout_of_the_input_and_zero_is_relu() -> None:
    module, x = create("maxout", 3).double(), normal(2, 3, 4, 5)
    with torch.no_grad():
        module.conv.bias.zero_()
        module.conv.weight.zero_()
        for c in range(3):
            module.conv.weight[2 * c, c] = 1
    torch.testing.assert_close(module(x), torch.relu(x), rtol=0, atol=0)
