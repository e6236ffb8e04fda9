"""What is said of many ratios, where the truth is known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.report.comparison.verdicts import (
    FALSE_DISCOVERY_RATE,
    FASTER,
    NOT_RESOLVED,
    SAME,
    SLOWER,
    judge,
    slower_by,
)
from dynact.report.comparison.welch import log_overheads, ratios
from tests.report.comparison.visits_sample import figures_of

CASES = 2_000
VISITS = 14
SCATTER = 0.077  # between passes, as measured


def simulated(
    seed: int, true_ratio: "float | np.ndarray", scatter: float = SCATTER, visits: int = VISITS
) -> pd.DataFrame:
    """Return the ratios that two runs of so many visits a case say, all lognormal."""
    random = np.random.default_rng(seed)
    true = np.broadcast_to(np.log(true_ratio), CASES)[:, None]
    one, other = (
        figures_of(random.normal(truth, scatter, (CASES, visits))) for truth in (0 * true, true)
    )
    return ratios(log_overheads(one), log_overheads(other))


def called(judged: pd.DataFrame) -> "pd.Series[bool]":
    return judged["verdict"].isin([SLOWER, FASTER])


@pytest.mark.parametrize("seed", range(5))
def test_of_equals_hardly_any_is_called_slower_or_faster(seed: int) -> None:
    for visits in (2, 5, 14, 30):
        assert called(judge(simulated(seed, 1.0, visits=visits), 0.05)).mean() <= 0.01


def test_what_is_ten_percent_slower_is_found_among_equals() -> None:
    # One activation of eight, as in a quick sweep, whose visits scatter by 4 %.
    truth = np.where(np.arange(CASES) % 8 == 0, 1.1, 1.0)
    judged = judge(simulated(0, truth, scatter=0.04), 0.05)
    slow, slower = truth > 1, judged["verdict"] == SLOWER
    assert slower[slow].mean() >= 0.9
    assert called(judged)[~slow].mean() <= 0.05
    # Of what is called, a share of chance as small as promised.
    assert (~slow)[called(judged)].mean() <= FALSE_DISCOVERY_RATE
    assert set(judged["verdict"][slow]) <= {SLOWER, NOT_RESOLVED}


def test_faster_is_slower_turned_round() -> None:
    truth = np.where(np.arange(CASES) % 8 == 0, 1.15, 1.0)
    there = simulated(1, truth, scatter=0.04)
    back = pd.DataFrame(
        {
            "ratio": 1 / there["ratio"],
            "ratio_lo": 1 / there["ratio_hi"],
            "ratio_hi": 1 / there["ratio_lo"],
            "p": there["p"],
        }
    )
    turned = {SLOWER: FASTER, FASTER: SLOWER}
    assert list(judge(there, 0.05)["verdict"].replace(turned)) == list(judge(back, 0.05)["verdict"])


def test_what_differs_by_more_than_the_margin_is_hardly_called_the_same() -> None:
    # At the margin itself: two one-sided tests at 2.5 %, of which one can fail.
    for truth in (1.05, 1 / 1.05):
        for scatter in (0.01, 0.03):
            same = judge(simulated(2, truth, scatter=scatter), 0.05)["verdict"] == SAME
            assert 0 < same.mean() <= 0.035
    assert (judge(simulated(2, 1.0, scatter=0.02), 0.05)["verdict"] == SAME).mean() > 0.9


def ratio_of(low: float, high: float, p: float) -> pd.DataFrame:
    return pd.DataFrame(
        {"ratio": [np.sqrt(low * high)], "ratio_lo": [low], "ratio_hi": [high], "p": [p]}
    )


@pytest.mark.parametrize(
    ("low", "high", "p", "margin", "verdict"),
    [
        (0.99, 1.02, 0.5, 0.05, SAME),
        # Told apart, but by less than matters; and what matters is the user's word.
        (1.01, 1.03, 1e-6, 0.05, SAME),
        (1.01, 1.03, 1e-6, 0.02, SLOWER),
        (0.97, 0.99, 1e-6, 0.02, FASTER),
        # The margin is as far in either direction: 1 / 1.05 is 0.952.
        (0.951, 1.02, 0.5, 0.05, NOT_RESOLVED),
        (0.953, 1.02, 0.5, 0.05, SAME),
        (1.01, 1.06, 0.01, 0.05, SLOWER),
        (0.94, 0.99, 0.01, 0.05, FASTER),
        (0.98, 1.2, 0.06, 0.05, NOT_RESOLVED),
        (np.nan, np.nan, np.nan, 0.05, NOT_RESOLVED),
    ],
)
def test_each_verdict(low: float, high: float, p: float, margin: float, verdict: str) -> None:
    assert list(judge(ratio_of(low, high, p), margin)["verdict"]) == [verdict]


@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=60))
def test_adjusted_probabilities_are_those_of_benjamini_and_hochberg(given_p: list[float]) -> None:
    wide = pd.concat([ratio_of(0.5, 3.0, p) for p in given_p] or [ratio_of(1, 1, 1)[:0]])
    judged = judge(wide.reset_index(drop=True), 0.05)
    known = sorted(p for p in given_p if not np.isnan(p))
    # Their step-up procedure as they wrote it: the largest k with p(k) ≤ k/m q.
    passed = [p for k, p in enumerate(known, 1) if p <= k / len(known) * FALSE_DISCOVERY_RATE]
    limit = max(passed, default=-1.0)
    told = judged["p_adjusted"] <= FALSE_DISCOVERY_RATE
    for p, here in zip(given_p, told, strict=True):
        # Where p and its limit are equal but for the rounding, either is right.
        if not any(
            np.isclose(q, k / len(known) * FALSE_DISCOVERY_RATE, rtol=1e-9)
            for k, q in enumerate(known, 1)
        ):
            assert here == (p <= limit)


def test_cases_without_an_interval_do_not_count_among_many() -> None:
    one = ratio_of(1.06, 1.2, 0.03)
    among = pd.concat([one, *[ratio_of(np.nan, np.nan, np.nan)] * 50], ignore_index=True)
    assert judge(among, 0.05)["verdict"][0] == SLOWER
    among = pd.concat([one, *[ratio_of(0.8, 1.3, 0.9)] * 50], ignore_index=True)
    assert judge(among, 0.05)["verdict"][0] == NOT_RESOLVED


def test_slower_by_looks_at_the_ratio_and_at_chance_whatever_the_margin() -> None:
    lines = [
        ratio_of(1.03, 1.09, 1e-4),  # 1.06: the interval's end may be below
        ratio_of(1.02, 1.06, 1e-4),  # 1.04: too little
        ratio_of(0.90, 1.40, 0.30),  # 1.12, but it may be chance
        ratio_of(0.80, 0.90, 1e-4),
        ratio_of(np.nan, np.nan, np.nan).assign(ratio=2.0),
    ]
    for margin in (0.01, 0.05, 0.5):
        judged = judge(pd.concat(lines, ignore_index=True), margin)
        assert list(slower_by(judged, 0.05).index) == [0]
        assert list(slower_by(judged, 0.03).index) == [0, 1]
