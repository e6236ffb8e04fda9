"""A device's clocks and ways of timing, on one whose times are known."""

from collections.abc import Callable

import pytest
from torch.profiler import ProfilerActivity

from dynact.timing import Clock
from dynact.timing.clock import Call
from dynact.worker import device_check
from dynact.worker.device import Cpu
from dynact.worker.device_check import Reading, Way, by_each_way, ramp, settled


class KnownClock(Clock):
    """A call takes what is said of the second that it begins in."""

    name = "event"
    min_block_ns = 1.0

    def __init__(self, call_ns: Callable[[float], float]) -> None:
        super().__init__()
        self._call_ns = call_ns
        self._now_s = 100.0

    def now_s(self) -> float:
        return self._now_s

    def _block_ns(self, call: Call, calls: int) -> float:
        del call
        block_ns = calls * self._call_ns(self._now_s - 100)
        self._now_s += block_ns / 1e9
        return block_ns


def device(call_ns: Callable[[float], float], *, is_accelerator: bool = False) -> Cpu:
    made = Cpu()
    made.clock = KnownClock(call_ns)
    made.is_accelerator = is_accelerator
    return made


@pytest.fixture(autouse=True)
def rested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_check, "REST_S", 0)


def test_a_clock_that_rises_settles_when_it_has_risen() -> None:
    readings = ramp(device(lambda s: 3e5 if s < 0.5 else 1e5))

    last_ns, after_s = settled(readings)

    assert readings[0] == Reading(0, pytest.approx(3e5))
    assert readings[-1].after_s == pytest.approx(device_check.RAMP_S, abs=0.01)
    assert last_ns == pytest.approx(1e5)
    assert after_s == pytest.approx(0.5, abs=0.01)


def test_a_steady_clock_is_settled_at_once() -> None:
    assert settled(ramp(device(lambda _s: 1e5))) == (pytest.approx(1e5), 0)


def test_few_disturbed_readings_unsettle_nothing() -> None:
    _, after_s = settled(ramp(device(lambda s: 5e5 if 0.9 < s < 0.95 else 1e5)))
    assert after_s == 0


def test_what_goes_up_and_down_never_settles() -> None:
    readings = [Reading(i / 100, 2e5 if i % 2 else 1e5) for i in range(199)]
    assert settled(readings) == (1.5e5, None)


def test_without_an_accelerator_there_is_the_clock_alone() -> None:
    assert list(by_each_way(device(lambda _s: 7e4))) == [Way("event", pytest.approx(7e4))]


def test_a_way_that_is_not_there_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_check, "ELEMENTS", 64)

    without_more = device(lambda _s: 7e4, is_accelerator=True)
    found = {way.name: way for way in by_each_way(without_more)}

    # The tensors are the host's: there is no graph, and the profiler shows no kernels.
    assert list(found) == ["event", "held device", "graph", "profiler"]
    assert found["event"].time_ns == pytest.approx(7e4)
    assert {way.time_ns for way in list(found.values())[1:]} == {None}
    assert "cannot be queued ahead" in found["held device"].why
    assert "shows 0 kernels of 20 calls" in found["profiler"].why
    assert found["graph"].why


@pytest.mark.parametrize("has", [True, False])
def test_what_torch_says_a_device_has_is_expected(
    monkeypatch: pytest.MonkeyPatch, has: bool
) -> None:
    monkeypatch.setattr(device_check, "ELEMENTS", 64)
    made = device(lambda _s: 7e4, is_accelerator=True)
    made.has_graphs = has
    activities = [ProfilerActivity.CPU, ProfilerActivity.XPU][: 1 + has]
    monkeypatch.setattr(made, "profiler_activities", lambda: activities)

    expected = {way.name: way.is_expected for way in by_each_way(made)}

    assert expected == {"event": True, "held device": True, "graph": has, "profiler": has}
