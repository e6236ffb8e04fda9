"""A case's layer: made, prepared and called as the case says."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from dynact.activations.by_name import build
from dynact.schema.cases import Case
from dynact.schema.redact import error_line
from dynact.schema.run_folder import AnyCase
from dynact.worker.device import Device

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
    for _ in range(WARM_UP_CALLS):
        call()
    return call


def grad_mode(case: AnyCase) -> AbstractContextManager[object]:
    """Return the context in which a case is called."""
    return nullcontext() if case.phase == "training" else torch.inference_mode()


def watched_mode(case: AnyCase) -> AbstractContextManager[object]:
    """Return the context in which a case's operators are watched one by one.

    Not inference mode: there, operators made of others show as one.
    """
    return nullcontext() if case.phase == "training" else torch.no_grad()


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
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()
    yield
    if counters["stats"]["unique_graphs"] == 0:
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
