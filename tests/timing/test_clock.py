"""The clocks: what goes before a timed call, and what an accelerator's queue does to a time."""

import time
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.timing import (
    DeviceClock,
    EagerClock,
    EventClock,
    Pair,
    WallClock,
    compare,
    fastest_ns,
)
from dynact.timing.clock import Call, NotQueuedError
from tests.fake_device import FakeAccelerator, VirtualEventClock


@given(
    target_ns=st.floats(5e3, 5e6),
    baseline_ns=st.floats(5e3, 5e6),
    launch_ns=st.floats(100, 4e3),
)
def test_overhead_is_that_of_the_kernels_where_the_host_keeps_ahead(
    target_ns: float, baseline_ns: float, launch_ns: float
) -> None:
    device = FakeAccelerator(launch_ns=launch_ns)

    result = compare(
        device.work("T", target_ns), device.work("B", baseline_ns), clock=VirtualEventClock(device)
    )

    assert result.overhead == pytest.approx(target_ns / baseline_ns, rel=1e-3)
    assert result.target_ns == pytest.approx(target_ns, rel=1e-3)
    assert result.baseline_ns == pytest.approx(baseline_ns, rel=1e-3)


@pytest.mark.parametrize("max_seconds", [0.2, 0.5])
def test_a_host_that_runs_ahead_reads_device_time_and_stays_within_its_budget(
    max_seconds: float,
) -> None:
    # Unwaited for, 1 µs of the host would queue 1 ms of the device: a budget overrun 1000 times.
    # Never narrow enough: the comparison goes on until its time is over.
    jitter = 0.05
    random = Random(4)
    device = FakeAccelerator(launch_ns=1e3, slowness=lambda _now_ns: random.uniform(1, 1 + jitter))

    result = compare(
        device.work("T", 2e6),
        device.work("B", 1e6),
        clock=VirtualEventClock(device),
        precision=1e-6,
        max_seconds=max_seconds,
    )

    # A round: two blocks and two settling calls a side, 2 ms each but for one of 1 ms.
    round_ns = (2 * (2e6 + 2e6) + 2 * (1e6 + 2e6)) * (1 + jitter)
    estimating_ns = round_ns * 3
    # Each block is settled by a call of its own.
    warming_up_ns = 2 * VirtualEventClock.warm_up_ns + round_ns
    assert not result.converged
    assert device.host_ns == device.free_ns
    assert device.host_ns <= max_seconds * 1e9 + round_ns + estimating_ns + warming_up_ns
    assert result.overhead == pytest.approx(2, rel=jitter)
    assert 1e6 <= result.baseline_ns <= (1 + jitter) * 1e6


@pytest.mark.parametrize("target_ns", [400, 800, 1000, 1200])
def test_kernels_too_short_for_the_clock_still_give_the_ratio(target_ns: float) -> None:
    device = FakeAccelerator(launch_ns=100, resolution_ns=1e3)

    result = compare(
        device.work("T", target_ns), device.work("B", 400), clock=VirtualEventClock(device)
    )

    # 1 µs either way on blocks of 200 µs.
    assert result.overhead == pytest.approx(target_ns / 400, rel=0.01)
    assert result.baseline_ns == pytest.approx(400, rel=0.01)


def test_a_host_too_slow_for_its_device_reads_what_eager_mode_gets() -> None:
    device = FakeAccelerator(launch_ns=5e3)
    four_kernels = device.work("T", 500, 500, 500, 500)
    one_kernel = device.work("B", 2e3)

    result = compare(four_kernels, one_kernel, clock=VirtualEventClock(device))

    # The kernels take 2 µs on either side; launching them takes 20 µs against 5.
    assert result.overhead == pytest.approx(4, rel=0.02)
    assert result.target_ns == pytest.approx(20e3, rel=0.02)
    assert result.baseline_ns == pytest.approx(5e3, rel=0.02)


