"""Splitting a run's rows into slices whose figures may share one picture."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dynact.schema.cases import BYTES_PER_ELEMENT

SLICE_FIELDS = ("impl", "mode", "dtype", "memory_format", "batch", "baseline", "device")
SHAPE_FIELDS = ("channels", "height", "width")

_USUAL = {
    "impl": "reference",
    "mode": "eager",
    "dtype": "float32",
    "memory_format": "contiguous",
    "baseline": "relu",
}


@dataclass(frozen=True, eq=False)
class Slice:
    """Rows that agree in every field of ``SLICE_FIELDS``."""

    rows: pd.DataFrame
    suffix: str
    """What sets it apart from the main slice (``n32_bfloat16``); empty for the main one."""

    shapes: int
    """Distinct (channels, height, width) among its rows."""


def slices(rows: pd.DataFrame) -> list[Slice]:
    """Split rows into slices, the one with most distinct shapes (the main one) first.

    Among equals the one with most rows, then the most usual fields, comes first: the answer does
    not depend on the order in which rows were stored.
    """
    groups = [
        (dict(zip(SLICE_FIELDS, key, strict=True)), group, count_shapes(group))
        for key, group in rows.groupby(list(SLICE_FIELDS))
    ]
    groups.sort(
        key=lambda g: (-g[2], -len(g[1]), sum(g[0][f] != usual for f, usual in _USUAL.items()))
    )
    return [Slice(group, _suffix(key, groups[0][0]), shapes) for key, group, shapes in groups]


def count_shapes(rows: pd.DataFrame) -> int:
    """Return the number of distinct (channels, height, width)."""
    return len(rows[list(SHAPE_FIELDS)].drop_duplicates())


def input_elements(rows: pd.DataFrame) -> "pd.Series[int]":
    """Return the number of elements of each row's input."""
    return rows["batch"] * rows["channels"] * rows["height"] * rows["width"]


def input_bytes(rows: pd.DataFrame) -> "pd.Series[int]":
    """Return the bytes of each row's input."""
    return input_elements(rows) * rows["dtype"].map(BYTES_PER_ELEMENT)


def at_largest_input(rows: pd.DataFrame, among: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the shape that has the largest input ``among`` some of them."""
    by_size = among.assign(elements=input_elements(among)).sort_values(["elements", *SHAPE_FIELDS])
    shape = by_size.iloc[-1]
    return rows[(rows[list(SHAPE_FIELDS)] == shape[list(SHAPE_FIELDS)]).all(axis="columns")]


def describe(rows: pd.DataFrame, *context: str) -> str:
    """Return ``inference, batch 8, float32`` for rows of one slice, unusual fields added.

    ``context`` is what the caller puts in front, such as the phase.
    """
    first = rows.iloc[0]
    usual = [first[f] for f in ("impl", "mode", "memory_format") if first[f] != _USUAL[f]]
    return ", ".join(map(str, [*context, f"batch {first['batch']}", first["dtype"], *usual]))


def device_and_threads(rows: pd.DataFrame, environment: dict[str, Any]) -> str:
    """Return on what rows of one slice were measured."""
    device, threads = environment["device"], environment["threads"]
    where = rows["device"].iloc[0]
    name = device["name"] if where == device["type"] else where
    return f"{name}, {threads} thread{'s' if threads != 1 else ''}"


def _suffix(key: dict[str, object], main: dict[str, object]) -> str:
    order: Sequence[str] = ("batch", "dtype", "impl", "mode", "memory_format", "baseline", "device")
    lead = {"batch": "n", "baseline": "vs_"}
    parts = [f"{lead.get(f, '')}{key[f]}" for f in order if key[f] != main[f]]
    # A device ("cuda:0") or a user's baseline ("pkg.mod:Class") is not a file name as it stands.
    return re.sub(r"[^\w.-]", "-", "_".join(parts))
