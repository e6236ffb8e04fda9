"""The clock of accelerators, on every layer: eager time is the slower of host and device."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from sim_backend import configure, machine

from dynact import activations
from dynact.schema.cases import PHASES
from dynact.worker.device import open_device
from dynact.worker.layer import call_of, feed_of, prepared
from dynact.worker.modes import grad_mode
from tests.measuring import Bench
from tests.sweeping import case_of

WITHIN = 0.01
# A block of these takes long enough for the one kernel that a missing settling call adds to tell.
CALLS = 20


@contextmanager
def model(**values: float) -> Iterator[None]:
    usual = {
        "launch_ns": 1e4, "latency_ns": 2e3, "bytes_per_ns": 1.0, "flops_per_ns": 100.0,
        "throttled_from_ns": float("inf"), "throttled_factor": 1.0,
    }  # fmt: skip
    configure(0, **usual | values)
    try:
        yield
    finally:
        configure(0, **usual)


@pytest.mark.parametrize("launch_ns", [10.0, 3e4, 1e6])
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", activations.names())
def test_eager_time_is_the_slower_of_host_and_device(
    name: str, phase: str, launch_ns: float
) -> None:
    device = open_device("sim:0")
    case = case_of(name, phase=phase, device="sim:0", channels=16)
    with model(launch_ns=launch_ns), grad_mode(case):
        call = call_of(prepared(case, device), feed_of(case, device))
        call()
        machine.keep_diary(True)
        call()
        machine.keep_diary(False)
        kernels_ns = [kernel.end_ns - kernel.start_ns for kernel in machine.diary()]
        if not kernels_ns:
            assert name == "identity"
            return
        # What is still queued when a block begins must not give its host a head start.
        torch.relu(torch.empty(10**6, device="sim:0"))
        queueing_ns = len(kernels_ns) * launch_ns
        expected_ns = max(queueing_ns, sum(kernels_ns))
        assert device.clock.call_ns(call, CALLS) == pytest.approx(expected_ns, rel=1e-6)
        assert device.clock.queueing_ns(call) == pytest.approx(queueing_ns, abs=1)


def test_a_device_that_throttles_half_way_keeps_its_ratio() -> None:
    case = case_of("frelu", device="sim:0", channels=16, height=28, width=28)
    with model():
        bench = Bench(open_device("sim:0"))
        cool = bench.visit(case)
        before_ns = machine.host_ns()
        bench.visit(case)
        visit_ns = machine.host_ns() - before_ns
        with model(throttled_from_ns=machine.host_ns() + visit_ns / 2, throttled_factor=1.7):
            half = bench.visit(case)
            hot = bench.visit(case)
    for visit in (half, hot):
        assert visit.overhead == pytest.approx(cool.overhead, rel=WITHIN)
    assert hot.baseline_time_ns == pytest.approx(1.7 * cool.baseline_time_ns, rel=WITHIN)


def test_a_device_is_read_once_its_clock_is_up() -> None:
    case = case_of("frelu", device="sim:0", channels=16, height=14, width=14)
    with model():
        warm = Bench(open_device("sim:0")).visit(case)
    # Idle it is slower by 1980 MHz over 345, until it has worked for some 45 ms.
    slow = 1980 / 345
    idle = {
        "latency_ns": 2e3 * slow, "bytes_per_ns": 1 / slow, "flops_per_ns": 100 / slow,
        "throttled_from_ns": machine.host_ns() + 45e6, "throttled_factor": 1 / slow,
    }  # fmt: skip
    with model(**idle):
        first = Bench(open_device("sim:0")).visit(case, seconds=0)
    assert first.time_ns == pytest.approx(warm.time_ns, rel=WITHIN)
    assert first.overhead == pytest.approx(warm.overhead, rel=WITHIN)


def test_each_device_is_timed_by_its_own_events() -> None:
    with model():
        configure(1, bytes_per_ns=0.25, launch_ns=1e4, latency_ns=2e3)
        times = [
            Bench(open_device(device)).visit(
                case_of("gelu", device=device, channels=16, height=28, width=28)
            ).time_ns
            for device in ("sim:0", "sim:1")
        ]  # fmt: skip
    moved = 2 * 4 * 2 * 16 * 28 * 28
    assert times == pytest.approx([moved, 4 * moved], rel=WITHIN)
