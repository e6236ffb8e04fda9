"""DY-Shift-Max: which channels meet, its special cases and its hidden width."""

import pytest
import torch
from torch import nn

from dynact.activations import create
from tests.activations.oracles import ORACLES
from tests.activations.samples import layer, normal, state_of


def fix_deltas(module: nn.Module, deltas: torch.Tensor) -> None:
    """Make fc2 answer the same Δ for a^1, b^1, a^2, b^2, whatever the input and the channel."""
    with torch.no_grad():
        module.fc2.weight.zero_()
        # Δ = 4(σ − ½) with σ = (v + 3)/6 between its ends.
        module.fc2.bias.copy_((1.5 * deltas).repeat_interleave(module.channels))


@pytest.mark.parametrize("options", [{"reduction": 1}, {"groups": 1}, {"groups": 3}])
def test_options(options: dict[str, int]) -> None:
    module, x = layer("dy_shift_max", 10, **options), normal(2, 10, 4, 3)
    groups = {"groups": options.get("groups", 8)}
    expected = torch.from_numpy(ORACLES["dy_shift_max"](x.numpy(), state_of(module), **groups))
    torch.testing.assert_close(module(x), expected, rtol=1e-11, atol=1e-11)


def test_with_no_delta_it_is_the_identity() -> None:
    module, x = layer("dy_shift_max", 6), normal(2, 6, 4, 3)
    fix_deltas(module, torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(module(x), x, rtol=1e-11, atol=1e-11)


def test_with_a_slope_of_zero_it_is_relu() -> None:
    module, x = layer("dy_shift_max", 6), normal(2, 6, 4, 3)
    fix_deltas(module, torch.tensor([0.0, 0, -1, 0], dtype=torch.float64))
    torch.testing.assert_close(module(x), torch.relu(x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("channels", "groups", "shift"), [(16, 8, 2), (16, 4, 4), (6, 8, 1), (1, 8, 0), (6, 1, 0)]
)
def test_a_channel_meets_the_one_a_group_further(channels: int, groups: int, shift: int) -> None:
    module, x = layer("dy_shift_max", channels, groups=groups), normal(2, channels, 4, 3)
    # Both mixtures are the other channel.
    fix_deltas(module, torch.tensor([-1.0, 1, -1, 1], dtype=torch.float64))
    torch.testing.assert_close(module(x), x.roll(-shift, dims=1), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("channels", "hidden"), [(3, 4), (32, 4), (48, 6), (256, 32)])
def test_hidden_width_is_never_below_four(channels: int, hidden: int) -> None:
    assert create("dy_shift_max", channels).fc1.weight.shape == (hidden, channels)