@pytest.mark.parametrize(
    ("target_ns", "baseline_ns", "overhead", "shares"),
    [
        # Twelve kernels of 0.5 µs and one of 2, each queued in 5: the host's time on both sides.
        (12 * [500.0], [2e3], 12, (1, 1)),
        (12 * [50e3], [200e3], 3, (60 / 600, 5 / 200)),
        # The device alone decides of the one.
        (12 * [500.0], [20e3], 3, (1, 5 / 20)),
        (12 * [4e3], [100e3], 0.6, (1, 5 / 100)),
        (12 * [6e3], [2e3], 72 / 5, (60 / 72, 1)),
    ],
)
def test_the_hosts_share_of_a_time_is_told(
    target_ns: list[float], baseline_ns: list[float], overhead: float, shares: tuple[float, float]
) -> None:
    # Of fewer kernels than a block, so that the host waits in the blocks.
    device = FakeAccelerator(launch_ns=5e3, most_queued=20)
    pair = Pair(
        device.work("T", *target_ns), device.work("B", *baseline_ns), VirtualEventClock(device)
    )

    readings = pair.visit(0.01)

    assert readings.ratios == pytest.approx([overhead] * len(readings.ratios), rel=0.01)
    target, baseline = (
        np.divide(queueing_ns, np.median(block_ns))
        for queueing_ns, block_ns in (
            (readings.target_queueing_ns, readings.target_ns),
            (readings.baseline_queueing_ns, readings.baseline_ns),
        )
    )
    assert target == pytest.approx(shares[0], rel=0.01)
    assert baseline == pytest.approx(shares[1], rel=0.01)


@pytest.mark.parametrize("launch_ns", [100, 5e3, 100e3])
def test_the_device_alone_is_read_with_a_head_start(launch_ns: float) -> None:
    device = FakeAccelerator(launch_ns=launch_ns, most_queued=1024)
    pair = Pair(device.work("T", *12 * [500.0]), device.work("B", 2e3), VirtualEventClock(device))

    readings = pair.visit(0.001)

    assert readings.target_device_ns == pytest.approx(12 * 500)
    assert readings.baseline_device_ns == pytest.approx(2e3)


def test_a_held_block_is_settled_once_and_waited_for() -> None:
    device = FakeAccelerator(launch_ns=100)

    VirtualEventClock(device).device_ns(device.work("T", 500), 3)

    # One call tells how long queueing takes.
    block = ["hold", "T", "record", "T", "T", "T", "record", "synchronize"]
    assert device.diary == ["synchronize", "T", *block]


def test_a_hold_that_was_too_short_is_made_longer() -> None:
    device = FakeAccelerator(launch_ns=5e3)
    queued: list[float] = []

    def hold(duration_ns: float) -> None:
        queued.append(duration_ns)
        device.launch(duration_ns / 5)

    device.hold = hold  # type: ignore[method-assign]

    assert VirtualEventClock(device).device_ns(device.work("T", 500), 20) == pytest.approx(500)
    assert queued == pytest.approx([2 * 21 * 5e3, 8 * 3 * 5e3])


@pytest.mark.parametrize("calls", [1, 3, 20, 100])
def test_calls_of_many_kernels_are_queued_ahead_as_far_as_there_is_room(calls: int) -> None:
    device = FakeAccelerator(launch_ns=5e3, most_queued=1024)

    def call() -> None:
        device.replay("graph", *60 * [500.0])

    assert VirtualEventClock(device).device_ns(call, calls) == pytest.approx(60 * 500)


