"""From case to row: the one place where activations, device and timing meet."""

import importlib
import inspect
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from dynact import activations
from dynact.cases import Case
from dynact.device import Device
from dynact.placement import MovingInput
from dynact.redact import one_line
from dynact.results import Row
from dynact.timing import Comparison, compare

MEMORY_FORMATS = {
    "contiguous": torch.contiguous_format,
    "channels_last": torch.channels_last,
}
SEED = 0
WARM_UP_CALLS = 3
OUT_OF_MEMORY = ("allocate memory", "out of memory", "alloc_failed", "out_of_device_memory")
"""How torch's CPU allocator and the libraries of accelerators say it, in a plain RuntimeError."""


class UnsupportedError(Exception):
    """The case has no meaning for this activation, or not on this device."""


@dataclass(frozen=True)
class Measurement:
    """A row, and the samples behind it."""

    row: Row
    samples_ns: tuple[float, ...] = ()
    """The mean time of a call in each block of the target, in the order measured."""


def measure(case: Case, device: Device, *, precision: float, max_seconds: float) -> Measurement:
    """Measure a case against its baseline; whatever goes wrong becomes the row's status.

    Both sides are modules of the same dtype and memory format, called the same way on one shared
    input drawn from N(0, 1), what BatchNorm hands an activation. Inference is eval mode under
    inference mode; training is train mode, forward and backward from a fixed random gradient,
    with the input and all parameters requiring one and gradients set to None between.
    """
    start_s = time.perf_counter()
    samples_ns: tuple[float, ...] = ()
    try:
        comparison = _compare(case, device, precision, max_seconds)
    except Exception as error:
        status, message = _diagnose(error)
        row = Row(case, status, message)
    else:
        samples_ns = comparison.target_samples_ns
        p20_ns, p80_ns = np.percentile(samples_ns, (20, 80))
        row = Row(
            case,
            "ok",
            time_ns=comparison.target_ns,
            time_p20_ns=float(p20_ns),
            time_p80_ns=float(p80_ns),
            baseline_time_ns=comparison.baseline_ns,
            overhead=comparison.overhead,
            overhead_lo=comparison.overhead_lo,
            overhead_hi=comparison.overhead_hi,
            pairs=comparison.pairs,
            converged=comparison.converged,
            speed_drift=comparison.speed_drift,
            cache=device.clock.cache,
            clock=device.clock.name,
            timing_s=comparison.calling_s,
        )
    try:
        device.release_memory()
    except RuntimeError as error:
        # A device that is lost says so at whatever comes next.
        if row.status == "ok":
            row = Row(case, "error", _one_line(error))
    return Measurement(replace(row, case_s=time.perf_counter() - start_s), samples_ns)


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
        layer = _prepare(build(case.activation, case.channels), case, device)
    except Exception as error:
        raise ValueError(f"activation {case.activation!r}: {_one_line(error)}") from None
    try:
        x = draw_input(case, device)
        before = x.clone()
        with torch.no_grad():  # where a leaf may be written to, so that we can see it
            y = layer(x)
    except Exception:
        return
    _check_output(case, x, y)
    if not torch.equal(x, before):
        raise ValueError(
            f"activation {case.activation!r} writes into its input; make it in-place=False"
        )


def build(name: str, channels: int) -> nn.Module:
    """Return a new layer: of the registry, or of the user's class ``"pkg.mod:Class"``.

    A user's class is called with the channels if it has a parameter of that name or a first
    parameter without a default, and with nothing otherwise.

    Raises
    ------
    ValueError
        If the registry has no such name, or the class is not an ``nn.Module``.
    ImportError, AttributeError
        If there is no such module or class.
    """
    if ":" not in name:
        return activations.create(name, channels)
    module_name, _, class_name = name.partition(":")
    layer_class = getattr(importlib.import_module(module_name), class_name)
    parameters = list(inspect.signature(layer_class).parameters.values())
    if any(parameter.name == "channels" for parameter in parameters):
        layer = layer_class(channels=channels)
    elif parameters and _is_required(parameters[0]):
        layer = layer_class(channels)
    else:
        layer = layer_class()
    if not isinstance(layer, nn.Module):
        raise ValueError(f"{name} makes a {type(layer).__name__}, not a torch.nn.Module")
    return layer


