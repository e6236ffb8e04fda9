"""From where on a run can tell a difference, and whether to trust it at all."""

from typing import Any

import pytest

from dynact.report.data.trust import not_trustworthy, percent, resolution, told

BYTES = {"launch-bound": 8192, "beyond the caches": 67_108_864}


def group(size: str, phase: str, told_from: float) -> dict[str, Any]:
    """What a session says of one size and phase."""
    return {
        "size": size, "phase": phase, "input_bytes": BYTES[size], "resolution": told_from,
        "visits": 14, "self_overhead": 1.001, "self_overhead_lo": 0.996, "self_overhead_hi": 1.006,
    }  # fmt: skip


def detection(size: str, phase: str, more: float, seen: bool) -> dict[str, Any]:
    """What a session says of one known difference."""
    overhead = 1.1 if seen else 1.0
    return {
        "size": size, "phase": phase, "more": more, "seen": seen, "overhead": overhead,
        "overhead_lo": overhead - 0.012, "overhead_hi": overhead + 0.012,
    }  # fmt: skip


TOLD = {
    "session": "a", "trustworthy": True, "message": "", "resolution": 0.019, "self_pairs": 4,
    "false_alarms": 0,
    "groups": [
        group("launch-bound", "inference", 0.006), group("launch-bound", "training", 0.012),
        group("beyond the caches", "inference", 0.019),
        group("beyond the caches", "training", 0.01),
    ],
    "detections": [
        detection("launch-bound", "inference", 0.02, False),
        detection("launch-bound", "inference", 0.1, True),
        detection("launch-bound", "training", 0.1, True),
    ],
}  # fmt: skip
FAILED = TOLD | {
    "session": "c", "trustworthy": False, "message": "10 % more work was not seen as slower"
}  # fmt: skip
# Too few visits to tell anything.
EARLY = TOLD | {
    "session": "d", "resolution": None, "self_pairs": 0, "groups": [], "detections": [],
}  # fmt: skip
FORMER = {"session": "b", "trustworthy": True, "message": ""}


@pytest.mark.parametrize(
    ("gates", "least"),
    [
        ([], None),
        ([FORMER], None),
        ([EARLY], None),
        ([TOLD], 0.019),
        ([FORMER, EARLY, TOLD], 0.019),
        # What all sessions can tell.
        ([TOLD | {"resolution": 0.03}, TOLD], 0.03),
    ],
)
def test_the_resolution_is_the_widest_of_those_that_are_known(
    gates: list[dict[str, Any]], least: float | None
) -> None:
    assert resolution(gates) == least
    assert bool(told(gates)) == (least is not None)


@pytest.mark.parametrize(
    ("gates", "doubt"),
    [
        *[([], False), ([TOLD], False), ([FORMER, TOLD], False), ([EARLY], False)],
        *[
            ([FAILED], True),
            ([TOLD, FAILED], True),
            ([FORMER | {"trustworthy": False}, TOLD], True),
        ],
    ],
)
def test_a_run_is_in_doubt_if_any_of_its_sessions_is(
    gates: list[dict[str, Any]], doubt: bool
) -> None:
    assert not_trustworthy(gates) == doubt


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        *[(0.019, "1.9 %"), (0.1, "10 %"), (0.02, "2 %"), (0.0951, "9.5 %"), (0.1234, "12 %")],
        *[(0.00512, "0.51 %"), (1.5, "150 %"), (1.0, "100 %")],
    ],
)
def test_shares_read(share: float, shown: str) -> None:
    assert percent(share) == shown
