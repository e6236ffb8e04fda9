"""Images to learn from, as the tutorial's network takes them: 3×32×32, in [-1, 1]."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.datasets import CIFAR10

from dynact.schema.redact import one_line

DATA = ("digits", "cifar10")
SIDE = 32
TEST_SHARE = 0.2
# Of the digits, which come as one set: the same images are held out in every run.
SPLIT_SEED = 0


@dataclass(frozen=True)
class Images:
    """Images (N, 3, 32, 32), float32 in [-1, 1], and their classes (N,), int64."""

    images: Tensor
    classes: Tensor

    def __len__(self) -> int:
        return len(self.classes)

    def to(self, device: torch.device) -> "Images":
        """Return the same on a device."""
        return replace(self, images=self.images.to(device), classes=self.classes.to(device))


@dataclass(frozen=True)
class Data:
    """What a network learns from, and what it has never seen."""

    train: Images
    test: Images

    def to(self, device: torch.device) -> "Data":
        """Return the same on a device."""
        return Data(self.train.to(device), self.test.to(device))


def load_data(name: str, root: Path | None) -> Data:
    """Return one of `DATA`.

    Parameters
    ----------
    name
        ``"digits"`` ships with scikit-learn; ``"cifar10"`` is read from ``root``, or downloaded
        into it.
    root
        Needed for ``"cifar10"`` alone.

    Raises
    ------
    ValueError
        If CIFAR-10 is not there and cannot be had: one line.
    """
    if name == "digits":
        return digits()
    if root is None:
        raise ValueError(
            "--data cifar10 needs --data-root DIR, the folder that has it or is to get it "
            "(170 MB to download)"
        )
    return cifar10(root)


def digits() -> Data:
    """Return scikit-learn's 1,797 handwritten digits of 8×8 pixels, bilinearly upsampled.

    A fifth of each class is held out for the test. The three channels are equal.
    """
    source = load_digits()
    grey = torch.from_numpy(source.images).float()[:, None] / 16
    images = interpolate(grey, size=(SIDE, SIDE), mode="bilinear").expand(-1, 3, -1, -1)
    classes = torch.from_numpy(source.target).long()
    parts = train_test_split(
        np.arange(len(classes)),
        test_size=TEST_SHARE,
        stratify=source.target,
        random_state=SPLIT_SEED,
    )
    train, test = (Images(_centred(images[part]), classes[part]) for part in parts)
    return Data(train, test)


def cifar10(root: Path) -> Data:
    """Return CIFAR-10, its 50,000 and 10,000 images, by torchvision's reader.

    Raises
    ------
    ValueError
        If it is neither in ``root`` nor can be downloaded into it.
    """

    def read(train: bool) -> Images:
        part = CIFAR10(str(root), train=train, download=True)
        # Copied as bytes: the floats are then laid out as convolutions are usually given them.
        images = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous().float().div_(255)
        return Images(_centred(images), torch.tensor(part.targets))

    try:
        return Data(read(train=True), read(train=False))
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"CIFAR-10 is not whole in {root} and cannot be downloaded: {one_line(str(error))}; "
            "put cifar-10-python.tar.gz there"
        ) from None


def _centred(images: Tensor) -> Tensor:
    """Map [0, 1] to [-1, 1], the tutorial's ``Normalize(0.5, 0.5)``."""
    # In place: CIFAR-10 takes 614 MB as it is.
    return images.sub_(0.5).div_(0.5)
