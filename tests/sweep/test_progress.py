"""Progress while a sweep runs, and how its end reads."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.rows import STATUSES, Row
from dynact.sweep.progress import (
    MOST_LINES,
    UNTRUSTWORTHY,
    closing_table,
    format_seconds,
    gate_lines,
    progress_line,
)
from tests.sweep.bench import VERDICT
from tests.sweeping import ROWS, case_of, ok_row


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (130, "2 min 10 s"),
        (3599.9, "1 h 0 min"),
        (3600 * 5 + 60 * 7 + 31, "5 h 7 min"),
        (3600 * 100, "100 h 0 min"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@given(st.floats(0, 1e7))
def test_seconds_say_how_long_it_is(seconds: float) -> None:
    units = {"h": 3600, "min": 60, "s": 1}
    parts = re.findall(r"(\d+) (h|min|s)", format_seconds(seconds))
    assert 1 <= len(parts) <= 2
    # To the smaller of the two units shown.
    smallest = units[parts[-1][1]]
    assert abs(sum(int(n) * units[unit] for n, unit in parts) - seconds) <= smallest


def test_time_left_is_what_the_rest_will_take_at_this_speed() -> None:
    line = progress_line(10, 40, 50.0, ok_row(case_of("frelu"), overhead=12.5))
    assert line.startswith("[ 25%] 10/40 · 2 min 30 s left · frelu-inference-2x8x7x7-float32-cpu:")
    assert "12.500×" in line
    assert "12.5 µs" in line


def test_the_last_case_leaves_nothing() -> None:
    assert progress_line(3, 3, 7.0, ok_row(case_of())).startswith("[100%] 3/3 · 0 s left")


@pytest.mark.parametrize("status", STATUSES[1:])
def test_a_failure_is_named(status: str) -> None:
    line = progress_line(1, 2, 1.0, Row(case_of(), status, "what happened"))
    assert line.endswith(f"{status.upper()}: what happened")


def test_an_interval_wider_than_asked_is_marked() -> None:
    assert "(not converged)" in closing_table([ok_row(case_of(), converged=False)])[0]
    assert "(not converged)" not in closing_table([ok_row(case_of())])[0]


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


def test_gate_passed() -> None:
    ((line, trustworthy),) = gate_lines([VERDICT])
    assert trustworthy
    assert line.startswith("gate passed")
    for figure in ("1.000× [0.998, 1.002]", "1.8% more", "1.017× [1.011, 1.021]"):
        assert figure in line


def test_a_failed_gate_is_loud() -> None:
    failed = {**VERDICT, "trustworthy": False, "message": "ReLU against itself excludes 1"}
    (first, second) = gate_lines([VERDICT, failed])
    assert first[1]
    assert second == (f"{UNTRUSTWORTHY}: ReLU against itself excludes 1", False)
    assert UNTRUSTWORTHY.isupper()


def test_a_gate_that_did_not_run_is_no_reassurance() -> None:
    ((line, trustworthy),) = gate_lines([])
    assert not trustworthy
    assert "gate not run" in line
