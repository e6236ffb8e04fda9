"""The tables of a trace that a user made of a training or an inference of their own."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

from dynact.worker.profile.events import read_trace
from dynact.worker.profile.parts import StepParts
from dynact.worker.profile.steps import steps_of, whole_as_step
from dynact.worker.profile.tables import Tables, tables_of
from dynact.worker.profile.words import worth_hearing


@dataclass(frozen=True)
class OwnTrace:
    """What a user's trace says of its steps."""

    tables: Tables
    on_accelerator: bool
    """Whether it was traced on any device but the host."""
    is_marked: bool
    """Whether the profiler's schedule marked its steps; all of the trace is one step if not."""


def own_trace(path: Path) -> OwnTrace:
    """Return what a trace says that torch's profiler wrote anywhere, packed or not.

    Raises
    ------
    ValueError
        If it is no such trace, was cut short, or holds nothing to make tables of: one line.
    OSError
        If it cannot be read.
    """
    try:
        events = read_trace(path)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ValueError("it cannot be unpacked: it was cut short, or damaged") from None
    if any(launch.is_of_kernel for launch in events.launches.values()) and not events.work:
        words = worth_hearing(events.words)
        said = "".join(f"; the profiler says {one}" for one in words)
        raise ValueError(f"it holds launches, and nothing of what the device did{said}")
    marked = steps_of(events)
    steps = marked or whole_as_step(events)
    if not steps:
        raise ValueError("it holds no operators and no kernels of torch's profiler")
    # Of all devices, the same operators only call others.
    device_type = "cuda" if events.work else "cpu"
    tables = tables_of(steps, device_type, parts_of=StepParts)
    if not tables.step_ns:
        raise ValueError("nothing ran in the steps that it holds")
    return OwnTrace(tables, bool(events.work), bool(marked))
