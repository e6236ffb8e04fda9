"""Parameters against closed forms and torchvision's own metadata."""

import pytest
import torch
import torchvision
from torch import nn

from dynact.activations import create, names
from dynact.cost.parameters import Parameters, count_parameters
from tests.cost.closed_forms import CLOSED_FORMS


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("channels", [1, 3, 8, 15, 16, 64, 257, 512])
def test_closed_form(name: str, channels: int) -> None:
    expected = CLOSED_FORMS[name](1, channels, 1, 1)
    counted = count_parameters(create(name, channels))
    assert counted == Parameters(expected.weights, expected.normalisation, expected.buffers)
    assert counted.learnable == expected.weights + expected.normalisation


@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "mobilenet_v3_small", "resnet18", "resnet50", "shufflenet_v2_x0_5"]
)
def test_networks_as_torchvision_states_them(name: str) -> None:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    assert count_parameters(network).learnable == weights.meta["num_params"]


def test_resnet50_without_normalisation_is_the_papers_number() -> None:
    """25.5 M in arXiv 2007.11824, table 1, which leaves out BN's scales and shifts."""
    with torch.device("meta"):
        counted = count_parameters(torchvision.models.resnet50())
    # Channels behind a convolution: 64, then four stages of bottlenecks with one shortcut each.
    stages = ((64, 3), (128, 4), (256, 6), (512, 3))
    normalised = 64 + sum(blocks * (w + w + 4 * w) + 4 * w for w, blocks in stages)
    assert counted.normalisation == 2 * normalised
    assert f"{counted.weights / 1e6:.1f}" == "25.5"
    # Mean and variance of each channel, and a number of batches for each of 53 layers.
    assert counted.buffers == 2 * normalised + 53


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.BatchNorm1d(6), Parameters(0, 12, 13)),
        (nn.BatchNorm2d(6, affine=False), Parameters(0, 0, 13)),
        (nn.BatchNorm3d(6, track_running_stats=False), Parameters(0, 12, 0)),
        (nn.SyncBatchNorm(6), Parameters(0, 12, 13)),
        (nn.InstanceNorm1d(6), Parameters(0, 0, 0)),
        (nn.InstanceNorm2d(6, affine=True), Parameters(0, 12, 0)),
        (nn.InstanceNorm3d(6, affine=True), Parameters(0, 12, 0)),
        (nn.GroupNorm(2, 6), Parameters(0, 12, 0)),
        (nn.LayerNorm((6, 2)), Parameters(0, 24, 0)),
        (nn.RMSNorm(6), Parameters(0, 6, 0)),
        (nn.Linear(6, 2), Parameters(14, 0, 0)),
        (nn.Identity(), Parameters(0, 0, 0)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_normalisation(layer: nn.Module, expected: Parameters) -> None:
    assert count_parameters(layer) == expected
    nested = nn.Sequential(nn.Linear(2, 3), nn.Sequential(layer))
    assert count_parameters(nested) == Parameters(
        expected.weights + 9, expected.normalisation, expected.buffers
    )


def test_what_derives_from_a_normalisation_is_one() -> None:
    own = type("Own", (nn.LayerNorm,), {})
    assert count_parameters(own(4)) == Parameters(0, 8, 0)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (nn.BatchNorm2d(8), Parameters(0, 32, 34)),
        (nn.PReLU(8), Parameters(8, 16, 17)),
        (nn.Sequential(nn.PReLU(8), nn.GroupNorm(2, 8)), Parameters(8, 32, 17)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_normalisation_holds_is_counted_as_what_it_is(
    held: nn.Module, expected: Parameters
) -> None:
    """As timm's BatchNormAct2d holds its activation."""
    norm = nn.BatchNorm2d(8)
    norm.held = held
    assert count_parameters(norm) == expected


def test_shared_counts_once() -> None:
    linear, norm = nn.Linear(3, 3), nn.BatchNorm1d(3)
    shared = nn.Sequential(linear, norm, linear, norm, nn.Linear(3, 3, bias=False))
    shared[4].weight = linear.weight
    assert count_parameters(shared) == Parameters(12, 6, 7)


def test_frozen_parameters_count() -> None:
    assert count_parameters(nn.Linear(3, 3).requires_grad_(False)) == Parameters(12, 0, 0)
