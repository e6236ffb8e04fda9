"""How far a sweep is, and how a finished one reads in a terminal."""

import time
from collections.abc import Callable, Iterable
from math import nan
from statistics import fmean, median
from typing import Any

from dynact.schema.digits import ratio_with_interval
from dynact.schema.duration import format_seconds
from dynact.schema.rows import Measured
from dynact.timing import format_ns, is_steady

MOST_LINES = 200
UNTRUSTWORTHY = "RATIOS NOT TRUSTWORTHY HERE AND NOW"


class Progress:
    """Tells, now and then, how far a sweep is.

    Parameters
    ----------
    passes
        How many there are to be.
    show
        Takes a line.
    every_s
        So long there is at least between two lines.
    visit_s
        How long a visit of a later pass is planned to take, as long as none tells.
    """

    def __init__(
        self, passes: int, show: Callable[[str], None], every_s: float, visit_s: float
    ) -> None:
        self._passes = passes
        self._visit_s = visit_s
        # Of the first pass, by whether the case may compile.
        self._took_s: dict[bool, list[float]] = {False: [], True: []}
        self._show = show
        self._every_s = every_s
        self._number = self._due = self._done = self._made = self._left_after = 0
        self._compiling = 0
        self._half_width: float | None = None
        self._since = self._shown_at = self._last_at = time.monotonic()

    def begin_pass(
        self, number: int, due: int, compiling: int, left_after: int, half_width: float | None
    ) -> None:
        """Note that a pass begins.

        Parameters
        ----------
        due, compiling
            Its cases, and how many of them may compile something.
        left_after
            Visits of all passes to come.
        half_width
            Of intervals by now.
        """
        if self._number == 1:
            # The first pass makes and counts what the others find made.
            self._made, self._since = 0, time.monotonic()
        self._number, self._due, self._done = number, due, 0
        self._compiling, self._left_after, self._half_width = compiling, left_after, half_width

    def visited(self, *, compiles: bool) -> None:
        """Note that one more case of the pass is visited, and whether it may have compiled."""
        self._done += 1
        self._made += 1
        now = time.monotonic()
        self._compiling -= compiles
        self._took_s[compiles].append(now - self._last_at)
        self._last_at = now
        if now - self._shown_at < self._every_s:
            return
        self._shown_at = now
        left = self._due - self._done
        if self._number == 1:
            left_s = self._left_of_first_s(left) + self._visit_s * self._left_after
        else:
            left_s = (now - self._since) / self._made * (left + self._left_after)
        self._show(
            progress_line(
                self._number, self._passes, self._done, self._due, left_s, self._half_width
            )
        )

    def _left_of_first_s(self, left: int) -> float:
        plain, compiling = self._took_s[False], self._took_s[True]
        # One that compiles takes as long as hundreds of others, and spares most of its kind that.
        usual = median(plain or compiling)
        of_compiling = fmean(compiling) if compiling else usual
        return usual * (left - self._compiling) + of_compiling * self._compiling


def progress_line(
    number: int, passes: int, done: int, due: int, left_s: float, half_width: float | None
) -> str:
    """Return which pass a sweep is in, how far, the time left, and how wide intervals are by now.

    Parameters
    ----------
    done, due
        Of the cases of this pass.
    half_width
        Median over cases, as a share; ``None`` before the second pass.
    """
    pass_of = f"pass {number}/{passes}" if number <= passes else f"pass {number}, what is widest"
    parts = [pass_of, f"case {done}/{due}", f"{format_seconds(left_s)} left"]
    if half_width is not None:
        parts.append(f"intervals ±{half_width:.1%} (median)")
    return " · ".join(parts)


def gate_line(gate: dict[str, Any] | None) -> tuple[str, bool]:
    """Return what differences can be told, in a line, and whether ratios can be trusted."""
    if gate is None:
        return "known pairs not visited: nothing says what differences can be told here", False
    if not gate["trustworthy"]:
        return f"{UNTRUSTWORTHY}: {gate['message']}", False
    if gate["resolution"] is None:
        why = gate["message"] or "the known pairs have too few visits"
        return f"nothing says yet what differences can be told here: {why}", False
    seen = sum(found["seen"] for found in gate["detections"])
    return (
        f"differences of {gate['resolution']:.1%} or more can be told here and now: of "
        f"{gate['self_pairs']} layers compared with themselves {gate['false_alarms']} seem to "
        f"differ, and {seen} of {len(gate['detections'])} known differences are seen"
    ), True


def closing_table(rows: Iterable[Measured]) -> list[str]:
    """Return the rows as lines, the highest overhead first, what failed before all."""
    ordered = sorted(rows, key=lambda row: -(row.overhead or float("inf")))
    shown = ordered[:MOST_LINES]
    width = max((len(row.case.id) for row in shown), default=0)
    lines = [f"{row.case.id:<{width}}  {_finding(row)}" for row in shown]
    if len(ordered) > len(shown):
        lines.append(f"… and {len(ordered) - len(shown)} more in rows.jsonl")
    return lines


def _finding(row: Measured) -> str:
    if row.status != "ok":
        return f"{row.status.upper()}: {row.message}"
    assert row.time_ns
    assert row.overhead
    remarks = []
    if row.visits is not None:
        visits = f"{row.visits} visit{'s' * (row.visits != 1)}"
        disturbed = f", {row.disturbed_visits} disturbed" if row.disturbed_visits else ""
        remarks.append(f"{visits}{disturbed}")
    if row.speed_drift is not None and not is_steady(row.speed_drift):
        remarks.append(f"device's speed changed {row.speed_drift:.2f}×")
    interval = row.overhead_lo, row.overhead_hi
    low, high = (nan if end is None else end for end in interval)
    if None in interval:
        remarks.append("no interval")
    overhead = ratio_with_interval(row.overhead, low, high)
    return f"{overhead:<21}  {format_ns(row.time_ns)}  ({', '.join(remarks)})"
