"""One line an activation: the figures of many shapes brought together."""

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from dynact.report.data.freedom import freedom_of
from dynact.schema.visits import LEAST_PROCESSES

# Of Student's t, for a 95 % interval with both ends.
_UPPER = 0.975

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
    A row's interval is Student's t over its visits, so its standard error is the half-width over
    the quantile of its degrees of freedom; that of the mean log ratio is
    sqrt(Σ (weight · error)²) / Σ weight, with the degrees of freedom of Welch and
    Satterthwaite (Biometrics Bulletin 2, 1946, p. 110). Rows are taken as independent: the cases of
    a pass come in random order, so what disturbs a few
    visits in a row meets cases of different activations. What lasts a whole pass meets all of
    them, and this interval does not see it. Rows of versions before visits count as normal with
    many degrees of freedom, and the mean's interval is one within that run, as theirs are.
    """
    ok = rows["status"] == "ok"
    weight = rows["occurrences"].astype(float).fillna(1.0).where(ok)
    log = np.log(rows["overhead"].astype(float).where(ok))
    half_width = np.log((rows["overhead_hi"] / rows["overhead_lo"]).astype(float).where(ok)) / 2
    freedom = freedom_of(rows)
    variance = (weight * half_width / stdtrit(freedom, _UPPER)) ** 2
    logs = pd.DataFrame(
        {
            "phase": rows["phase"],
            "activation": rows["activation"],
            "ok": ok,
            "weight": weight,
            "log": log,
            "weighted": weight * log,
            "variance": variance,
            "variance_per_freedom": variance**2 / freedom,
            "time_ns": rows["time_ns"].astype(float).where(ok),
        }
    )
    groups = logs.groupby(["phase", "activation"])
    count = groups["ok"].sum()
    total = groups["weight"].sum(min_count=1)
    mean = groups["weighted"].sum(min_count=1) / total
    # min_count: without one ok row, or with an interval missing, there is no interval to report.
    sums = groups[["variance", "variance_per_freedom"]].sum(min_count=1)
    half = stdtrit(_together(sums), _UPPER) * np.sqrt(sums["variance"]) / total
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


def _together(sums: pd.DataFrame) -> "pd.Series[float]":
    """Return Welch and Satterthwaite's degrees of freedom; infinitely many without scatter."""
    freedom = sums["variance"] ** 2 / sums["variance_per_freedom"]
    return freedom.where(sums["variance_per_freedom"] != 0, np.inf)


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
