"""The one seam to a device: its clock, its memory, its name, and all that it decides."""

import functools
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil
import torch

from dynact.schema.settings import BOTH
from dynact.timing import Clock, DeviceClock, EagerClock, EventClock, WallClock, fastest_ns
from dynact.timing.clock import Call
from dynact.worker.cpu_cache import last_level_bytes
from dynact.worker.nvidia import condition_of, set_up_of

if TYPE_CHECKING:
    from torch.profiler import ProfilerActivity

# What a device says of itself, and by which name torch's properties of it do, where it does.
PROPERTIES = {
    "max_khz": "clock_rate",
    "multiprocessors": "multi_processor_count",
    "l2_bytes": "L2_cache_size",
    "memory_max_khz": "memory_clock_rate",
    "memory_bus_bits": "memory_bus_width",
}
CACHE_PROPERTIES = ("L2_cache_size", "last_level_cache_size")
# The memory of an accelerator with so many processors that a small product leaves some idle.
LARGE_BYTES = 32 * 2**30
# Of a GPU's clock, which is hardly faster; one that is slower is held for longer.
CYCLES_PER_NS = 3.0
# Of a square matrix whose product takes much longer than queueing it, and little memory.
HOLDING_ROWS = 2048
# Of a linear algebra library's workspace, enough for any of its routines (cuBLAS, documentation of
# cublasSetWorkspace): its usual one is of up to 32 MiB.
LEAST_WORKSPACE_BYTES = 2**14
# Allocations and frees of a step to keep: it makes some hundred at most, an entry is a few KB.
MOST_ALLOCATIONS = 100_000


class Graph(Protocol):
    """Kernels that are captured once, and launched together by one call of the host."""

    def capture_begin(self) -> None:
        """Keep the kernels of the current stream, which is not the default one, from now on."""

    def capture_end(self) -> None:
        """Keep no more, and make them ready to be replayed."""

    def replay(self) -> None:
        """Launch them."""

    def reset(self) -> None:
        """Give up what is kept, and its memory."""


class Device(Protocol):
    """What measuring needs of the machine that does the work."""

    torch_device: torch.device
    is_accelerator: bool
    """Whether it has memory and a queue of its own, which the host does not wait for."""
    clock: Clock
    name: str
    """What its maker calls it."""
    memory_bytes: int
    """All the memory there is for tensors."""
    default_threads: int | None
    """Of torch on the host where nothing else is asked for; ``None`` is torch's own choice."""
    largest_copy_bytes: int
    """Of a tensor that few of its kind keep in a cache."""
    matrix_rows: int
    """Of a square matrix whose product comes near the device's peak."""

    @property
    def has_graphs(self) -> bool:
        """Whether torch can capture kernels on it, to replay them as a graph."""

    def new_graph(self) -> Graph:
        """Return a graph without kernels.

        Raises
        ------
        RuntimeError
            If torch can capture none on it.
        """

    def free_bytes(self) -> int:
        """Return how much memory nobody has taken."""

    def cache_bytes(self) -> int | None:
        """Return what its last-level cache holds; ``None`` where it does not say."""

    def synchronize(self) -> None:
        """Wait until all queued work is done."""

    def release_memory(self) -> None:
        """Give cached, unused memory back."""

    def bound_memory(self) -> None:
        """Let an allocation beyond what is free fail in this process, before the system does."""

    def peak_bytes(self, call: Call) -> int | None:
        """Return the most bytes that a call allocates at once, by the allocator's own statistics.

        ``None`` where it keeps none.
        """

    def allocations_of(self, call: Call) -> Any | None:
        """Return what the allocator did during a call, for torch's memory viewer.

        ``None`` where it keeps no history.
        """

    def profiler_activities(self) -> "Sequence[ProfilerActivity]":
        """Return what is to be profiled for work on it."""

    def condition(self) -> dict[str, Any]:
        """Return what may slow it just now, by names of `dynact.schema.visits.Visit`.

        What the host's own processors do for others is not asked here.
        """

    def describe(self) -> dict[str, Any]:
        """Return what a measurement depends on of it beside name and memory."""

    def __hash__(self) -> int:
        """Tell this device from others, as what was counted on it is kept."""


