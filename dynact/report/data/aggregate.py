"""One line an activation: the figures of many shapes brought together."""

from math import isnan

import numpy as np
import pandas as pd

from dynact.report.data.freedom import freedom_of
from dynact.schema.visits import LEAST_PROCESSES
from dynact.timing.visits import Estimate, OfCase, over_cases

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
        ``overhead_hi`` its 95 % interval, NaN where a row has none. ``smallest`` and ``largest``
        are single shapes' ratios, ``time_ns`` the median time, ``ok`` of ``cases`` rows went in.

    Notes
    -----
    The mean is that of `dynact.timing.visits.over_cases`. Rows of versions before visits count as
    normal with many degrees of freedom, and the mean's interval is one within that run, as theirs
    are.
    """
    keys = ["phase", "activation"]
    ok = rows[rows["status"] == "ok"]
    figures = ok[["overhead", "overhead_lo", "overhead_hi"]].astype(float)
    weights = ok["occurrences"].astype(float).fillna(1.0)
    found = [
        OfCase(_estimate(*ends), freedom, weight)
        for ends, freedom, weight in zip(
            figures.itertuples(index=False), freedom_of(ok), weights, strict=True
        )
    ]
    means = {
        key: over_cases([found[place] for place in places])
        for key, places in ok.groupby(keys).indices.items()
    }
    measured = ok.assign(**figures, time_ns=ok["time_ns"].astype(float)).groupby(keys)
    table = pd.DataFrame({"cases": rows.groupby(keys).size()})
    for place, column in enumerate(figures):
        table[column] = pd.Series({key: mean[place] for key, mean in means.items()}, dtype=float)
    table["smallest"] = measured["overhead"].min()
    table["largest"] = measured["overhead"].max()
    table["time_ns"] = measured["time_ns"].median()
    table["ok"] = measured.size()
    table["ok"] = table["ok"].fillna(0).astype(int)
    return table.sort_values(["phase", "overhead", "activation"], kind="stable")


def _estimate(middle: float, lower: float, upper: float) -> Estimate:
    return Estimate(middle, *(None if isnan(end) else end for end in (lower, upper)))


def hold_between_runs(rows: pd.DataFrame) -> bool:
    """Return whether the intervals of rows, and of their means, are of more than this run.

    Those of versions before are of one visit, and say nothing of the next; those of one process do
    not see what differs between processes.
    """
    ok = rows[rows["status"] == "ok"]
    visits, processes = (ok[name].astype(float) for name in ("visits", "processes"))
    # One visit has no interval.
    return bool(((processes >= LEAST_PROCESSES) | (visits == 1)).all())


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
