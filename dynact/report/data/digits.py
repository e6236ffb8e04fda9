"""How many digits of the measured ratios of rows are shown, and what has to be said of it."""

from math import isnan

import pandas as pd

from dynact.schema.digits import WIDE_FACTOR, last_place, measured_ratio, place_of


def last_places(rows: pd.DataFrame) -> list[int | None]:
    """Return the power of ten of the last digit of each row's overhead, beside its interval.

    At least one digit is shown, as the interval stands beside it; None without an overhead.
    """
    figures = rows[["overhead", "overhead_lo", "overhead_hi"]].astype(float)
    return [
        None if isnan(row[0]) else min(last_place(*row), place_of(row[0], 1))
        for row in figures.itertuples(index=False)
    ]


def measured_ratios(rows: pd.DataFrame) -> list[str]:
    """Return `measured_ratio` of each row's overhead."""
    figures = rows[["overhead", "overhead_lo", "overhead_hi"]].astype(float)
    return [measured_ratio(*row) for row in figures.itertuples(index=False)]


def range_note(lines: pd.DataFrame) -> str:
    """Return what a range in place of a ratio is, empty where none of the overheads is one."""
    low, high = (lines[f"overhead_{end}"].astype(float) for end in ("lo", "hi"))
    said = "A range in place of a ratio: its 95 % interval, too wide for a single digit."
    return said if (high >= WIDE_FACTOR * low).any() else ""


def means_note(means: pd.DataFrame) -> str:
    """Return what has to be said of how means over cases are shown, empty where nothing has."""
    ok = means[means["ok"] > 0]
    lacking = ok["overhead_lo"].isna().any()
    said = "A mean without an interval is over cases of which some have been visited once."
    return " ".join(filter(None, [range_note(ok), said if lacking else ""]))


def one_visit_note(ok: pd.DataFrame, what: str = "case") -> str:
    """Return how many of the measured rows have no interval, empty where all have one."""
    alone = int(ok["overhead_lo"].isna().sum())
    if not alone:
        return ""
    whose = "has been visited once: its overhead has no interval, and is"
    if alone > 1:
        whose = "have been visited once: their overheads have no interval, and are"
    return f"{alone} of {len(ok)} measured {what}s {whose} shown with two digits."
