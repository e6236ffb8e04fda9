"""ACON-C and Meta-ACON: first values, limits, and the official hidden width."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from dynact.activations import create, implementations
from tests.activations.oracles import ORACLES
from tests.activations.samples import layer, normal, state_of


def acon_with(p1: float, p2: float, beta: float) -> nn.Module:
    module = create("acon_c", 3).double()
    for parameter, value in ((module.p1, p1), (module.p2, p2), (module.beta, beta)):
        nn.init.constant_(parameter, value)
    return module


def test_first_values() -> None:
    torch.manual_seed(0)
    module = create("acon_c", 4000)
    assert all(p.shape == (1, 4000, 1, 1) for p in module.parameters())
    assert (module.beta == 1).all()
    for p in (module.p1, module.p2):
        # Five standard errors of 4000 draws.
        assert abs(p.mean().item()) < 5 / 4000**0.5
        assert abs(p.std().item() - 1) < 5 / 8000**0.5


def test_one_and_zero_is_silu() -> None:
    x = normal(2, 3, 4, 5)
    torch.testing.assert_close(acon_with(1, 0, 1)(x), functional.silu(x), rtol=1e-12, atol=1e-12)


def test_infinitely_sharp_is_the_maximum() -> None:
    x = normal(2, 3, 4, 5)
    hard = torch.maximum(1.5 * x, -0.5 * x)
    torch.testing.assert_close(acon_with(1.5, -0.5, 1e9)(x), hard, rtol=1e-12, atol=1e-8)


def test_without_sharpness_it_is_the_mean() -> None:
    x = normal(2, 3, 4, 5)
    torch.testing.assert_close(acon_with(1.5, -0.5, 0)(x), 0.5 * x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("channels", "reduction", "hidden"), [(8, 16, 16), (256, 16, 16), (512, 16, 32), (64, 4, 16)]
)
def test_meta_hidden_width_is_never_below_the_reduction(
    channels: int, reduction: int, hidden: int
) -> None:
    module = create("meta_acon_c", channels, reduction=reduction)
    assert module.fc1.weight.shape == (hidden, channels)
    assert module.fc2.weight.shape == (channels, hidden)


def test_meta_adds_the_published_parameters_to_resnet_50() -> None:
    blocks = {64: 3, 128: 4, 256: 6, 512: 3}
    added = sum(
        count * sum(p.numel() for p in create("meta_acon_c", width).parameters())
        for width, count in blocks.items()
    )
    # One after the 3×3 convolution of each bottleneck: 25.504M without BN's → 25.69M.
    assert added == 181_616
    assert round(25.504 + added / 1e6, 2) == 25.69


@pytest.mark.parametrize("channels", [3, 40])
def test_meta_with_batch_norm(channels: int) -> None:
    module = layer("meta_acon_c", channels, batch_norm=True, reduction=2)
    x = normal(3, channels, 4, 5)
    plain = create("meta_acon_c", channels, reduction=2)
    hidden = max(2, channels // 2)

    counts = [sum(p.numel() for p in m.parameters()) for m in (module, plain)]
    assert counts[0] - counts[1] == 2 * hidden + 2 * channels
    expected = ORACLES["meta_acon_c"](x.numpy(), state_of(module), batch_norm_after_fc=True)
    torch.testing.assert_close(module(x), torch.from_numpy(expected), rtol=1e-11, atol=1e-11)


def test_meta_with_batch_norm_needs_two_samples_to_train() -> None:
    x = torch.zeros(1, 3, 4, 4)
    message = "^BN after each fc needs two samples or more to train on$"
    for impl in implementations("meta_acon_c"):
        module = create("meta_acon_c", 3, impl=impl, batch_norm=True)
        with pytest.raises(NotImplementedError, match=message):
            module.train()(x)
    with pytest.raises(NotImplementedError, match=message):
        create("meta_acon_c_bn", 3).train()(x)
    assert create("meta_acon_c_bn", 3).eval()(x).shape == x.shape
    assert create("meta_acon_c", 3).train()(x).shape == x.shape


@pytest.mark.parametrize("training", [False, True])
def test_the_name_of_the_official_form_is_meta_with_batch_norm(training: bool) -> None:
    options = {"reduction": 2}
    module = layer("meta_acon_c_bn", 5, **options).train(training)
    same = layer("meta_acon_c", 5, batch_norm=True, **options).train(training)
    x = normal(3, 5, 4, 3)
    torch.testing.assert_close(module(x), same(x), rtol=0, atol=0)
    torch.testing.assert_close(module.state_dict(), same.state_dict(), rtol=0, atol=0)