def draw_input(case: Case, device: Device) -> Tensor:
    """Return the case's input, N(0, 1), the same for every activation of the same shape."""
    return _draw(case, device, SEED).requires_grad_(case.phase == "training")


def _compare(case: Case, device: Device, precision: float, max_seconds: float) -> Comparison:
    if case.impl != "reference":
        raise UnsupportedError(f"{case.activation} has no implementation {case.impl!r}")
    if case.mode == "compile":
        _forget_compiled_graphs()
    inputs = MovingInput(draw_input(case, device))
    gradient = _draw(case, device, SEED + 1) if case.phase == "training" else None
    mode: AbstractContextManager[object] = (
        nullcontext() if gradient is not None else torch.inference_mode()
    )
    with mode:
        target, baseline = (
            _ready_call(name, case, device, inputs, gradient)
            for name in (case.activation, case.baseline)
        )
        if case.mode == "compile" and _graphs_compiled() == 0:
            raise RuntimeError("torch.compile captured no graph: this would time eager code")
        return compare(
            target,
            baseline,
            clock=device.clock,
            precision=precision,
            max_seconds=max_seconds,
            before_round=inputs.move,
        )


def _forget_compiled_graphs() -> None:
    # Imported on demand: dynamo takes as long to import as torch itself.
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()


def _graphs_compiled() -> int:
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


def _ready_call(
    name: str, case: Case, device: Device, inputs: MovingInput, gradient: Tensor | None
) -> Callable[[], None]:
    torch.manual_seed(SEED)
    layer = _prepare(build(name, case.channels), case, device)
    if case.mode == "compile":
        layer.compile(fullgraph=True)
    _check_output(case, inputs.current, layer(inputs.current))
    call = _call(layer, inputs, gradient)
    for _ in range(WARM_UP_CALLS):
        call()
    return call


def _call(layer: nn.Module, inputs: MovingInput, gradient: Tensor | None) -> Callable[[], None]:
    if gradient is None:

        def infer() -> None:
            layer(inputs.current)

        return infer

    parameters = list(layer.parameters())

    def train() -> None:
        x = inputs.current
        layer(x).backward(gradient)
        x.grad = None
        for parameter in parameters:
            parameter.grad = None

    return train


def _prepare(layer: nn.Module, case: Case, device: Device) -> nn.Module:
    layer.to(device.torch_device, getattr(torch, case.dtype))
    layer.to(memory_format=MEMORY_FORMATS[case.memory_format])
    return layer.train(case.phase == "training")


def _draw(case: Case, device: Device, seed: int) -> Tensor:
    generator = torch.Generator(device.torch_device).manual_seed(seed)
    return torch.randn(
        (case.batch, case.channels, case.height, case.width),
        generator=generator,
        device=device.torch_device,
    ).to(dtype=getattr(torch, case.dtype), memory_format=MEMORY_FORMATS[case.memory_format])


def _check_output(case: Case, x: Tensor, y: object) -> None:
    if not isinstance(y, Tensor):
        raise ValueError(
            f"activation {case.activation!r} returns a {type(y).__name__}, not a tensor"
        )
    if y.shape != x.shape:
        raise ValueError(
            f"activation {case.activation!r} changes the shape from {tuple(x.shape)} to "
            f"{tuple(y.shape)}; an activation keeps it"
        )


def _is_required(parameter: inspect.Parameter) -> bool:
    positional = (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    return parameter.default is parameter.empty and parameter.kind in positional


def _diagnose(error: Exception) -> tuple[str, str]:
    text = str(error).lower()
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in text for words in OUT_OF_MEMORY
    ):
        return "oom", _one_line(error)
    if isinstance(error, (UnsupportedError, NotImplementedError)) or "not implemented for" in text:
        return "unsupported", _one_line(error)
    return "error", _one_line(error)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(str(error))}"
