"""An accelerator in virtual time: a host that queues kernels, a device that runs them in turn."""

from collections.abc import Callable

import numpy as np
import torch

from dynact.timing import EventClock
from dynact.timing.clock import Call


class FakeAccelerator:
    """Host time and a device's timeline, in virtual ns.

    Launching a kernel costs the host ``launch_ns``; the kernel starts when it has been launched
    and the device is free. Waiting brings the host to where the device is.

    Parameters
    ----------
    launch_ns
        The host's time to queue one kernel.
    resolution_ns
        Time stamps are whole multiples of it, rounded down.
    slowness
        Factor on the duration of a kernel that starts at a given virtual time.
    memory_bytes
        Asking for more than that at once raises ``torch.OutOfMemoryError``.
    """

    def __init__(
        self,
        *,
        launch_ns: float = 1e3,
        resolution_ns: float = 1.0,
        slowness: Callable[[float], float] = lambda _now_ns: 1.0,
        memory_bytes: int = 2**30,
    ) -> None:
        self.host_ns = 0.0
        self.free_ns = 0.0
        """When the device will have run all that is queued."""
        self.diary: list[str] = []
        """What the host has asked for, in order."""
        self.memory_bytes = memory_bytes
        self._launch_ns = launch_ns
        self._resolution_ns = resolution_ns
        self._slowness = slowness

    def launch(self, kernel_ns: float, name: str = "kernel") -> None:
        self.diary.append(name)
        self.host_ns += self._launch_ns
        start_ns = max(self.host_ns, self.free_ns)
        self.free_ns = start_ns + kernel_ns * self._slowness(start_ns)

    def work(self, name: str, *kernels_ns: float) -> Call:
        """Return a call that launches these kernels, one after the other."""

        def call() -> None:
            for kernel_ns in kernels_ns:
                self.launch(kernel_ns, name)

        return call

    def allocate(self, size_bytes: int) -> None:
        if size_bytes > self.memory_bytes:
            raise torch.OutOfMemoryError(f"tried to allocate {size_bytes} bytes")

    def event(self) -> "FakeEvent":
        return FakeEvent(self)

    def synchronize(self) -> None:
        self.diary.append("synchronize")
        self.host_ns = max(self.host_ns, self.free_ns)

    def stamp(self) -> float:
        self.diary.append("record")
        now_ns = max(self.host_ns, self.free_ns)
        return now_ns // self._resolution_ns * self._resolution_ns


class FakeEvent:
    """A time stamp in the device's queue; reading it before it has happened is an error."""

    def __init__(self, device: FakeAccelerator) -> None:
        self._device = device
        self.stamp_ns: float | None = None

    def record(self) -> None:
        self.stamp_ns = self._device.stamp()

    def elapsed_time(self, end_event: "FakeEvent", /) -> float:
        for event in (self, end_event):
            if event.stamp_ns is None or event.stamp_ns > self._device.host_ns:
                raise RuntimeError("the event has not happened yet")
        assert self.stamp_ns is not None
        assert end_event.stamp_ns is not None
        # CUDA hands out a single-precision number.
        return float(np.float32((end_event.stamp_ns - self.stamp_ns) / 1e6))


class VirtualEventClock(EventClock):
    """The event clock of a fake accelerator; its host's time is virtual too."""

    def __init__(self, device: FakeAccelerator, flush: Call | None = None) -> None:
        super().__init__(device, flush)
        self._fake = device

    def now_s(self) -> float:
        return self._fake.host_ns / 1e9
