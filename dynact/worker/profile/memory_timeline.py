"""What memory is for over the time of a trace, as torch's profiler tells it."""

import json
import tempfile
import warnings
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import profile

from dynact.worker.device import Device


@dataclass(frozen=True)
class MemoryTimeline:
    """Bytes by category, each time after one that is allocated or freed changed it."""

    times_us: list[int]
    """Since 1970, by the host's clock."""
    bytes_by_category: list[list[int]]
    """For each time, in torch's order of categories."""

    def within(self, begin_ns: int, end_ns: int) -> "MemoryTimeline":
        """Return the part between two times since 1970, with what was there at its begin."""
        first, last = (bisect_left(self.times_us, ns // 1000) for ns in (begin_ns, end_ns))
        before = self.bytes_by_category[max(first - 1, 0) :][:1]
        return MemoryTimeline(
            [begin_ns // 1000, *self.times_us[first:last]],
            [*before, *self.bytes_by_category[first:last]],
        )


def memory_timeline(profiler: profile, device: Device) -> MemoryTimeline:
    """Return what a profiler that was told to look at memory, shapes and stacks knows of it.

    The figures are those of torch's `export_memory_timeline`, which torch 2.14 still has but
    calls deprecated.
    """
    # Tensors name their device with its number, but the host without.
    name = str(torch.empty(0, device=device.torch_device).device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "timeline.json"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            profiler.export_memory_timeline(str(path), name)
        times_us, bytes_by_category = json.loads(path.read_text(encoding="utf-8"))
    # Before the first category there is a column of zeros.
    return MemoryTimeline(times_us, [of_time[1:] for of_time in bytes_by_category])
