"""FReLU and its light form: training, folding, first values."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dynact.activations import create
from tests.activations.oracles import ORACLES, depthwise, frelu
from tests.activations.samples import layer, normal, state_of

funnels = pytest.mark.parametrize("name", ["frelu", "frelu_light"])


@pytest.mark.parametrize("name", ["frelu", "frelu_light", "dwconv_bn_relu"])
def test_training_normalises_by_the_batch(name: str) -> None:
    module, x = layer(name, 3).train(), normal(2, 3, 5, 4)
    expected = ORACLES[name](x.numpy(), state_of(module), training=True)
    torch.testing.assert_close(module(x), torch.from_numpy(expected), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("bias", [True, False])
def test_other_windows(kernel_size: int, bias: bool) -> None:
    module = layer("frelu", 3, kernel_size=kernel_size, bias=bias)
    x = normal(2, 3, 6, 5)
    expected = torch.from_numpy(frelu(x.numpy(), state_of(module)))
    torch.testing.assert_close(module(x), expected, rtol=1e-11, atol=1e-11)
    count = sum(p.numel() for p in module.parameters())
    assert count == 3 * kernel_size**2 + 2 * 3 + 3 * bias


@funnels
@pytest.mark.parametrize("training", [False, True])
def test_never_below_the_input(name: str, training: bool) -> None:
    module, x = layer(name, 4).train(training), normal(2, 4, 6, 5)
    y = module(x)
    assert (y >= x).all()
    assert (y > x).any()


def test_convolution_and_normalisation_fold_into_one_convolution() -> None:
    module, x = layer("frelu", 4), normal(2, 4, 6, 5)
    scale = module.bn.weight / (module.bn.running_var + module.bn.eps).sqrt()
    folded = nn.Conv2d(4, 4, 3, padding=1, groups=4).double()
    with torch.no_grad():
        folded.weight.copy_(module.conv.weight * scale[:, None, None, None])
        folded.bias.copy_(module.bn.bias + (module.conv.bias - module.bn.running_mean) * scale)
    torch.testing.assert_close(module(x), torch.maximum(x, folded(x)), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("std", [0.01, 1.0, 100.0])
def test_in_training_the_condition_has_unit_deviation_whatever_the_weights(std: float) -> None:
    module, x = create("frelu", 3).double().train(), normal(4, 3, 8, 7)
    with torch.no_grad():
        module.conv.weight.normal_(std=std, generator=torch.Generator().manual_seed(3))
    conditions: list[torch.Tensor] = []
    module.bn.register_forward_hook(lambda _module, _inputs, t: conditions.append(t))

    module(x)

    # BN divides by √(variance + ε), so tiny weights fall a little short of 1.
    state = state_of(module)
    convolved = depthwise(x.numpy(), state["conv.weight"], state["conv.bias"])
    variance = convolved.var(axis=(0, 2, 3))
    deviation = conditions[0].detach().numpy().std(axis=(0, 2, 3))
    np.testing.assert_allclose(deviation, np.sqrt(variance / (variance + 1e-5)), rtol=1e-11)
    assert (np.abs(deviation - 1) < 0.05).all()


def test_convolution_bias_is_redundant_in_training() -> None:
    module, x = layer("frelu", 3).train(), normal(2, 3, 5, 4)
    before = module(x)
    with torch.no_grad():
        module.conv.bias.add_(7)
    torch.testing.assert_close(module(x), before, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["frelu", "frelu_light", "dwconv_bn_relu"])
def test_first_weights_have_the_published_deviation(name: str) -> None:
    torch.manual_seed(0)
    module = create(name, 3000)
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions
    for convolution in convolutions:
        weight = convolution.weight.detach()
        # Five standard errors of a sample's mean and deviation.
        error = 5 * 0.01 / math.sqrt(weight.numel())
        assert abs(weight.mean().item()) < error
        assert abs(weight.std().item() - 0.01) < error


def test_one_value_a_channel_cannot_be_normalised() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        create("frelu", 3).train()(torch.zeros(1, 3, 1, 1))
