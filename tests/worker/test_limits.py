"""The ceilings of a simulated device whose copies and products take known times."""

import json
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dynact.schema.cases import DTYPES
from dynact.schema.limits import Ceilings
from dynact.timing import Clock
from dynact.worker import limits as ceilings
from dynact.worker.device import Cpu
from dynact.worker.limits import SMALLEST_BYTES, measure_limits
from tests.fake_device import FakeAccelerator, VirtualEventClock

FLOPS_PER_S = {torch.float32: 1e12, torch.float64: 5e11, torch.bfloat16: 4e12, torch.float16: 3e12}


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    # A thousandth second of virtual time is thousands of calls that really are made.
    monkeypatch.setattr(ceilings, "SECONDS_EACH", 0.001)


SIZES = [2**power for power in range(14, 28)]


class VirtualTime(Cpu):
    """The CPU's tensors and a fake accelerator's time."""

    def free_bytes(self) -> int:
        return 2**40

    def __init__(self) -> None:
        super().__init__()
        self.accelerator = FakeAccelerator(launch_ns=1.0)
        self.clock: Clock = VirtualEventClock(self.accelerator)


class Kernels(TorchDispatchMode):
    """Copies and products that do nothing, for as long as the device would take."""

    def __init__(
        self,
        device: VirtualTime,
        most_bytes: float,
        dtypes: tuple[Any, ...],
        rates: tuple[float, float] = (1, 1),
    ) -> None:
        super().__init__()
        operators = torch.ops.aten.copy_.default, torch.ops.aten.add.out
        self._tensors_moved = dict(zip(operators, zip(rates, (2, 3), strict=True), strict=True))
        self._accelerator = device.accelerator
        self._most_bytes = most_bytes
        self._dtypes = dtypes

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self._tensors_moved:
            size = args[0].nbytes
            if size > self._most_bytes:
                raise torch.OutOfMemoryError("too large")
            rate, tensors = self._tensors_moved[func]
            self._accelerator.launch(tensors * size / (rate * copy_rate(size)) * 1e9, "copy")
            return args[0]
        if func is torch.ops.aten.mm.out:
            if args[0].dtype not in self._dtypes:
                raise NotImplementedError("not implemented for this dtype")
            side = args[0].shape[0]
            flops_per_s = FLOPS_PER_S[args[0].dtype]
            self._accelerator.launch(2 * side**3 / flops_per_s * 1e9, "product")
            return kwargs["out"]
        return func(*args, **(kwargs or {}))


def copy_rate(size: int) -> float:
    """Fast in a cache of 2 MiB, slow beyond."""
    return 4e11 if size <= 2**20 else 1e11


def found(
    most_bytes: float = float("inf"),
    dtypes: tuple[Any, ...] = tuple(FLOPS_PER_S),
    rates: tuple[float, float] = (1, 1),
    device: VirtualTime | None = None,
) -> Any:
    device = device or VirtualTime()
    with Kernels(device, most_bytes, dtypes, rates):
        return measure_limits(device)


def test_it_reads_the_device_s_own_rates() -> None:
    record = found()

    assert [copy["bytes"] for copy in record["copies"]] == SIZES
    for copy in record["copies"]:
        assert copy["bytes_per_s"] == pytest.approx(copy_rate(copy["bytes"]), rel=0.02)
    # The smallest, by a copy: two tensors are moved sooner than three.
    assert record["call_s"] == pytest.approx(2 * SMALLEST_BYTES / 4e11, rel=0.02)
    assert set(record["flops_per_s"]) == set(DTYPES)
    for dtype, rate in record["flops_per_s"].items():
        assert rate == pytest.approx(FLOPS_PER_S[getattr(torch, dtype)], rel=0.02)


class ColdKernels(Kernels):
    """Every copy after a flush is as slow as beyond the cache, and a product takes longer."""

    def __init__(self, device: VirtualTime) -> None:
        super().__init__(device, float("inf"), tuple(FLOPS_PER_S))
        self._is_cold = False
        device.clock = device.clock.flushed_by(self._flush)

    def _flush(self) -> None:
        self._accelerator.launch(1e6, "flush")
        self._is_cold = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cold, self._is_cold = self._is_cold, False
        if cold and func in self._tensors_moved:
            _, tensors = self._tensors_moved[func]
            self._accelerator.launch(tensors * args[0].nbytes / 1e11 * 1e9, "copy")
            return args[0]
        if cold:
            self._accelerator.launch(1e9, "what a product finds not in the cache")
        return super().__torch_dispatch__(func, types, args, kwargs)


def test_from_cold_caches_moving_is_the_memory_s_and_multiplying_as_from_warm_ones() -> None:
    device = VirtualTime()
    with ColdKernels(device):
        record = measure_limits(device)

    for copy in record["copies"]:
        assert copy["bytes_per_s"] == pytest.approx(1e11, rel=0.02)
    assert record["call_s"] == pytest.approx(2 * SMALLEST_BYTES / 1e11, rel=0.02)
    for dtype, rate in record["flops_per_s"].items():
        assert rate == pytest.approx(FLOPS_PER_S[getattr(torch, dtype)], rel=0.02)


def test_the_record_survives_json_and_bounds_what_it_says() -> None:
    stored = Ceilings.of(json.loads(json.dumps(found())))

    assert stored.bandwidth_bytes_per_s(2**20) == pytest.approx(4e11, rel=0.02)
    assert stored.bandwidth_bytes_per_s(2**26) == pytest.approx(1e11, rel=0.02)
    assert stored.flops_per_s["bfloat16"] == pytest.approx(4e12, rel=0.02)


def test_what_the_device_cannot_do_is_left_out() -> None:
    record = found(most_bytes=2**22, dtypes=(torch.float32,))

    assert [copy["bytes"] for copy in record["copies"]] == [size for size in SIZES if size <= 2**22]
    assert set(record["flops_per_s"]) == {"float32"}


@pytest.mark.parametrize("rates", [(2, 1), (1, 2)])
def test_the_fastest_way_of_moving_counts(rates: tuple[float, float]) -> None:
    for copy in found(rates=rates)["copies"]:
        assert copy["bytes_per_s"] == pytest.approx(2 * copy_rate(copy["bytes"]), rel=0.02)


def test_copies_leave_half_of_what_is_free() -> None:
    class Full(VirtualTime):
        def free_bytes(self) -> int:
            return 6 * 2**20

    assert max(copy["bytes"] for copy in found(device=Full())["copies"]) == 2**20


def test_a_device_that_copies_nothing_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^cpu could not even copy 16384 bytes$"):
        found(most_bytes=0)


def test_the_fastest_block_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cpu, "largest_copy_bytes", SMALLEST_BYTES)
    monkeypatch.setattr(ceilings, "SECONDS_EACH", 0.02)
    device = VirtualTime()
    # Two milliseconds out of three something else makes the device three times slower.
    device.accelerator._slowness = lambda now_ns: 1.0 if now_ns // 1e6 % 3 == 2 else 3.0
    with Kernels(device, float("inf"), tuple(FLOPS_PER_S)):
        record = measure_limits(device)

    for copy in record["copies"]:
        assert copy["bytes_per_s"] == pytest.approx(copy_rate(copy["bytes"]), rel=0.02)
