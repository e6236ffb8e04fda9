"""A layer at a shape: made, prepared and called as its case says, compared with another."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from dynact import activations
from dynact.activations.by_name import build
from dynact.cost import MemoryTracker, TrafficCounter, floor_bytes, fvcore_default_flops
from dynact.schema.cases import Case
from dynact.schema.redact import error_line
from dynact.worker import counters
from dynact.worker.counter_cache import Counter, Figures
from dynact.worker.device import Device
from dynact.worker.modes import grad_mode, watched_mode
from dynact.worker.rotating_input import RotatingInput
from dynact.worker.workload import Sides

MEMORY_FORMATS = {
    "contiguous": torch.contiguous_format,
    "channels_last": torch.channels_last,
}
SEED = 0
WARM_UP_CALLS = 3


class Source(Protocol):
    """Where each call finds its input."""

    current: Tensor


@dataclass
class Fixed:
    """The same input for each call."""

    current: Tensor


class UnsupportedError(Exception):
    """The case has no meaning for this activation, or not on this device."""


class LayerWorkload:
    """A layer against another of the same shape, dtype, memory format and mode.

    Both are called the same way on one shared input drawn from N(0, 1), what BatchNorm hands an
    activation. Inference is eval mode under inference mode; training is train mode, forward and
    backward from a fixed random gradient, with the input and all parameters requiring one and
    gradients set to None between.
    """

    def __init__(self, case: Case, device: Device) -> None:
        self.case = case
        self._device = device

    def sides(self) -> Sides:
        """Make both layers, compile them if the case is, check what they return, warm them up."""
        case, device = self.case, self._device
        if case.impl != "reference":
            raise UnsupportedError(f"{case.activation} has no implementation {case.impl!r}")
        inputs = RotatingInput(draw_input(case, device))
        gradient = draw_gradient(case, device)
        with grad_mode(case), fresh_graphs(case):
            target, baseline = (
                ready_call(name, case, device, inputs, gradient)
                for name in (case.activation, case.baseline)
            )
        return Sides(target, baseline, before_round=inputs.rotate)

    def target_counters(self) -> list[Counter]:
        """Return what is counted of the eager formulation, on the case's device.

        With real tensors: a layer that fails on meta tensors is counted all the same.
        """
        return _counters(replace(self.case, mode="eager", baseline=""), self._device)

    def baseline_counters(self) -> list[Counter]:
        """Return the same of the baseline."""
        case = replace(self.case, activation=self.case.baseline, mode="eager", baseline="")
        return _counters(case, self._device)


def _counters(case: Case, device: Device) -> list[Counter]:
    subject = functools.cache(
        lambda: (prepared(case.activation, case, device), draw_input(case, device))
    )
    shared = replace(case, phase="inference"), device
    own = case, device
    return [
        Counter("parameters", shared, lambda: counters.parameters(subject()[0])),
        Counter("arithmetic", shared, lambda: counters.arithmetic(*subject())),
        Counter("fvcore's default", shared, lambda: _fvcore_default(*subject())),
        Counter("traffic", own, lambda: _traffic_and_peak(*subject(), case, device)),
        Counter("saved for backward", own, lambda: counters.saved(*subject(), case.phase)),
    ]


def _fvcore_default(layer: nn.Module, x: Tensor) -> Figures:
    return {"flops_fvcore_default": fvcore_default_flops(layer, x)}


def _traffic_and_peak(layer: nn.Module, x: Tensor, case: Case, device: Device) -> Figures:
    training = case.phase == "training"
    gradient = torch.ones_like(x) if training else None
    call = call_of(layer, Fixed(x), gradient)
    parameters = list(layer.parameters())
    there_anyway = [x, *parameters, *layer.buffers()]
    if gradient is not None:
        there_anyway.append(gradient)
    with watched_mode(case):
        with TrafficCounter() as traffic, MemoryTracker(there_anyway) as memory:
            call()
        # The second call: what a library sets up at the first is not the layer's.
        allocated_bytes = device.peak_bytes(call)
    least_bytes = floor_bytes(
        activations.least_passes(case.activation, training),
        case.input_bytes,
        sum(parameter.nbytes for parameter in parameters),
        sum(parameter.nbytes for parameter in parameters if parameter.requires_grad and training),
    )
    return {
        # The plain formulation is an implementation too: of a user's layer that returns its
        # input, or does not use its parameters, it is the better bound.
        "traffic_floor_bytes": min(least_bytes, traffic.bytes),
        "traffic_eager_bytes": traffic.bytes,
        "operator_calls": traffic.operator_calls,
        "data_dependent": traffic.reads_values,
        "peak_bytes": memory.peak_bytes if allocated_bytes is None else allocated_bytes,
        "peak_source": "tracker" if allocated_bytes is None else "allocator",
    }


def prepared(name: str, case: Case, device: Device) -> nn.Module:
    """Return a new layer on the device, in the case's dtype, memory format and mode."""
    torch.manual_seed(SEED)
    layer = build(name, case.channels)
    layer.to(device.torch_device, getattr(torch, case.dtype))
    layer.to(memory_format=MEMORY_FORMATS[case.memory_format])
    return layer.train(case.phase == "training")