def open_device(name: str | None, times: str = BOTH) -> Device:
    """Return the device called ``name``: ``"cpu"``, ``"cuda"``, ``"xpu:1"`` and so on.

    ``None`` takes the accelerator where there is one, else the CPU.

    Parameters
    ----------
    times
        Which its clock tells, one of `dynact.schema.settings.TIMES`.

    Raises
    ------
    ValueError
        If there is no such device here, the message names those there are; or if ``times`` are
        asked for of one that has no two.
    """
    # current_accelerator() alone answers "cuda" on any CUDA build of torch.
    accelerator = (
        torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    )
    if name is None:
        name = accelerator.type if accelerator else Cpu.type
    if name == Cpu.type:
        if times != BOTH:
            raise ValueError(
                f"--clock {times}: on a CPU host and device are one, and there is one time; leave "
                "--clock out"
            )
        return Cpu()
    present = [Cpu.type]
    if accelerator:
        count = torch.accelerator.device_count()
        present += [accelerator.type, *(f"{accelerator.type}:{i}" for i in range(count))]
    if name not in present:
        raise ValueError(f"device {name!r} is not there; this machine has: {', '.join(present)}")
    return Accelerator(torch.device(name), times)


def is_host(device_type: str) -> bool:
    """Return whether a device of such a type, as ``"cuda"``, is the host itself."""
    return device_type == Cpu.type


def unused_gpu(device: Device) -> str:
    """Return in one line that there is a GPU of NVIDIA's that torch cannot use, if it is so."""
    driver = nvidia_driver()
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
    if device.is_accelerator or driver is None or hidden:
        return ""
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "made without CUDA"
    return (
        f"an NVIDIA driver {driver} is here, torch {torch.__version__} ({build}) cannot use it: "
        "measuring the CPU"
    )


class Cpu:
    """The host itself."""

    type = "cpu"

    is_accelerator = False
    default_threads: int | None = 1
    largest_copy_bytes = 2**27
    has_graphs = False
    # Near a CPU's peak, and still quick in a dtype it has to emulate.
    matrix_rows = 768

    def __init__(self) -> None:
        self.torch_device = torch.device(self.type)
        self.clock: Clock = WallClock()
        self.name = cpu_model()
        self.memory_bytes: int = psutil.virtual_memory().total

    def new_graph(self) -> Graph:
        """Refuse: a host launches no kernels."""
        raise RuntimeError("a CPU has no graphs")

    def free_bytes(self) -> int:
        """Return what the system would give without swapping."""
        return psutil.virtual_memory().available

    def cache_bytes(self) -> int | None:
        """Return what the caches of torch's threads hold, as the system tells."""
        return last_level_bytes(torch.get_num_threads())

    def synchronize(self) -> None:
        """Nothing is queued: a call returns when its work is done."""

    def release_memory(self) -> None:
        """Keep it: the worker's allocator is told to, as the accelerators' do."""

    def bound_memory(self) -> None:
        """Let an allocation beyond the free memory fail, or the system would kill processes."""
        if sys.platform == "linux":
            import resource

            available = psutil.Process().memory_info().data + psutil.virtual_memory().available
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (available, hard))

    def peak_bytes(self, _call: Call) -> int | None:
        """Return None: malloc does not say."""
        return None

    def allocations_of(self, _call: Call) -> Any | None:
        """Return None: malloc does not say."""
        return None

    def profiler_activities(self) -> "Sequence[ProfilerActivity]":
        """Return the host's."""
        # Here and below, for it takes as long to import as all of torch.
        from torch.profiler import ProfilerActivity

        return [ProfilerActivity.CPU]

    def condition(self) -> dict[str, Any]:
        """Return nothing: it is the host."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return nothing: the environment describes the host in any case."""
        return {}


