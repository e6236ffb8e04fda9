"""What is said against figures, where there is something to say, and only there."""

import os
from typing import Any

import pytest

from dynact.schema.cases import AnyCase
from dynact.schema.rows import Measured, Row
from dynact.schema.visits import HOST_DECIDES_ABOVE, LEAST_VISITS, Visit
from dynact.sweep.distrust import MOST_FAILURES, distrust
from tests.sweeping import case_of, ok_row


def visit_of(case: AnyCase, **changes: Any) -> Visit:
    return Visit(case.table, case.id, 1, "ok", "", 0.1, session="now", elapsed_s=1.0, **changes)


def said(*rows: Measured, **changes: Any) -> list[str]:
    """Return what is said of rows whose visits are all alike."""
    visits = {row.case: [visit_of(row.case, **changes)] * (row.visits or 1) for row in rows}
    return distrust(rows, visits, 0.01)


def calm(name: str = "prelu", **changes: Any) -> Row:
    usual = {"visits": 12, "disturbed_visits": 0, "speed_drift": 1.0}
    return ok_row(case_of(name), **usual | changes)


def test_of_a_calm_sweep_nothing_is_said() -> None:
    assert said(calm(), calm("frelu")) == []
    assert said() == []


def test_disturbed_visits_say_what_was_taken_and_what_to_do() -> None:
    rows = calm(disturbed_visits=12 - LEAST_VISITS + 1), calm("frelu")

    (line,) = said(*rows, steal_share=0.5, other_share=1.0)

    assert line == (
        "1 of 2 cases rest on disturbed visits: others took 1.5 of "
        f"{os.cpu_count()} processors; wait, or raise --max-seconds"
    )


def test_disturbed_visits_that_no_figure_rests_on_are_of_no_interest() -> None:
    assert said(calm(disturbed_visits=12 - LEAST_VISITS), steal_share=2.0) == []


@pytest.mark.parametrize("why", [{"foreign_processes": 1}, {"slowdowns": ["heat"]}])
def test_of_an_accelerator_it_is_said_what_disturbs_there(why: dict[str, Any]) -> None:
    (line,) = said(calm(disturbed_visits=12), clock="event", **why)

    assert "others used the device, or its clock was held down" in line


def test_what_did_not_converge_is_counted() -> None:
    assert said(calm(converged=False), calm("frelu"), calm("silu", converged=False)) == [
        "2 of 3 cases did not converge to ±1 %: --resume with more --passes narrows them"
    ]


@pytest.mark.parametrize(
    ("drifts", "words"),
    [
        ((1.0, 2.36, 1.2), "2 of 3 cases the device changed its speed, at worst it became 2.36× s"),
        (
            (0.25, 2.36, 1.0),
            "2 of 3 cases the device changed its speed, at worst it became 4.00× f",
        ),
    ],
)
def test_a_change_of_speed_says_how_much_and_which_way(
    drifts: tuple[float, ...], words: str
) -> None:
    rows = [calm(f"a{i}", speed_drift=drift) for i, drift in enumerate(drifts)]

    (line,) = said(*rows)

    assert words in line
    worst = 0 if drifts[0] < 1 else 1
    assert f"({rows[worst].case.id})" in line


@pytest.mark.parametrize("side", ["host_share", "baseline_host_share"])
def test_ratios_of_launching_are_counted(side: str) -> None:
    (line,) = said(calm(**{side: HOST_DECIDES_ABOVE + 0.01}), calm("frelu"))

    assert line.startswith("in 1 of 2 cases the device waited for its host")
    assert said(calm(**{side: HOST_DECIDES_ABOVE})) == []


def test_failures_are_named_once_a_reason() -> None:
    failed = [
        Row(case_of("frelu", channels=channels), "error", f"reason {channels % 5}")
        for channels in range(10, 20)
    ]

    lines = said(calm(), *failed)

    assert lines[0] == "10 of 11 cases failed:"
    assert lines[1] == f"  {failed[0].case.id}: error: reason 0"
    assert len(lines) == 1 + MOST_FAILURES + 1
    assert lines[-1] == f"  and {5 - MOST_FAILURES} other reasons, in the rows"
