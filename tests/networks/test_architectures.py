"""The networks are the published ones, and take what they say they take."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.models import get_model_weights, list_models

from dynact.cost import count_flops, count_parameters
from dynact.networks import find_sites
from dynact.networks.architectures import (
    STRIDE,
    architecture,
    create,
    example_input,
    names,
)
from tests.networks.samples import network, smallest_input, without_values

# What is not of torchvision, or not by that name.
OTHERS = ("lenet", "mobilenet_v2_x0_35", "mobilenet_v2_x0_5", "mobilenet_v2_x0_75")
# One of each kind that has its own way of being made, and takes no second to make.
MADE = (
    *OTHERS, "mobilenet_v2", "resnet18", "inception_v3", "googlenet", "alexnet", "vit_b_32",
    "swin_v2_t", "maxvit_t", "regnet_x_400mf", "lraspp_mobilenet_v3_large", "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large", "fcos_resnet50_fpn", "keypointrcnn_resnet50_fpn", "r3d_18",
    "s3d", "mvit_v2_s",
)  # fmt: skip


def test_all_of_torchvision_are_known_but_quantized_ones_and_optical_flow() -> None:
    known = {name for name in list_models() if not name.startswith(("quantized_", "raft_"))}

    assert {*names()} - {*OTHERS} == known


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "resnet18", "resnet34",
        "resnet50", "resnet101", "shufflenet_v2_x0_5", "shufflenet_v2_x1_5", "googlenet",
        "vit_b_32", "swin_t", "maxvit_t", "s3d", "mvit_v2_s",
    ],
)  # fmt: skip
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
        ("resnet52", 1, None, "unknown network 'resnet52'; did you mean resnet152 or resnet50"),
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
    assert {name: architecture(name).title for name in TITLES} == TITLES
    assert len({architecture(name).title for name in names()}) == len(names())


def test_inception_is_the_network_without_the_head_for_training_alone() -> None:
    # As Keras publishes it, which has no such head.
    assert count_parameters(without_values("inception_v3")).learnable == 23_834_568


def test_the_image_sizes_are_those_of_the_published_weights() -> None:
    # Two have weights for larger images alone, which other networks of these names do not take.
    for name in {*names()} - {*OTHERS} - {"regnet_y_128gf", "vit_h_14"}:
        first = next(iter(get_model_weights(name)))
        size = getattr(first.transforms, "keywords", {}).get("crop_size")
        if size is not None:
            assert architecture(name).image_size == (size if isinstance(size, int) else size[0])
    usual = [name for name in TITLES if name != "lenet"]
    assert {architecture(name).image_size for name in usual} == {224}
    assert {architecture(name).smallest_image for name in usual} == {STRIDE}


@pytest.mark.parametrize("name", names())
def test_its_own_size_is_one_that_it_takes(name: str) -> None:
    declared = architecture(name)

    declared.check_image_size(declared.image_size)
    assert declared.size_for(1) == declared.smallest_image
    assert declared.size_for(10**6) == declared.image_size


@pytest.mark.parametrize("name", MADE)
def test_each_takes_the_smallest_image_it_says_in_training(name: str) -> None:
    torch.manual_seed(0)
    model = create(name).train().to("meta")

    for phase in (True, False):
        assert model.train(phase)(smallest_input(name).to("meta")) is not None


@pytest.mark.parametrize(
    "name", ["lenet", "alexnet", "s3d", "ssd300_vgg16", "vit_b_32", "maxvit_t"]
)
def test_smaller_images_fail(name: str) -> None:
    smaller = architecture(name).smallest_image - (8 if name == "maxvit_t" else 1)
    images = smallest_input(name)[..., :smaller, :smaller].to("meta")

    with pytest.raises((RuntimeError, AssertionError)):
        create(name).to("meta")(images)


def test_a_video_network_takes_clips() -> None:
    assert example_input("r3d_18", 2).shape == (2, 3, 16, 112, 112)
    assert example_input("s3d", 1, 224).shape == (1, 3, 16, 224, 224)
    assert architecture("r3d_18").sample(64) == "3x16x64x64"
    assert architecture("resnet18").sample(64) == ""


def test_timm() -> None:
    network = create("timm:starnet_s050.untrained")

    assert {site.original for site in find_sites(network, torch.randn(1, 3, 32, 32))} == {"relu6"}
    sizes = [
        (network.image_size, network.smallest_image, network.largest_image, network.is_own)
        for network in map(
            architecture, ("timm:efficientnet_b2", "timm:vit_tiny_patch16_384", "timm:xyz")
        )
    ]
    assert sizes == [(256, 1, None, False), (384, 384, 384, False), (224, 1, None, False)]
    assert architecture("timm:resnet18").title == "timm:resnet18"
    assert architecture("timm:resnet18").task == "classification"
    for name, line in (
        ("resnet18x", "unknown network of timm 'resnet18x'; did you mean resnet18"),
        ("xyz", "unknown network of timm 'xyz'; timm.list_models() has all"),
    ):
        with pytest.raises(ValueError, match="^" + re.escape(line)):
            create(f"timm:{name}")


def test_where_timm_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    line = "timm:resnet18 needs timm, which is not installed: pip install timm"
    with pytest.raises(ValueError, match="^" + re.escape(line) + "$"):
        architecture("timm:resnet18")


def test_what_is_declared_is_known_without_torch() -> None:
    script = (
        "import sys\n"
        "from dynact.networks import architectures\n"
        "for name in architectures.names():\n"
        "    architectures.architecture(name).size_for(32)\n"
        "print({'torch', 'torchvision', 'numpy'} & set(sys.modules))\n"
    )
    root = Path(__file__).parents[2]

    done = subprocess.run(
        (sys.executable, "-c", script), cwd=root, capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"