def test_what_cannot_be_queued_ahead_has_no_time_of_the_device_alone() -> None:
    device = FakeAccelerator(launch_ns=5e3, most_queued=100)

    def waits() -> None:
        device.launch(500)
        device.synchronize()

    clock = VirtualEventClock(device)
    assert clock.device_ns(waits, 20) is None
    # More kernels than there is room for.
    assert clock.device_ns(device.work("T", *200 * [500.0]), 20) is None
    assert clock.device_ns(device.work("T", *5000 * [500.0]), 20) is None
    # Of what was tried, nothing is left queued.
    assert device.host_ns >= device.free_ns
    cold = VirtualEventClock(device, flush=device.work("flush", 1e4))
    assert cold.device_ns(waits, 20) is None
    assert WallClock().device_ns(lambda: None, 1) is None


def test_a_device_that_becomes_slower_favours_neither_side_of_its_own_time() -> None:
    slower = 1.0

    def slowness(_now_ns: float) -> float:
        nonlocal slower
        slower *= 1.0001
        return slower

    device = FakeAccelerator(launch_ns=1e3, slowness=slowness)
    pair = Pair(device.work("T", 2e3), device.work("B", 2e3), VirtualEventClock(device))

    found = [pair.visit(0.001) for _ in range(4)]
    ratios = [one.target_device_ns / one.baseline_device_ns for one in found]  # type: ignore[operator]

    first, second, third, fourth = ratios
    assert first < 0.999 < 1.001 < second
    assert first * second == pytest.approx(1, abs=2e-3)
    assert third * fourth == pytest.approx(1, abs=2e-3)


def test_what_cannot_be_queued_ahead_is_tried_in_one_visit_alone() -> None:
    device = FakeAccelerator(launch_ns=5e3, most_queued=250)
    pair = Pair(device.work("T", *400 * [500.0]), device.work("B", 2e3), VirtualEventClock(device))

    readings = pair.visit(0)
    assert readings.target_device_ns is None
    assert readings.baseline_device_ns == pytest.approx(2e3)
    held = device.diary.count("hold")
    assert pair.visit(0).baseline_device_ns is None
    assert device.diary.count("hold") == held


@pytest.mark.parametrize("launch_ns", [100, 5e3])
def test_the_clock_of_the_device_reads_no_time_of_the_host(launch_ns: float) -> None:
    device = FakeAccelerator(launch_ns=launch_ns, most_queued=1024)
    clock = DeviceClock(VirtualEventClock(device))

    result = compare(device.work("T", *12 * [500.0]), device.work("B", 2e3), clock=clock)

    assert result.overhead == pytest.approx(3)
    assert (result.overhead_lo, result.overhead_hi) == pytest.approx((3, 3))
    assert (result.target_ns, result.baseline_ns) == pytest.approx((6e3, 2e3))
    assert (clock.name, clock.cache) == ("device", "warm")


def test_the_clock_of_the_device_tells_nothing_beside() -> None:
    device = FakeAccelerator(launch_ns=5e3)
    pair = Pair(
        device.work("T", 500), device.work("B", 2e3), DeviceClock(VirtualEventClock(device))
    )

    readings = pair.visit(0.001)

    assert set(np.round(readings.target_ns)) == {500}
    assert readings.target_queueing_ns == readings.baseline_queueing_ns == []
    assert readings.target_device_ns is readings.baseline_device_ns is None


def test_the_clock_of_the_device_warms_it_up_without_holding_it() -> None:
    # Held, some hundred of these are queued in a ms, and work for 10 µs.
    device = FakeAccelerator(launch_ns=10e3)
    clock = DeviceClock(VirtualEventClock(device))

    Pair(device.work("T", 100), device.work("B", 100), clock).balance()

    assert clock.warm_up_ns < device.host_ns < 4 * clock.warm_up_ns


def test_what_cannot_be_queued_ahead_is_refused_by_the_clock_of_the_device() -> None:
    device = FakeAccelerator(launch_ns=5e3)

    def waits() -> None:
        device.launch(500)
        device.synchronize()

    with pytest.raises(NotQueuedError, match="the host waits for a result"):
        DeviceClock(VirtualEventClock(device)).call_ns(waits, 20)


