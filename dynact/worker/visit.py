"""A workload visited: its two sides timed against each other for a moment, or why they were not."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from dynact.schema.messages import Answer
from dynact.schema.redact import error_line
from dynact.timing import DeviceClock, Readings
from dynact.worker.compiled import seconds_compiling
from dynact.worker.device import Device
from dynact.worker.disturbance import Disturbance
from dynact.worker.modes import grad_mode
from dynact.worker.verify import WrongError
from dynact.worker.workload import Workload

# Of a side's blocks: what disturbs a visit for a moment only slows, see `dynact.timing.visits`. A
# block's own time, not one between two: of the two blocks that a slow layer may have, one can take
# twenty times as long as the other.
CALM = 0.25
# How torch's CPU allocator and the libraries of accelerators say it, in a plain RuntimeError.
OUT_OF_MEMORY = (
    *("allocate memory", "not enough memory", "out of memory"),
    *("alloc_failed", "out_of_device_memory", "out_of_host_memory"),
)


def visit_workload(workload: Workload, device: Device, seconds: float) -> Answer:
    """Measure the target against the baseline for so long; whatever goes wrong becomes the status.

    Returns
    -------
    Answer
        Figures by the names of a `dynact.schema.visits.Visit`'s; status and message as a row's.
    """
    start_s, compiling_s = time.perf_counter(), seconds_compiling()
    figures: dict[str, Any] = {}
    status, message = "ok", ""
    try:
        with workload.ready() as pair, grad_mode(workload.case):
            disturbance = Disturbance()
            readings = pair.visit(seconds)
            shares = disturbance.shares()
            figures = _figures(readings, device) | shares | device.condition()
    except Exception as error:
        status, message = diagnosed(error)
        # What turned out wrong after it was timed has no time.
        figures = {}
    if status != "ok":
        # A device that is lost says so at whatever comes next; what was lost first is said.
        with suppress(RuntimeError):
            device.release_memory()
    figures |= {"process": os.getpid(), "visit_s": time.perf_counter() - start_s}
    if compile_s := seconds_compiling() - compiling_s:
        figures["compile_s"] = compile_s
    return Answer(status, message, figures)


def diagnosed(error: BaseException) -> tuple[str, str]:
    """Return the status that an error stands for, and a line that says what it was."""
    text = str(error).lower()
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in text for words in OUT_OF_MEMORY
    ):
        return "oom", error_line(error)
    if isinstance(error, WrongError):
        return "wrong", error_line(error)
    if isinstance(error, NotImplementedError) or "not implemented for" in text:
        return "unsupported", error_line(error)
    return "error", error_line(error)


def _figures(readings: Readings, device: Device) -> dict[str, Any]:
    time_ns, baseline_time_ns = _calm_ns(readings.target_ns), _calm_ns(readings.baseline_ns)
    beside: dict[str, float | None] = {}
    if device.clock.name == DeviceClock.name:
        beside = {"device_time_ns": time_ns, "baseline_device_time_ns": baseline_time_ns}
    elif readings.target_queueing_ns:
        beside = {
            "host_share": _calm_ns(readings.target_queueing_ns) / time_ns,
            "baseline_host_share": _calm_ns(readings.baseline_queueing_ns) / baseline_time_ns,
            "device_time_ns": readings.target_device_ns,
            "baseline_device_time_ns": readings.baseline_device_ns,
        }
    return beside | {
        "overhead": time_ns / baseline_time_ns,
        "time_ns": time_ns,
        "baseline_time_ns": baseline_time_ns,
        "pairs": len(readings.target_ns),
        "cache": device.clock.cache,
        "clock": device.clock.name,
        "timing_s": readings.calling_s,
    }


def _calm_ns(times_ns: Sequence[float]) -> float:
    return float(np.quantile(times_ns, CALM, method="lower"))
