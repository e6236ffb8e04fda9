"""The ratio of two overheads, held against SciPy's t test on the visits themselves."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dynact.report.comparison.welch import log_overheads, ratios
from tests.report.comparison.visits_sample import figures_of

RANDOM = np.random.default_rng(3)


@given(
    seed=st.integers(0, 2**32 - 1),
    visits=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    scatters=st.tuples(st.floats(1e-3, 1.0), st.floats(1e-3, 1.0)),
    difference=st.floats(-1.0, 1.0),
)
def test_rows_say_what_welchs_test_says_of_their_visits(
    seed: int, visits: tuple[int, int], scatters: tuple[float, float], difference: float
) -> None:
    random = np.random.default_rng(seed)
    one = random.normal(1.0, scatters[0], (1, visits[0]))
    other = random.normal(1.0 + difference, scatters[1], (1, visits[1]))
    found = ratios(figures_of(one), figures_of(other)).iloc[0]
    test = stats.ttest_ind(other[0], one[0], equal_var=False)
    interval = test.confidence_interval(0.95)
    assert found["p"] == pytest.approx(test.pvalue, rel=1e-6, abs=1e-12)
    assert np.log(found["ratio"]) == pytest.approx(other.mean() - one.mean(), abs=1e-9)
    assert np.log(found["ratio_lo"]) == pytest.approx(interval.low, abs=1e-6)
    assert np.log(found["ratio_hi"]) == pytest.approx(interval.high, abs=1e-6)


@pytest.mark.parametrize("visits", [(2, 2), (3, 14), (14, 14)])
def test_intervals_cover_the_true_ratio(visits: tuple[int, int]) -> None:
    # Each side with a scatter of its own: 4 to 13 %, as between visits.
    runs = 2_000
    one, other = (
        RANDOM.normal(0.0, RANDOM.uniform(0.04, 0.13, (runs, 1)), (runs, n)) for n in visits
    )
    found = ratios(figures_of(one), figures_of(other + np.log(1.2)))
    covered = ((found["ratio_lo"] <= 1.2) & (found["ratio_hi"] >= 1.2)).mean()
    assert 0.935 <= covered <= (0.965 if min(visits) > 2 else 1.0)


def test_a_row_of_one_visit_has_a_ratio_and_nothing_else() -> None:
    one, other = (
        figures_of(RANDOM.normal(0, 0.1, (3, 1))),
        figures_of(RANDOM.normal(0, 0.1, (3, 5))),
    )
    for reference, later in ((one, other), (other, one), (one, one)):
        found = ratios(reference, later)
        assert found["ratio"].notna().all()
        assert found[["ratio_lo", "ratio_hi", "p"]].isna().all(axis=None)


def test_a_row_without_interval_or_with_one_of_no_width_tells_nothing() -> None:
    rows = pd.DataFrame(
        {
            "overhead": [2.0, 2.0, None],
            "overhead_lo": [None, 2.0, None],
            "overhead_hi": [2.1, 2.0, None],
            "visits": [9, 9, None],
        },
        dtype=object,
    )
    assert log_overheads(rows)["error"].isna().all()
    good = figures_of(RANDOM.normal(0, 0.1, (3, 5)))
    assert ratios(rows, good)["p"].isna().all()


def test_an_interval_of_an_earlier_version_is_taken_for_a_normal_one() -> None:
    half = stats.norm.ppf(0.975) * 0.02
    old = pd.DataFrame(
        {
            "overhead": [2.0],
            "overhead_lo": [2 * np.exp(-half)],
            "overhead_hi": [2 * np.exp(half)],
            "visits": [None],
        }
    )
    assert log_overheads(old)["error"].iloc[0] == pytest.approx(0.02)
    # Of two such: a z test, whose error is the root of the sum of squares.
    later = old.assign(**{name: old[name] * 1.05 for name in old if name.startswith("overhead")})
    found = ratios(old, later).iloc[0]
    z = np.log(1.05) / (0.02 * np.sqrt(2))
    assert found["p"] == pytest.approx(2 * stats.norm.sf(z), rel=1e-9)
    assert np.log(found["ratio_hi"] / found["ratio"]) == pytest.approx(half * np.sqrt(2))


def test_no_row_is_no_error() -> None:
    empty = figures_of(np.zeros((0, 3)))
    assert list(ratios(empty, empty)) == ["ratio", "ratio_lo", "ratio_hi", "p"]
