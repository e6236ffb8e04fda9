"""One line an activation: the figures of many shapes brought together."""

import numpy as np
import pandas as pd

_BASELINES = {
    "flops": "baseline_flops",
    "flops_fvcore_default": "baseline_flops",
    "traffic_eager_bytes": "baseline_traffic_eager_bytes",
    "saved_for_backward_bytes": "baseline_saved_for_backward_bytes",
    "peak_bytes": "baseline_peak_bytes",
}


def geometric_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what each activation costs over all shapes among ``rows``, one line each.

    Parameters
    ----------
    rows
        Rows of one settings group; with several phases the answer has a line for each phase and
        activation.

    Returns
    -------
    DataFrame
        Indexed by (phase, activation), cheapest first in each phase, activations without an ok
        row last. ``overhead`` is the geometric mean of the ok rows' ratios, each weighted by how
        often its shape occurs where shapes come from networks; ``overhead_lo`` and
        ``overhead_hi`` its 95 % interval within the run: taking cases as independent, the
        half-width of the mean log ratio is sqrt(Σ (weight · half-width)²) / Σ weight.
        ``smallest`` and ``largest`` are single shapes' ratios, ``time_ns`` the median time,
        ``ok`` of ``cases`` rows went in.
    """
    ok = rows["status"] == "ok"
    weight = rows["occurrences"].astype(float).fillna(1.0).where(ok)
    log = np.log(rows["overhead"].astype(float).where(ok))
    half_width = np.log((rows["overhead_hi"] / rows["overhead_lo"]).astype(float).where(ok)) / 2
    logs = pd.DataFrame(
        {
            "phase": rows["phase"],
            "activation": rows["activation"],
            "ok": ok,
            "weight": weight,
            "log": log,
            "weighted": weight * log,
            "variance": (weight * half_width) ** 2,
            "time_ns": rows["time_ns"].astype(float).where(ok),
        }
    )
    groups = logs.groupby(["phase", "activation"])
    count = groups["ok"].sum()
    total = groups["weight"].sum(min_count=1)
    mean = groups["weighted"].sum(min_count=1) / total
    # min_count: without one ok row, or with an interval missing, there is no interval to report.
    half = np.sqrt(groups["variance"].sum(min_count=1)) / total
    half = half.where(groups["variance"].count() == count)
    table = pd.DataFrame(
        {
            "overhead": np.exp(mean),
            "overhead_lo": np.exp(mean - half),
            "overhead_hi": np.exp(mean + half),
            "smallest": np.exp(groups["log"].min()),
            "largest": np.exp(groups["log"].max()),
            "time_ns": groups["time_ns"].median(),
            "ok": count,
            "cases": groups.size(),
        }
    )
    return table.sort_values(["phase", "overhead", "activation"], kind="stable")


def cost_ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what each activation counts, as a multiple of what the baseline counts.

    Returns
    -------
    DataFrame
        Indexed by (phase, activation): geometric means over the ok rows of ``flops``,
        ``flops_fvcore_default`` (over the baseline's ``flops``), ``traffic_eager_bytes``,
        ``saved_for_backward_bytes`` and ``peak_bytes``. Zero where a count is 0 at any shape,
        NaN where nothing was counted or the baseline's count is 0.
    """
    ok = rows[rows["status"] == "ok"]
    logs = ok[["phase", "activation"]].copy()
    for cost, baseline in _BASELINES.items():
        ratio = ok[cost].astype(float) / ok[baseline].astype(float).replace(0.0, np.nan)
        with np.errstate(divide="ignore"):
            logs[cost] = np.log(ratio)
    return logs.groupby(["phase", "activation"]).mean().apply(np.exp)


def times_over_arithmetic(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the measured time beside the arithmetic, over the rows that have both.

    Returns
    -------
    DataFrame
        Indexed by (phase, activation), those with such a row: ``ratio`` is the geometric mean of
        (time / baseline's time) / (FLOPs / baseline's FLOPs), NaN where an activation has no
        arithmetic, and ``shapes`` the number of rows that went in.
    """
    ok = rows[rows["status"] == "ok"]
    flops = ok["flops"].astype(float) / ok["baseline_flops"].astype(float).replace(0.0, np.nan)
    logs = (ok["overhead"].astype(float) / flops).dropna().apply(np.log)
    groups = logs.groupby([ok["phase"], ok["activation"]])
    # A time over no arithmetic is infinite.
    ratios = np.exp(groups.mean()).replace(np.inf, np.nan)
    return pd.DataFrame({"ratio": ratios, "shapes": groups.size()})


def times_over_floor(rows: pd.DataFrame) -> "pd.Series[float]":
    """Return by (phase, activation) the median of time / least time this device needs."""
    ok = rows[rows["status"] == "ok"]
    floor = ok["floor_time_ns"].astype(float).replace(0.0, np.nan)
    return (ok["time_ns"].astype(float) / floor).groupby([ok["phase"], ok["activation"]]).median()
