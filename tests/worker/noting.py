"""Layers that note how they are called or take a known time, and the cases that call them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from dynact.schema.cases import Case
from dynact.worker.kept import Kept
from tests.fake_device import FakeAccelerator, Kernels, VirtualDevice
from tests.measuring import Bench

CASE = Case(
    activation="prelu",
    impl="reference",
    phase="inference",
    mode="eager",
    dtype="float32",
    memory_format="contiguous",
    batch=2,
    channels=3,
    height=4,
    width=5,
    device="cpu",
    baseline="relu",
)
TRAINING = replace(CASE, phase="training")


def own(layer_class: type) -> str:
    """The name by which a case asks for a class."""
    return f"{layer_class.__module__}:{layer_class.__name__}"


@dataclass
class Seen:
    """What a layer noted of one forward pass."""

    layer: str
    x: Tensor
    training: bool
    inference: bool
    x_requires_grad: bool
    weight: Tensor
    grads_before: tuple[Tensor | None, Tensor | None]


SEEN: list[Seen] = []
# What came back to the output, pass by pass.
GRADIENTS: list[Tensor] = []
WEIGHT_GRADIENTS: list[Tensor] = []


class Recorder(nn.Module):
    """x · weight, per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, channels).view(channels, 1, 1))
        self.weight.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
            keep_weight_gradient
        )

    def forward(self, x: Tensor) -> Tensor:
        SEEN.append(
            Seen(
                type(self).__name__,
                x,
                self.training,
                torch.is_inference_mode_enabled(),
                x.requires_grad,
                self.weight,
                (x.grad, self.weight.grad),
            )
        )
        y = x * self.weight
        if y.requires_grad:
            y.register_hook(GRADIENTS.append)  # type: ignore[no-untyped-call]
        return y


def keep_weight_gradient(weight: Tensor) -> None:
    assert weight.grad is not None
    WEIGHT_GRADIENTS.append(weight.grad.clone())


class OtherRecorder(Recorder):
    pass


RECORDED = replace(CASE, activation=own(Recorder), baseline=own(OtherRecorder))
RECORDED_TRAINING = replace(RECORDED, phase="training")
BOTH_PHASES = pytest.mark.parametrize(
    "case", [RECORDED, RECORDED_TRAINING], ids=["inference", "training"]
)


@contextmanager
def recorder_takes_1_ms(most_bytes: int = 2**30) -> Iterator[Bench]:
    """A device on which a round is ten calls: for a block, one is enough."""
    device = VirtualDevice()
    with Kernels(device.accelerator, lambda name, _y: 1e6 if name == "mul" else 0.0):
        yield Bench(device, Kept(most_bytes))


def places() -> set[int]:
    """Where the inputs lay that were noted; they live, so that no two had the same place."""
    return {seen.x.data_ptr() for seen in SEEN}


class FakeDevice(VirtualDevice):
    """A device that the layers of these tests reach."""

    def __init__(self) -> None:
        super().__init__()
        ACCELERATORS[0] = self.accelerator


ACCELERATORS = [FakeAccelerator()]


class Quick(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        ACCELERATORS[0].launch(10e3, "Quick")
        return x


class Slow(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        ACCELERATORS[0].launch(30e3, "Slow")
        return x


class Waits(nn.Module):
    """Its host reads a value in each call."""

    def forward(self, x: Tensor) -> Tensor:
        ACCELERATORS[0].launch(30e3, "Waits")
        ACCELERATORS[0].synchronize()
        return x


class BreaksLater(nn.Module):
    """Works often enough to be timed, then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        # It is tried and warmed up by four, and balanced by six at least; a round is five or more.
        if self.calls > 12:
            raise RuntimeError("worn out")
        return x * 1