def draw_input(case: Case, device: Device) -> Tensor:
    """Return the case's input, N(0, 1), the same for every activation of the same shape."""
    return _draw(case, device, SEED).requires_grad_(case.phase == "training")


def draw_gradient(case: Case, device: Device) -> Tensor | None:
    """Return the gradient that a training step starts from, N(0, 1); ``None`` for inference."""
    return _draw(case, device, SEED + 1) if case.phase == "training" else None


def call_of(layer: nn.Module, source: Source, gradient: Tensor | None) -> Callable[[], None]:
    """Return what is timed: a forward pass or, given a gradient, a training step."""
    if gradient is None:

        def infer() -> None:
            layer(source.current)

        return infer

    parameters = list(layer.parameters())

    def train() -> None:
        x = source.current
        layer(x).backward(gradient)
        x.grad = None
        for parameter in parameters:
            parameter.grad = None

    return train


def ready_call(
    name: str, case: Case, device: Device, source: Source, gradient: Tensor | None
) -> Callable[[], None]:
    """Return what is timed of a layer, warm: compiled if the case is, checked, and called before.

    Raises
    ------
    ValueError
        If what the layer returns is no activation's output.
    """
    layer = prepared(name, case, device)
    if case.mode == "compile":
        layer.compile(fullgraph=True)
    check_output(case, source.current, layer(source.current))
    call = call_of(layer, source, gradient)
    warm_up(call)
    return call


def warm_up(call: Callable[[], object]) -> None:
    """Call often enough that nothing is done for the first time when it is timed."""
    for _ in range(WARM_UP_CALLS):
        call()


@contextmanager
def fresh_graphs(case: Case) -> Iterator[None]:
    """Forget, for a compiled case, all graphs, and see that the body compiles one.

    Raises
    ------
    RuntimeError
        If it compiled none: what it made would run eager code.
    """
    if case.mode != "compile":
        yield
        return
    # Imported on demand: dynamo takes as long to import as torch itself.
    from torch._dynamo.utils import counters as of_dynamo

    torch.compiler.reset()
    of_dynamo.clear()
    yield
    if of_dynamo["stats"]["unique_graphs"] == 0:
        raise RuntimeError("torch.compile captured no graph: this would run eager code")


def check_output(case: Case, x: Tensor, y: object) -> None:
    """Raise ValueError if a layer's output is not one that an activation may have."""
    if not isinstance(y, Tensor):
        raise ValueError(
            f"activation {case.activation!r} returns a {type(y).__name__}, not a tensor"
        )
    if y.shape != x.shape:
        raise ValueError(
            f"activation {case.activation!r} changes the shape from {tuple(x.shape)} to "
            f"{tuple(y.shape)}; an activation keeps it"
        )


def check_layer(case: Case, device: Device) -> None:
    """Try a user's layer once, before a sweep spends its time on it.

    A layer that fails when called may do so at this shape alone: that is left to the rows.

    Raises
    ------
    ValueError
        If it cannot be imported or made, changes the shape, or writes into its input, which both
        sides of a comparison share.
    """
    try:
        layer = prepared(case.activation, case, device)
    except Exception as error:
        raise ValueError(f"activation {case.activation!r}: {error_line(error)}") from None
    try:
        x = draw_input(case, device)
        before = x.clone()
        with torch.no_grad():  # where a leaf may be written to, so that we can see it
            y = layer(x)
    except Exception:
        return
    check_output(case, x, y)
    if not torch.equal(x, before):
        raise ValueError(
            f"activation {case.activation!r} writes into its input; make it in-place=False"
        )


def _draw(case: Case, device: Device, seed: int) -> Tensor:
    generator = torch.Generator(device.torch_device).manual_seed(seed)
    return torch.randn(
        (case.batch, case.channels, case.height, case.width),
        generator=generator,
        device=device.torch_device,
    ).to(dtype=getattr(torch, case.dtype), memory_format=MEMORY_FORMATS[case.memory_format])
