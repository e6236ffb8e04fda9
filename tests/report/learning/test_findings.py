"""Means, paired differences, intervals, and the words they allow."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dynact.report.learning.findings import COLUMNS, findings, mean_interval

EPOCHS = 2
Accuracies = Mapping[str, Sequence[float]]


def points_of(
    accuracies: Accuracies, seconds: Accuracies | None = None, lost: Sequence[tuple[str, int]] = ()
) -> pd.DataFrame:
    """Return points with these accuracies after the last epoch, seed by seed."""
    records = []
    for activation, of_seeds in accuracies.items():
        for seed, accuracy in enumerate(of_seeds):
            train_s = seconds[activation][seed] if seconds else 2.0
            diverged = (activation, seed) in lost
            for epoch in range(EPOCHS if diverged else EPOCHS + 1):
                here = diverged and epoch == EPOCHS - 1
                records.append(
                    {
                        "activation": activation, "seed": seed, "epoch": epoch,
                        "status": "diverged" if here else "ok",
                        "accuracy": None if here else accuracy * epoch / EPOCHS,
                        "train_s": train_s * epoch / EPOCHS, "parameters": 62_006,
                        "replaced": 4, "sites": 4, "message": "",
                    }
                )  # fmt: skip
    return pd.DataFrame(records)


@pytest.mark.parametrize(
    ("values", "quantile"),
    [
        # Student's t has closed quantiles for 1 and 2 degrees of freedom.
        ((0.2, 0.5), math.tan(math.pi * 0.475)),
        ((0.2, 0.5, 0.3), 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))),
    ],
)
def test_the_interval_in_closed_form(values: tuple[float, ...], quantile: float) -> None:
    n, mean = len(values), math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = quantile * deviation / math.sqrt(n)
    assert mean_interval(values) == pytest.approx((mean, mean - half, mean + half))


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    draws = random.normal(0.8, 0.05, size=(2000, 5))
    intervals = np.array([mean_interval(list(values)) for values in draws])
    covered = ((intervals[:, 1] <= 0.8) & (intervals[:, 2] >= 0.8)).mean()
    # Three standard deviations of a share of 2000.
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2000))


@pytest.mark.parametrize("values", [(0.5,), (0.5, 0.5), (0.3 - 0.1, 0.2, 0.4 - 0.2)])
def test_what_says_nothing_of_its_spread_has_no_interval(values: tuple[float, ...]) -> None:
    mean, low, high = mean_interval(values)
    assert mean == pytest.approx(values[0])
    assert math.isnan(low)
    assert math.isnan(high)


def test_no_values_have_no_mean() -> None:
    assert all(map(math.isnan, mean_interval(())))


SHARES = st.lists(
    st.tuples(*[st.integers(0, 360)] * 2), min_size=2, max_size=6
)  # images of 360 found, with ReLU and with another


@settings(max_examples=30)
@given(SHARES)
def test_words_say_what_the_paired_t_test_does(found: list[tuple[int, int]]) -> None:
    relu, other = np.transpose(found) / 360
    line = findings(points_of({"relu": list(relu), "frelu": list(other)})).loc["frelu"]
    assert line["difference"] == pytest.approx((other - relu).mean(), abs=1e-12)
    if len({b - a for a, b in found}) == 1:
        assert line["verdict"] == "not compared: equal differences have no interval"
        return
    test = stats.ttest_rel(other, relu)
    low, high = test.confidence_interval(0.95)
    assert (line["difference_lo"], line["difference_hi"]) == pytest.approx((low, high), abs=1e-9)
    if abs(test.pvalue - 0.05) > 1e-9:
        significant = "better" if test.statistic > 0 else "worse"
        assert line["verdict"] == (significant if test.pvalue < 0.05 else "no difference shown")


@pytest.mark.parametrize(("sign", "verdict"), [(1, "better"), (-1, "worse")])
def test_pairing_by_seed_finds_what_means_alone_do_not(sign: int, verdict: str) -> None:
    relu, gains = np.array([0.60, 0.70, 0.80, 0.90]), np.array([0.030, 0.031, 0.029, 0.032])
    found = findings(points_of({"relu": list(relu), "frelu": list(relu + sign * gains)}))
    own = found.loc["frelu"]
    assert own["accuracy_lo"] < found["accuracy"]["relu"] < own["accuracy_hi"]
    assert own["verdict"] == verdict


def test_the_ratio_of_times_is_of_the_same_seed() -> None:
    # A machine that slows down tenfold, and a layer that always takes twice as long, or a bit more.
    relu, own = [1.0, 3.0, 10.0], [2.0, 6.3, 20.0]
    found = findings(
        points_of({"relu": [0.5] * 3, "frelu": [0.5] * 3}, {"relu": relu, "frelu": own})
    )
    line = found.loc["frelu"]
    assert line["overhead"] == pytest.approx((2 * 2.1 * 2) ** (1 / 3))
    assert line["overhead_hi"] < 2.2
    assert line["epoch_s"] == pytest.approx(sum(own) / 3 / EPOCHS)
    assert math.isnan(found["overhead"]["relu"])


@pytest.mark.parametrize(
    ("accuracies", "lost", "verdict"),
    [
        ({"relu": [0.5], "frelu": [0.9]}, (), "not compared: one seed has no interval"),
        ({"frelu": [0.9, 0.8]}, (), "not compared: no ReLU of the same seeds"),
        (
            {"relu": [0.5, 0.6, 0.4], "frelu": [0.9, 0.8, 0.9]},
            [("frelu", 1)],
            "not compared: trainings diverged",
        ),
        (
            {"relu": [0.5, 0.6, 0.4], "frelu": [0.9, 0.8, 0.9]},
            [("relu", 1)],
            "not compared: trainings diverged",
        ),
        ({"relu": [0.5], "frelu": [0.9]}, [("frelu", 0)], "not compared: trainings diverged"),
    ],
)
def test_without_grounds_there_is_no_claim(
    accuracies: Accuracies, lost: Sequence[tuple[str, int]], verdict: str
) -> None:
    found = findings(points_of(accuracies, lost=lost))
    assert found["verdict"]["frelu"] == verdict
    assert found["diverged"].sum() == len(lost)
    assert tuple(found.columns) == COLUMNS


def test_a_seed_that_only_one_has_is_not_compared() -> None:
    found = findings(points_of({"relu": [0.5, 0.6, 0.4], "frelu": [0.6, 0.8]}))
    assert found["difference"]["frelu"] == pytest.approx(0.15)
    assert dict(found["seeds"]) == {"relu": 3, "frelu": 2}


def test_an_accuracy_s_interval_stays_among_accuracies() -> None:
    found = findings(points_of({"relu": [0.1, 0.9], "frelu": [0.9, 1.0]}))
    assert found["accuracy_lo"]["relu"] == 0
    assert found["accuracy_hi"]["relu"] == found["accuracy_hi"]["frelu"] == 1
