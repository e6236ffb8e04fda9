"""Ratios of two figures, each with an interval and the probability of chance: Welch's t test."""

import numpy as np
import pandas as pd
from scipy import stats

from dynact.report.data.freedom import freedom_of
from dynact.schema.visits import LEAST_PROCESSES

CONFIDENCE = 0.95


def log_overheads(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what rows say of the logarithm of their overhead, a line each.

    Parameters
    ----------
    rows
        With ``overhead``, the ends of its 95 % interval (Student's t over visits, symmetrical in
        the logarithm), ``observations``; NaN where there is none.

    Returns
    -------
    DataFrame
        ``log``, its standard ``error``, NaN where a row has no interval, and the error's degrees
        of ``freedom``, see `freedom_of`.
    """
    overhead, low, high = (
        pd.to_numeric(rows[name]).astype(float)
        for name in ("overhead", "overhead_lo", "overhead_hi")
    )
    freedom = freedom_of(rows)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    error = (np.log(high) - np.log(low)) / 2 / reach
    # An interval without width says nothing of the scatter.
    return pd.DataFrame(
        {"log": np.log(overhead), "error": error.where(error > 0), "freedom": freedom}
    )


def log_times(rows: pd.DataFrame, visits: pd.DataFrame) -> pd.DataFrame:
    """Return what visits say of the logarithm of a call's time, as `log_overheads`.

    Parameters
    ----------
    rows
        With ``case_id`` and ``time_ns``.
    visits
        Of the same table, as `dynact.report.run.Run.visits`; those with status ok count.

    Returns
    -------
    DataFrame
        A line for each row. The mean is over processes' means, of fewer than three over visits, or
        without any the row's; ``error`` is NaN below two.
    """
    ok = visits[visits["status"] == "ok"]
    logs = pd.to_numeric(ok["time_ns"]).astype(float).transform(np.log)
    # As for overheads: what differs between processes, the visits of one do not see.
    of_processes = logs.groupby([ok["case_id"], ok["session"], ok["process"]], dropna=False).mean()
    processes = of_processes.groupby(level="case_id").size()
    many = processes.index[processes >= LEAST_PROCESSES]
    of_processes = of_processes.droplevel(["session", "process"])
    of_visits = logs.set_axis(ok["case_id"])
    told = pd.concat(
        [of_processes[of_processes.index.isin(many)], of_visits[~of_visits.index.isin(many)]]
    )
    found = told.groupby(level=0).agg(["mean", "sem", "count"])
    found = found.reindex(rows["case_id"]).set_index(rows.index)
    of_row = pd.to_numeric(rows["time_ns"]).astype(float).transform(np.log)
    error = found["sem"].where(found["sem"] > 0)
    return pd.DataFrame(
        {"log": found["mean"].fillna(of_row), "error": error, "freedom": found["count"] - 1}
    )


def ratios(reference: pd.DataFrame, later: pd.DataFrame) -> pd.DataFrame:
    """Return later / reference, a line for each pair.

    Welch's t on the logarithms, with the degrees of freedom of Welch and Satterthwaite: the two
    may scatter differently (Welch, Biometrika 34, 1947).

    Parameters
    ----------
    reference, later
        As `log_overheads` or `log_times` return them, with the same index.

    Returns
    -------
    DataFrame
        ``ratio``, the ends ``ratio_lo`` and ``ratio_hi`` of its 95 % interval, and ``p``, the
        probability of so great a difference by chance between equals. All but ``ratio`` are NaN
        where a side has no interval.
    """
    difference = later["log"] - reference["log"]
    variance = reference["error"] ** 2 + later["error"] ** 2
    with np.errstate(divide="ignore"):
        freedom = variance**2 / sum(
            side["error"] ** 4 / side["freedom"] for side in (reference, later)
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