class Accelerator:
    """Any device that ``torch.accelerator`` speaks for: CUDA, ROCm, XPU and others."""

    is_accelerator = True
    default_threads: int | None = None
    largest_copy_bytes = 2**31

    def __init__(self, device: torch.device, times: str = BOTH) -> None:
        torch.accelerator.set_device_index(device.index or 0)
        self.torch_device = device
        self.events = EagerClock(self) if times == "eager" else EventClock(self)
        if device.type == "mps":
            # Apple's events are stamped by the host, once it hears of them.
            self.events.min_block_ns = 5e6
        self.clock: Clock = DeviceClock(self.events) if times == "device" else self.events
        self._condition = condition_of(device)
        module = torch.get_device_module(device)
        self.name = str(getattr(module, "get_device_name", str)(device))
        self._memory_info = getattr(module, "mem_get_info", _of_the_host)
        self.memory_bytes: int = self._memory_info(device)[1]
        self.matrix_rows = 8192 if self.memory_bytes >= LARGE_BYTES else 4096

    @property
    def has_graphs(self) -> bool:
        """Whether torch knows how to capture some."""
        try:
            self.new_graph()
        except RuntimeError:
            return False
        return True

    def new_graph(self) -> Graph:
        """Return a graph of torch's, CUDA's own on CUDA and ROCm."""
        if self.torch_device.type == "cuda":
            # The other knows none of CUDA's up to torch 2.14.
            return torch.cuda.CUDAGraph()
        return torch.accelerator.Graph()

    def free_bytes(self) -> int:
        """Return how much memory no process has taken."""
        free: int = self._memory_info(self.torch_device)[0]
        return free

    def cache_bytes(self) -> int | None:
        """Return what its L2, or on XPU its last-level cache, holds."""
        if torch.version.hip:
            # Behind the L2 that torch tells of some of AMD's have a larger one.
            return None
        told = (getattr(self._properties, name, None) for name in CACHE_PROPERTIES)
        return next(filter(None, told), None)

    @property
    def _properties(self) -> Any:
        module = torch.get_device_module(self.torch_device)
        # Apple's devices have none.
        return getattr(module, "get_device_properties", lambda _device: None)(self.torch_device)

    def event(self) -> torch.Event:
        """Return a new event that can be timed."""
        return torch.Event(self.torch_device, enable_timing=True)

    def synchronize(self) -> None:
        """Wait until all queued work is done."""
        torch.accelerator.synchronize(self.torch_device)

    def hold(self, duration_ns: float) -> None:
        """Queue something that keeps the device busy for about so long."""
        if self.torch_device.type == "cuda":
            torch.cuda._sleep(int(CYCLES_PER_NS * duration_ns))  # type: ignore[no-untyped-call]
        else:
            self._product.queue(duration_ns)

    @functools.cached_property
    def _product(self) -> "_Product":
        return _Product(self)

    def release_memory(self) -> None:
        """Give cached, unused memory back."""
        torch.accelerator.empty_cache()

    def bound_memory(self) -> None:
        """Do nothing: an accelerator's allocator fails by itself."""

    def peak_bytes(self, call: Call) -> int | None:
        """Return the most bytes that a call allocates at once, by the allocator's own statistics.

        Blocks are rounded up (to 512 B on CUDA). What a library needs to work is included but for
        the workspace of matrix products, which is the same 32 MiB for a small layer and a network.
        ``None`` where torch has no statistics of this device's allocator.
        """
        with self._least_workspace(call):
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

    def allocations_of(self, call: Call) -> Any | None:
        """Return what `torch.cuda.memory._dump_snapshot` writes, with the history of one call.

        ``None`` on a device other than CUDA's (or ROCm's, which torch calls by the same name).
        """
        if self.torch_device.type != "cuda":
            return None
        memory = torch.cuda.memory
        memory._record_memory_history(
            max_entries=MOST_ALLOCATIONS, stacks="python", clear_history=True
        )
        try:
            call()
            self.synchronize()
            return memory._snapshot()
        finally:
            memory._record_memory_history(enabled=None)

    def profiler_activities(self) -> "Sequence[ProfilerActivity]":
        """Return the host's and the device's, if the profiler sees it: not so Apple's."""
        from torch.profiler import ProfilerActivity

        name = self.torch_device.type.upper()
        # A vendor's own, which torch does not know by name.
        if self.torch_device.type == torch._C._get_privateuse1_backend_name():
            name = "PrivateUse1"
        own = getattr(ProfilerActivity, name, None)
        return [ProfilerActivity.CPU] + ([] if own is None else [own])

    def condition(self) -> dict[str, Any]:
        """Return what others do on it and what holds its clock down, as far as it says."""
        return self._condition()

    def describe(self) -> dict[str, Any]:
        """Return what it is made of, how it is set up, the runtime and the driver."""
        properties = self._properties
        said = {name: getattr(properties, kept, None) for name, kept in PROPERTIES.items()}
        if properties is not None and hasattr(properties, "major"):
            said["capability"] = f"{properties.major}.{properties.minor}"
        if self.torch_device.type == "cuda":
            backends: Any = torch.backends
            # As torch names them: "none" leaves it to what is set for all of a kind.
            said |= {
                "matmul_precision": backends.cuda.matmul.fp32_precision,
                "convolution_precision": backends.cudnn.conv.fp32_precision,
                "cudnn": backends.cudnn.version(),
                "cudnn_benchmark": backends.cudnn.benchmark,
            }
        return {
            **said,
            **set_up_of(self.torch_device),
            "runtime": torch.version.cuda or torch.version.hip or torch.version.xpu,
            "driver": getattr(properties, "driver_version", None) or nvidia_driver(),
        }

    @contextmanager
    def _least_workspace(self, call: Call) -> Iterator[None]:
        """Leave matrix products the least workspace meanwhile.

        Up to torch 2.14 it is allocated once and kept, later at each product. No other device's
        can be set.
        """
        if self.torch_device.type != "cuda":
            yield
            return
        sizes = (
            torch.backends.cuda.cublas_workspace_size,
            torch.backends.cuda.cublaslt_workspace_size,
        )
        usual = [size() for size in sizes]
        try:
            for size in sizes:
                size(LEAST_WORKSPACE_BYTES)
            # One that is kept may be replaced at the next product.
            call()
            yield
        finally:
            for size, before in zip(sizes, usual, strict=True):
                size(before)

    def _most_allocated(self) -> int | None:
        statistics = torch.accelerator.memory_stats(self.torch_device)
        most: int | None = statistics.get("allocated_bytes.all.peak")
        return most


