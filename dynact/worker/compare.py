"""From case to row: the one place where activations, device and timing meet."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dynact.schema.cases import Case
from dynact.schema.redact import error_line
from dynact.schema.run_folder import AnyCase, Measured, new_row
from dynact.timing import Comparison, compare
from dynact.worker.device import Device
from dynact.worker.rotating_input import MovingInput
from dynact.worker.workload import draw_gradient, draw_input, fresh_graphs, grad_mode, ready_call

OUT_OF_MEMORY = ("allocate memory", "out of memory", "alloc_failed", "out_of_device_memory")
"""How torch's CPU allocator and the libraries of accelerators say it, in a plain RuntimeError."""


class UnsupportedError(Exception):
    """The case has no meaning for this activation, or not on this device."""


@dataclass(frozen=True)
class Measurement:
    """A row, and the samples behind it."""

    row: Measured
    samples_ns: tuple[float, ...] = ()
    """The mean time of a call in each block of the target, in the order measured."""


def measure(case: Case, device: Device, *, precision: float, max_seconds: float) -> Measurement:
    """Measure a case against its baseline; whatever goes wrong becomes the row's status.

    Both sides are modules of the same dtype and memory format, called the same way on one shared
    input drawn from N(0, 1), what BatchNorm hands an activation. Inference is eval mode under
    inference mode; training is train mode, forward and backward from a fixed random gradient,
    with the input and all parameters requiring one and gradients set to None between.
    """
    return measured(case, device, lambda: _compare(case, device, precision, max_seconds))


def measured(
    case: AnyCase,
    device: Device,
    run: Callable[[], Comparison],
) -> Measurement:
    """Run a comparison and return what it found as a row; what goes wrong becomes its status."""
    start_s = time.perf_counter()
    samples_ns: tuple[float, ...] = ()
    figures: dict[str, Any] = {}
    try:
        comparison = run()
    except Exception as error:
        status, message = _diagnose(error)
    else:
        status, message = "ok", ""
        samples_ns = comparison.target_samples_ns
        p20_ns, p80_ns = np.percentile(samples_ns, (20, 80))
        figures = {
            "time_ns": comparison.target_ns,
            "time_p20_ns": float(p20_ns),
            "time_p80_ns": float(p80_ns),
            "baseline_time_ns": comparison.baseline_ns,
            "overhead": comparison.overhead,
            "overhead_lo": comparison.overhead_lo,
            "overhead_hi": comparison.overhead_hi,
            "pairs": comparison.pairs,
            "converged": comparison.converged,
            "speed_drift": comparison.speed_drift,
            "cache": device.clock.cache,
            "clock": device.clock.name,
            "timing_s": comparison.calling_s,
        }
    try:
        device.release_memory()
    except RuntimeError as error:
        # A device that is lost says so at whatever comes next.
        if status == "ok":
            status, message, figures = "error", error_line(error), {}
    case_s = time.perf_counter() - start_s
    return Measurement(new_row(case, status, message, **figures, case_s=case_s), samples_ns)


def _compare(case: Case, device: Device, precision: float, max_seconds: float) -> Comparison:
    if case.impl != "reference":
        raise UnsupportedError(f"{case.activation} has no implementation {case.impl!r}")
    inputs = MovingInput(draw_input(case, device))
    gradient = draw_gradient(case, device)
    with grad_mode(case):
        with fresh_graphs(case):
            target, baseline = (
                ready_call(name, case, device, inputs, gradient)
                for name in (case.activation, case.baseline)
            )
        return compare(
            target,
            baseline,
            clock=device.clock,
            precision=precision,
            max_seconds=max_seconds,
            before_round=inputs.move,
        )


def _diagnose(error: Exception) -> tuple[str, str]:
    text = str(error).lower()
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in text for words in OUT_OF_MEMORY
    ):
        return "oom", error_line(error)
    if isinstance(error, (UnsupportedError, NotImplementedError)) or "not implemented for" in text:
        return "unsupported", error_line(error)
    return "error", error_line(error)
