"""The seam to a device: the real CPU, and an accelerator that only notes what it is asked."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from torch.profiler import ProfilerActivity

from dynact.timing import DeviceClock, EagerClock, EventClock, WallClock
from dynact.worker import device as device_module
from dynact.worker.device import (
    Accelerator,
    Cpu,
    cpu_model,
    is_host,
    nvidia_driver,
    open_device,
    unused_gpu,
)


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    # What a CUDA build of torch answers where there is no GPU.
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))


class NotedEvent:
    def __init__(self, notes: list[Any], device: torch.device, enable_timing: bool) -> None:
        notes.append(("Event", device, enable_timing))


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put two XPUs of 16 GiB each in the machine; returns what they are asked, in order."""
    notes: list[Any] = []

    def noting(name: str, *answers: Any) -> Any:
        in_turn = iter(answers)

        def call(*args: Any) -> Any:
            notes.append((name, *args))
            return next(in_turn, None)

        return call

    accelerator = torch.accelerator
    monkeypatch.setattr(accelerator, "is_available", lambda: True)
    monkeypatch.setattr(accelerator, "current_accelerator", lambda: torch.device("xpu"))
    monkeypatch.setattr(accelerator, "device_count", lambda: 2)
    for name in ("set_device_index", "synchronize", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(accelerator, name, noting(name))
    peaks = ({"allocated_bytes.all.peak": peak} for peak in (1_000, 8_000))
    monkeypatch.setattr(accelerator, "memory_stats", noting("statistics", *peaks))
    monkeypatch.setattr(
        torch,
        "get_device_module",
        lambda device: SimpleNamespace(
            get_device_name=lambda _: f"Maker's {device.type}",
            mem_get_info=noting("memory", (2**33, 2**34), (2**33, 2**34)),
        ),
    )
    monkeypatch.setattr(
        torch, "Event", lambda device, enable_timing: NotedEvent(notes, device, enable_timing)
    )
    return notes


@pytest.mark.usefixtures("no_accelerator")
@pytest.mark.parametrize("name", [None, "cpu"])
def test_without_an_accelerator_it_is_the_cpu(name: str | None) -> None:
    device = open_device(name)

    assert isinstance(device, Cpu)
    assert device.torch_device == torch.device("cpu")
    assert isinstance(device.clock, WallClock)
    assert device.memory_bytes == psutil.virtual_memory().total
    assert device.name == cpu_model()


@pytest.mark.usefixtures("no_accelerator")
@pytest.mark.parametrize("times", ["eager", "device"])
def test_a_cpu_has_one_time(times: str) -> None:
    with pytest.raises(ValueError, match=f"--clock {times}: on a CPU .* leave --clock out$"):
        open_device(None, times)

    assert isinstance(open_device(None, "both"), Cpu)


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("kind", ["xpu", "mps"])
def test_an_accelerator_tells_the_times_that_are_asked_for(kind: str) -> None:
    by_times = {
        times: Accelerator(torch.device(kind), times).clock for times in ("both", "eager", "device")
    }

    kinds = {times: type(clock) for times, clock in by_times.items()}
    assert kinds == {"both": EventClock, "eager": EagerClock, "device": DeviceClock}
    assert len({clock.min_block_ns for clock in by_times.values()}) == 1


@pytest.mark.usefixtures("no_accelerator")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "xpu", "gpu", "", "cpu:0", "CPU"])
def test_an_unknown_device_is_refused_and_those_there_are_named(name: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the whole message is compared)
        open_device(name)

    assert str(refusal.value) == f"device {name!r} is not there; this machine has: cpu"


def test_a_device_beyond_the_last_is_refused_and_those_there_are_named(notes: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"'xpu:2' is not there.*: cpu, xpu, xpu:0, xpu:1$"):
        open_device("xpu:2")

    assert notes == []


def test_the_cpu_can_be_asked_for_beside_an_accelerator(notes: list[Any]) -> None:
    assert isinstance(open_device("cpu"), Cpu)
    assert notes == []


