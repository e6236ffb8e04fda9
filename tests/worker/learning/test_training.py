"""One training: the tutorial's, from a seed, whatever the activation."""

import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from dynact.schema.learning import Point
from dynact.worker.device import Cpu, open_device
from dynact.worker.learning.data import Data, Images, digits
from dynact.worker.learning.training import (
    TEST_BATCH,
    accuracy,
    network,
    rehearse,
    train,
    trainings,
)

OWN_LAYERS = """
import time
import torch
from torch import nn

class Exploding(nn.Module):
    def forward(self, x):
        return x * 1e30

class SlowInTests(nn.Module):
    def forward(self, x):
        if not self.training:
            time.sleep(0.1)
        return torch.relu(x)

class NeedsTwo(nn.Module):
    def forward(self, x):
        if self.training and len(x) < 2:
            raise RuntimeError("needs two images")
        return torch.relu(x)
"""


@pytest.fixture
def own_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "layers_to_train.py").write_text(OWN_LAYERS)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture(scope="module")
def data() -> Data:
    every = digits()
    return Data(
        Images(every.train.images[:201], every.train.classes[:201]),
        Images(every.test.images[:100], every.test.classes[:100]),
    )


def points_of(activation: str, data: Data, seed: int = 0, epochs: int = 1) -> list[Point]:
    return list(train(activation, seed, data, epochs, 4, Cpu()))


def by_hand(activation: str, data: Data, seed: int, epochs: int) -> list[float]:
    """Return the accuracies of the tutorial's loop, its optimiser written out."""
    model, _ = network(activation, seed)
    velocity = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    dataset = TensorDataset(data.train.images, data.train.classes)
    shuffle = torch.Generator().manual_seed(seed)
    accuracies = []
    for _ in range(epochs):
        order = torch.randperm(len(dataset), generator=shuffle).tolist()
        for images, classes in DataLoader(dataset, batch_size=4, sampler=order):
            model.zero_grad()
            logits = model(images).log_softmax(dim=1)
            (-logits[range(len(classes)), classes].mean()).backward()
            with torch.no_grad():
                for name, p in model.named_parameters():
                    assert p.grad is not None
                    velocity[name] = 0.9 * velocity[name] + p.grad
                    p -= 0.001 * velocity[name]
        model.eval()
        with torch.no_grad():
            found = [model(image[None]).argmax() for image in data.test.images]
        model.train()
        accuracies.append((torch.stack(found) == data.test.classes).double().mean().item())
    return accuracies


def test_it_trains_as_the_tutorial_does(data: Data) -> None:
    # In double precision, where rounding decides no image.
    torch.set_default_dtype(torch.float64)
    try:
        precise = Data(
            Images(data.train.images.double(), data.train.classes),
            Images(data.test.images.double(), data.test.classes),
        )
        points = points_of("frelu", precise, seed=3, epochs=3)
        expected = by_hand("frelu", precise, seed=3, epochs=3)
    finally:
        torch.set_default_dtype(torch.float32)
    assert [point.epoch for point in points] == [0, 1, 2, 3]
    assert [point.accuracy for point in points[1:]] == pytest.approx(expected)
    # Or no training at all would pass.
    assert len({point.accuracy for point in points}) == len(points)


@pytest.mark.parametrize(
    ("activation", "parameters", "replaced"), [("relu", 62_006, 4), ("frelu", 62_270, 2)]
)
def test_the_network_is_the_tutorial_s(
    data: Data, activation: str, parameters: int, replaced: int
) -> None:
    for point in points_of(activation, data):
        assert (point.parameters, point.replaced, point.sites) == (parameters, replaced, 4)


@pytest.mark.parametrize("activation", ["frelu", "dyrelu_b"])
def test_activations_share_the_first_weights_of_a_seed(activation: str) -> None:
    own, relu = network(activation, 5)[0].state_dict(), network("relu", 5)[0].state_dict()
    other = network("relu", 6)[0].state_dict()
    assert len(relu) == 10
    for name, weights in relu.items():
        assert torch.equal(own[name], weights)
        assert not torch.equal(other[name], weights)


