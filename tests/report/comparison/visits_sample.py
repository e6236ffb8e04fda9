"""Rows and runs of cases whose true overhead is known, as so many visits would say it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from dynact.report.run import COLUMNS, NETWORK_COLUMNS, Run
from dynact.schema.cases import Case
from tests.report.conftest import build_rows
from tests.report.networks_sample import build_networks

ROWS = build_rows(channels=(32, 64, 128))
NETWORKS, SITES = build_networks(("lenet", "resnet18"))
GATE = {"session": "s", "trustworthy": True, "message": ""}
VISIT_COLUMNS = [
    *("table", "case_id", "status", "time_ns"),
    *("session", "process", "elapsed_s", "visit_s", "timing_s"),
]
Logs = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def figures_of(logs: Logs) -> pd.DataFrame:
    """Return overhead, interval and visits of log ratios, a line a case and a column a visit."""
    visits = logs.shape[1]
    mean, half = trimmed(logs)
    return pd.DataFrame(
        {
            "overhead": np.exp(mean),
            "overhead_lo": np.exp(mean - half),
            "overhead_hi": np.exp(mean + half),
            "visits": visits,
            "observations": visits,
            "disturbed_visits": 0,
        }
    )


def trimmed(logs: Logs) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Return means over the last axis, of ten or more 20 % trimmed, and half their 95 % intervals.

    Of winsorised variances (Tukey & McLaughlin 1963); NaN of one visit.
    """
    visits = logs.shape[-1]
    cut = int(0.2 * visits) if visits >= 10 else 0
    kept = visits - 2 * cut
    ordered = np.sort(logs, axis=-1)
    mean = ordered[..., cut : visits - cut].mean(axis=-1)
    if visits == 1:
        return mean, np.full(mean.shape, np.nan)
    ends = ordered[..., [cut]], ordered[..., [visits - cut - 1]]
    squares = np.clip(ordered, *ends).var(axis=-1, ddof=1) * (visits - 1)
    return mean, stats.t.ppf(0.975, kept - 1) * np.sqrt(squares / (kept * (kept - 1)))


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
    return rows.assign(**found, time_ns=rows["time_ns"] * factor, **columns)


def visits_of(
    rows: pd.DataFrame, seed: int, visits: int = 14, scatter: float = 0.03, table: str = Case.table
) -> pd.DataFrame:
    """Return so many visits of each row, whose times scatter about the row's."""
    random = np.random.default_rng(seed)
    repeated = rows.loc[rows.index.repeat(visits)]
    times_ns = repeated["time_ns"].astype(float) * random.lognormal(0, scatter, len(repeated))
    return pd.DataFrame(
        {
            "table": table,
            "case_id": repeated["case_id"],
            "status": "ok",
            "time_ns": times_ns,
            "session": "s",
            "process": 1,
        }
    ).sample(frac=1, random_state=seed)


def run_of(
    name: str,
    environment: dict[str, Any],
    rows: pd.DataFrame,
    networks: pd.DataFrame | None = None,
    sites: pd.DataFrame | None = None,
    gates: tuple[dict[str, Any], ...] = (GATE,),
    visits: pd.DataFrame | None = None,
) -> Run:
    """Return a run of made-up tables, without a folder, as they are read of one."""
    run, none = Run(f"reports/{name}"), pd.DataFrame()
    vars(run).update(
        rows=rows.reindex(columns=list(COLUMNS)),
        networks=(none if networks is None else networks).reindex(columns=list(NETWORK_COLUMNS)),
        sites=(none if sites is None else sites).reindex(columns=list(COLUMNS)),
        environment=environment,
        gates=list(gates),
        visits=(none if visits is None else visits).reindex(columns=VISIT_COLUMNS),
    )
    return run


def whole(name: str, environment: dict[str, Any], seed: int, **changes: Any) -> Run:
    """Return a run of layers, networks and their sites, as `visited` makes each."""
    tables = (visited(table, seed, **changes) for table in (ROWS, NETWORKS, SITES))
    return run_of(name, environment, *tables)
