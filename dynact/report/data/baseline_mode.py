"""Ratios across modes: against the same baseline, the eager one, where the run has its time.

A row's overhead is over a baseline of the same mode. torch.compile may slow that down: compiled,
ReLU's training step takes 20 to 30 times its eager time on a CPU, for it stores a mask of booleans
one by one. What is compared with it then looks fast though it is not.
"""

from typing import Literal, get_args

import numpy as np
import pandas as pd

from dynact.report.data.names import cell_ratio
from dynact.report.data.settings_groups import SettingsGroup
from dynact.schema.alike import SHAPE_FIELDS

BaselineMode = Literal["eager", "same"]
BASELINE_MODES = get_args(BaselineMode)
EAGER = "eager"
# Times of one baseline at different moments differ by as much without any reason in the mode.
SLOWER_FROM = 1.15
# What a baseline's time depends on beside its mode.
_CONDITIONS = [
    *("phase", "impl", "baseline", "dtype", "memory_format", "batch", "device"),
    *SHAPE_FIELDS,
]


def eager_baseline_ns(rows: pd.DataFrame, run: pd.DataFrame) -> "pd.Series[float]":
    """Return the eager baseline's time under each row's other conditions, in ns.

    Parameters
    ----------
    rows
        Some rows of a run, of any mode.
    run
        All of its rows: the time is the median over the eager ones that were measured.

    Returns
    -------
    Series
        Indexed as ``rows``; NaN where the run has no such row.
    """
    eager = run[run["mode"] == EAGER]
    times = eager["baseline_time_ns"].astype(float).groupby([eager[c] for c in _CONDITIONS])
    found = times.median().rename("eager_baseline_ns")
    return rows[_CONDITIONS].join(found, on=_CONDITIONS)["eager_baseline_ns"]


def against_eager(rows: pd.DataFrame, run: pd.DataFrame) -> pd.DataFrame:
    """Return rows with their overhead over the eager baseline, those of other modes alone changed.

    Such a ratio is of two times that were not measured in turns: it has no interval. Where the
    run has no eager baseline for a row, its overhead is missing.
    """
    other = rows["mode"] != EAGER
    overhead = rows["time_ns"].astype(float) / eager_baseline_ns(rows, run)
    return rows.assign(
        overhead=rows["overhead"].astype(float).where(~other, overhead),
        overhead_lo=rows["overhead_lo"].astype(float).where(~other),
        overhead_hi=rows["overhead_hi"].astype(float).where(~other),
    )


def baseline_slowdowns(rows: pd.DataFrame, run: pd.DataFrame) -> dict[str, float]:
    """Return by phase how often its eager time a baseline takes that its own mode made slower.

    Geometric means over the measured rows of one settings group; phases in which it is not
    slower by `SLOWER_FROM` are left out.
    """
    ok = rows[(rows["status"] == "ok") & (rows["mode"] != EAGER)]
    if ok.empty:
        return {}
    ratio = ok["baseline_time_ns"].astype(float) / eager_baseline_ns(ok, run)
    means = ratio.apply(np.log).groupby(ok["phase"]).mean().apply(np.exp)
    return {str(phase): float(mean) for phase, mean in means.items() if mean >= SLOWER_FROM}


def slower_baseline(group: SettingsGroup, run: pd.DataFrame) -> str:
    """Return a sentence on a baseline that its own mode made slower; empty where it did not."""
    times = [
        f"{cell_ratio(ratio)} its eager time in {phase}"
        for phase, ratio in baseline_slowdowns(group.rows, run).items()
    ]
    if not times:
        return ""
    return f"In this mode {group.baseline} itself takes {' and '.join(times)}."
