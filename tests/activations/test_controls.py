"""The controls: what each leaves out or keeps."""

import pytest
import torch
from torch.nn import functional
from torchvision.models.convnext import LayerNorm2d

from dynact.activations import create
from tests.activations.samples import layer, normal


def test_identity_is_the_input_itself() -> None:
    x = normal(2, 3, 4, 5)
    assert create("identity", 3)(x) is x


def test_convolution_control_has_the_funnel_s_ingredients() -> None:
    control, funnel = layer("dwconv_bn_relu", 4), layer("frelu", 4, bias=False)
    funnel.load_state_dict(control.state_dict())
    x = normal(2, 4, 5, 3)
    torch.testing.assert_close(control(x), torch.relu(funnel.bn(funnel.conv(x))), rtol=0, atol=0)


def test_pooled_maximum_of_a_peak_fills_its_window() -> None:
    x = torch.zeros(1, 1, 5, 6)
    x[0, 0, 2, 3] = 1
    y = create("funnel_maxpool", 1)(x)
    assert y[0, 0, 1:4, 2:5].eq(1).all()
    assert y.sum() == 9


def test_pooled_mean_of_a_peak_keeps_it_and_spreads_a_ninth() -> None:
    x = torch.zeros(1, 1, 5, 6)
    x[0, 0, 2, 3] = 9
    y = create("funnel_avgpool", 1)(x)
    assert y[0, 0, 2, 3] == 9
    assert y.sum() == 9 + 8


def test_pooled_mean_at_the_border_counts_the_padding() -> None:
    y = create("funnel_avgpool", 1)(torch.full((1, 1, 3, 3), -9.0))
    expected = torch.tensor([[-4.0, -6, -4], [-6, -9, -6], [-4, -6, -4]])
    torch.testing.assert_close(y[0, 0], expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(4, 6), (3, 6, 5), (2, 6, 5, 3)])
def test_layer_norm_is_torchs_over_the_channels(shape: tuple[int, ...]) -> None:
    module, x = layer("layer_norm", 6), normal(*shape)
    y = functional.layer_norm(x.movedim(1, -1), (6,), module.weight, module.bias, eps=1e-6)
    torch.testing.assert_close(module(x), y.movedim(-1, 1), rtol=1e-12, atol=1e-12)


def test_layer_norm_loads_what_torchvisions_convnext_learnt() -> None:
    module, x = layer("layer_norm", 6), normal(2, 6, 5, 3)
    theirs = LayerNorm2d(6, eps=1e-6).double()
    theirs.load_state_dict(module.state_dict())
    torch.testing.assert_close(module(x), theirs(x), rtol=1e-12, atol=1e-12)
