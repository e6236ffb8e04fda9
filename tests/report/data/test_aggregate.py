"""Figures of many shapes, brought together."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dynact.report.data.aggregate import geometric_means, hold_between_runs
from tests.report.comparison.visits_sample import trimmed
from tests.report.conftest import build_rows, fail_rows

ACTIVATIONS = 16
SHAPES = 11
RUNS = 125


def test_geometric_mean_of_equal_intervals_has_the_closed_form(make_rows):
    rows = make_rows(("prelu",), (1, 2, 4, 8), (7,), ("inference",))
    rows["overhead"] = [1.0, 2.0, 4.0, 8.0]
    rows["overhead_lo"] = rows["overhead"] / math.e**0.1
    rows["overhead_hi"] = rows["overhead"] * math.e**0.1
    mean = geometric_means(rows).loc[("inference", "prelu")]
    # √(4 · 0.1²) / 4 = 0.05
    assert mean["overhead"] == pytest.approx(2**1.5)
    assert mean["overhead_lo"] == pytest.approx(2**1.5 * math.exp(-0.05))
    assert mean["overhead_hi"] == pytest.approx(2**1.5 * math.exp(0.05))
    assert (mean["smallest"], mean["largest"]) == pytest.approx((1.0, 8.0))


def test_geometric_mean_leaves_failures_out(make_rows, fail):
    rows = make_rows(("prelu",), (1, 2, 4), (7,), ("inference",))
    mean = geometric_means(fail(rows, [1], "oom", "")).loc[("inference", "prelu")]
    logs = [math.log(rows.loc[i, "overhead"]) for i in (0, 2)]
    halves = [math.log(rows.loc[i, "overhead_hi"] / rows.loc[i, "overhead_lo"]) / 2 for i in (0, 2)]
    half = math.sqrt(sum(h**2 for h in halves)) / 2
    assert mean["overhead"] == pytest.approx(math.exp(sum(logs) / 2))
    assert mean["overhead_hi"] == pytest.approx(math.exp(sum(logs) / 2 + half))
    assert (mean["ok"], mean["cases"]) == (2, 3)


def rows_of_visits(logs: "np.ndarray[Any, Any]") -> pd.DataFrame:
    """Rows of log ratios by (visit, case), the cases those of one activation at several shapes."""
    visits, cases = logs.shape
    mean, half = trimmed(logs.T)
    rows = build_rows(("prelu",), range(1, cases + 1), (7,), ("inference",))
    return rows.assign(
        overhead=np.exp(mean), overhead_lo=np.exp(mean - half), overhead_hi=np.exp(mean + half),
        visits=visits, observations=visits, disturbed_visits=0,
    )  # fmt: skip


def test_of_one_shape_the_mean_has_the_shapes_own_interval() -> None:
    rows = rows_of_visits(np.array([[0.1], [0.3], [0.15], [0.2]]))

    mean = geometric_means(rows).loc[("inference", "prelu")]

    for column in ("overhead", "overhead_lo", "overhead_hi"):
        assert mean[column] == pytest.approx(rows[column].iloc[0])


def test_of_equal_scatter_the_mean_has_as_many_degrees_of_freedom_as_all_shapes_together() -> None:
    logs = np.array([[0.1, -0.1, 0.3], [0.2, 0.0, 0.2], [0.3, 0.1, 0.1]])

    mean = geometric_means(rows_of_visits(logs)).loc[("inference", "prelu")]

    # Each shape has the standard deviation 0.1, over three visits.
    half = stats.t.ppf(0.975, 3 * 2) * 0.1 / math.sqrt(3) / math.sqrt(3)
    assert math.log(mean["overhead_hi"] / mean["overhead"]) == pytest.approx(half)
    assert math.log(mean["overhead"] / mean["overhead_lo"]) == pytest.approx(half)


@pytest.mark.parametrize("alone", [[1], [0, 1, 2]])
def test_with_a_shape_of_one_visit_the_mean_has_no_interval(alone: list[int]) -> None:
    rows = rows_of_visits(np.array([[0.1, -0.1, 0.3], [0.2, 0.0, 0.2]]))
    rows.loc[alone, ["overhead_lo", "overhead_hi"]] = None
    rows.loc[alone, ["visits", "observations"]] = 1

    mean = geometric_means(rows).loc[("inference", "prelu")]

    assert mean["overhead"] == pytest.approx(math.exp((0.15 - 0.05 + 0.25) / 3))
    assert np.isnan([mean["overhead_lo"], mean["overhead_hi"]]).all()


def test_visits_without_any_scatter_give_an_interval_of_no_width() -> None:
    rows = build_rows(("prelu",), (1, 2), (7,), ("inference",)).assign(visits=3, observations=3)
    same = rows.assign(overhead=1.5, overhead_lo=1.5, overhead_hi=1.5)

    mean = geometric_means(same).loc[("inference", "prelu")]

    for column in ("overhead", "overhead_lo", "overhead_hi"):
        assert mean[column] == pytest.approx(1.5)


def test_intervals_hold_between_runs_where_all_measured_rows_are_of_visits() -> None:
    former, now = build_rows(), build_rows().assign(visits=6, processes=3, observations=3)

    assert not hold_between_runs(former)
    assert hold_between_runs(now)
    assert not hold_between_runs(pd.concat([former, now]))
    assert hold_between_runs(pd.concat([now, fail_rows(former, range(len(former)), "oom", "")]))


def noise(random: np.random.Generator, visits: int) -> "np.ndarray[Any, Any]":
    """Scatter of log ratios by (run, visit, activation, shape), every case's of its own width."""
    width = 0.05 * random.lognormal(0, 0.6, (RUNS, 1, ACTIVATIONS, SHAPES))
    return width * random.normal(size=(RUNS, visits, ACTIVATIONS, SHAPES))


