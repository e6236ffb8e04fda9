"""Intervals over visits against truths that are known, and against scipy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dynact.timing.visits import (
    Estimate,
    OfCase,
    degrees,
    over_cases,
    over_visits,
    student_quantile,
)

RUNS = 2_000
VISITS = 14
SCATTER = 0.05
Rng = np.random.Generator
RATIOS = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=40)


def undisturbed(rng: Rng) -> np.ndarray:
    return rng.normal(0, SCATTER, VISITS)


def drifting(rng: Rng) -> np.ndarray:
    """Warming up, the ratio itself rises by as much as it scatters."""
    return undisturbed(rng) + rng.permutation(np.linspace(-SCATTER / 2, SCATTER / 2, VISITS))


def with_bursts(rng: Rng) -> np.ndarray:
    """In half of the runs others come, stay for two visits, and slow either side more."""
    logs = undisturbed(rng)
    if rng.random() < 0.5:
        start = rng.integers(VISITS - 1)
        logs[start : start + 2] += rng.normal(0, 0.5)
    return logs


def with_one_side_slowed(rng: Rng) -> np.ndarray:
    """One visit in fourteen finds the target at half its speed."""
    logs = undisturbed(rng)
    logs[rng.integers(VISITS)] += math.log(2)
    return logs


def with_heavy_tails(rng: Rng) -> np.ndarray:
    return rng.standard_t(2, VISITS) * SCATTER


SITUATIONS = [undisturbed, drifting, with_bursts, with_one_side_slowed, with_heavy_tails]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_interval_covers_the_true_ratio_and_is_near_the_narrowest_possible(
    situation: Callable[[Rng], np.ndarray],
) -> None:
    rng = np.random.default_rng(7)
    truth = 31.0
    covered = 0
    half_widths = []
    for _ in range(RUNS):
        found = over_visits(truth * np.exp(situation(rng)))
        assert found.lower is not None
        assert found.upper is not None
        covered += found.lower <= truth <= found.upper
        half_widths.append(found.half_width)

    assert covered / RUNS >= 0.93
    # Of as many visits that nothing disturbs, by whoever knows that they are normal.
    ideal = stats.t.ppf(0.975, VISITS - 1) * SCATTER / math.sqrt(VISITS)
    assert np.median(half_widths) <= 2 * ideal


@pytest.mark.parametrize("visits", [2, 3, 4, 6, 9])
def test_few_visits_are_not_trimmed(visits: int) -> None:
    ratios = [2.0, 2.5, 2.2, 3.0, 2.1, 1.9, 2.6, 2.4, 5.0][:visits]

    found = over_visits(ratios)

    logs = np.log(ratios)
    lower, upper = stats.t.interval(0.95, visits - 1, logs.mean(), stats.sem(logs))
    assert found == pytest.approx((np.exp(logs.mean()), np.exp(lower), np.exp(upper)))
    assert degrees(visits) == visits - 1


@given(st.lists(st.floats(1e-3, 1e3), min_size=10, max_size=40))
def test_the_middle_is_scipy_s_trimmed_mean(ratios: list[float]) -> None:
    assert over_visits(ratios).middle == pytest.approx(
        math.exp(stats.trim_mean(np.log(ratios), 0.2)), rel=1e-9
    )


@given(st.lists(st.floats(1e-3, 1e3), min_size=10, max_size=40, unique=True))
def test_the_interval_is_of_the_winsorised_variance(ratios: list[float]) -> None:
    logs = np.log(ratios)
    cut = int(0.2 * len(logs))
    kept = len(logs) - 2 * cut
    winsorised = np.asarray(stats.mstats.winsorize(logs, (0.2, 0.2)))
    error = math.sqrt(winsorised.var(ddof=1) * (len(logs) - 1) / (kept * (kept - 1)))

    found = over_visits(ratios)

    assert degrees(len(ratios)) == kept - 1
    assert found.half_width == pytest.approx(
        stats.t.ppf(0.975, kept - 1) * error, rel=1e-6, abs=1e-12
    )


@given(RATIOS)
def test_target_and_baseline_exchanged_give_the_inverse(ratios: list[float]) -> None:
    found, inverse = over_visits(ratios), over_visits([1 / ratio for ratio in ratios])

    assert found.lower is not None
    assert found.upper is not None
    assert inverse == pytest.approx((1 / found.middle, 1 / found.upper, 1 / found.lower), rel=1e-9)


@given(RATIOS, st.randoms())
def test_the_order_of_visits_does_not_matter(ratios: list[float], random: object) -> None:
    shuffled = list(ratios)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert over_visits(shuffled) == over_visits(ratios)


def test_one_visit_alone_has_no_interval() -> None:
    assert over_visits([3.0]) == (pytest.approx(3.0), None, None)
    assert over_visits([3.0]).half_width is None


def test_more_confidence_is_a_wider_interval() -> None:
    ratios = [2.0, 2.1, 2.2, 2.4, 1.9, 2.0]
    widths = [over_visits(ratios, confidence).half_width for confidence in (0.5, 0.95, 0.999)]

    assert widths == sorted(widths)
    quantile = stats.t.ppf(0.75, degrees(6)) / stats.t.ppf(0.9995, degrees(6))
    assert widths[0] / widths[2] == pytest.approx(quantile)


@pytest.mark.parametrize(("degrees_of", "probability"), [(1, 0.975), (9, 0.975), (13.5, 0.8)])
def test_quantiles_are_student_s(degrees_of: float, probability: float) -> None:
    assert student_quantile(degrees_of, probability) == pytest.approx(
        stats.t.ppf(probability, degrees_of)
    )


def of_case(ratio: float, half_width: float, degrees: float, weight: float = 1.0) -> OfCase:
    ends = ratio * math.exp(-half_width), ratio * math.exp(half_width)
    return OfCase(Estimate(ratio, *ends), degrees, weight)


def test_over_cases_it_is_the_weighted_geometric_mean() -> None:
    found = over_cases([of_case(2.0, 0.1, 5, weight=3), of_case(16.0, 0.1, 5)])

    # (2³ · 16)^¼
    assert found.middle == pytest.approx(128**0.25)


def test_over_cases_of_one_it_is_that_case_s_own_estimate() -> None:
    alone = of_case(3.0, 0.2, 4, weight=7)

    assert over_cases([alone]) == pytest.approx(alone.estimate)


def test_over_cases_it_has_the_interval_of_welch_s_t_test() -> None:
    """Of the sum of two means, so that SciPy has the same interval."""
    draws = [np.log([1.9, 2.1, 2.3, 2.0]), -np.log([0.2, 0.5, 0.3, 0.25, 0.4, 0.3])]
    welch = stats.ttest_ind(draws[0], -draws[1], equal_var=False)
    low, high = welch.confidence_interval(0.95)

    cases = []
    for logs in draws:
        degrees = len(logs) - 1
        half_width = stats.t.ppf(0.975, degrees) * stats.sem(logs)
        cases.append(of_case(math.exp(logs.mean()), half_width, degrees))

    # Half the sum is the mean of both.
    assert over_cases(cases).lower == pytest.approx(math.exp(low / 2))
    assert over_cases(cases).upper == pytest.approx(math.exp(high / 2))


def test_over_cases_without_scatter_the_interval_has_no_width() -> None:
    assert over_cases([of_case(2.0, 0.0, 3)] * 2) == pytest.approx((2.0, 2.0, 2.0))


def test_over_cases_one_without_an_interval_leaves_the_mean_without() -> None:
    once = OfCase(Estimate(8.0, None, None), 0)

    assert over_cases([of_case(2.0, 0.1, 3), once]) == (pytest.approx(4.0), None, None)
