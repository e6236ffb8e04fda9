"""What is to be said against a run's figures, in the words that its summary and page share."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from dynact.report.data.digits import one_visit_note
from dynact.report.data.names import display_names, resolution
from dynact.report.data.trust import percent
from dynact.timing import is_steady
from dynact.timing.paired import STEADY_WITHIN

LONGEST_MESSAGE = 300

# What a row of a measured case holds wherever counting worked.
_COUNTS = (
    *("parameters", "flops", "flops_fvcore_default", "traffic_floor_bytes", "traffic_eager_bytes"),
    *("operator_calls", "saved_for_backward_bytes", "peak_bytes", "baseline_flops"),
    *("baseline_traffic_eager_bytes", "baseline_saved_for_backward_bytes", "baseline_peak_bytes"),
)
_DEPENDENT = "its work depends on the input's values: counted as for this input"


def visited(tables: Iterable[pd.DataFrame]) -> str:
    """Return how often cases were visited, and how much of that was disturbed.

    Parameters
    ----------
    tables
        Rows of layers, networks and sites, some of which may be empty. Without one that counts its
        visits, as those of versions before, nothing is said.
    """
    columns = ["visits", "disturbed_visits"]
    counts = pd.concat([table[columns] for table in tables if len(table)]).astype(float)
    visits, disturbed = (counts.dropna(subset="visits")[column] for column in columns)
    if visits.empty:
        return ""
    share = disturbed.sum() / visits.sum()
    often = f"A case was visited {_times(visits.median())} (median; at least {visits.min():.0f})."
    if visits.nunique() == 1:
        often = f"Each case was visited {_times(visits.iloc[0])}."
    if not share:
        return f"{often} None of all {visits.sum():,.0f} visits was disturbed."
    return (
        f"{often} Disturbed: {disturbed.sum():,.0f} of all {visits.sum():,.0f} visits "
        f"({percent(share)}), by what other programs or the system took away, or by what else "
        "put them out of line with a case's others."
    )


def doubts(rows: pd.DataFrame) -> str:
    """Return how many cases had one visit, did not converge, were unsteady or failed."""
    ok = rows[rows["status"] == "ok"]
    wide = int((~ok["converged"].astype(bool)).sum())
    unsteady = sum(not is_steady(drift) for drift in ok["speed_drift"].dropna())
    return (
        f"{wide} of {len(ok)} measured cases did not converge: their interval was still wide when "
        f"the time ran out. During {unsteady} the device became slower or faster by more than "
        f"{STEADY_WITHIN - 1:.0%}: their times changed with it, and their ratios too where it "
        f"slowed one side more. {len(rows) - len(ok)} of {len(rows)} cases failed."
        f" {one_visit_note(ok)}"
    ).rstrip()


def failures(rows: pd.DataFrame) -> pd.DataFrame:
    """Return why cases failed, one line an activation, phase and reason.

    Columns: activation (as displayed), phase, status, cases, first (where it was met), message.
    """
    lines = _grouped(rows, rows[rows["status"] != "ok"], ["status", "message"])
    lines["first"] = [_where(line) for _, line in lines.iterrows()]
    return lines[["activation", "phase", "status", "cases", "first", "message"]]


def gaps(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what was not counted in ok rows, one line an activation, phase and gap.

    Columns: activation (as displayed), phase, operators (that FLOPs lack), cases, message.
    """
    ok = rows[rows["status"] == "ok"]
    absent = ok[list(_COUNTS)].isna()
    # An old run did not try to count.
    tried = not absent.all(axis=None)
    lacking = [", ".join(absent.columns[line & tried]) for line in absent.to_numpy()]
    absences = [f"not counted: {names}" if names else "" for names in lacking]
    depends = ok["data_dependent"].eq(True)
    messages = [
        "; ".join(filter(None, (_DEPENDENT * dependent, message or absence)))
        for dependent, message, absence in zip(
            depends, ok["message"].fillna(""), absences, strict=True
        )
    ]
    operators = ok["uncounted_ops"].map(", ".join, na_action="ignore").fillna("")
    said = ok.assign(operators=operators, message=messages)
    said = said[(said["operators"] != "") | (said["message"] != "")]
    lines = _grouped(rows, said, ["operators", "message"])
    return lines[["activation", "phase", "operators", "cases", "message"]]


def _grouped(rows: pd.DataFrame, part: pd.DataFrame, reasons: list[str]) -> pd.DataFrame:
    """Return the first row of each activation, phase and reason, and of how many cases it is."""
    keys = ["activation", "phase", *reasons]
    groups = part.assign(message=part["message"].fillna("")).groupby(keys)
    lines = groups.first().assign(cases=groups.size()).reset_index()
    return lines.assign(
        activation=lines["activation"].map(display_names(rows["activation"])),
        message=lines["message"].astype(str).str[:LONGEST_MESSAGE],
    )


def _times(count: float) -> str:
    return {1.0: "once", 2.0: "twice"}.get(count, f"{count:g} times")


def _where(row: "pd.Series[Any]") -> str:
    shape = f"{row['channels']} channels, {resolution(row['height'], row['width'])}"
    return f"batch {row['batch']}, {shape}, {row['dtype']}, {row['mode']}"
