"""Rows that hold what a figure shows, and words for what the others lack."""

from collections.abc import Sequence

import pandas as pd

from dynact import activations
from dynact.report.data.names import display_names


def complete(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the ok rows that have a number in all ``columns``, these as floats."""
    there = (rows["status"] == "ok") & rows[list(columns)].notna().all(axis="columns")
    return rows[there].astype(dict.fromkeys(columns, float))


def absence(rows: pd.DataFrame, activation: str) -> str:
    """Return why an activation has no figure among ``rows``."""
    statuses = rows.loc[rows["activation"] == activation, "status"].unique()
    if not len(statuses):
        return "not measured"
    return "not counted" if "ok" in statuses else f"failed: {', '.join(statuses)}"


def omission(rows: pd.DataFrame, drawn: pd.DataFrame, lacking: str) -> str:
    """Return a line on the rows that were not drawn, empty where all were.

    Parameters
    ----------
    rows, drawn
        All rows, and those of them in the figure.
    lacking
        What an ok row must lack not to be drawn.
    """
    missing = rows.drop(index=drawn.index)
    failed = missing["status"] != "ok"
    names = display_names(rows["activation"])
    parts = []
    for part, why in ((missing[failed], "that failed"), (missing[~failed], f"without {lacking}")):
        if len(part):
            which = ", ".join(n for a, n in names.items() if a in set(part["activation"]))
            parts.append(f"{len(part)} of {len(rows)} cases {why} ({which})")
    return f"Left out: {'; '.join(parts)}." if parts else ""


def uncounted_operators(rows: pd.DataFrame) -> dict[str, str]:
    """Return by activation the operators that its FLOPs lack, where they lack any."""
    operators = rows.set_index("activation")["uncounted_ops"].explode().dropna()
    return {str(a): ", ".join(names.unique()) for a, names in operators.groupby(level=0)}


def understatement(rows: pd.DataFrame) -> str:
    """Return a line on the operators that FLOPs lack, empty where they lack none."""
    names = display_names(rows["activation"])
    parts = [f"FLOPs of {names[a]} lack {ops}" for a, ops in uncounted_operators(rows).items()]
    return f"{'; '.join(parts)}: there are more than shown." if parts else ""


def formulation(rows: pd.DataFrame) -> str:
    """Return a line on what was counted of a group that was compiled, empty for any other."""
    compiled = rows["mode"].iloc[0] == "compile"
    return "Counted on the plain formulation, not the compiled one." if compiled else ""


def shows_operators(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Return for each row whether its implementation is one whose operators can be watched."""
    return rows["impl"].isin(activations.PLAIN)


def unwatched(rows: pd.DataFrame) -> str:
    """Return a line on the implementations whose operators do not show, empty without any."""
    hidden = set(rows.loc[~shows_operators(rows), "activation"])
    if not hidden:
        return ""
    which = ", ".join(name for a, name in display_names(rows["activation"]).items() if a in hidden)
    return (
        f"{which}: FLOPs are the reference's; generated and own kernels show no operators, so "
        "bytes moved and operator calls are not counted."
    )
