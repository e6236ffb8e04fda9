"""The images: where they come from, how they are split and scaled."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10
from torchvision.transforms import Compose, Normalize, ToTensor

from dynact.worker.learning.data import digits, load_data


def upsampled(image: np.ndarray) -> np.ndarray:
    """Return an 8×8 image at 32×32: linear along one axis, then along the other."""
    centres = (np.arange(32) + 0.5) / 4 - 0.5
    lines = np.array([np.interp(centres, range(8), line) for line in image])
    return np.array([np.interp(centres, range(8), column) for column in lines.T]).T


def test_the_digits_are_upsampled_scaled_and_keep_their_classes() -> None:
    source = load_digits()
    originals = np.array([upsampled(image) for image in source.images]) / 8 - 1
    for part in (digits().train, digits().test):
        assert part.images.shape[1:] == (3, 32, 32)
        assert (part.images == part.images[:, :1]).all()
        for image, digit in zip(part.images[:20, 0], part.classes[:20], strict=True):
            distances = np.abs(originals - image.numpy()).max(axis=(1, 2))
            assert distances.min() < 1e-5
            assert source.target[distances.argmin()] == digit


def test_the_split_is_fixed_stratified_and_holds_each_digit_once() -> None:
    one, two = digits(), digits()
    assert torch.equal(one.test.images, two.test.images)
    assert (len(one.train), len(one.test)) == (1437, 360)
    every = torch.cat([one.train.images, one.test.images])[:, 0].flatten(1)
    originals = torch.from_numpy(load_digits().images).flatten(1)
    assert len(every.unique(dim=0)) == len(originals.unique(dim=0))
    shares = torch.bincount(one.test.classes) / torch.bincount(
        torch.cat([one.train.classes, one.test.classes])
    )
    assert shares.tolist() == pytest.approx([0.2] * 10, abs=0.005)


@pytest.fixture
def small_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as torchvision's reader knows it, of a few images each."""
    random = np.random.default_rng(0)
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()

    def write(name: str, content: dict[str, object]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        digest = hashlib.md5((folder / name).read_bytes(), usedforsecurity=False)
        return [name, digest.hexdigest()]

    def batch(count: int) -> dict[str, object]:
        labels = random.integers(0, 10, count).tolist()
        return {"data": random.integers(0, 256, (count, 3072), np.uint8), "labels": labels}

    names = write("batches.meta", {"label_names": [str(i) for i in range(10)]})
    train, test = write("data_batch_1", batch(7)), write("test_batch", batch(3))
    monkeypatch.setattr(CIFAR10, "train_list", [train])
    monkeypatch.setattr(CIFAR10, "test_list", [test])
    meta = {"filename": names[0], "key": "label_names", "md5": names[1]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return tmp_path


def test_cifar10_is_as_the_tutorial_s_transforms_make_it(small_cifar10: Path) -> None:
    data = load_data("cifar10", small_cifar10)
    transforms = Compose([ToTensor(), Normalize((0.5,) * 3, (0.5,) * 3)])
    for part, train, count in ((data.train, True, 7), (data.test, False, 3)):
        expected = CIFAR10(str(small_cifar10), train=train, transform=transforms)
        assert len(part) == len(expected) == count
        for i in range(count):
            image, label = expected[i]
            torch.testing.assert_close(part.images[i], image)
            assert part.classes[i] == label
        assert part.images.is_contiguous()


def test_cifar10_without_a_folder_says_what_to_give() -> None:
    with pytest.raises(ValueError, match=r"^--data cifar10 needs --data-root DIR, [^\n]*$"):
        load_data("cifar10", None)


def test_cifar10_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        ValueError, match=r"^CIFAR-10 is not whole in [^\n]* cannot be down"
    ) as error:
        load_data("cifar10", tmp_path / "file" / "below")
    assert "\n" not in str(error.value)
