"""The networks an activation is swapped into, with random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import detection, segmentation

from dynact.networks.lenet import LeNet
from dynact.schema.cases import choice

IMAGE_SIZE = 224
"""At which papers count; also for detectors and segmentation, so that shapes can be compared."""
STRIDE = 32
"""Of ResNet's and MobileNet's last feature map: a smaller image is less than one of its cells."""
SEED = 0


@dataclass(frozen=True)
class Host:
    """A network by its name: one that takes images (N, 3, H, W).

    A detector stands for its backbone, the feature extractor with its pyramid. What comes after
    that hangs on what is detected: with random weights, another activation finds ten times as
    many boxes, or none, and that would be measured in place of the activation.
    """

    name: str
    task: str
    """``"classification"``, ``"segmentation"``, ``"detection"`` or ``"keypoints"``."""
    build: Callable[[], nn.Module]
    """Makes it, with weights drawn from torch's global generator; of a detector its backbone."""
    image_size: int = IMAGE_SIZE
    """Height and width in pixels that counts and shapes are given for."""
    smallest_image: int = STRIDE
    largest_image: int | None = None
    """``None`` where any larger image will do."""


def host(name: str) -> Host:
    """Return the host called `name`.

    Raises
    ------
    ValueError
        If there is none.
    """
    return _HOSTS[choice("network", name, names())]


def names() -> tuple[str, ...]:
    """Return the names of all hosts."""
    return tuple(_HOSTS)


def create(name: str) -> nn.Module:
    """Make a host in train mode, with weights drawn from torch's global generator.

    It returns (N, classes) for classification; for segmentation a dict whose ``"out"`` is
    (N, classes, H, W); for detectors, of which it is the backbone, a dict of feature maps
    (N, 256, h, w), the finest first.

    Raises
    ------
    ValueError
        If there is no such host.
    """
    return host(name).build()


def example_input(name: str, batch: int = 1, image_size: int | None = None) -> Tensor:
    """Return what a host takes, the same each time.

    Parameters
    ----------
    name
        One of `names()`.
    batch
        How many images.
    image_size
        Height and width in pixels, by default the host's own.

    Returns
    -------
    Tensor
        (batch, 3, size, size), N(0, 1) as normalised images are.

    Raises
    ------
    ValueError
        If there is no such host, or it cannot take such a batch.
    """
    of = host(name)
    size = of.image_size if image_size is None else image_size
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    if size < of.smallest_image:
        least = of.smallest_image
        raise ValueError(f"{name} takes images of {least} × {least} pixels or more, got {size}")
    if of.largest_image is not None and size > of.largest_image:
        most = of.largest_image
        raise ValueError(f"{name} takes images of {most} × {most} pixels at most, got {size}")
    return torch.randn((batch, 3, size, size), generator=torch.Generator().manual_seed(SEED))


def _classifier(name: str) -> Host:
    return Host(name, "classification", partial(models.get_model, name, weights=None))


def _narrow_mobilenet(name: str, width: float) -> Host:
    build = partial(models.mobilenet_v2, weights=None, width_mult=width)
    return Host(name, "classification", build)


def _segmenter(factory: Callable[..., nn.Module]) -> Host:
    build = partial(factory, weights=None, weights_backbone=None)
    return Host(factory.__name__, "segmentation", build)


def _detector(factory: Callable[..., nn.Module], task: str) -> Host:
    def build() -> nn.Module:
        return factory(weights=None, weights_backbone=None).get_submodule("backbone")

    return Host(factory.__name__, task, build)


_HOSTS = {
    host.name: host
    for host in (
        Host("lenet", "classification", LeNet, image_size=32, smallest_image=32, largest_image=32),
        _narrow_mobilenet("mobilenet_v2_x0_35", 0.35),
        _narrow_mobilenet("mobilenet_v2_x0_5", 0.5),
        _narrow_mobilenet("mobilenet_v2_x0_75", 0.75),
        _classifier("mobilenet_v2"),
        _classifier("mobilenet_v3_small"),
        _classifier("mobilenet_v3_large"),
        _classifier("resnet18"),
        _classifier("resnet34"),
        _classifier("resnet50"),
        _classifier("resnet101"),
        _classifier("shufflenet_v2_x0_5"),
        _classifier("shufflenet_v2_x1_5"),
        _segmenter(segmentation.fcn_resnet50),
        _segmenter(segmentation.deeplabv3_mobilenet_v3_large),
        _detector(detection.retinanet_resnet50_fpn, "detection"),
        _detector(detection.keypointrcnn_resnet50_fpn, "keypoints"),
    )
}
