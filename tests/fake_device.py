"""Accelerators that are not there: their time is virtual, their memory is what a test says."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from dynact.timing import Clock, EventClock
from dynact.timing.clock import Call
from dynact.worker.device import Cpu


class FakeAccelerator:
    """Host time and a device's timeline, in virtual ns: a host that queues kernels run in turn.

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
    most_queued
        Kernels that the queue has room for: the host waits until the next has some.
    """

    def __init__(
        self,
        *,
        launch_ns: float = 1e3,
        resolution_ns: float = 1.0,
        slowness: Callable[[float], float] = lambda _now_ns: 1.0,
        memory_bytes: int = 2**30,
        most_queued: int = 2**20,
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
        # The ends of the kernels queued last.
        self._ends_ns = deque[float](maxlen=most_queued)

    def launch(self, kernel_ns: float, name: str = "kernel") -> None:
        self.replay(name, kernel_ns)

    def replay(self, name: str, *kernels_ns: float) -> None:
        """Launch kernels as a graph: in the time of one for the host, with room for each."""
        self.diary.append(name)
        launch_ns = self._launch_ns
        for kernel_ns in kernels_ns:
            if len(self._ends_ns) == self._ends_ns.maxlen:
                self.host_ns = max(self.host_ns, self._ends_ns[0])
            self.host_ns += launch_ns
            launch_ns = 0
            start_ns = max(self.host_ns, self.free_ns)
            self.free_ns = start_ns + kernel_ns * self._slowness(start_ns)
            self._ends_ns.append(self.free_ns)

    def work(self, name: str, *kernels_ns: float) -> Call:
        """Return a call that launches these kernels, one after the other."""

        def call() -> None:
            for kernel_ns in kernels_ns:
                self.launch(kernel_ns, name)

        return call

    def allocate(self, size_bytes: int) -> None:
        if size_bytes > self.memory_bytes:
            raise torch.OutOfMemoryError(f"tried to allocate {size_bytes} bytes")

    def free_bytes(self) -> int:
        return self.memory_bytes

    def event(self) -> "FakeEvent":
        return FakeEvent(self)

    def synchronize(self) -> None:
        self.diary.append("synchronize")
        self.host_ns = max(self.host_ns, self.free_ns)

    def hold(self, duration_ns: float) -> None:
        self.launch(duration_ns, "hold")

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

    def query(self) -> bool:
        return self.stamp_ns is not None and self.stamp_ns <= self._device.host_ns

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

    def _host_ns(self) -> float:
        return self._fake.host_ns

    def _block_ns(self, call: Call, calls: int) -> float:
        # Or work that takes no time at all would be repeated for ever.
        assert calls < 10_000, "what is timed launches nothing"
        return super()._block_ns(call, calls)


class VirtualDevice(Cpu):
    """Tensors of torch, a fake accelerator's time, and notes of memory released.

    Parameters
    ----------
    torch_device
        ``"meta"`` is a device other than the CPU, where operators compute nothing.
    """

    def __init__(self, torch_device: str = "cpu") -> None:
        super().__init__()
        self.torch_device = torch.device(torch_device)
        self.accelerator = FakeAccelerator(launch_ns=1e3)
        self.clock: Clock = VirtualEventClock(self.accelerator)
        self.released = 0

    def release_memory(self) -> None:
        self.released += 1


class Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, operators of torch launch kernels on a fake accelerator.

    Parameters
    ----------
    kernel_ns
        What a kernel takes, by the operator's short name (``"relu"``) and the tensor returned;
        no kernel is launched for 0.
    """

    def __init__(
        self, accelerator: FakeAccelerator, kernel_ns: Callable[[str, Tensor], float]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._accelerator = accelerator
        self._kernel_ns = kernel_ns

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Or torch imports all of dynamo, for seconds, at the first operator.
        return False

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if isinstance(result, Tensor) and (kernel_ns := self._kernel_ns(name, result)):
            self._accelerator.launch(kernel_ns, name)
        return result


class LazyLibrary(Cpu):
    """A device whose library sets up a workspace when a module first meets a shape and a mode."""

    needed_bytes = 1_000
    """What a call takes that meets nothing new."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_in: list[tuple[int, bool, bool]] = []
        """Batch, train mode and grad mode of each module in the last call asked the peak of."""
        self._met: list[tuple[int, bool, bool]] = []
        self._set_up = WeakKeyDictionary[nn.Module, set[object]]()
        self._workspace_bytes = 0

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """See every call of a module, measured for its peak or not."""
        handle = register_module_forward_pre_hook(self._meet)
        try:
            yield
        finally:
            handle.remove()

    def peak_bytes(self, call: Call) -> int | None:
        self._workspace_bytes = 0
        self._met.clear()
        call()
        self.asked_in = self._met.copy()
        return self.needed_bytes + self._workspace_bytes

    def _meet(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        condition = (args[0].shape, module.training, torch.is_grad_enabled())
        known = self._set_up.setdefault(module, set())
        if condition not in known:
            known.add(condition)
            self._workspace_bytes += 2**20
        self._met.append((len(args[0]), module.training, torch.is_grad_enabled()))