def heavy(random: np.random.Generator, visits: int) -> "np.ndarray[Any, Any]":
    """Scatter in which one visit in twenty is four times as far off."""
    far = random.random((RUNS, visits, ACTIVATIONS, SHAPES)) < 0.05
    return noise(random, visits) * np.where(far, 4, 1)


def bursts(random: np.random.Generator, visits: int) -> "np.ndarray[Any, Any]":
    """Scatter with a disturbance that lasts twelve visits of each pass, in the pass's own order."""
    logs = noise(random, visits).reshape(RUNS, visits, -1)
    for one_run in logs:
        for one_pass in one_run:
            order = random.permutation(len(one_pass))
            start = random.integers(0, len(one_pass) - 12)
            one_pass[order[start : start + 12]] += random.normal(0, 0.2)
    return logs.reshape(RUNS, visits, ACTIVATIONS, SHAPES)


@pytest.mark.parametrize("scatter", [noise, heavy, bursts], ids=lambda of: of.__name__)
@pytest.mark.parametrize("visits", [2, 3, 7, 14])
def test_intervals_of_means_cover_the_truth(scatter: Any, visits: int) -> None:
    random = np.random.default_rng(visits)
    true = random.normal(0.7, 0.5, (1, 1, ACTIVATIONS, SHAPES))
    logs = true + scatter(random, visits)
    error = stats.sem(logs, axis=1)
    means, half = trimmed(np.moveaxis(logs, 1, -1))
    # A phase stands for a run, so that one call finds the means of all.
    run, activation, _ = np.indices(means.shape).reshape(3, -1)
    rows = pd.DataFrame(
        {
            "phase": run,
            "activation": activation,
            "status": "ok",
            "occurrences": None,
            "visits": visits,
            "observations": visits,
            "disturbed_visits": 0,
            "time_ns": 1.0,
            "overhead": np.exp(means).ravel(),
            "overhead_lo": np.exp(means - half).ravel(),
            "overhead_hi": np.exp(means + half).ravel(),
        }
    )

    found = geometric_means(rows).sort_index()

    truth = np.tile(np.exp(true.mean(axis=-1).ravel()), RUNS)
    covered = (found["overhead_lo"] <= truth) & (truth <= found["overhead_hi"])
    assert len(covered) == 2000
    assert covered.mean() >= 0.93
    # Not by being too wide: the interval that knows each case's scatter is the measure.
    ideal = 1.96 * np.sqrt((error**2).mean(axis=0).sum(axis=-1)).mean() / SHAPES
    width = np.log(found["overhead_hi"] / found["overhead_lo"]).median() / 2
    assert width <= 2 * ideal
