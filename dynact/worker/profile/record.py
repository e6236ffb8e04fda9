"""The trace of a few calls under the profiler, fit to be published."""

import json
import tempfile
from pathlib import Path
from typing import Any

from torch.profiler import profile, schedule, tensorboard_trace_handler

from dynact.schema.redact import without_folders
from dynact.timing.clock import Call
from dynact.worker.device import Device

# Event categories of operators and kernels: their names are C++, have slashes, and name no file.
WORK = ("cpu_op", "kernel")
# What the profiler says of the machine and of where it wrote.
OF_THE_HOST = ("host_name", "traceName")

# In Chrome's format: what happened is under "traceEvents", times in µs.
Trace = dict[str, Any]


def record(step: Call, device: Device, steps: int) -> Trace:
    """Return the profiler's trace of ``steps`` calls, without folders or the host's name.

    The profiler's own work comes on top of each operator's time.
    """
    with tempfile.TemporaryDirectory() as folder:
        with profile(
            activities=device.profiler_activities(),
            schedule=schedule(wait=1, warmup=1, active=steps),
            record_shapes=True,
            profile_memory=True,
            with_stack=True,
            # Without a name of ours it takes the host's.
            on_trace_ready=tensorboard_trace_handler(folder, worker_name="trace"),
        ) as profiler:
            for _ in range(2 + steps):
                step()
                profiler.step()
        [path] = Path(folder).iterdir()
        trace: Trace = json.loads(path.read_text(encoding="utf-8"))
    for key in OF_THE_HOST:
        trace.pop(key, None)
    published: Trace = publishable(trace)
    return published


def publishable(value: Any) -> Any:
    """Return what the profiler or an allocator says without the folders of files and stacks."""
    if isinstance(value, str):
        return without_folders(value)
    if isinstance(value, list):
        return [publishable(item) for item in value]
    if isinstance(value, dict):
        works = value.get("cat") in WORK
        return {
            key: item if works and key == "name" else publishable(item)
            for key, item in value.items()
        }
    return value
