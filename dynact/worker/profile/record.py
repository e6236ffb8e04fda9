"""The trace of a few calls under the profiler, fit to be published."""

import functools
import gzip
import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.profiler import profile, schedule, tensorboard_trace_handler

from dynact.schema.redact import without_folders
from dynact.timing.clock import Call
from dynact.worker.device import Device
from dynact.worker.profile.chrome_trace import EVENTS, items_of, open_trace
from dynact.worker.profile.events import Events, events_of
from dynact.worker.profile.memory_timeline import MemoryTimeline, memory_timeline

# Event categories of operators and kernels: their names are C++, have slashes, and name no file.
WORK = ("cpu_op", "kernel")
# What the profiler says of the machine and of where it wrote.
OF_THE_HOST = ("host_name", "traceName")
# A trace says the same few files and shapes again and again.
_without_folders = functools.lru_cache(maxsize=2**14)(without_folders)
# Half the time of gzip's own choice, and a tenth more bytes.
_PACKING = 4


@dataclass(frozen=True)
class Trace:
    """A trace as it is stored, and what it says."""

    file: bytes
    """In Chrome's format, packed by gzip."""
    events: Events
    memory: MemoryTimeline | Exception
    """Of the same steps; what went wrong where it could not be made."""


def record(step: Call, device: Device, steps: int) -> Trace:
    """Return the profiler's trace of ``steps`` calls, without folders or the host's name.

    The profiler's own work comes on top of each operator's time.
    """
    memory: list[MemoryTimeline | Exception] = []
    with tempfile.TemporaryDirectory() as folder:
        # Without a name of ours it takes the host's.
        write = tensorboard_trace_handler(folder, worker_name="trace")

        def ready(profiler: profile) -> None:
            write(profiler)
            # Beside the trace, which may be had without it.
            try:
                memory.append(memory_timeline(profiler, device))
            except Exception as error:
                memory.append(error)

        with profile(
            activities=device.profiler_activities(),
            schedule=schedule(wait=1, warmup=1, active=steps),
            record_shapes=True,
            profile_memory=True,
            with_stack=True,
            on_trace_ready=ready,
        ) as profiler:
            for _ in range(2 + steps):
                step()
                profiler.step()
        [path] = Path(folder).iterdir()
        packed = io.BytesIO()
        with open_trace(path) as text:
            events = events_of(_written(_published(items_of(text)), packed))
    return Trace(packed.getvalue(), events, *memory)


def publishable(value: Any) -> Any:
    """Return what the profiler or an allocator says without the folders of files and stacks."""
    if isinstance(value, str):
        return _without_folders(value)
    if isinstance(value, list):
        return [publishable(item) for item in value]
    if isinstance(value, dict):
        works = value.get("cat") in WORK
        return {
            key: item if works and key == "name" else publishable(item)
            for key, item in value.items()
        }
    return value


def _published(items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    return ((key, publishable(item)) for key, item in items if key not in OF_THE_HOST)


def _written(items: Iterable[tuple[str, Any]], packed: io.BytesIO) -> Iterator[tuple[str, Any]]:
    """Yield a trace's items, each after it is written."""
    # Nothing in the file says when it was made: the same trace gives the same bytes.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=_PACKING, mtime=0) as raw,
        io.TextIOWrapper(raw, encoding="utf-8") as file,
    ):
        between, within_events = "{", False
        for key, item in items:
            is_event = key == EVENTS
            if within_events and not is_event:
                file.write("]")
            if is_event and not within_events:
                file.write(f'{between}"{EVENTS}": [')
                between = ""
            within_events = is_event
            file.write(between + ("" if is_event else f"{json.dumps(key)}: ") + json.dumps(item))
            between = ",\n"
            yield key, item
        file.write("]}" if within_events else "}")
