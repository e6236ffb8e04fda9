"""The networks are the published ones, and take what they say they take."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.models import get_model_weights

from dynact.cost import count_flops, count_parameters
from dynact.networks.architectures import STRIDE, architecture, create, example_input, names
from tests.networks.samples import network, smallest_input, without_values


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in names()
        if architecture(n).task == "classification" and n != "lenet" and "v2_x0_" not in n
    ]
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


# As their papers spell them, with torchvision's widths.
TITLES = {
    "lenet": "LeNet",
    "mobilenet_v2_x0_35": "MobileNetV2 0.35×",
    "mobilenet_v2_x0_5": "MobileNetV2 0.5×",
    "mobilenet_v2_x0_75": "MobileNetV2 0.75×",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_small": "MobileNetV3 small",
    "mobilenet_v3_large": "MobileNetV3 large",
    "resnet18": "ResNet-18",
    "resnet34": "ResNet-34",
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
    "shufflenet_v2_x0_5": "ShuffleNetV2 0.5×",
    "shufflenet_v2_x1_5": "ShuffleNetV2 1.5×",
    "fcn_resnet50": "FCN ResNet-50",
    "deeplabv3_mobilenet_v3_large": "DeepLabV3 MobileNetV3 large",
    "retinanet_resnet50_fpn": "RetinaNet ResNet-50 FPN",
    "keypointrcnn_resnet50_fpn": "Keypoint R-CNN ResNet-50 FPN",
}


def test_titles() -> None:
    assert {name: architecture(name).title for name in names()} == TITLES


@pytest.mark.parametrize("name", names())
def test_sizes(name: str) -> None:
    declared = architecture(name)

    # Of the tutorial's LeNet one alone; of all others whatever their stride fits into.
    sizes = (32, 32, 32) if name == "lenet" else (224, STRIDE, None)
    assert (declared.image_size, declared.smallest_image, declared.largest_image) == sizes
    declared.check_image_size(declared.image_size)


@pytest.mark.parametrize("name", names())
def test_each_takes_the_smallest_image_it_says_in_training(name: str) -> None:
    model = create(name).train()

    assert model(smallest_input(name)) is not None


def test_what_is_declared_is_known_without_torch() -> None:
    script = (
        "import sys\n"
        "from dynact.networks import architectures\n"
        "for name in architectures.names():\n"
        "    architectures.architecture(name).check_image_size(32)\n"
        "print({'torch', 'torchvision', 'numpy'} & set(sys.modules))\n"
    )
    root = Path(__file__).parents[2]

    done = subprocess.run(
        (sys.executable, "-c", script), cwd=root, capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"