def test_a_host_that_was_away_for_a_moment_queues_once_more() -> None:
    device = FakeAccelerator(launch_ns=5e3)
    away_ns = [0.0, 0.0, 1e6, 0.0, 1e6]  # one call tells how long queueing takes, one settles

    def disturbed() -> None:
        device.host_ns += away_ns.pop(0) if away_ns else 0.0
        device.launch(500)

    assert DeviceClock(VirtualEventClock(device)).call_ns(disturbed, 1) == pytest.approx(500)
    assert not away_ns


def test_who_asks_for_eager_time_alone_holds_no_device() -> None:
    device = FakeAccelerator(launch_ns=5e3)
    clock = EagerClock(device)

    assert clock.device_ns(device.work("T", 500), 3) is None
    assert device.diary == []
    assert clock.name == "event"


def test_the_host_queues_nothing_that_it_does_itself() -> None:
    calls: list[int] = []

    assert WallClock().queueing_ns(lambda: calls.append(1)) is None

    assert calls == [1]


def test_throttling_in_the_middle_is_flagged_and_leaves_the_ratio() -> None:
    random = Random(5)
    # Warming up takes 100 ms, as each block is settled by a call as long.
    throttled_from_ns = 100e6 + 75e6

    def slowness(now_ns: float) -> float:
        return random.uniform(1, 1.001) * (1.0 if now_ns < throttled_from_ns else 1.4)

    device = FakeAccelerator(slowness=slowness)

    result = compare(
        device.work("T", 900e3),
        device.work("B", 300e3),
        clock=VirtualEventClock(device),
        precision=1e-9,
        max_seconds=0.15,
    )

    assert result.overhead == pytest.approx(3, rel=1e-3)
    assert not result.steady
    assert result.speed_drift == pytest.approx(1.4, rel=0.01)
    assert "UNSTEADY" in str(result)


@pytest.mark.parametrize("kernel_ns", [500, 200e3, 30e6])
def test_a_device_that_was_idle_is_read_once_its_clock_is_up(kernel_ns: float) -> None:
    worked_ns = 0.0

    def slowness(_now_ns: float) -> float:
        nonlocal worked_ns
        # 1980 MHz over 345.
        factor = 5.7 if worked_ns < 49e6 else 1.0
        worked_ns += kernel_ns * factor
        return factor

    device = FakeAccelerator(launch_ns=100, slowness=slowness)
    pair = Pair(
        device.work("T", *3 * [kernel_ns]), device.work("B", kernel_ns), VirtualEventClock(device)
    )

    readings = pair.visit(0.01)

    assert readings.ratios == pytest.approx([3] * len(readings.ratios), rel=1e-3)
    assert readings.target_ns == pytest.approx([3 * kernel_ns] * len(readings.target_ns), rel=1e-3)
    # It stays warm from visit to visit.
    before_ns = worked_ns
    pair.visit(0)
    assert worked_ns - before_ns < 24 * max(3 * kernel_ns, VirtualEventClock.min_block_ns)


def test_queueing_the_first_kernel_is_not_counted() -> None:
    # The settling call keeps the device busy while the host queues the start and the kernels.
    device = FakeAccelerator(launch_ns=5e3)

    duration_ns = VirtualEventClock(device).call_ns(device.work("T", 50e3), 1)

    assert duration_ns == pytest.approx(50e3)


def test_warm_block_is_settled_once_and_waited_for() -> None:
    device = FakeAccelerator()
    clock = VirtualEventClock(device)

    clock.call_ns(device.work("T", 1e6), 3)

    assert clock.cache == "warm"
    block = ["T", "record", "T", "T", "T", "record", "synchronize"]
    assert device.diary == ["synchronize", *block]


def test_what_is_queued_from_before_is_no_head_start() -> None:
    device = FakeAccelerator(launch_ns=1e4)
    clock = VirtualEventClock(device)
    device.launch(1e6)

    assert clock.call_ns(device.work("T", 2e3), 3) == pytest.approx(1e4)


