"""How far a sweep is, and how a finished one reads in a terminal."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import nan
from statistics import fmean, median
from typing import Any, NamedTuple

from dynact.schema.digits import ratio_with_interval, two_digits
from dynact.schema.duration import format_seconds
from dynact.schema.rows import Measured
from dynact.schema.visits import Visit
from dynact.timing import change_of_speed, format_ns, is_steady

MOST_LINES = 200
UNTRUSTWORTHY = "RATIOS NOT TRUSTWORTHY HERE AND NOW"


class Kind(NamedTuple):
    """Of cases that take about as long to be made."""

    name: str
    compiles: bool
    """Whether some of them, the first for most, compile something."""


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
    seconds_after
        Tells about how long visits after a pass take.
    left_in_time_s
        Tells how long the sweep takes from now where visits do not decide that, else None.
    """

    def __init__(
        self,
        passes: int,
        show: Callable[[str], None],
        every_s: float,
        seconds_after: Callable[[int], float],
        left_in_time_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._passes = passes
        self._show = show
        self._every_s = every_s
        self._seconds_after = seconds_after
        self._left_in_time_s = left_in_time_s
        # Of the first pass, by the kind of the case.
        self._took_s: dict[Kind, list[float]] = defaultdict(list)
        self._number = self._done = 0
        self._kinds: Sequence[Kind] = ()
        self._expected_s: Sequence[float] = ()
        # Of all visits but those of the first pass, which makes what the others find made.
        self._visiting_s = self._expected_visiting_s = 0.0
        self._between_s: list[float] = []
        self._half_width: float | None = None
        self._shown_at = self._last_at = time.monotonic()

    def begin_pass(
        self,
        number: int,
        kinds: Sequence[Kind],
        expected_s: Sequence[float],
        half_width: float | None,
    ) -> None:
        """Note that the visits of a pass begin.

        Parameters
        ----------
        kinds
            Of its cases, in the order in which they are visited.
        expected_s
            About how long each visit takes where its case was visited before.
        half_width
            Of intervals by now.
        """
        now = time.monotonic()
        if self._number:
            self._between_s.append(now - self._last_at)
        self._last_at = now
        self._number, self._done, self._half_width = number, 0, half_width
        self._kinds, self._expected_s = kinds, expected_s

    def visited(self, found: str) -> None:
        """Note that the next case of the pass is visited, and what was found of it."""
        now = time.monotonic()
        took_s = now - self._last_at
        if self._number == 1:
            self._took_s[self._kinds[self._done]].append(took_s)
        else:
            self._visiting_s += took_s
            self._expected_visiting_s += self._expected_s[self._done]
        self._done += 1
        self._last_at = now
        if now - self._shown_at < self._every_s:
            return
        self._shown_at = now
        self._show(
            progress_line(
                self._number,
                self._passes,
                self._done,
                len(self._kinds),
                self._left_s(),
                self._half_width,
                found,
            )
        )

    def _left_s(self) -> float:
        if (in_time_s := self._left_in_time_s()) is not None:
            return in_time_s
        after_s = self._seconds_after(self._number)
        # Rows are stored and processes begun between passes.
        further = max(self._passes - self._number, 0)
        between_s = fmean(self._between_s or [0.0]) * further
        if self._number == 1:
            left = Counter(self._kinds[self._done :])
            return sum(self._usual_s(kind) * count for kind, count in left.items()) + after_s
        # As if a pass more had kept to what was expected: few visits tell little.
        pass_s = sum(self._expected_s) or 1.0
        pace = (self._visiting_s + pass_s) / (self._expected_visiting_s + pass_s)
        return (sum(self._expected_s[self._done :]) + after_s) * pace + between_s

    def _usual_s(self, kind: Kind) -> float:
        if took_s := self._took_s.get(kind):
            # One that compiles takes as long as hundreds of others, and spares most of its kind
            # that; of others one that takes long was the first of all, or disturbed.
            return fmean(took_s) if kind.compiles else median(took_s)
        return median(took for of_kind in self._took_s.values() for took in of_kind)


def visit_line(visit: Visit) -> str:
    """Return what one visit found, in a few words: the ratio, the time of one call, and of what."""
    # The name comes last: a terminal that is too narrow cuts it.
    if visit.overhead is None or visit.time_ns is None:
        return f"{visit.status.upper()} {visit.case_id}"
    return f"{two_digits(visit.overhead)}× {format_ns(visit.time_ns)} {visit.case_id}"


def progress_line(
    number: int,
    passes: int,
    done: int,
    due: int,
    left_s: float,
    half_width: float | None,
    found: str,
) -> str:
    """Return how far a sweep is, how wide intervals are by now, and what the last visit found.

    Parameters
    ----------
    done, due
        Of the cases of this pass.
    half_width
        Median over cases, as a share; ``None`` before the second pass.
    found
        As `visit_line` returns it.
    """
    pass_of = f"pass {number}/{passes}" if number <= passes else f"pass {number}, what is widest"
    parts = [pass_of, f"case {done}/{due}", f"{format_seconds(left_s)} left"]
    if half_width is not None:
        parts.append(f"intervals ±{half_width:.1%}")
    parts.append(found)
    return " · ".join(parts)


def gate_line(gate: dict[str, Any] | None) -> tuple[str, bool]:
    """Return what differences can be told, in a line, and whether ratios can be trusted."""
    if gate is None:
        return "known pairs not visited: nothing says what differences can be told here", False
    if not gate["trustworthy"]:
        return f"{UNTRUSTWORTHY}: {gate['message']}; sweep again before quoting any", False
    cold = f"; {gate['coldness']['message']}" if gate.get("coldness") else ""
    if gate["resolution"] is None:
        why = gate["message"] or "the known pairs have too few visits"
        return f"nothing says yet what differences can be told here: {why}{cold}", False
    seen = sum(found["seen"] for found in gate["detections"])
    return (
        f"differences of {gate['resolution']:.1%} or more can be told here and now: of "
        f"{gate['self_pairs']} layers compared with themselves {gate['false_alarms']} seem to "
        f"differ, and {seen} of {len(gate['detections'])} known differences are seen"
        f"{cold}"
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
        remarks.append(f"the device {change_of_speed(row.speed_drift)}")
    interval = row.overhead_lo, row.overhead_hi
    low, high = (nan if end is None else end for end in interval)
    if None in interval:
        remarks.append("no interval")
    overhead = ratio_with_interval(row.overhead, low, high)
    return f"{overhead:<21}  {format_ns(row.time_ns)}  ({', '.join(remarks)})"
