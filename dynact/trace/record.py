"""From case to trace: a few steps under the profiler, fit to be published."""

import json
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

from dynact.cases import Case
from dynact.device import Device
from dynact.layers import Fixed, call_of, draw_gradient, draw_input, prepared
from dynact.redact import without_paths

WARM_UP_CALLS = 3
OF_THE_HOST = ("host_name", "traceName")
"""What the profiler says of the machine and of where it wrote."""

Trace = dict[str, Any]
"""A trace in Chrome's format: what happened is under ``"traceEvents"``, times in µs."""


def record(case: Case, device: Device, steps: int) -> Trace:
    """Return the profiler's trace of ``steps`` calls, without folders or the host's name.

    The layer, its input and the call are those that are timed; the profiler's own work comes on
    top of each operator's time.
    """
    gradient = draw_gradient(case, device)
    mode: AbstractContextManager[object] = (
        nullcontext() if gradient is not None else torch.inference_mode()
    )
    with mode, tempfile.TemporaryDirectory() as folder:
        layer = prepared(case.activation, case, device)
        call = call_of(layer, Fixed(draw_input(case, device)), gradient)
        for _ in range(WARM_UP_CALLS):
            call()
        with profile(
            activities=_activities(device),
            schedule=schedule(wait=1, warmup=1, active=steps),
            record_shapes=True,
            profile_memory=True,
            with_stack=True,
            # Without a name of ours it takes the host's.
            on_trace_ready=tensorboard_trace_handler(folder, worker_name="trace"),
        ) as profiler:
            for _ in range(2 + steps):
                call()
                profiler.step()
        [path] = Path(folder).iterdir()
        trace: Trace = json.loads(path.read_text(encoding="utf-8"))
    for key in OF_THE_HOST:
        trace.pop(key, None)
    published: Trace = _publishable(trace)
    return published


def _activities(device: Device) -> list[ProfilerActivity]:
    kind = device.torch_device.type
    if kind == "cpu":
        return [ProfilerActivity.CPU]
    # How torch calls accelerators that it does not know by name.
    fallback = ProfilerActivity.PrivateUse1
    return [ProfilerActivity.CPU, getattr(ProfilerActivity, kind.upper(), fallback)]


def _publishable(value: Any) -> Any:
    # Stacks name files in full unless they are below an entry of Python's path.
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, list):
        return [_publishable(item) for item in value]
    if isinstance(value, dict):
        return {key: _publishable(item) for key, item in value.items()}
    return value
