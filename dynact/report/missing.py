"""Rows that hold what a figure shows, and words for those that do not."""

from collections.abc import Sequence

import pandas as pd

from dynact.report.names import display_names


def complete(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the ok rows that have a number in all ``columns``, these as floats."""
    there = (rows["status"] == "ok") & rows[list(columns)].notna().all(axis="columns")
    return rows[there].astype(dict.fromkeys(columns, float))


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
