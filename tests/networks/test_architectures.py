"""The hosts are the published networks, and take what they say they take."""

import re

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights

from dynact.cost import count_flops, count_parameters
from dynact.networks import create, example_input, host, names, training_loss
from dynact.networks.lenet import LeNet
from tests.networks.samples import network, without_values


@pytest.mark.parametrize(
    "name",
    [n for n in names() if host(n).task == "classification" and n != "lenet" and "v2_x0_" not in n]
    + ["shufflenet_v2_x0_5"],
)
def test_parameters_are_those_torchvision_publishes(name: str) -> None:
    published = get_model_weights(name).DEFAULT.meta["num_params"]
    assert count_parameters(without_values(name)).learnable == published


@pytest.mark.parametrize(
    ("name", "parameters_m", "macs_m"),
    [
        ("mobilenet_v2_x0_35", "1.66", "59"),
        ("mobilenet_v2_x0_5", "1.95", "97"),
        ("mobilenet_v2_x0_75", "2.61", "209"),
        ("mobilenet_v2", "3.47", "301"),
    ],
)
def test_widths_of_mobilenet_v2(name: str, parameters_m: str, macs_m: str) -> None:
    """The authors' table, TensorFlow's mobilenet/README, without BN; it has 300 for the last."""
    model, x = network(name), example_input(name)
    assert f"{count_parameters(model).weights / 1e6:.2f}" == parameters_m
    assert f"{count_flops(model, x, 'mac').total / 1e6:.0f}" == macs_m


def test_lenet_is_the_tutorials() -> None:
    convolutions = (6 * 3 * 25 + 6) + (16 * 6 * 25 + 16)
    fully_connected = (400 * 120 + 120) + (120 * 84 + 84) + (84 * 10 + 10)
    assert convolutions + fully_connected == 62_006
    assert count_parameters(LeNet()).learnable == 62_006


@pytest.mark.parametrize(
    ("name", "sides"),
    # Pyramid levels of stride 8 to 128, and of 4 to 64.
    [
        ("retinanet_resnet50_fpn", [16, 8, 4, 2, 1]),
        ("keypointrcnn_resnet50_fpn", [32, 16, 8, 4, 2]),
    ],
)
def test_a_detector_is_its_backbone(name: str, sides: list[int]) -> None:
    with torch.no_grad():
        features = network(name)(example_input(name, 2, 128)).values()
    assert [tuple(level.shape) for level in features] == [(2, 256, side, side) for side in sides]


def test_the_loss_of_a_backbone_is_linear_in_its_features() -> None:
    features = {"fine": torch.randn(2, 256, 4, 4), "coarse": torch.randn(2, 256, 2, 2)}
    for level in features.values():
        level.requires_grad_()

    loss = training_loss("retinanet_resnet50_fpn", Gives(features), torch.empty(0))
    loss.backward()

    torch.testing.assert_close(
        loss, sum(level.sum() / level.numel() for level in features.values())
    )
    for level in features.values():
        torch.testing.assert_close(level.grad, torch.full_like(level, 1 / level.numel()))


class Gives(nn.Module):
    def __init__(self, features: dict[str, Tensor]) -> None:
        super().__init__()
        self.features = features

    def forward(self, _images: Tensor) -> dict[str, Tensor]:
        return self.features


def test_the_example_is_the_same_each_time() -> None:
    first, second = example_input("resnet18", 3, 40), example_input("resnet18", 3, 40)
    assert first.shape == (3, 3, 40, 40)
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("name", "batch", "size", "line"),
    [
        ("resnet52", 1, None, "unknown network 'resnet52'; did you mean resnet50 or"),
        ("xyz", 1, None, "unknown network 'xyz'; choose from: lenet, "),
        ("resnet18", 1, 31, "resnet18 takes images of 32 × 32 pixels or more, got 31"),
        ("lenet", 1, 224, "lenet takes images of 32 × 32 pixels at most, got 224"),
        ("lenet", 0, None, "batch must be at least 1, got 0"),
    ],
)
def test_bad_input_is_one_clear_line(name: str, batch: int, size: int | None, line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        example_input(name, batch, size)
    assert "\n" not in str(caught.value)
    if size is None and batch:
        with pytest.raises(ValueError, match=re.escape(line)):
            create(name)