def test_cold_block_is_flushed_before_each_call_and_never_settled() -> None:
    device = FakeAccelerator()
    clock = VirtualEventClock(device, flush=device.work("flush", 5e6))

    duration_ns = clock.call_ns(device.work("T", 1e6), 3)

    assert clock.cache == "cold"
    block = ["flush", "record", "T", "record", "synchronize"]
    assert device.diary == ["synchronize", *3 * block]
    assert duration_ns == pytest.approx(1e6, rel=0.01)


class Cache:
    """Of a fake accelerator: kernels take longer once after each flush."""

    def __init__(self, device: FakeAccelerator, flush_ns: float) -> None:
        self._device = device
        self._flush_ns = flush_ns
        self._holds: set[str] = set()

    def flush(self) -> None:
        self._device.launch(self._flush_ns, "flush")
        self._holds.clear()

    def work(self, name: str, warm_ns: float, cold_ns: float) -> Call:
        def call() -> None:
            self._device.launch(warm_ns if name in self._holds else cold_ns, name)
            self._holds.add(name)

        return call


def test_cold_time_of_the_device_alone_is_of_a_flush_before_each_call() -> None:
    device = FakeAccelerator(launch_ns=5e3)
    cache = Cache(device, flush_ns=8e3)
    call = cache.work("T", 500, 2_000)

    cold = VirtualEventClock(device, cache.flush)
    assert cold.call_ns(call, 1) == pytest.approx(2_000)
    kernels = device.work("T", *20 * [500.0])
    # The flush ends before they are queued: what is left of that is the host's time.
    assert cold.call_ns(kernels, 3) == pytest.approx(20 * 5e3 + 500 - 8e3)
    assert cold.device_ns(kernels, 3) == pytest.approx(20 * 500)
    assert cold.device_ns(call, 3) == pytest.approx(2_000)


def test_the_clock_of_the_device_is_cold_where_its_events_are() -> None:
    device = FakeAccelerator(launch_ns=5e3)
    cache = Cache(device, flush_ns=8e3)
    call = cache.work("T", 500, 2_000)
    clock = DeviceClock(VirtualEventClock(device))

    for cold in (
        DeviceClock(VirtualEventClock(device, cache.flush)),
        clock.flushed_by(cache.flush),
    ):
        assert (cold.name, cold.cache, cold.warm.cache) == ("device", "cold", "warm")
        assert cold.call_ns(call, 3) == pytest.approx(2_000)
        assert cold.rewarmed_by(call).call_ns(call, 3) == pytest.approx(500)
        assert cold.warm.call_ns(call, 3) == pytest.approx(500)


def test_host_takes_of_a_cold_call_what_its_flush_does_not_cover() -> None:
    device = FakeAccelerator(launch_ns=5e3)
    clock = VirtualEventClock(device, flush=device.work("flush", 30e3))
    device.launch(1e6)

    assert clock.queueing_ns(device.work("T", 500)) == 0
    assert clock.queueing_ns(device.work("T", *10 * [500.0])) == pytest.approx(50e3 - 30e3)
    assert clock.warm.queueing_ns(device.work("T", 500)) == pytest.approx(5e3)


def test_rewarmed_clock_reads_as_a_cold_one_but_for_the_cache() -> None:
    device = FakeAccelerator()
    cache = Cache(device, flush_ns=1e6)
    call = cache.work("T", 300, 800)
    cold = VirtualEventClock(device, cache.flush)

    assert cold.rewarmed_by(call).call_ns(call, 1) == pytest.approx(300)
    assert device.diary == ["synchronize", "flush", "T", "record", "T", "record", "synchronize"]
    assert cold.rewarmed_by(call).device_ns(call, 1) == pytest.approx(300)
    assert cold.call_ns(call, 1) == pytest.approx(800)


