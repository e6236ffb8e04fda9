"""One training: a network with an activation, from a seed, tested after each epoch."""

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from dynact import activations
from dynact.networks.lenet import LeNet
from dynact.networks.swap import Swap, swap_activations
from dynact.schema.learning import Point
from dynact.schema.redact import error_line
from dynact.worker.device import Device
from dynact.worker.learning.data import SIDE, Data, Images

LEARNING_RATE = 0.001
MOMENTUM = 0.9
# Bounds the memory that testing takes; the accuracy does not depend on it.
TEST_BATCH = 500


def train(
    activation: str, seed: int, data: Data, epochs: int, batch_size: int, device: Device
) -> Iterator[Point]:
    """Train LeNet with an activation as PyTorch's CIFAR-10 tutorial does.

    SGD with momentum on the cross-entropy of shuffled batches. The seed sets the first weights
    and the order of the images, both the same for each activation.

    Parameters
    ----------
    activation
        A name of the registry, or ``"pkg.mod:Class"`` for a user's own layer.
    data
        On the device already.

    Yields
    ------
    Point
        Before the first step and after each epoch; the last one where the loss was not finite.

    Raises
    ------
    ValueError
        If the network cannot be made or trained: one line.
    """
    model, swaps = network(activation, seed)
    try:
        yield from _train(model, swaps, activation, seed, data, epochs, batch_size, device)
    except Exception as error:
        raise ValueError(f"activation {activation!r}: {error_line(error)}") from None


def trainings(activations: Sequence[str], seeds: int) -> list[tuple[str, int]]:
    """Return the activation and seed of each training, in the order to do them.

    A seed's are done together, every other seed's in reverse: a slow minute, or a machine that
    slows down, hits all activations alike.
    """
    return [
        (activation, seed)
        for seed in range(seeds)
        for activation in (activations if seed % 2 == 0 else reversed(activations))
    ]


def network(activation: str, seed: int) -> tuple[nn.Module, list[Swap]]:
    """Return LeNet with an activation in every place that takes it, and what became of each.

    It is on the CPU, in train mode. Layers that all such networks share have the same weights
    for the same seed.
    """
    torch.manual_seed(seed)
    images = torch.zeros(2, 3, SIDE, SIDE)
    return swap_activations(LeNet(), activation, example_input=images)


def rehearse(activation: str, data: Data, batch_size: int, device: Device) -> None:
    """Train a network that is thrown away for one step.

    It shows in time what cannot be trained, and no timed step is the first of its kind.

    Raises
    ------
    ValueError
        If there is no such activation, or the network cannot be made or trained: one line.
    """
    if ":" not in activation:
        activations.activation(activation)
    few = Images(data.train.images[:batch_size], data.train.classes[:batch_size])
    for _ in train(activation, 0, Data(few, few), 1, batch_size, device):
        pass


@torch.no_grad()
def accuracy(model: nn.Module, test: Images) -> float:
    """Return the share of images whose class a network finds; it is left in train mode."""
    model.eval()
    answers = [model(images).argmax(dim=1) for images in torch.split(test.images, TEST_BATCH)]
    model.train()
    return int((torch.cat(answers) == test.classes).sum()) / len(test)


def _train(
    model: nn.Module,
    swaps: list[Swap],
    activation: str,
    seed: int,
    data: Data,
    epochs: int,
    batch_size: int,
    device: Device,
) -> Iterator[Point]:
    model.to(device.torch_device)
    optimiser = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    shuffle = torch.Generator().manual_seed(seed)
    point = partial(
        Point,
        activation,
        seed,
        parameters=sum(p.numel() for p in model.parameters()),
        replaced=[swap.kept_because for swap in swaps].count(""),
        sites=len(swaps),
    )

    train_s = 0.0
    yield point(0, "ok", accuracy(model, data.test), train_s)
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(data.train), generator=shuffle).to(device.torch_device)
        start_s = time.perf_counter()
        stopped = _learn(model, optimiser, data.train, torch.split(order, batch_size))
        device.synchronize()
        train_s += time.perf_counter() - start_s
        # Of an epoch's last step no loss tells.
        if not stopped and not all(p.isfinite().all() for p in model.parameters()):
            stopped = "weights were not finite at the end"
        if stopped:
            yield point(epoch, "diverged", None, train_s, message=f"{stopped} of epoch {epoch}")
            return
        yield point(epoch, "ok", accuracy(model, data.test), train_s)


def _learn(
    model: nn.Module, optimiser: torch.optim.Optimizer, images: Images, batches: Sequence[Tensor]
) -> str:
    """Take a step for each batch of indices; return what went wrong, or nothing."""
    criterion = nn.CrossEntropyLoss()
    for step, batch in enumerate(batches, 1):
        optimiser.zero_grad()
        loss = criterion(model(images.images[batch]), images.classes[batch])
        # Read in every step, as the tutorial does for its running mean.
        value = loss.item()
        if not math.isfinite(value):
            return f"the loss was {value} at step {step}"
        loss.backward()
        optimiser.step()
    return ""
