"""Ratios of two overheads, each with an interval and the probability of chance: Welch's t test."""

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95


def log_overheads(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what rows say of the logarithm of their overhead, a line each.

    Parameters
    ----------
    rows
        With ``overhead``, the ends of its 95 % interval (Student's t over visits, symmetrical in
        the logarithm), and ``visits``; NaN where there is none.

    Returns
    -------
    DataFrame
        ``log``, its standard ``error``, NaN where a row has no interval, and the error's degrees
        of ``freedom``: visits − 1, or infinite for rows of earlier versions, which do not say
        their visits and whose interval is taken for a normal one.
    """
    overhead, low, high, visits = (
        pd.to_numeric(rows[name]).astype(float)
        for name in ("overhead", "overhead_lo", "overhead_hi", "visits")
    )
    freedom = (visits - 1).fillna(np.inf)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    error = (np.log(high) - np.log(low)) / 2 / reach
    # An interval without width says nothing of the scatter.
    return pd.DataFrame(
        {"log": np.log(overhead), "error": error.where(error > 0), "freedom": freedom}
    )


def ratios(reference: pd.DataFrame, later: pd.DataFrame) -> pd.DataFrame:
    """Return later overhead / reference overhead, a line for each pair of rows.

    Welch's t on the logarithms, with the degrees of freedom of Welch and Satterthwaite: the two
    may scatter differently (Welch, Biometrika 34, 1947).

    Parameters
    ----------
    reference, later
        As for `log_overheads`, with the same index.

    Returns
    -------
    DataFrame
        ``ratio``, the ends ``ratio_lo`` and ``ratio_hi`` of its 95 % interval, and ``p``, the
        probability of so great a difference by chance between equals. All but ``ratio`` are NaN
        where a side has no interval.
    """
    one, other = log_overheads(reference), log_overheads(later)
    difference = other["log"] - one["log"]
    variance = one["error"] ** 2 + other["error"] ** 2
    with np.errstate(divide="ignore"):
        freedom = variance**2 / (
            one["error"] ** 4 / one["freedom"] + other["error"] ** 4 / other["freedom"]
        )
    error = np.sqrt(variance)
    half = error * stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    return pd.DataFrame(
        {
            "ratio": np.exp(difference),
            "ratio_lo": np.exp(difference - half),
            "ratio_hi": np.exp(difference + half),
            "p": 2 * stats.t.sf(np.abs(difference) / error, freedom),
        },
        index=difference.index,
    )