def test_cold_blocks_are_of_one_call_however_short_it_is() -> None:
    device = FakeAccelerator()
    clock = VirtualEventClock(device, flush=device.work("flush", 5e6))
    pair = Pair(device.work("T", 400), device.work("B", 40e3), clock)

    readings = pair.visit(0.1)

    assert readings.target_ns == pytest.approx([400] * len(readings.target_ns), rel=0.01)
    timed = sum(len(times) for times in (readings.target_ns, readings.baseline_ns))
    # Before them the sides settle, and the device is warmed up by work that is not flushed; after
    # them the device's own time is read.
    assert device.diary.count("flush") <= timed + 2 * 2 + 2 * 5
    assert fastest_ns(device.work("T", 400), clock) == pytest.approx(400, rel=0.01)


def test_sides_of_a_pair_may_start_from_other_states() -> None:
    device = FakeAccelerator()
    cache = Cache(device, flush_ns=1e6)
    call = cache.work("T", 300, 900)
    cold = VirtualEventClock(device, cache.flush)

    readings = Pair(call, call, cold, baseline_clock=cold.rewarmed_by(call)).visit(0.01)

    assert readings.ratios == pytest.approx([3] * len(readings.ratios), rel=0.01)
    assert (readings.target_device_ns, readings.baseline_device_ns) == pytest.approx((900, 300))


def test_cold_comparison_pays_for_misses_on_both_sides_alike() -> None:
    device = FakeAccelerator()
    cached = False

    def flush() -> None:
        nonlocal cached
        cached = False

    def kernel(name: str, warm_ns: float, cold_ns: float) -> None:
        nonlocal cached
        device.launch(warm_ns if cached else cold_ns, name)
        cached = True

    def ratio(clock: EventClock) -> float:
        return compare(
            lambda: kernel("T", 300e3, 800e3), lambda: kernel("B", 300e3, 400e3), clock=clock
        ).overhead

    assert ratio(VirtualEventClock(device)) == pytest.approx(1, rel=0.01)
    assert ratio(VirtualEventClock(device, flush)) == pytest.approx(2, rel=0.01)


def test_short_times_keep_their_digits_after_days_of_measuring() -> None:
    # An event tells single-precision ms: against an origin a day back it would tell steps of 8 ms.
    device = FakeAccelerator()
    device.host_ns = 24 * 3600 * 1e9

    result = compare(
        device.work("T", 303e3), device.work("B", 300e3), clock=VirtualEventClock(device)
    )

    assert result.overhead == pytest.approx(1.01, rel=1e-4)


class Sundial:
    """A host's clock that moves only when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1_000
        monkeypatch.setattr(time, "perf_counter_ns", lambda: self.now_ns)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now_ns / 1e9)


def test_wall_clock_times_the_block_and_not_the_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    sundial = Sundial(monkeypatch)
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        # The first call pays for a cold cache.
        sundial.now_ns += 70_000 if len(calls) == 1 else 2_000

    clock = WallClock()

    assert clock.call_ns(call, 5) == 2_000
    assert len(calls) == 1 + 5
    assert clock.cache == "warm"
    assert clock.now_s() == pytest.approx((1_000 + 70_000 + 5 * 2_000) / 1e9)


def test_cold_wall_clock_leaves_the_flush_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sundial = Sundial(monkeypatch)
    order: list[str] = []

    def flush() -> None:
        order.append("flush")
        sundial.now_ns += 1_000_000

    def call() -> None:
        order.append("call")
        sundial.now_ns += 3_000

    assert WallClock(flush).call_ns(call, 4) == 3_000
    assert order == 4 * ["flush", "call"]


def test_wall_clock_goes_with_the_real_one() -> None:
    # Sleeping is never shorter than asked: a lower bound holds on the busiest machine.
    assert WallClock().call_ns(lambda: time.sleep(0.002), 2) >= 2e6
    before = WallClock().now_s()
    time.sleep(0.001)
    assert WallClock().now_s() - before >= 0.001