@pytest.mark.parametrize(("name", "index"), [(None, 0), ("xpu", 0), ("xpu:0", 0), ("xpu:1", 1)])
def test_an_accelerator_is_made_current_before_anything_is_asked_of_it(
    notes: list[Any], name: str | None, index: int
) -> None:
    device = open_device(name)

    assert isinstance(device, Accelerator)
    assert notes[0] == ("set_device_index", index)
    assert device.torch_device == torch.device(name or "xpu")
    assert device.name == "Maker's xpu"
    assert device.memory_bytes == 2**34
    assert device.free_bytes() == 2**33
    assert isinstance(device.clock, EventClock)


def test_an_accelerator_asks_torch_for_its_own_device(notes: list[Any]) -> None:
    device = Accelerator(torch.device("xpu:1"))
    notes.clear()

    device.event()
    device.synchronize()
    device.release_memory()
    notes.append("now")
    peak_bytes = device.peak_bytes(lambda: notes.append("call"))

    own = torch.device("xpu:1")
    assert notes == [
        ("Event", own, True),
        ("synchronize", own),
        ("empty_cache",),
        "now",
        ("synchronize", own),
        ("reset_peak_memory_stats", own),
        ("statistics", own),
        "call",
        ("synchronize", own),
        ("statistics", own),
    ]
    assert peak_bytes == 7_000


class Blas:
    """CUDA's allocator and a library whose products need a workspace.

    Parameters
    ----------
    kept
        Whether the workspace stays until it is to be of another size, or is taken at each product.
    """

    tensor_bytes = 1_000_000

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, kept: bool) -> None:
        self.size = 2**25
        self._kept = kept
        self._workspace = 0
        self._allocated = self._peak = 3_000
        for name in ("cublas_workspace_size", "cublaslt_workspace_size"):
            monkeypatch.setattr(torch.backends.cuda, name, self._set)
        monkeypatch.setattr(torch.accelerator, "memory_stats", self._statistics)
        monkeypatch.setattr(torch.accelerator, "reset_peak_memory_stats", self._reset)

    def product(self) -> None:
        if self._workspace < self.size:
            self._allocate(self.size - self._workspace)
            self._workspace = self.size
        self._allocate(self.tensor_bytes)
        self._allocate(-self.tensor_bytes)
        if not self._kept:
            self._allocate(-self._workspace)
            self._workspace = 0

    def _allocate(self, size: int) -> None:
        self._allocated += size
        self._peak = max(self._peak, self._allocated)

    def _set(self, size: int | None = None) -> int:
        self.size = self.size if size is None else size
        return self.size

    def _statistics(self, _device: torch.device) -> dict[str, int]:
        return {"allocated_bytes.all.peak": self._peak}

    def _reset(self, _device: torch.device) -> None:
        self._peak = self._allocated


