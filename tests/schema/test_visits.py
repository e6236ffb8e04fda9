"""What visits say together, against numpy and by hand."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dynact.schema.visits import (
    DISTURBED_ABOVE,
    LEAST_VISITS,
    OUT_OF_LINE,
    Visit,
    measured_figures,
    observations,
    telling,
    undisturbed,
    visit_of_record,
    with_visits,
)
from dynact.timing.visits import over_visits


def visit(number: int = 1, **figures: Any) -> Visit:
    values: dict[str, Any] = {
        "status": "ok", "message": "", "overhead": 2.0, "time_ns": 2e3, "baseline_time_ns": 1e3,
        "pairs": 4, "cache": "warm", "clock": "wall", "timing_s": 0.07, "visit_s": 0.08,
        "steal_share": 0.0, "other_share": 0.0,
    }  # fmt: skip
    return Visit(
        "rows.jsonl", "a", number, seconds=0.07, session="2026-03-01T10:00:00",
        elapsed_s=10.0 * number, **values | figures,
    )  # fmt: skip


FAILED: dict[str, Any] = dict.fromkeys(
    ("overhead", "time_ns", "baseline_time_ns", "pairs", "cache", "clock", "timing_s")
) | {"status": "crashed", "message": "SIGKILL"}
# In line with each other, whatever their median.
OVERHEADS = st.lists(st.floats(0.7, 0.7 * OUT_OF_LINE), min_size=1, max_size=30)


@given(st.floats(0.1, 100), st.sampled_from(["ok", "crashed"]), st.text(max_size=20))
def test_a_line_is_the_visit(overhead: float, status: str, message: str) -> None:
    made = visit(overhead=overhead, status=status, message=message)

    line = json.loads(json.dumps(made.record()))

    assert visit_of_record(line) == made
    # Of a later version, which has more to say.
    assert visit_of_record(line | {"throttled": True}) == made


@pytest.mark.parametrize(
    ("steal", "other", "disturbed"),
    [
        (0.0, 0.0, False),
        (DISTURBED_ABOVE, 0.0, False),
        (DISTURBED_ABOVE + 0.01, 0.0, True),
        (0.0, 1.0, True),
        (0.6 * DISTURBED_ABOVE, 0.6 * DISTURBED_ABOVE, True),
        # A device that does not say.
        (None, None, False),
    ],
)
def test_what_others_take_together_disturbs(
    steal: float | None, other: float | None, disturbed: bool
) -> None:
    assert visit(steal_share=steal, other_share=other).disturbed is disturbed


@given(OVERHEADS)
def test_a_row_is_of_all_visits(overheads: list[float]) -> None:
    visits = [
        visit(i, overhead=overhead, time_ns=1e3 * overhead, pairs=i)
        for i, overhead in enumerate(overheads, start=1)
    ]

    found = measured_figures(visits, precision=0.01)

    times_ns = 1e3 * np.array(overheads)
    assert found["status"] == "ok"
    assert found["visits"] == len(overheads)
    assert (found["disturbed_visits"], found["failed_visits"]) == (0, 0)
    trimmed = 0.2 if len(overheads) >= 10 else 0.0
    assert found["overhead"] == pytest.approx(
        math.exp(stats.trim_mean(np.log(overheads), trimmed)), rel=1e-9
    )
    assert found["time_ns"] == pytest.approx(np.median(times_ns))
    ordered = [
        times_ns.min(),
        *(found[f"time{p}_ns"] for p in ("_p20", "", "_p80")),
        times_ns.max(),
    ]
    # But for the rounding of what is between two.
    assert ordered == pytest.approx(sorted(ordered), rel=1e-12)
    assert found["pairs"] == sum(range(1, len(overheads) + 1))
    assert found["timing_s"] == pytest.approx(0.07 * len(overheads))
    assert found["case_s"] == pytest.approx(0.08 * len(overheads))
    assert found["elapsed_s"] == 10.0 * len(overheads)
    assert (found["overhead_lo"] is None) == (len(overheads) == 1)


def test_percentiles_are_those_of_visits() -> None:
    visits = [visit(i, time_ns=float(i)) for i in range(1, 12)]

    found = measured_figures(visits, 0.01)

    assert found["time_p20_ns"] == pytest.approx(3, abs=0.5)
    assert found["time_p80_ns"] == pytest.approx(9, abs=0.5)


def test_the_hosts_share_is_that_of_the_visits_that_figures_are_of() -> None:
    calm = [visit(i, host_share=0.1 * i, baseline_host_share=0.5) for i in range(1, 6)]
    disturbed = [visit(9, host_share=3.0, baseline_host_share=3.0, other_share=1.0)] * 9

    found = measured_figures([*disturbed, *calm], 0.01)

    assert found["host_share"] == pytest.approx(0.3)
    assert found["baseline_host_share"] == 0.5
    assert measured_figures([visit()], 0.01)["host_share"] is None


def test_the_devices_overhead_is_of_visits_that_have_both_times() -> None:
    times = [(30.0, 10.0), (50.0, 10.0), (40.0, 10.0), (None, 10.0), (900.0, None)]
    visits = [
        visit(i, device_time_ns=target, baseline_device_time_ns=baseline)
        for i, (target, baseline) in enumerate(times, start=1)
    ]

    found = measured_figures(visits, 0.01)

    # The median of the times, but of the ratios what is told of `overhead`.
    ratios = [3, 5, 4]
    assert found["device_overhead"] == pytest.approx(stats.gmean(ratios))
    logs = np.log(ratios)
    interval = stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs))
    ends = found["device_overhead_lo"], found["device_overhead_hi"]
    assert ends == pytest.approx(tuple(np.exp(interval)))
    assert found["device_time_ns"] == 45
    assert found["baseline_device_time_ns"] == 10
    without = measured_figures([visit(), visit()], 0.01)
    assert without["overhead_lo"] is not None
    names = "device_overhead", "device_overhead_lo", "device_overhead_hi"
    assert [without[name] for name in names] == [None] * 3


def test_the_undisturbed_are_believed_where_there_are_enough() -> None:
    calm = [visit(i, overhead=2.0) for i in range(LEAST_VISITS)]
    disturbed = [visit(9, overhead=50.0, time_ns=5e4, other_share=1.0)] * 20

    found = measured_figures([*calm, *disturbed], 0.01)

    assert (found["overhead"], found["time_ns"]) == (pytest.approx(2.0), 2e3)
    assert (found["visits"], found["disturbed_visits"]) == (LEAST_VISITS + 20, 20)
    # But they are not kept from view where there are no others.
    few = [*calm[1:], *disturbed]
    assert telling(few) == few
    assert measured_figures(few, 0.01)["overhead"] > 10


@pytest.mark.parametrize("factor", [OUT_OF_LINE + 0.1, 17.0, 1 / 17, 1 / (OUT_OF_LINE + 0.1)])
def test_a_visit_out_of_line_with_the_others_is_disturbed_whatever_by(factor: float) -> None:
    usual = [visit(i, overhead=1.1 + 0.01 * i) for i in range(LEAST_VISITS)]
    odd = visit(9, overhead=1.1 * factor)

    assert undisturbed([*usual, odd]) == usual
    assert measured_figures([odd, *usual], 0.01)["disturbed_visits"] == 1
    assert measured_figures([odd, *usual], 0.01)["overhead_hi"] < 1.3
    # Of few, none can be said to be the usual.
    assert undisturbed([*usual[2:], odd]) == [*usual[2:], odd]


@pytest.mark.parametrize("factor", [OUT_OF_LINE - 0.1, 1 / (OUT_OF_LINE - 0.1)])
def test_what_the_place_in_memory_can_do_is_in_line(factor: float) -> None:
    visits = [*(visit(i) for i in range(LEAST_VISITS)), visit(9, overhead=2.0 * factor)]

    assert undisturbed(visits) == visits


def test_what_is_in_line_is_told_by_the_visits_that_others_left_alone() -> None:
    calm = [visit(i, overhead=2.0) for i in range(LEAST_VISITS)]
    odd = visit(8, overhead=30.0)
    disturbed = [visit(9, overhead=30.0, other_share=1.0)] * 20

    assert undisturbed([*calm, *disturbed, odd]) == calm


def test_of_three_processes_or_more_each_is_one_observation() -> None:
    # Two visits of each process, which agree with each other and not with the next's.
    visits = [
        visit(2 * i + j, process=i, overhead=overhead * factor)
        for i, overhead in enumerate([2.0, 2.1, 1.9, 2.2])
        for j, factor in enumerate([1.001, 1 / 1.001])
    ]

    found = measured_figures(visits, 0.01)

    logs = np.log([2.0, 2.1, 1.9, 2.2])
    lower, upper = stats.t.interval(0.95, 3, logs.mean(), stats.sem(logs))
    interval = [found[f"overhead{end}"] for end in ("", "_lo", "_hi")]
    assert interval == pytest.approx(np.exp([logs.mean(), lower, upper]).tolist())
    assert (found["visits"], found["processes"], found["observations"]) == (8, 4, 4)
    # A number may come again in another session, after a restart of the machine.
    assert len(observations([replace(v, session=f"{v.number % 2}") for v in visits])) == 8


@pytest.mark.parametrize("processes", [1, 2])
def test_of_fewer_processes_each_visit_is_one(processes: int) -> None:
    visits = [visit(i, process=i % processes, overhead=4.0 + i) for i in range(6)]

    assert sorted(observations(visits)) == [visit.overhead for visit in visits]
    assert measured_figures(visits, 0.01)["observations"] == 6


@pytest.mark.parametrize(
    ("count", "scatter", "converged"),
    [(4, 0.0, False), (5, 0.0, True), (5, 0.02, False), (30, 0.02, True)],
)
def test_it_converged_if_narrow_after_enough_visits(
    count: int, scatter: float, converged: bool
) -> None:
    visits = [visit(i, overhead=2 + scatter * (-1) ** i) for i in range(count)]

    found = measured_figures(visits, precision=0.01)

    assert found["converged"] is converged
    # At 99 %, for it is looked at again and again.
    half_width = over_visits(observations(visits), 0.99).half_width
    assert half_width is not None
    assert converged == (count >= 5 and half_width <= 0.01)


def test_the_device_s_speed_is_that_of_the_baseline_at_the_end() -> None:
    visits = [visit(i, baseline_time_ns=1e3 * (1 if i < 8 else 1.5)) for i in range(12)]

    assert measured_figures(visits, 0.01)["speed_drift"] == pytest.approx(1.5)


def test_failures_are_counted_and_said_where_nothing_succeeded() -> None:
    mixed = measured_figures([visit(1), visit(2, **FAILED), visit(3)], 0.01)
    none = measured_figures([visit(1, **FAILED), visit(2, **FAILED | {"message": "x"})], 0.01)

    assert (mixed["status"], mixed["visits"], mixed["failed_visits"]) == ("ok", 2, 1)
    assert none == {"status": "crashed", "message": "SIGKILL"}


def test_what_was_counted_once_stays() -> None:
    record = {"case_id": "a", "flops": 7, "message": "traffic not counted: why", "overhead": None}

    found = with_visits(record, [visit(1), visit(2)], 0.01)

    assert (found["flops"], found["message"]) == (7, "traffic not counted: why")
    assert found["overhead"] == pytest.approx(2.0)
    assert with_visits(found, [visit(1), visit(2)], 0.01) == found
