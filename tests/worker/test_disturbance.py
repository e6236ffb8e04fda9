"""Shares taken by others, against hosts whose counters are made up, and against a real one."""

import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dynact.worker import disturbance
from dynact.worker.disturbance import Disturbance

# The counters that psutil has on these systems, in seconds over all processors.
Linux = namedtuple("Linux", "user nice system idle iowait irq softirq steal guest guest_nice")
Mac = namedtuple("Mac", "user nice system idle")
Windows = namedtuple("Windows", "user system idle interrupt dpc")

Watch = Callable[[Any, Any, float, float], dict[str, float]]


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Return what is found between two states of a host's counters.

    Also given: how long that took and how long this process worked meanwhile.
    """

    def watch(before: Any, after: Any, wall_s: float, own_s: float) -> dict[str, float]:
        now = SimpleNamespace(counters=before, wall_s=1000.0, own_s=70.0)
        monkeypatch.setattr(disturbance, "psutil", SimpleNamespace(cpu_times=lambda: now.counters))
        monkeypatch.setattr(
            disturbance,
            "time",
            SimpleNamespace(perf_counter=lambda: now.wall_s, process_time=lambda: now.own_s),
        )
        watching = Disturbance()
        now.counters, now.wall_s, now.own_s = after, 1000.0 + wall_s, 70.0 + own_s
        return watching.shares()

    return watch


def linux(**changes: float) -> Linux:
    """Return the counters of a host that has been up for a while, with some seconds more."""
    up = {
        "user": 900.0, "nice": 5.0, "system": 200.0, "idle": 7000.0, "iowait": 40.0, "irq": 3.0,
        "softirq": 7.0, "steal": 60.0, "guest": 30.0, "guest_nice": 2.0,
    }  # fmt: skip
    return Linux(**{name: value + changes.get(name, 0.0) for name, value in up.items()})


@pytest.mark.parametrize(
    ("more", "own_s", "steal", "other"),
    [
        pytest.param({"user": 2.0, "idle": 6.0}, 2.0, 0.0, 0.0, id="this process alone"),
        pytest.param({"idle": 6.0, "iowait": 2.0}, 0.0, 0.0, 0.0, id="nothing but waiting"),
        pytest.param({"user": 1.5, "idle": 5.7, "steal": 0.8}, 1.5, 0.4, 0.0, id="stolen"),
        pytest.param({"user": 3.0, "idle": 5.0}, 2.0, 0.0, 0.5, id="another process"),
        pytest.param(
            {"user": 2.0, "nice": 0.4, "system": 0.3, "irq": 0.2, "softirq": 0.1, "idle": 5.0},
            2.0, 0.0, 0.5, id="others of every kind",
        ),
        # What guests take is in "user" and "nice" already.
        pytest.param({"user": 4.0, "guest": 2.0, "idle": 4.0}, 2.0, 0.0, 1.0, id="a guest"),
        pytest.param(
            {"user": 2.0, "nice": 1.0, "guest_nice": 1.0, "idle": 5.0}, 2.0, 0.0, 0.5,
            id="a nice guest",
        ),
        pytest.param(
            {"user": 2.5, "idle": 4.0, "iowait": 0.5, "steal": 1.0}, 1.5, 0.5, 0.5, id="all at once"
        ),
        # The system counts in whole steps, the process finely.
        pytest.param({"user": 1.99, "idle": 6.01}, 2.0, 0.0, 0.0, id="a step behind"),
    ],
)  # fmt: skip
def test_shares_are_of_one_processor(
    shares: Watch, more: dict[str, float], own_s: float, steal: float, other: float
) -> None:
    # Four processors for two seconds.
    found = shares(linux(), linux(**more), 2.0, own_s)

    assert found == pytest.approx({"steal_share": steal, "other_share": other}, abs=1e-9)
    assert min(found.values()) >= 0


@pytest.mark.parametrize(
    ("before", "after", "other"),
    [
        (Mac(50.0, 1.0, 20.0, 300.0), Mac(51.5, 1.25, 20.25, 301.0), 0.5),
        (Windows(50.0, 20.0, 300.0, 2.0, 1.0), Windows(51.5, 20.5, 301.0, 2.0, 1.0), 0.5),
    ],
    ids=["macos", "windows"],
)
def test_a_system_that_tells_neither_theft_nor_waiting(
    shares: Watch, before: Any, after: Any, other: float
) -> None:
    found = shares(before, after, 2.0, 1.0)

    assert found == pytest.approx({"steal_share": 0.0, "other_share": other}, abs=1e-9)


def test_a_counter_that_goes_back_is_no_negative_share(shares: Watch) -> None:
    # Some hypervisors correct what they said was stolen.
    assert shares(linux(), linux(steal=-0.5, idle=8.5), 2.0, 0.0) == {
        "steal_share": 0.0,
        "other_share": 0.0,
    }


def test_on_this_host_another_process_that_computes_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            watching = Disturbance()
            time.sleep(0.5)
            found = watching.shares()
        finally:
            other.kill()

    # A whole processor, or whatever keeps it from one works itself.
    assert found["other_share"] + found["steal_share"] > 0.3
