"""The ratio of two overheads, held against SciPy's Yuen test on the visits themselves."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dynact.report.comparison.welch import log_overheads, log_times, ratios
from tests.report.comparison.visits_sample import figures_of

RANDOM = np.random.default_rng(3)


def of_overheads(reference: pd.DataFrame, later: pd.DataFrame) -> pd.DataFrame:
    return ratios(log_overheads(reference), log_overheads(later))


@given(
    seed=st.integers(0, 2**32 - 1),
    visits=st.one_of(
        st.tuples(st.integers(2, 9), st.integers(2, 9)),
        st.tuples(st.integers(10, 40), st.integers(10, 40)),
    ),
    scatters=st.tuples(st.floats(1e-3, 1.0), st.floats(1e-3, 1.0)),
    difference=st.floats(-1.0, 1.0),
)
def test_rows_say_what_yuens_test_says_of_their_visits(
    seed: int, visits: tuple[int, int], scatters: tuple[float, float], difference: float
) -> None:
    random, trim = np.random.default_rng(seed), 0.2 if visits[0] >= 10 else 0.0
    one = random.normal(1.0, scatters[0], (1, visits[0]))
    other = random.normal(1.0 + difference, scatters[1], (1, visits[1]))
    found = of_overheads(figures_of(one), figures_of(other)).iloc[0]
    # Welch's on trimmed means (Yuen, Biometrika 61, 1974).
    test = stats.ttest_ind(other[0], one[0], equal_var=False, trim=trim)
    between = stats.trim_mean(other[0], trim) - stats.trim_mean(one[0], trim)
    half = between / test.statistic * stats.t.ppf(0.975, test.df)
    assert found["p"] == pytest.approx(test.pvalue, rel=1e-6, abs=1e-12)
    assert np.log(found["ratio"]) == pytest.approx(between, abs=1e-9)
    assert np.log(found["ratio_lo"]) == pytest.approx(between - half, abs=1e-6)
    assert np.log(found["ratio_hi"]) == pytest.approx(between + half, abs=1e-6)


@pytest.mark.parametrize("visits", [(2, 2), (3, 14), (14, 14)])
def test_intervals_cover_the_true_ratio(visits: tuple[int, int]) -> None:
    # Each side with a scatter of its own: 4 to 13 %, as between visits.
    runs = 2_000
    one, other = (
        RANDOM.normal(0.0, RANDOM.uniform(0.04, 0.13, (runs, 1)), (runs, n)) for n in visits
    )
    found = of_overheads(figures_of(one), figures_of(other + np.log(1.2)))
    covered = ((found["ratio_lo"] <= 1.2) & (found["ratio_hi"] >= 1.2)).mean()
    assert 0.93 <= covered <= (0.965 if min(visits) > 2 else 1.0)


def test_a_row_of_one_visit_has_a_ratio_and_nothing_else() -> None:
    one, other = (
        figures_of(RANDOM.normal(0, 0.1, (3, 1))),
        figures_of(RANDOM.normal(0, 0.1, (3, 5))),
    )
    for reference, later in ((one, other), (other, one), (one, one)):
        found = of_overheads(reference, later)
        assert found["ratio"].notna().all()
        assert found[["ratio_lo", "ratio_hi", "p"]].isna().all(axis=None)


def test_a_row_without_interval_or_with_one_of_no_width_tells_nothing() -> None:
    rows = pd.DataFrame(
        {
            "overhead": [2.0, 2.0, None],
            "overhead_lo": [None, 2.0, None],
            "overhead_hi": [2.1, 2.0, None],
            "visits": [9, 9, None],
            "observations": [9, 9, None],
            "disturbed_visits": [0, 0, None],
        },
        dtype=object,
    )
    assert log_overheads(rows)["error"].isna().all()
    good = figures_of(RANDOM.normal(0, 0.1, (3, 5)))
    assert of_overheads(rows, good)["p"].isna().all()


def test_an_interval_of_an_earlier_version_is_taken_for_a_normal_one() -> None:
    half = stats.norm.ppf(0.975) * 0.02
    old = pd.DataFrame(
        {
            "overhead": [2.0],
            "overhead_lo": [2 * np.exp(-half)],
            "overhead_hi": [2 * np.exp(half)],
            "visits": [None],
            "observations": [None],
            "disturbed_visits": [None],
        }
    )
    assert log_overheads(old)["error"].iloc[0] == pytest.approx(0.02)
    # Of two such: a z test, whose error is the root of the sum of squares.
    later = old.assign(**{name: old[name] * 1.05 for name in old if name.startswith("overhead")})
    found = of_overheads(old, later).iloc[0]
    z = np.log(1.05) / (0.02 * np.sqrt(2))
    assert found["p"] == pytest.approx(2 * stats.norm.sf(z), rel=1e-9)
    assert np.log(found["ratio_hi"] / found["ratio"]) == pytest.approx(half * np.sqrt(2))


def test_no_row_is_no_error() -> None:
    empty = figures_of(np.zeros((0, 3)))
    assert list(of_overheads(empty, empty)) == ["ratio", "ratio_lo", "ratio_hi", "p"]


def visits_of(times_ns: dict[str, list[float]], status: str = "ok") -> pd.DataFrame:
    lines = [(case, status, time) for case, times in times_ns.items() for time in times]
    visits = pd.DataFrame(lines, columns=["case_id", "status", "time_ns"])
    return visits.assign(session="s", process=1)


def test_times_are_compared_by_their_visits() -> None:
    one, other = RANDOM.lognormal(5, 0.1, 6), RANDOM.lognormal(5.1, 0.3, 9)
    rows = pd.DataFrame({"case_id": ["a", "b"], "time_ns": [1.0, 2.0]})
    reference = log_times(rows, visits_of({"b": [9.0, 9.5], "a": list(one)}))
    later = log_times(rows, visits_of({"a": list(other), "b": [9.0, 9.5]}))
    found = ratios(reference, later)
    test = stats.ttest_ind(np.log(other), np.log(one), equal_var=False)
    assert found["p"][0] == pytest.approx(test.pvalue)
    assert np.log(found["ratio"][0]) == pytest.approx(np.log(other).mean() - np.log(one).mean())
    assert np.log(found["ratio_hi"][0]) == pytest.approx(test.confidence_interval(0.95).high)
    assert found["p"][1] == pytest.approx(1.0)


def test_of_three_processes_or_more_each_is_one_observation() -> None:
    rows = pd.DataFrame({"case_id": ["a"], "time_ns": [1.0]})
    shifts = RANDOM.normal(5, 0.1, 4)
    # Two visits of each, which agree with each other and not with the next's.
    times_ns = [float(np.exp(shift + scatter)) for shift in shifts for scatter in (0.01, -0.01)]
    visits = visits_of({"a": times_ns}).assign(process=np.repeat(range(4), 2))
    found = log_times(rows, visits).iloc[0]
    assert found["log"] == pytest.approx(shifts.mean())
    assert found["error"] == pytest.approx(stats.sem(shifts))
    assert found["freedom"] == 3


def test_a_time_without_visits_has_no_interval() -> None:
    rows = pd.DataFrame({"case_id": ["none", "one", "failed"], "time_ns": [100.0, 200.0, 300.0]})
    failed = visits_of({"failed": [1.0, 2.0, 3.0]}, status="oom")
    logs = log_times(rows, pd.concat([visits_of({"one": [220.0]}), failed]))
    assert list(np.exp(logs["log"])) == pytest.approx([100.0, 220.0, 300.0])
    assert logs["error"].isna().all()
    found = ratios(logs, logs)
    assert found["ratio"].eq(1).all()
    assert found["p"].isna().all()
    assert log_times(rows, visits_of({}))["error"].isna().all()
