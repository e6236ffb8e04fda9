"""Progress while a sweep runs, and how its end reads."""

import re
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.rows import STATUSES, Row
from dynact.schema.settings import Settings
from dynact.schema.visits import Visit
from dynact.sweep.passes import Passes, Visited
from dynact.sweep.progress import (
    MOST_LINES,
    UNTRUSTWORTHY,
    Kind,
    Progress,
    closing_table,
    gate_line,
    progress_line,
    visit_line,
)
from tests.sweep.simulated import PASSES_A_PROCESS, Simulated
from tests.sweeping import ROWS, case_of, ok_row


class Watch:
    """A clock that goes on when it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)


def test_it_says_pass_case_time_left_and_how_wide_intervals_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch, lines = Watch(monkeypatch), list[str]()
    after_s = {1: 260.0, 2: 120.0, 3: 0.0}
    progress = Progress(14, lines.append, 10, after_s.__getitem__)
    layer, fused, network = Kind("layer", False), Kind("layer", True), Kind("network", False)

    # Making takes long, in the first pass alone.
    kinds = [fused, layer, network, layer, fused, layer, network, layer]
    progress.begin_pass(1, kinds, [2.0] * 8, half_width=None)
    for took_s in (60, 2, 30, 2, 4, 10, 20, 2):
        watch.now_s += took_s
        progress.visited("1.2× 3 µs silu")
    progress.begin_pass(2, [layer, network, layer, network], [2.0, 6.0, 2.0, 6.0], 0.0421)
    for took_s in (3, 9, 3):
        watch.now_s += took_s
        progress.visited("1.2× 3 µs silu")
    # A fresh process.
    watch.now_s += 5
    progress.begin_pass(3, [layer] * 2, [4.0, 4.0], 0.0421)
    watch.now_s += 11
    progress.visited("1.2× 3 µs silu")

    assert lines == [
        # Nothing else is known yet: 7 × 60.
        "pass 1/14 · case 1/8 · 11 min 20 s left · 1.2× 3 µs silu",
        # Of a kind 60, 30 and 3 × 2 are left.
        "pass 1/14 · case 3/8 · 5 min 56 s left · 1.2× 3 µs silu",
        # A network and two layers: the one that took 10 was disturbed.
        "pass 1/14 · case 6/8 · 4 min 52 s left · 1.2× 3 µs silu",
        "pass 1/14 · case 7/8 · 4 min 22 s left · 1.2× 3 µs silu",
        # 2 + 6 and 120, as 12 + 16 is to 8 + 16: as if a pass more had taken what was expected.
        "pass 2/14 · case 2/4 · 2 min 29 s left · intervals ±4.2% · 1.2× 3 µs silu",
        # 4, as 26 + 8 is to 14 + 8, and between further passes 11 times 2.5.
        "pass 3/14 · case 1/2 · 34 s left · intervals ±4.2% · 1.2× 3 µs silu",
    ]


@pytest.mark.parametrize(
    "costs",
    [
        {},
        {"making_s": 0.01, "opening_s": 12.0},
        {"compiling_s": 4.0},
        {"counting_s": 1.0},
        {"slower": lambda _now_s: 10.0},
    ],
    ids=["usual", "slow to begin", "compiled", "slow to count", "ten times slower"],
)
@pytest.mark.parametrize("call_s", [0.0, 0.2])
def test_from_the_second_pass_on_the_time_left_is_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, costs: dict[str, Any], call_s: float
) -> None:
    """Of simulated devices: processes take some time to begin, and all cases are made in each."""
    settings = Settings()
    device = Simulated[int](lambda case: call_s * (case % 5), **costs)
    monkeypatch.setattr(time, "monotonic", lambda: device.now_s)
    opening_s = device.opening_s * device.slower(0.0)
    passes = Passes([Visited(case) for case in range(40)], settings, PASSES_A_PROCESS, opening_s)
    said: list[tuple[float, str]] = []
    progress = Progress(
        settings.passes, lambda line: said.append((device.now_s, line)), 0, passes.seconds_after
    )

    device.sweep(passes, settings.visit_s, progress)

    later = [(at_s, line) for at_s, line in said if not line.startswith("pass 1/")]
    checked = 0
    for at_s, line in later:
        took_s = device.now_s - at_s
        # At the end, what lies between two passes is as long as what is left.
        if took_s > 0.2 * device.now_s:
            assert _seconds(line) == pytest.approx(took_s, rel=0.2)
            checked += 1
    assert checked > 40


def _seconds(line: str) -> int:
    (left,) = re.findall(r"· ([^·]*) left", line)
    units = {"h": 3600, "min": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+) (h|min|s)", left))


def test_a_time_that_is_known_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, lines = Watch(monkeypatch), list[str]()
    progress = Progress(12, lines.append, 0, lambda _: 3.0, lambda: 100 - watch.now_s)

    progress.begin_pass(1, [Kind("layer", False)] * 2, [1.0, 1.0], None)
    watch.now_s += 40
    progress.visited("1.2× 3 µs silu")

    assert lines == ["pass 1/12 · case 1/2 · 1 min 0 s left · 1.2× 3 µs silu"]


def test_a_pass_beyond_those_asked_for_says_what_it_is_for() -> None:
    line = progress_line(15, 14, 3, 7, 1.2, 0.01, "1.2× 3 µs silu")

    assert (
        line == "pass 15, what is widest · case 3/7 · 1 s left · intervals ±1.0% · 1.2× 3 µs silu"
    )


def test_what_a_visit_found_is_its_ratio_and_its_time() -> None:
    def visit(status: str, **figures: Any) -> Visit:
        return Visit("rows.jsonl", "frelu-here", 1, status, "why", 0.1, "now", 2.0, **figures)

    found = visit("ok", overhead=2.345, time_ns=1.234e6)
    assert visit_line(found) == "2.3× 1.23 ms frelu-here"
    assert visit_line(visit("oom")) == "OOM frelu-here"


@pytest.mark.parametrize("status", STATUSES[1:])
def test_a_failure_is_named(status: str) -> None:
    (line,) = closing_table([Row(case_of(), status, "what happened")])
    assert line.endswith(f"{status.upper()}: what happened")


def test_a_row_says_its_interval_its_visits_and_what_disturbed_them() -> None:
    def line(**figures: Any) -> str:
        return closing_table([ok_row(case_of(), **figures)])[0]

    assert "  2.00× (1.98–2.02)      2 µs  (14 visits)" in line(visits=14, disturbed_visits=0)
    assert "(14 visits, 3 disturbed)" in line(visits=14, disturbed_visits=3)
    assert "(14 visits, the device became 1.50× slower)" in line(visits=14, speed_drift=1.5)
    assert "(14 visits, the device became 2.00× faster)" in line(visits=14, speed_drift=0.5)
    one = line(visits=1, overhead_lo=None, overhead_hi=None)
    assert "  2.0×                   2 µs  (1 visit, no interval)" in one


@given(st.lists(ROWS, max_size=8))
def test_closing_table_has_failures_first_then_the_highest_overhead(rows: list[Row]) -> None:
    # Each row with a name of its own, to be found again.
    rows = [replace(row, case=case_of(f"a{i}")) for i, row in enumerate(rows)]
    lines = closing_table(rows)
    assert len(lines) == len(rows)
    shown = [rows[int(line.split("-")[0][1:])] for line in lines]
    failed = [row.status != "ok" for row in shown]
    assert failed == sorted(failed, reverse=True)
    overheads = [row.overhead for row in shown if row.overhead is not None]
    assert overheads == sorted(overheads, reverse=True)
    assert {row.case for row in shown} == {row.case for row in rows}


def test_a_long_table_is_cut_at_the_low_end_and_says_so() -> None:
    rows = [ok_row(case_of(f"a{i}"), overhead=i + 1) for i in range(MOST_LINES + 7)]
    *lines, last = closing_table(rows)
    assert len(lines) == MOST_LINES
    assert lines[0].startswith(f"a{MOST_LINES + 6}-")
    assert lines[-1].startswith("a7-")
    assert last == "… and 7 more in rows.jsonl"


GATE = {
    "trustworthy": True, "message": "", "resolution": 0.0187, "self_pairs": 6, "false_alarms": 1,
    "detections": [{"seen": True}] * 4,
}  # fmt: skip


def test_what_can_be_told_is_said() -> None:
    assert gate_line(GATE) == (
        "differences of 1.9% or more can be told here and now: of 6 layers compared with "
        "themselves 1 seem to differ, and 4 of 4 known differences are seen",
        True,
    )


def test_what_was_missed_is_counted() -> None:
    line, _ = gate_line(GATE | {"detections": [{"seen": True}, {"seen": False}]})

    assert line.endswith("1 of 2 known differences are seen")


@pytest.mark.parametrize(
    ("message", "why"), [("", "the known pairs have too few visits"), ("oom: why", "oom: why")]
)
def test_where_nothing_can_be_told_yet_that_is_said(message: str, why: str) -> None:
    said = gate_line(GATE | {"resolution": None, "message": message})

    assert said == (f"nothing says yet what differences can be told here: {why}", False)


def test_a_gate_in_doubt_is_loud() -> None:
    doubt = {**GATE, "trustworthy": False, "message": "10% more elements are not seen"}
    line, trustworthy = gate_line(doubt)
    assert line.startswith(f"{UNTRUSTWORTHY}: 10% more elements are not seen; sweep again")
    assert not trustworthy
    assert UNTRUSTWORTHY.isupper()


def test_a_gate_that_was_not_visited_is_no_reassurance() -> None:
    line, trustworthy = gate_line(None)
    assert not trustworthy
    assert "nothing says what differences can be told" in line
