"""A workload's two sides timed against each other: figures and samples, or why there are none."""

import time
from typing import Any

import numpy as np
import torch

from dynact.schema.messages import Answer
from dynact.schema.redact import error_line
from dynact.timing import Comparison, compare
from dynact.worker.device import Device
from dynact.worker.layer import UnsupportedError
from dynact.worker.modes import grad_mode
from dynact.worker.workload import Workload

# How torch's CPU allocator and the libraries of accelerators say it, in a plain RuntimeError.
OUT_OF_MEMORY = (
    *("allocate memory", "not enough memory", "out of memory"),
    *("alloc_failed", "out_of_device_memory", "out_of_host_memory"),
)


def compare_workload(
    workload: Workload, device: Device, *, precision: float, max_seconds: float
) -> Answer:
    """Measure the target against the baseline; whatever goes wrong becomes the status.

    Returns
    -------
    Answer
        Figures by the names of a row's, the samples behind them; status and message as a row's.
    """
    start_s = time.perf_counter()
    samples_ns: tuple[float, ...] = ()
    figures: dict[str, Any] = {}
    status, message = "ok", ""
    try:
        sides = workload.sides()
        with grad_mode(workload.case):
            comparison = compare(
                sides.target,
                sides.baseline,
                clock=device.clock,
                precision=precision,
                max_seconds=max_seconds,
                before_round=sides.before_round,
            )
    except Exception as error:
        status, message = diagnosed(error)
    else:
        samples_ns, figures = comparison.target_samples_ns, _figures(comparison, device)
    try:
        device.release_memory()
    except RuntimeError as error:
        # A device that is lost says so at whatever comes next.
        if status == "ok":
            status, message, figures, samples_ns = "error", error_line(error), {}, ()
    return Answer(status, message, figures | {"case_s": time.perf_counter() - start_s}, samples_ns)


def diagnosed(error: BaseException) -> tuple[str, str]:
    """Return the status that an error stands for, and a line that says what it was."""
    text = str(error).lower()
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in text for words in OUT_OF_MEMORY
    ):
        return "oom", error_line(error)
    if isinstance(error, (UnsupportedError, NotImplementedError)) or "not implemented for" in text:
        return "unsupported", error_line(error)
    return "error", error_line(error)


def _figures(comparison: Comparison, device: Device) -> dict[str, Any]:
    p20_ns, p80_ns = np.percentile(comparison.target_samples_ns, (20, 80))
    return {
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