def test_a_seed_gives_the_same_training_again(data: Data) -> None:
    first, second = ([p.accuracy for p in points_of("frelu", data, 1)] for _ in range(2))
    assert first == second


def test_the_accuracy_is_of_all_images_and_leaves_the_network_as_it_was() -> None:
    model, _ = network("frelu", 0)
    torch.manual_seed(1)
    images = Images(torch.randn(TEST_BATCH + 3, 3, 32, 32), torch.randint(10, (TEST_BATCH + 3,)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = accuracy(model, images)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    model.eval()
    with torch.no_grad():
        answers = [int(model(image[None]).argmax()) for image in images.images]
    right = sum(a == c for a, c in zip(answers, images.classes.tolist(), strict=True))
    assert found == pytest.approx(right / (TEST_BATCH + 3))


@pytest.mark.usefixtures("own_layers")
def test_a_loss_that_is_not_finite_ends_the_training_with_a_word(data: Data) -> None:
    first, last = points_of("layers_to_train:Exploding", data, epochs=3)
    assert (first.epoch, first.status) == (0, "ok")
    assert (last.epoch, last.status, last.accuracy) == (1, "diverged", None)
    assert last.message in [f"the loss was {v} at step 1 of epoch 1" for v in ("nan", "inf")]


@pytest.mark.usefixtures("own_layers")
def test_time_spent_in_tests_is_not_counted(data: Data) -> None:
    few = Data(Images(data.train.images[:4], data.train.classes[:4]), data.test)
    start_s = time.perf_counter()
    last = points_of("layers_to_train:SlowInTests", few)[-1]
    elapsed_s = time.perf_counter() - start_s
    # Four places, two tests.
    assert 0 < last.train_s < elapsed_s - 8 * 0.1


@pytest.mark.usefixtures("own_layers")
def test_what_fails_on_the_way_is_one_line(data: Data) -> None:
    rehearse("layers_to_train:NeedsTwo", data, 4, Cpu())
    # 201 images are 50 batches of 4 and one of 1.
    with pytest.raises(ValueError, match=r"^activation 'layers_to_train:NeedsTwo': Runtime.*two"):
        points_of("layers_to_train:NeedsTwo", data)


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        ("frelv", r"^unknown activation 'frelv'; did you mean frelu"),
        ("no_such_module:Layer", "^no_such_module:Layer: there is no module"),
        ("torch.nn:NoSuchLayer", "^torch.nn:NoSuchLayer: there is no 'NoSuchLayer' in torch.nn"),
        ("builtins:dict", "^'builtins:dict' cannot be placed anywhere; relu1: "),
        ("torch.nn:Linear", "relu1: TypeError: "),
    ],
)
def test_what_cannot_be_trained_is_known_in_time(data: Data, activation: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        rehearse(activation, data, 4, Cpu())
    assert "\n" not in str(error.value)


@given(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True), st.integers(1, 9))
def test_each_seed_trains_all_activations_and_the_next_in_reverse(
    activations: list[str], seeds: int
) -> None:
    order = trainings(activations, seeds)
    assert sorted(order) == sorted((a, s) for a in activations for s in range(seeds))
    assert [seed for _, seed in order] == sorted(seed for _, seed in order)
    places = {pair: place for place, pair in enumerate(order)}
    n = len(activations)
    for activation in activations:
        here = [places[activation, seed] % n for seed in range(seeds)]
        assert all(a + b == n - 1 for a, b in pairwise(here))


@pytest.mark.gpu
@pytest.mark.parametrize("activation", ["relu", "frelu", "dyrelu_b"])
def test_an_accelerator_learns_the_same(data: Data, activation: str) -> None:
    device = open_device(None)
    there = data.to(device.torch_device)
    points = list(train(activation, 3, there, 2, 4, device))
    expected = points_of(activation, data, seed=3, epochs=2)
    for here, cpu in zip(points, expected, strict=True):
        assert here.accuracy == pytest.approx(cpu.accuracy, abs=0.05)
    assert points[-1].train_s > points[1].train_s > 0