@pytest.mark.parametrize("kept", [True, False])
def test_a_library_s_workspace_is_not_of_the_peak(
    notes: list[Any], monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    device = Accelerator(torch.device("cuda"))
    blas = Blas(monkeypatch, kept=kept)
    blas.product()

    found = device.peak_bytes(blas.product)

    assert found is not None
    assert blas.tensor_bytes <= found <= blas.tensor_bytes + 2**14
    assert blas.size == 2**25
    assert notes


def test_a_workspace_is_as_before_where_a_call_fails(
    notes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    blas = Blas(monkeypatch, kept=True)

    with pytest.raises(ZeroDivisionError):
        Accelerator(torch.device("cuda")).peak_bytes(lambda: 1 / 0)

    assert blas.size == 2**25
    assert notes


def test_the_cpu_s_allocator_keeps_no_peak() -> None:
    assert Cpu().peak_bytes(lambda: None) is None


def fail(_device: torch.device) -> None:
    raise RuntimeError("Allocator for mps is not a DeviceAllocator.")


@pytest.mark.parametrize("statistics", [fail, lambda _device: {}])
def test_an_accelerator_without_statistics_keeps_no_peak_either(
    notes: list[Any], monkeypatch: pytest.MonkeyPatch, statistics: Any
) -> None:
    device = Accelerator(torch.device("xpu"))
    monkeypatch.setattr(torch.accelerator, "memory_stats", statistics)

    assert device.peak_bytes(lambda: notes.append("call")) is None
    assert "call" not in notes


def refuse() -> None:
    """Answer as torch 2.14.1 does on CUDA and on what captures nothing."""
    raise RuntimeError("Graph is not supported on this device")


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("kind", ["cuda", "cuda:1"])
def test_a_graph_on_cuda_is_cuda_s(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    graph = object()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.accelerator, "Graph", refuse)
    device = Accelerator(torch.device(kind))

    assert device.new_graph() is graph
    assert device.has_graphs


@pytest.mark.usefixtures("notes")
def test_a_graph_elsewhere_is_the_accelerator_s(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = object()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", refuse)
    monkeypatch.setattr(torch.accelerator, "Graph", lambda: graph)
    device = Accelerator(torch.device("xpu"))

    assert device.new_graph() is graph
    assert device.has_graphs


@pytest.mark.usefixtures("notes")
def test_what_torch_captures_nothing_on_has_no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "Graph", refuse)

    for device in (Accelerator(torch.device("mps")), Cpu()):
        assert not device.has_graphs
        with pytest.raises(RuntimeError):
            device.new_graph()


def test_the_processor_has_a_name_in_one_line() -> None:
    name = cpu_model()

    assert name.strip() == name != ""
    assert "\n" not in name


@pytest.mark.parametrize(
    ("line", "driver"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 2023",
            "535.104.05",
        ),
        (
            "NVIDIA UNIX Open Kernel Module for x86_64  570.86  Release Build  (ada@box)",
            "570.86",
        ),
        ("something else", None),
    ],
)
def test_the_driver_is_its_number_alone(tmp_path: Path, line: str, driver: str | None) -> None:
    version = tmp_path / "version"
    version.write_text(f"{line}\nGCC version:  gcc version 12.2.0\n")
    assert nvidia_driver(version) == driver


@pytest.mark.parametrize(
    ("cuda", "hidden", "said"),
    [
        ("13.0", None, "(CUDA 13.0) cannot use it: measuring the CPU"),
        (None, None, "(made without CUDA) cannot use it: measuring the CPU"),
        ("13.0", "", ""),
        ("13.0", "-1", ""),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_told(
    monkeypatch: pytest.MonkeyPatch, cuda: str | None, hidden: str | None, said: str
) -> None:
    monkeypatch.setattr(device_module, "nvidia_driver", lambda: "535.104")
    monkeypatch.setattr(torch.version, "cuda", cuda)
    if hidden is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    found = unused_gpu(Cpu())
    assert found.endswith(said)
    assert bool(found) == bool(said)
    if said:
        assert found.startswith(f"an NVIDIA driver 535.104 is here, torch {torch.__version__} (")


def test_nothing_is_told_of_a_gpu_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "nvidia_driver", lambda: None)
    assert unused_gpu(Cpu()) == ""


def test_apple_s_blocks_are_long(notes: list[Any]) -> None:
    clocks = [Accelerator(torch.device(kind)).clock for kind in ("mps", "xpu")]
    assert [clock.min_block_ns for clock in clocks] == [5e6, EventClock.min_block_ns]
    assert notes


def test_no_driver_where_there_is_none(tmp_path: Path) -> None:
    assert nvidia_driver(tmp_path / "version") is None


class TestWhatADeviceDecides:
    def test_the_larger_a_device_the_larger_its_matrices_and_copies(
        self, notes: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small = Accelerator(torch.device("xpu"))
        module = SimpleNamespace(mem_get_info=lambda _device: (2**36, 2**37))
        monkeypatch.setattr(torch, "get_device_module", lambda _device: module)
        large = Accelerator(torch.device("xpu"))

        assert Cpu.matrix_rows < small.matrix_rows < large.matrix_rows
        assert Cpu.largest_copy_bytes < large.largest_copy_bytes
        assert notes

    def test_only_a_cpu_s_threads_are_chosen(self, notes: list[Any]) -> None:
        assert Cpu().default_threads == 1
        assert Accelerator(torch.device("xpu")).default_threads is None
        assert notes

    @pytest.mark.parametrize(
        ("name", "activity"),
        [("cuda", "CUDA"), ("xpu:1", "XPU"), ("privateuseone", "PrivateUse1")],
    )
    def test_the_host_is_profiled_and_beside_it_the_device(
        self, notes: list[Any], name: str, activity: str
    ) -> None:
        own = getattr(ProfilerActivity, activity)

        assert Cpu().profiler_activities() == [ProfilerActivity.CPU]
        assert Accelerator(torch.device(name)).profiler_activities() == [ProfilerActivity.CPU, own]
        assert notes

    def test_apple_s_devices_are_unknown_to_the_profiler(self, notes: list[Any]) -> None:
        activities = Accelerator(torch.device("mps")).profiler_activities()
        assert activities == [ProfilerActivity.CPU]
        assert notes

    def test_only_the_cpu_is_the_host(self) -> None:
        assert [is_host(kind) for kind in ("cpu", "cuda", "xpu", "mps")] == [True] + 3 * [False]
        assert not Cpu.is_accelerator
        assert Accelerator.is_accelerator

    def test_an_accelerator_tells_clock_runtime_and_driver(
        self, notes: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        device = Accelerator(torch.device("xpu"))
        properties = SimpleNamespace(
            clock_rate=1_980_000, driver_version="1.6", major=9, minor=0, L2_cache_size=2**26
        )
        monkeypatch.setattr(
            torch,
            "get_device_module",
            lambda _: SimpleNamespace(get_device_properties=lambda _: properties),
        )

        said = device.describe()

        assert (said["max_khz"], said["driver"]) == (1_980_000, "1.6")
        assert (said["capability"], said["l2_bytes"]) == ("9.0", 2**26)
        assert said["multiprocessors"] is None
        assert Cpu().describe() == {}
        assert notes

    @pytest.mark.parametrize(
        ("properties", "cache_bytes"),
        [
            ({"L2_cache_size": 2**26}, 2**26),
            ({"last_level_cache_size": 2**24}, 2**24),
            # Of a device that has none, or does not tell.
            ({"L2_cache_size": 0}, None),
            ({}, None),
        ],
    )
    def test_an_accelerator_s_cache_is_what_torch_tells_of_it(
        self,
        notes: list[Any],
        monkeypatch: pytest.MonkeyPatch,
        properties: dict[str, int],
        cache_bytes: int | None,
    ) -> None:
        device = Accelerator(torch.device("xpu"))
        module = SimpleNamespace(get_device_properties=lambda _: SimpleNamespace(**properties))
        monkeypatch.setattr(torch, "get_device_module", lambda _: module)

        assert device.cache_bytes() == cache_bytes
        monkeypatch.setattr(torch.version, "hip", "7.0")
        assert device.cache_bytes() is None
        assert notes

    def test_the_cpu_s_cache_is_that_of_torch_s_threads(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(device_module, "last_level_bytes", lambda threads: 100 * threads)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3)

        assert Cpu().cache_bytes() == 300

    def test_apple_s_devices_tell_nothing_of_themselves(
        self, notes: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        device = Accelerator(torch.device("mps"))
        monkeypatch.setattr(torch, "get_device_module", lambda _: torch.mps)

        assert device.describe()["max_khz"] is None
        assert device.cache_bytes() is None
        assert notes

    def test_only_cuda_keeps_a_history_of_its_allocations(self, notes: list[Any]) -> None:
        calls: list[str] = []

        for device in (Cpu(), Accelerator(torch.device("xpu"))):
            assert device.allocations_of(lambda: calls.append("call")) is None
        assert calls == []
        assert notes
