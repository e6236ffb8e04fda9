"""What several seeds say of each activation: means, paired differences, intervals, and words."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

BASELINE = "relu"
CONFIDENCE = 0.95
# Below it, values differ by the rounding of floats alone: an image of CIFAR-10's test is 1e-4.
LEAST_SPREAD = 1e-9
NETWORK = ("parameters", "replaced", "sites")
COLUMNS = (
    *NETWORK,
    *("seeds", "diverged", "accuracy", "accuracy_lo", "accuracy_hi"),
    *("difference", "difference_lo", "difference_hi", "verdict"),
    *("epoch_s", "epoch_s_lo", "epoch_s_hi", "overhead", "overhead_lo", "overhead_hi"),
)


def mean_interval(values: "Sequence[float] | pd.Series[float]") -> tuple[float, float, float]:
    """Return the mean of values and the 95 % interval for the mean that they were drawn from.

    Student's t with n − 1 degrees of freedom: exact for normal draws.

    Returns
    -------
    tuple
        ``(mean, lower, upper)``. The ends are NaN where the values say nothing of their spread:
        fewer than two, or all equal, as few accuracies counted in whole images may be by chance.
        All are NaN without values.
    """
    if len(values) == 0:
        return math.nan, math.nan, math.nan
    mean = float(np.mean(values))
    if len(values) < 2 or np.ptp(values) < LEAST_SPREAD:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def findings(points: pd.DataFrame) -> pd.DataFrame:
    """Return what was found of each activation after the last epoch, one line each.

    Parameters
    ----------
    points
        Of ended trainings, as `points.load_points` returns them; at least one.

    Returns
    -------
    DataFrame
        `COLUMNS`, indexed by activation in the order of the points: `NETWORK` as in a point;
        ``seeds`` whose training finished and ``diverged`` whose did not; ``accuracy`` (0 to 1)
        and ``epoch_s``, means over the finished; ``difference`` in accuracy and ``overhead``
        (geometric mean) to ReLU, over the seeds that both finished. Each has the ends ``_lo``
        and ``_hi`` of its interval, NaN where there is none. ``verdict`` says what the interval
        of the difference supports, taken by itself: of 20 activations equal to ReLU, one is
        expected to look different.
    """
    last_epoch = points["epoch"].max()
    final = points[(points["epoch"] == last_epoch) & (points["status"] == "ok")]
    final = final.assign(epoch_s=final["train_s"] / last_epoch).set_index("seed")
    diverged = points[points["status"] != "ok"]["activation"].value_counts()

    def finding(activation: str) -> dict[str, Any]:
        own = final[final["activation"] == activation]
        lost = int(diverged.get(activation, 0))
        line = {
            **points[points["activation"] == activation].iloc[0][list(NETWORK)],
            "seeds": len(own),
            "diverged": lost,
            # No accuracy lies outside [0, 1].
            **_ends("accuracy", np.clip(mean_interval(own["accuracy"].astype(float)), 0, 1)),
            **_ends("epoch_s", mean_interval(own["epoch_s"])),
        }
        if activation == BASELINE:
            return {**line, "verdict": "compared with"}
        baseline = final[final["activation"] == BASELINE]
        shared = own.merge(baseline, on="seed", suffixes=("", "_baseline"))
        difference = mean_interval((shared["accuracy"] - shared["accuracy_baseline"]).astype(float))
        log_ratio = mean_interval(np.log(shared["epoch_s"] / shared["epoch_s_baseline"]))
        return {
            **line,
            **_ends("difference", difference),
            **_ends("overhead", np.exp(log_ratio)),
            "verdict": _verdict(difference, len(shared), lost, int(diverged.get(BASELINE, 0))),
        }

    return (
        pd.DataFrame(
            {"activation": activation, **finding(activation)}
            for activation in points["activation"].unique()
        )
        .set_index("activation")
        .reindex(columns=list(COLUMNS))
    )


def _verdict(
    difference: tuple[float, float, float], pairs: int, lost: int, baseline_lost: int
) -> str:
    """Return what may be said of a mean difference with its interval, and no more."""
    _, lower, upper = difference
    if lost or baseline_lost:
        # The seeds that are left were chosen by what they led to.
        return "not compared: trainings diverged"
    if pairs == 0:
        return "not compared: no ReLU of the same seeds"
    if pairs == 1:
        return "not compared: one seed has no interval"
    if math.isnan(lower):
        return "not compared: equal differences have no interval"
    if lower > 0:
        return "better"
    return "worse" if upper < 0 else "no difference shown"


def _ends(name: str, interval: Iterable[float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_lo", f"{name}_hi"), map(float, interval), strict=True))
