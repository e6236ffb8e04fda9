"""SE, ECA, GRN and Maxout beyond what every activation is tested for."""

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


@pytest.mark.parametrize(
    ("channels", "size"),
    [(1, 1), (2, 1), (8, 3), (64, 3), (127, 3), (128, 5), (512, 5), (1024, 5), (2048, 7)],
)
def test_eca_kernel_grows_with_the_channels(channels: int, size: int) -> None:
    assert create("eca", channels).conv.weight.shape == (1, 1, size)


def test_eca_gates_depend_on_neighbours_alone() -> None:
    module, x = layer("eca", 9), normal(2, 9, 4, 3)
    louder = x.clone()
    louder[:, 4] += 1
    changed = ((module(louder) / louder - module(x) / x).abs() > 1e-9).flatten(2).any(dim=2)
    assert [c for c in range(9) if changed[:, c].any()] == [3, 4, 5]


def test_grn_is_the_identity_at_first() -> None:
    x = normal(2, 6, 4, 3)
    torch.testing.assert_close(create("grn", 6).double()(x), x, rtol=0, atol=0)


def test_grn_responses_average_to_one() -> None:
    module, x = create("grn", 6).double(), normal(2, 6, 4, 3)
    x *= torch.arange(1, 7, dtype=torch.float64).reshape(1, 6, 1, 1)
    with torch.no_grad():
        module.gamma.fill_(1)
    responses = (module(x) / x - 1).flatten(2)
    torch.testing.assert_close(
        responses.mean(dim=(1, 2)), torch.ones(2, dtype=torch.float64), rtol=1e-6, atol=0
    )
    # The louder the channel, the larger.
    assert (responses[:, -1] > responses[:, 0]).all()


def test_grn_of_silence_is_silent_and_has_a_gradient() -> None:
    module, x = layer("grn", 3), torch.zeros(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    y = module(x)
    y.sum().backward()
    torch.testing.assert_close(y, module.beta.expand_as(y), rtol=0, atol=0)
    assert x.grad is not None
    assert (x.grad == 1).all()


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
