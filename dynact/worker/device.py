"""The one seam to a device: its clock, its memory, its name."""

import platform
from pathlib import Path
from typing import Protocol

import psutil
import torch

from dynact.timing import Clock, EventClock, WallClock
from dynact.timing.clock import Call


class Device(Protocol):
    """What measuring needs of the machine that does the work."""

    torch_device: torch.device
    clock: Clock
    name: str
    """What its maker calls it."""
    memory_bytes: int
    """All the memory there is for tensors."""

    def release_memory(self) -> None:
        """Give cached, unused memory back."""

    def peak_bytes(self, call: Call) -> int | None:
        """Return the most bytes that a call allocates at once, by the allocator's own statistics.

        ``None`` where it keeps none.
        """

    def __hash__(self) -> int:
        """Tell this device from others, as what was counted on it is kept."""


def open_device(name: str | None) -> Device:
    """Return the device called ``name``: ``"cpu"``, ``"cuda"``, ``"xpu:1"`` and so on.

    ``None`` takes the accelerator where there is one, else the CPU.

    Raises
    ------
    ValueError
        If there is no such device here; the message names those there are.
    """
    # current_accelerator() alone answers "cuda" on any CUDA build of torch.
    accelerator = (
        torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    )
    if name is None:
        name = accelerator.type if accelerator else "cpu"
    if name == "cpu":
        return Cpu()
    present = ["cpu"]
    if accelerator:
        count = torch.accelerator.device_count()
        present += [accelerator.type, *(f"{accelerator.type}:{i}" for i in range(count))]
    if name not in present:
        raise ValueError(f"device {name!r} is not there; this machine has: {', '.join(present)}")
    return Accelerator(torch.device(name))


class Cpu:
    """The host itself."""

    def __init__(self) -> None:
        self.torch_device = torch.device("cpu")
        self.clock: Clock = WallClock()
        self.name = cpu_model()
        self.memory_bytes: int = psutil.virtual_memory().total

    def release_memory(self) -> None:
        """Keep it: the worker's allocator is told to, as the accelerators' do."""

    def peak_bytes(self, _call: Call) -> int | None:
        """Return None: malloc does not say."""
        return None


class Accelerator:
    """Any device that ``torch.accelerator`` speaks for: CUDA, ROCm, XPU and others."""

    def __init__(self, device: torch.device) -> None:
        torch.accelerator.set_device_index(device.index or 0)
        self.torch_device = device
        self.clock: Clock = EventClock(self)
        # torch.accelerator itself tells neither before torch 2.10.
        module = torch.get_device_module(device)
        self.name = str(getattr(module, "get_device_name", str)(device))
        self.memory_bytes: int = (
            module.mem_get_info(device)[1]
            if hasattr(module, "mem_get_info")
            else psutil.virtual_memory().total  # a device that shares the host's, as Apple's do
        )

    def event(self) -> torch.Event:
        """Return a new event that can be timed."""
        return torch.Event(self.torch_device, enable_timing=True)

    def synchronize(self) -> None:
        """Wait until all queued work is done."""
        torch.accelerator.synchronize(self.torch_device)

    def release_memory(self) -> None:
        """Give cached, unused memory back."""
        torch.accelerator.empty_cache()

    def peak_bytes(self, call: Call) -> int | None:
        """Return the most bytes that a call allocates at once, by the allocator's own statistics.

        Blocks are rounded up (to 512 B on CUDA), and what a library needs to work is included.
        ``None`` where torch has no statistics of this device's allocator.
        """
        self.synchronize()
        try:
            torch.accelerator.reset_peak_memory_stats(self.torch_device)
            before = self._most_allocated()
        except RuntimeError:
            return None
        if before is None:
            return None
        call()
        self.synchronize()
        return (self._most_allocated() or 0) - before

    def _most_allocated(self) -> int | None:
        statistics = torch.accelerator.memory_stats(self.torch_device)
        most: int | None = statistics.get("allocated_bytes.all.peak")
        return most


def cpu_model() -> str:
    """Return the processor's brand string, or its architecture where the system hides it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()
