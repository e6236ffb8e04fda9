"""The networks an activation is swapped into, with random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import detection, segmentation
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from dynact.cases import choice
from dynact.networks.lenet import LeNet

IMAGE_SIZE = 224
"""At which papers count; also for detectors and segmentation, so that shapes can be compared."""
STRIDE = 32
"""Of the last feature map in all hosts but LeNet: a smaller image is less than one of its cells."""
DETECTIONS = 10
"""Most detections an image: random weights find as many as they may, a photograph has a few."""
SEED = 0


@dataclass(frozen=True)
class Host:
    """A network by its name."""

    name: str
    task: str
    """``"classification"``, ``"segmentation"``, ``"detection"`` or ``"keypoints"``."""
    build: Callable[[], nn.Module]
    """Makes it, with weights drawn from torch's global generator."""
    image_size: int = IMAGE_SIZE
    """Height and width in pixels that counts and shapes are given for."""
    smallest_image: int = STRIDE
    largest_image: int | None = None
    """``None`` where any larger image will do."""

    @property
    def takes_lists(self) -> bool:
        """Whether it takes a list of images (3, H, W) and, in training, a list of targets."""
        return self.task in ("detection", "keypoints")


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

    Detectors take images as they are, without torchvision's resizing to 800 pixels.

    Raises
    ------
    ValueError
        If there is no such host.
    """
    return host(name).build()


def example_input(
    name: str, batch: int = 1, image_size: int | None = None
) -> Tensor | list[Tensor]:
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
    Tensor or list of Tensor
        (batch, 3, size, size), N(0, 1) as normalised images are; for detectors a list of
        (3, size, size), uniform in [0, 1].

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
    shape = (batch, 3, size, size)
    generator = torch.Generator().manual_seed(SEED)
    if of.takes_lists:
        return list(torch.rand(shape, generator=generator))
    return torch.randn(shape, generator=generator)


def _classifier(name: str) -> Host:
    return Host(name, "classification", partial(models.get_model, name, weights=None))


def _narrow_mobilenet(name: str, width: float) -> Host:
    build = partial(models.mobilenet_v2, weights=None, width_mult=width)
    return Host(name, "classification", build)


def _segmenter(factory: Callable[..., nn.Module]) -> Host:
    build = partial(factory, weights=None, weights_backbone=None)
    return Host(factory.__name__, "segmentation", build)


def _detector(factory: Callable[..., Any], task: str, **options: int) -> Host:
    def build() -> nn.Module:
        model: nn.Module = factory(weights=None, weights_backbone=None, **options)
        found: Any = model.transform
        model.transform = _WithoutResizing(
            found.min_size, found.max_size, found.image_mean, found.image_std
        )
        return model

    return Host(factory.__name__, task, build)


class _WithoutResizing(GeneralizedRCNNTransform):  # type: ignore[misc]
    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        return image, target


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
        _detector(detection.retinanet_resnet50_fpn, "detection", detections_per_img=DETECTIONS),
        _detector(
            detection.keypointrcnn_resnet50_fpn, "keypoints", box_detections_per_img=DETECTIONS
        ),
    )
}
