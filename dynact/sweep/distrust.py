"""What is to be said against a sweep's figures, and what to do about it, in a line each."""

import os
from collections.abc import Mapping, Sequence
from math import log
from statistics import median

from dynact.schema.cases import AnyCase
from dynact.schema.rows import Measured
from dynact.schema.visits import HOST_DECIDES_ABOVE, LEAST_VISITS, Visit
from dynact.timing import change_of_speed, is_steady

MOST_FAILURES = 3


def distrust(
    rows: Sequence[Measured], visits: Mapping[AnyCase, Sequence[Visit]], precision: float
) -> list[str]:
    """Return why some figures are not to be trusted, and what helps; empty where nothing is known.

    Parameters
    ----------
    rows
        Of all cases that were asked for.
    visits
        Of each case.
    precision
        The half-width at which an interval is narrow.
    """
    ok = [row for row in rows if row.status == "ok"]
    return [
        *_failed(rows),
        *_disturbed(ok, visits),
        *_wide(ok, precision),
        *_unsteady(ok),
        *_waiting_for_the_host(ok),
    ]


def _failed(rows: Sequence[Measured]) -> list[str]:
    first: dict[tuple[str, str], Measured] = {}
    failed = [row for row in rows if row.status != "ok"]
    for row in failed:
        first.setdefault((row.status, row.message), row)
    lines = [
        f"  {row.case.id}: {row.status}: {row.message}"
        for row in list(first.values())[:MOST_FAILURES]
    ]
    if not lines:
        return []
    if more := len(first) - len(lines):
        lines.append(f"  and {more} other reason{'s' * (more > 1)}, in the rows")
    return [f"{len(failed)} of {len(rows)} cases failed:", *lines]


def _disturbed(ok: Sequence[Measured], visits: Mapping[AnyCase, Sequence[Visit]]) -> list[str]:
    # Elsewhere the disturbed are left out.
    resting = [
        row
        for row in ok
        if row.disturbed_visits and (row.visits or 0) - row.disturbed_visits < LEAST_VISITS
    ]
    if not resting:
        return []
    disturbed = [v for row in resting for v in visits[row.case] if v.disturbed]
    taken = [(visit.steal_share or 0) + (visit.other_share or 0) for visit in disturbed]
    by = ""
    if any(visit.foreign_processes or visit.slowdowns for visit in disturbed):
        by = ": others used the device, or its clock was held down"
    elif taken:
        by = f": others took {median(taken):.1f} of {os.cpu_count()} processors"
    return [
        f"{len(resting)} of {len(ok)} cases rest on disturbed visits{by}; wait, or raise "
        "--max-seconds"
    ]


def _wide(ok: Sequence[Measured], precision: float) -> list[str]:
    wide = sum(not row.converged for row in ok)
    if not wide:
        return []
    return [
        f"{wide} of {len(ok)} cases did not converge to ±{100 * precision:g} %: --resume with more "
        "--passes narrows them"
    ]


def _unsteady(ok: Sequence[Measured]) -> list[str]:
    drifts = {row.case.id: row.speed_drift for row in ok if row.speed_drift is not None}
    unsteady = {case_id: drift for case_id, drift in drifts.items() if not is_steady(drift)}
    if not unsteady:
        return []
    worst = max(unsteady, key=lambda case_id: abs(log(unsteady[case_id])))
    return [
        f"during {len(unsteady)} of {len(ok)} cases the device changed its speed, at worst it "
        f"{change_of_speed(unsteady[worst])} ({worst}): sweep again before quoting times"
    ]


def _waiting_for_the_host(ok: Sequence[Measured]) -> list[str]:
    waiting = sum(
        max(row.host_share or 0, row.baseline_host_share or 0) > HOST_DECIDES_ABOVE for row in ok
    )
    if not waiting:
        return []
    return [
        f"in {waiting} of {len(ok)} cases the device waited for its host: such a ratio is of "
        "launching; larger --batches keep the device busy, --clock device leaves its host out"
    ]
