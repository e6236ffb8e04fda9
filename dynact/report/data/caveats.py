"""What is to be said against a run's figures, in the words that its summary and page share."""

from typing import Any

import pandas as pd

from dynact.report.data.names import display_names, resolution
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


def gate_failed(gates: list[dict[str, Any]]) -> bool:
    """Return whether any session's gate found its ratios not to be trusted."""
    return not all(gate["trustworthy"] for gate in gates)


def doubts(rows: pd.DataFrame) -> str:
    """Return how many cases did not converge, were unsteady or failed."""
    ok = rows[rows["status"] == "ok"]
    wide = int((~ok["converged"].astype(bool)).sum())
    unsteady = sum(not is_steady(drift) for drift in ok["speed_drift"].dropna())
    return (
        f"{wide} of {len(ok)} measured cases did not converge: their interval was still wide when "
        f"the time ran out. During {unsteady} the device changed its speed by more than "
        f"{STEADY_WITHIN - 1:.0%}: their times changed with it, and their ratios too where it "
        f"slowed one side more. {len(rows) - len(ok)} of {len(rows)} cases failed."
    )


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


def _where(row: "pd.Series[Any]") -> str:
    shape = f"{row['channels']} channels, {resolution(row['height'], row['width'])}"
    return f"batch {row['batch']}, {shape}, {row['dtype']}, {row['mode']}"
