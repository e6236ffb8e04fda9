"""The networks an activation is swapped into, with random weights: declared ones, the user's own.

What is declared here is known without torch: torchvision is imported when a network is made.
"""

import difflib
import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dynact.networks import own, torchvision_models
from dynact.schema.cases import sample_shape
from dynact.schema.choice import choice
from dynact.schema.redact import one_line

if TYPE_CHECKING:
    from torch import nn

    from dynact.networks.passes import Example

# At which papers count; also for detectors and segmentation, so that shapes can be compared.
IMAGE_SIZE = 224
# Of ResNet's and MobileNet's last feature map: a smaller image is less than one of its cells.
STRIDE = 32
SEED = 0
TIMM = "timm:"
# Of a network that timm does not know, it says so when it is made.
_ASK_TIMM = f"""
import json, sys, timm
known = timm.get_pretrained_cfg(sys.argv[1])
said = [known.input_size[-1], known.fixed_input_size] if known else [{IMAGE_SIZE}, False]
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Architecture:
    """A network by its name: one that takes images (N, 3, H, W), if nothing else is said.

    A detector stands for its backbone, the feature extractor with its pyramid. What comes after
    that hangs on what is detected: with random weights, another activation finds ten times as
    many boxes, or none, and that would be measured in place of the activation.
    """

    name: str
    title: str
    """As its paper spells it."""
    task: str
    """``"classification"``, ``"segmentation"``, ``"detection"``, ``"keypoints"``, or ``""`` where
    nobody said."""
    build: "Callable[[], nn.Module]"
    """Makes it, with weights drawn from torch's global generator; of a detector its backbone."""
    image_size: int | None = IMAGE_SIZE
    """Height and width in pixels that counts and shapes are given for; ``None`` of the user's own,
    which takes what the user says."""
    smallest_image: int = STRIDE
    largest_image: int | None = None
    """``None`` where any larger image will do."""
    frames: int | None = None
    """Of a clip (N, 3, frames, H, W), where it takes these instead."""

    @property
    def is_own(self) -> bool:
        """Whether it is the user's: what it takes is not known here."""
        return self.image_size is None

    def size_for(self, asked: int) -> int:
        """Return the image size for one that is asked of many networks: it has limits of its own.

        A network whose own size is smaller gets that.
        """
        most = asked if self.image_size is None else self.image_size
        return max(min(asked, most), self.smallest_image)

    def sample(self, image_size: int) -> str:
        """Return the sizes of a clip, as in ``"3x16x112x112"``; empty where it takes images."""
        return f"3x{self.frames}x{image_size}x{image_size}" if self.frames else ""

    def check_image_size(self, size: int) -> None:
        """Raise ValueError, one line, if it cannot take images of that height and width."""
        if size < self.smallest_image:
            raise ValueError(
                f"{self.name} takes images of {self.smallest_image} × {self.smallest_image} pixels "
                f"or more, got {size}"
            )
        if self.largest_image is not None and size > self.largest_image:
            raise ValueError(
                f"{self.name} takes images of {self.largest_image} × {self.largest_image} pixels "
                f"at most, got {size}"
            )


def architecture(name: str) -> Architecture:
    """Return what is declared of the network called `name`.

    ``"timm:name"`` is a network of timm; ``"pkg.mod:factory(key=value, …)"`` what a function or
    class of the user's makes, see `own.parse_factory`.

    Raises
    ------
    ValueError
        If there is none: one line that names near ones.
    """
    if name.startswith(TIMM):
        if importlib.util.find_spec("timm") is None:
            raise ValueError(f"{name} needs timm, which is not installed: pip install timm")
        size, is_fixed = _timm_size(name)
        return Architecture(
            name, name, "classification", partial(_of_timm, name),
            image_size=size,
            smallest_image=size if is_fixed else 1,
            largest_image=size if is_fixed else None,
        )  # fmt: skip
    if ":" in name:
        name = own.usual_name(name)
        return Architecture(
            name, name, "", partial(own.build, name), image_size=None, smallest_image=1
        )
    return _ARCHITECTURES[choice("network", name, names())]


def names() -> tuple[str, ...]:
    """Return the names of all networks that are declared."""
    return tuple(_ARCHITECTURES)


def create(name: str) -> "nn.Module":
    """Make a network in train mode, with weights drawn from torch's global generator.

    The user's own is the same each time, see `own.build`.

    It returns (N, classes) for classification; for segmentation a dict whose ``"out"`` is
    (N, classes, H, W); for detectors, of which it is the backbone, a dict of feature maps
    (N, 256, h, w), the finest first; the user's own what it likes.

    Raises
    ------
    ValueError
        If there is no such network, or the user's own cannot be made.
    """
    return architecture(name).build()


