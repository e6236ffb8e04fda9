"""Rows of cases whose true overhead is known, as so many visits would say it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

Logs = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def figures_of(logs: Logs) -> pd.DataFrame:
    """Return overhead, interval and visits of log ratios, a line a case and a column a visit."""
    visits = logs.shape[1]
    mean = logs.mean(axis=1)
    if visits > 1:
        half = stats.t.ppf(0.975, visits - 1) * stats.sem(logs, axis=1)
    else:
        half = np.full(len(logs), np.nan)
    return pd.DataFrame(
        {
            "overhead": np.exp(mean),
            "overhead_lo": np.exp(mean - half),
            "overhead_hi": np.exp(mean + half),
            "visits": visits,
        }
    )


def visited(
    rows: pd.DataFrame,
    seed: int,
    visits: int = 14,
    scatter: float = 0.05,
    slower: Mapping[str, float] | None = None,
    **columns: Any,
) -> pd.DataFrame:
    """Return rows as a run would have them whose truth is the overhead in ``rows``.

    ``slower`` multiplies the truth of some activations; ``columns`` replace others'.
    """
    random = np.random.default_rng(seed)
    factor = rows["activation"].map(slower or {}).astype(float).fillna(1.0).to_numpy()
    truth = np.log(rows["overhead"].astype(float).to_numpy() * factor)
    logs = random.normal(truth[:, None], scatter, (len(rows), visits))
    found = figures_of(logs).set_index(rows.index)
    return rows.assign(**found, time_ns=rows["time_ns"] * factor, disturbed_visits=0, **columns)
