"""How far a sweep is, and how a finished one reads in a terminal."""

from collections.abc import Iterable, Sequence
from typing import Any

from dynact.schema.rows import Measured
from dynact.timing import format_ns, is_steady

MOST_LINES = 200
UNTRUSTWORTHY = "RATIOS NOT TRUSTWORTHY HERE AND NOW"


def format_seconds(seconds: float) -> str:
    """Return a duration in the two units that matter: ``"2 min 10 s"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def progress_line(done: int, total: int, elapsed_s: float, latest: Measured) -> str:
    """Return how many of ``total`` cases are done, the time left, and what came last."""
    left = format_seconds(elapsed_s / done * (total - done))
    return (
        f"[{done / total:4.0%}] {done}/{total} · {left} left · {latest.case.id}: {_finding(latest)}"
    )


def gate_lines(gates: Sequence[dict[str, Any]]) -> list[tuple[str, bool]]:
    """Return each verdict of the gate with its figures, and whether ratios can be trusted."""
    if not gates:
        return [("gate not run: nothing says whether ratios can be trusted here", False)]
    lines = []
    for gate in gates:
        if not gate["trustworthy"]:
            # The message has the figures, where there are any.
            lines.append((f"{UNTRUSTWORTHY}: {gate['message']}", False))
            continue
        itself = f"ReLU against itself {_interval(gate, 'self_overhead')}"
        more = (
            f"on {gate['more_elements'] - 1:.1%} more elements {_interval(gate, 'more_overhead')}"
        )
        lines.append((f"gate passed: {itself}; {more}", True))
    return lines


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
    interval = _interval(row.record(), "overhead")
    assert row.time_ns
    remarks = [] if row.converged else ["not converged"]
    if row.speed_drift is not None and not is_steady(row.speed_drift):
        remarks.append(f"device's speed changed {row.speed_drift:.2f}×")
    return f"{interval}  {format_ns(row.time_ns)}" + (
        f"  ({', '.join(remarks)})" if remarks else ""
    )


def _interval(figures: dict[str, Any], name: str) -> str:
    middle, lower, upper = (figures[name + end] for end in ("", "_lo", "_hi"))
    return f"{middle:7.3f}× [{lower:.3f}, {upper:.3f}]"