def example_input(
    name: str, batch: int = 1, image_size: int | None = None, sample: str = ""
) -> "Example":
    """Return what a network takes, the same each time.

    Parameters
    ----------
    name
        One of `names()`, or a network of the user's own.
    batch
        How many images.
    image_size
        Height and width in pixels, by default the network's own.
    sample
        In place of an image size: the sizes of a sample, ``"3x480x640"``, or the place of a
        function, ``"pkg.mod:function"``, which makes a batch of a given size.

    Returns
    -------
    Tensor
        (batch, 3, size, size), or (batch, *sizes), N(0, 1) as normalised images are; of a
        function what it makes: a tensor, a tuple of several inputs, or a dict of them by name.

    Raises
    ------
    ValueError
        If there is no such network, or it cannot take such a batch.
    """
    import torch

    declared = architecture(name)
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    if ":" in sample:
        return own.example(sample, batch)
    if not sample:
        size = (declared.image_size or IMAGE_SIZE) if image_size is None else image_size
        declared.check_image_size(size)
        sample = declared.sample(size) or f"3x{size}x{size}"
    shape = sample_shape(sample)
    return torch.randn((batch, *shape), generator=torch.Generator().manual_seed(SEED))


def _lenet() -> "nn.Module":
    from dynact.networks.lenet import LeNet

    return LeNet()


def _of_torchvision(name: str, **options: Any) -> "nn.Module":
    from torchvision import models

    network: nn.Module = models.get_model(name, weights=None, **options)
    return network


def _backbone_of_torchvision(name: str) -> "nn.Module":
    return _of_torchvision(name, weights_backbone=None).get_submodule("backbone")


@functools.cache
def _timm_size(name: str) -> tuple[int, bool]:
    """Return the image size that a network of timm is made for, and whether it takes no other."""
    # By another process, as timm imports torch.
    asked = subprocess.run(
        [sys.executable, "-c", _ASK_TIMM, name.removeprefix(TIMM)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)},
        capture_output=True,
        text=True,
    )
    if asked.returncode:
        last_line = asked.stderr.strip().rpartition("\n")[2]
        raise ValueError(f"{name}: {one_line(last_line)}")
    size, is_fixed = json.loads(asked.stdout.strip().rpartition("\n")[2])
    return size, is_fixed


def _of_timm(name: str) -> "nn.Module":
    import timm

    known = name.removeprefix(TIMM)
    if not timm.is_model(known):
        near = difflib.get_close_matches(known, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() has all"
        raise ValueError(f"unknown network of timm {known!r}; {hint}")
    network: nn.Module = timm.create_model(known, pretrained=False)
    return network


def _narrow_mobilenet(name: str, title: str, width: float) -> Architecture:
    build = partial(_of_torchvision, "mobilenet_v2", width_mult=width)
    return Architecture(name, title, "classification", build)


def _declared_of_torchvision(name: str, title: str, task: str) -> Architecture:
    options = {}
    if name in torchvision_models.WITHOUT_AUXILIARY_HEADS:
        # Without the second torchvision warns.
        options = {"aux_logits": False, "init_weights": True}
    build: dict[str, Callable[[], nn.Module]] = {
        "classification": partial(_of_torchvision, name, **options),
        "segmentation": partial(_of_torchvision, name, weights_backbone=None),
    }
    size = torchvision_models.IMAGE_SIZES.get(name, IMAGE_SIZE)
    is_fixed = name in torchvision_models.OF_ONE_IMAGE_SIZE
    return Architecture(
        name, title, task,
        build.get(task, partial(_backbone_of_torchvision, name)),
        image_size=size,
        smallest_image=size if is_fixed else torchvision_models.SMALLEST_IMAGES.get(name, STRIDE),
        largest_image=size if is_fixed else None,
        frames=torchvision_models.FRAMES if name in torchvision_models.OF_CLIPS else None,
    )  # fmt: skip


_ARCHITECTURES = {
    declared.name: declared
    for declared in (
        Architecture(
            "lenet", "LeNet", "classification", _lenet, image_size=32, smallest_image=32,
            largest_image=32,
        ),
        _narrow_mobilenet("mobilenet_v2_x0_35", "MobileNetV2 0.35×", 0.35),
        _narrow_mobilenet("mobilenet_v2_x0_5", "MobileNetV2 0.5×", 0.5),
        _narrow_mobilenet("mobilenet_v2_x0_75", "MobileNetV2 0.75×", 0.75),
        *(
            _declared_of_torchvision(name, title, task)
            for task, titles in torchvision_models.TITLES.items()
            for name, title in titles.items()
        ),
    )
}  # fmt: skip
