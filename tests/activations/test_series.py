"""Series activation: training, windows, folding and first values."""

import math

import pytest
import torch
from torch import nn

from dynact.activations import create
from tests.activations.oracles import ORACLES
from tests.activations.samples import layer, normal, state_of


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("training", [False, True])
def test_windows_and_training(n: int, training: bool) -> None:
    module, x = layer("series_act", 3, n=n).train(training), normal(2, 3, 6, 5)
    expected = ORACLES["series_act"](x.numpy(), state_of(module), training=training)
    assert module.conv.weight.shape == (3, 1, 2 * n + 1, 2 * n + 1)
    torch.testing.assert_close(module(x), torch.from_numpy(expected), rtol=1e-10, atol=1e-10)


def test_with_one_weight_in_the_middle_it_is_relu() -> None:
    module, x = create("series_act", 3).double().eval(), normal(2, 3, 6, 5)
    nn.init.zeros_(module.conv.weight)
    nn.init.ones_(module.conv.weight[:, :, 3, 3])
    torch.testing.assert_close(module(x), torch.relu(x) / math.sqrt(1 + 1e-6))


def test_first_weights_have_the_published_deviation() -> None:
    torch.manual_seed(0)
    weight = create("series_act", 500).conv.weight.detach()
    # Five standard errors of a sample's mean and deviation.
    error = 5 * 0.02 / math.sqrt(weight.numel())
    assert abs(weight.mean().item()) < error
    assert abs(weight.std().item() - 0.02) < error
