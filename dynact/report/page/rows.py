"""All rows of a run as columns, for the page's script."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from dynact.report.data.caveats import LONGEST_MESSAGE
from dynact.report.data.names import display_names
from dynact.report.data.settings_groups import SHAPE_FIELDS, SLICE_FIELDS

_SETTINGS = [name for name in SLICE_FIELDS if name != "batch"]
_FIGURES = {
    # column: (heading, unit)
    "overhead": ("overhead", "×"),
    "overhead_lo": ("95 % from", "×"),
    "overhead_hi": ("to", "×"),
    "time_ns": ("time", "ns"),
    "baseline_time_ns": ("baseline’s time", "ns"),
    "over_floor": ("time ÷ floor", "×"),
    "parameters": ("parameters", "count"),
    "flops": ("FLOPs", "count"),
    "kernels": ("kernels", "count"),
    "saved_for_backward_bytes": ("kept for backward", "B"),
    "peak_bytes": ("peak memory", "B"),
}
# Six are more than any interval is narrow; all sixteen would double the page.
_DIGITS = 6


@dataclass(frozen=True)
class AllRows:
    """Every row of a run, ordered by case."""

    count: int
    columns: list[dict[str, Any]]
    """``name``, ``label``, ``unit`` and ``cells``: numbers (None where missing) or, with the unit
    ``text``, places in ``words``."""
    common: dict[str, str]
    """Settings that are the same in all rows: they have no column."""

    def script_data(self) -> dict[str, Any]:
        """Return what the script needs."""
        return asdict(self)


def all_rows(rows: pd.DataFrame) -> AllRows:
    """Return the case fields, the main figures and what went wrong, for every row."""
    rows = rows.sort_values(
        ["activation", "phase", *SLICE_FIELDS, *SHAPE_FIELDS, "case_id"], kind="stable"
    )
    floor = rows["floor_time_ns"].astype(float).replace(0.0, float("nan"))
    rows = rows.assign(
        activation=rows["activation"].map(display_names(rows["activation"])),
        over_floor=rows["time_ns"].astype(float) / floor,
        converged=rows["converged"].map({True: "yes", False: "no"}),
        message=rows["message"].str[:LONGEST_MESSAGE],
    )
    common = {
        name.replace("_", " "): str(rows[name].iloc[0])
        for name in _SETTINGS
        if rows[name].nunique() == 1
    }
    columns = [
        *(_texts(rows, name) for name in ("activation", "phase")),
        *(_numbers(rows, name, name, "count") for name in ("batch", *SHAPE_FIELDS)),
        *(
            _numbers(rows, name, heading, unit)
            for name, (heading, unit) in _FIGURES.items()
            if rows[name].notna().any()
        ),
        *(_texts(rows, name) for name in _SETTINGS if rows[name].nunique() > 1),
        *(_texts(rows, name) for name in ("status", "converged", "message")),
    ]
    return AllRows(len(rows), columns, common)


def _texts(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    # Each text once: thousands of cases may fail with the same long message.
    codes, words = pd.factorize(rows[name].fillna("").astype(str))
    label = name.replace("_", " ")
    return {
        "name": name, "label": label, "unit": "text", "words": list(words), "cells": codes.tolist()
    }  # fmt: skip


def _numbers(rows: pd.DataFrame, name: str, label: str, unit: str) -> dict[str, Any]:
    cells = [None if pd.isna(value) else _short(float(value)) for value in rows[name]]
    return {"name": name, "label": label, "unit": unit, "cells": cells}


def _short(value: float) -> float | int:
    return int(value) if value.is_integer() else float(f"{value:.{_DIGITS}g}")
