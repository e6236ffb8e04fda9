"""Pairs whose difference is known before: visited like cases, they say what this run can tell."""

from collections.abc import Iterable, Mapping, Sequence
from math import comb, expm1
from typing import Any

from dynact.schema.cases import KnownPair
from dynact.schema.messages import WorkerInfo
from dynact.schema.visits import LEAST_VISITS, Visit, estimate, observations
from dynact.sweep.coldness import coldness, coldness_pairs
from dynact.timing.visits import CONFIDENCE, Estimate, degrees, student_quantile

# (batch, channels, height, width) of ReLU's input. Rows are whole vectors of any width, and 10 %
# of them are whole rows.
CPU_SIZES = {
    "launch-bound": (1, 32, 10, 16),
    "in cache": (1, 64, 40, 64),
    "beyond the caches": (8, 128, 40, 128),
}
ACCELERATOR_SIZES = {
    "launch-bound": (1, 32, 10, 16),
    "in cache": (8, 128, 40, 64),
    "beyond the caches": (64, 256, 80, 128),
}
MORE = 0.1
# Where the time is in proportion to the elements, so that the difference is known.
PROPORTIONAL = ("in cache", "beyond the caches")
# How often a difference as large as the stated resolution were seen if the scatter were known. It
# is an estimate, of few visits: simulated, 6 visits see such a difference in 83 %, 14 in 88 %.
POWER = 0.95
# Of so many false alarms, by chance: fewer make a run untrustworthy.
SELDOM = 0.005


def known_pairs(phases: Iterable[str], info: WorkerInfo) -> list[KnownPair]:
    """Return ReLU against itself at all sizes, and on a tenth more rows where that tells.

    And what tells of a cold run whether it is: `coldness_pairs`.
    """
    sizes = ACCELERATOR_SIZES if info.is_accelerator else CPU_SIZES
    return [
        KnownPair(
            "relu", "reference", phase, "eager", "float32", "contiguous", *shape, info.device,
            "relu", more_rows,
        )
        for phase in phases
        for size, shape in sizes.items()
        for more_rows in (0, *((round(MORE * shape[2]),) if size in PROPORTIONAL else ()))
    ] + coldness_pairs(info)  # fmt: skip


def verdict(visited: Mapping[KnownPair, Sequence[Visit]]) -> dict[str, Any]:
    """Return what differences can be told, as a line of gates.jsonl, of pairs and their visits."""
    groups, detections, failures = [], [], []
    self_times_ns: list[float] = []
    of_coldness = {pair: visits for pair, visits in visited.items() if pair.tells_coldness}
    for pair, visits in visited.items():
        if pair in of_coldness:
            continue
        ok = [visit for visit in visits if visit.status == "ok"]
        failures += [f"{pair.id}: {v.status}: {v.message}" for v in visits if v.status != "ok"][:1]
        if len(ok) < LEAST_VISITS:
            continue
        found = estimate(ok)
        of_pair = {"size": _size(pair), "phase": pair.phase, "visits": len(ok)}
        if pair.more_rows:
            interval = _figures("overhead", found)
            seen = interval["overhead_lo"] > 1
            detections.append({**of_pair, "more": pair.more, **interval, "seen": seen})
        else:
            self_times_ns = self_times_ns or [v.time_ns for v in ok if v.time_ns]
            interval = _figures("self_overhead", found)
            resolution = _resolution(found, len(observations(ok)))
            groups.append(
                {**of_pair, "input_bytes": pair.input_bytes, "resolution": resolution, **interval}
            )
    false_alarms = sum(
        not group["self_overhead_lo"] <= 1 <= group["self_overhead_hi"] for group in groups
    )
    doubts = []
    if _chance(false_alarms, len(groups)) < SELDOM:
        doubts.append(
            f"of {len(groups)} layers compared with themselves {false_alarms} seem to differ"
        )
    doubts += [
        f"{found['more']:.0%} more elements are not seen to take longer "
        f"({found['size']}, {found['phase']})"
        for found in detections
        if not found["seen"]
    ]
    cold = coldness(of_coldness)
    if cold and cold["proven"] is False:
        doubts.append(cold["message"])
    return {
        "trustworthy": not doubts,
        # What could not be visited is neither told nor missed.
        "message": "; ".join([*doubts, *failures]),
        "resolution": max((group["resolution"] for group in groups), default=None),
        "self_pairs": len(groups),
        "false_alarms": false_alarms,
        "self_times_ns": self_times_ns,
        "groups": groups,
        "detections": detections,
        "coldness": cold,
    }


def _size(pair: KnownPair) -> str:
    shape = pair.batch, pair.channels, pair.height, pair.width
    return next(
        size
        for sizes in (CPU_SIZES, ACCELERATOR_SIZES)
        for size, known in sizes.items()
        if known == shape
    )


def _figures(name: str, found: Estimate) -> dict[str, Any]:
    return {name: found.middle, f"{name}_lo": found.lower, f"{name}_hi": found.upper}


def _resolution(found: Estimate, count: int) -> float:
    """Return the difference that the interval of so many observations would tell with `POWER`.

    Student's t for that and for the interval, added, times the standard error (Cohen,
    *Statistical Power Analysis*, 2nd ed., section 2.4).
    """
    assert found.half_width is not None
    of_interval = student_quantile(degrees(count), (1 + CONFIDENCE) / 2)
    of_power = student_quantile(degrees(count), POWER)
    return expm1(found.half_width * (1 + of_power / of_interval))


def _chance(false_alarms: int, pairs: int) -> float:
    """Return how probable so many false alarms are, or more, where all is well."""
    alarm = 1 - CONFIDENCE
    return sum(
        comb(pairs, count) * alarm**count * (1 - alarm) ** (pairs - count)
        for count in range(false_alarms, pairs + 1)
    )
