"""All rows of a run as columns, for the page's script."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from dynact.report.data.baseline_mode import eager_baseline_ns
from dynact.report.data.caveats import LONGEST_MESSAGE
from dynact.report.data.digits import last_places
from dynact.report.data.host import host_marks
from dynact.report.data.names import display_names
from dynact.schema.alike import SETTINGS_FIELDS, SHAPE_FIELDS
from dynact.schema.cases import Case
from dynact.schema.columns import Column
from dynact.schema.rows import columns_of

_SETTINGS = [name for name in SETTINGS_FIELDS if name != "batch"]
_OVER_FLOOR = Column(
    "over_floor", "time ÷ floor", "×", "The time over the least time that this device needs."
)
_OVER_EAGER = Column(
    "over_eager",
    "time ÷ eager baseline",
    "×",
    "The time over the eager baseline's under the same other conditions: one baseline for all "
    "modes, where the overhead is over the one of its own mode.",
)
_COLUMNS = {column.name: column for column in (*columns_of(Case.table), _OVER_EAGER, _OVER_FLOOR)}
_FIGURES = (
    *("overhead", "overhead_lo", "overhead_hi", "visits", "over_eager"),
    *("time_ns", "baseline_time_ns", "host_share", "baseline_host_share"),
    *("device_overhead", "device_overhead_lo", "device_overhead_hi"),
    *("device_time_ns", "baseline_device_time_ns", "over_floor"),
    *("parameters", "flops", "operator_calls", "saved_for_backward_bytes", "peak_bytes"),
)
# Six are more than any interval is narrow; all sixteen would double the page.
_DIGITS = 6


@dataclass(frozen=True)
class AllRows:
    """Every row of a run, ordered by case."""

    count: int
    columns: list[dict[str, Any]]
    """``name``, ``label``, ``unit`` and ``help`` as `schema.rows` declares them, and ``cells``:
    numbers (None where missing) or, with the unit ``text``, places in ``words``."""
    places: list[int | None]
    """The power of ten of the last digit that each row's overhead and interval are shown with."""
    marks: list[str]
    """What goes behind each row's overhead, see `dynact.report.data.host`."""
    common: dict[str, str]
    """Settings that are the same in all rows: they have no column."""

    def script_data(self) -> dict[str, Any]:
        """Return what the script needs."""
        return asdict(self)


def all_rows(rows: pd.DataFrame) -> AllRows:
    """Return the case fields, the main figures and what went wrong, for every row.

    Parameters
    ----------
    rows
        Of a run, their activations told apart by implementation.
    """
    rows = rows.sort_values(
        ["activation", "phase", *SETTINGS_FIELDS, *SHAPE_FIELDS, "case_id"], kind="stable"
    )
    over_eager = rows["time_ns"].astype(float) / eager_baseline_ns(rows, rows)
    floor = rows["floor_time_ns"].astype(float).replace(0.0, float("nan"))
    rows = rows.assign(
        activation=rows["activation"].map(display_names(rows["activation"])),
        # Where all are eager it is the overhead.
        over_eager=over_eager if rows["mode"].nunique() > 1 else float("nan"),
        over_floor=rows["time_ns"].astype(float) / floor,
        converged=rows["converged"].map({True: "yes", False: "no"}),
        message=rows["message"].str[:LONGEST_MESSAGE],
    )
    common = {
        _COLUMNS[name].label: str(rows[name].iloc[0])
        for name in _SETTINGS
        if rows[name].nunique() == 1
    }
    columns = [
        *(_texts(rows, name) for name in ("activation", "phase")),
        *(_numbers(rows, name) for name in ("batch", *SHAPE_FIELDS)),
        *(_numbers(rows, name) for name in _FIGURES if rows[name].notna().any()),
        *(_texts(rows, name) for name in _SETTINGS if rows[name].nunique() > 1),
        *(_texts(rows, name) for name in ("status", "converged", "message")),
    ]
    return AllRows(len(rows), columns, last_places(rows), list(host_marks(rows)), common)


def _texts(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    # Each text once: thousands of cases may fail with the same long message.
    codes, words = pd.factorize(rows[name].fillna("").astype(str))
    texts = {"unit": "text", "words": list(words), "cells": codes.tolist()}
    return asdict(_COLUMNS[name]) | texts


def _numbers(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    cells = [None if pd.isna(value) else _short(float(value)) for value in rows[name]]
    return asdict(_COLUMNS[name]) | {"cells": cells}


def _short(value: float) -> float | int:
    return int(value) if value.is_integer() else float(f"{value:.{_DIGITS}g}")