def _of_the_host(_device: torch.device) -> tuple[int, int]:
    """Return the free and all memory of a device that shares the host's, as Apple's do."""
    memory = psutil.virtual_memory()
    return memory.available, memory.total


class _Product:
    """A matrix product of a known time, for devices without a kernel that waits."""

    # Whatever mode it is first queued in, it is queued in others.
    @torch.inference_mode()
    def __init__(self, device: Accelerator) -> None:
        self._factor = torch.ones(HOLDING_ROWS, HOLDING_ROWS, device=device.torch_device)
        self._result = torch.empty_like(self._factor)
        self._each_ns = fastest_ns(self._multiply, device.events)

    @torch.inference_mode()
    def queue(self, duration_ns: float) -> None:
        for _ in range(ceil(duration_ns / self._each_ns)):
            self._multiply()

    def _multiply(self) -> None:
        torch.mm(self._factor, self._factor, out=self._result)


def cpu_model() -> str:
    """Return the processor's brand string, or its architecture where the system hides it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def nvidia_driver(path: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """Return the version of the NVIDIA kernel module, or None where there is none."""
    if not path.exists():
        return None
    # The number alone: the line also names who built the module, on which host.
    first_line = path.read_text(encoding="utf-8").split("\n", 1)[0]
    version_number = re.search(r"\d+\.\d+(\.\d+)?", first_line)
    return version_number[0] if version_number else None
