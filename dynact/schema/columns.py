"""What a column of rows is, declared with the field that holds it."""

from dataclasses import Field, dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """A column of rows."""

    name: str
    label: str
    """What it is called where a person reads."""
    unit: str
    """``"ns"``, ``"bytes"``, ``"×"`` (a ratio), ``"count"``, …; empty for text and for parts."""
    help: str
    """What it is, in a sentence or two."""


def described(label: str, unit: str, meaning: str) -> dict[str, str]:
    """Return the metadata that makes a field of a dataclass a column."""
    return {"label": label, "unit": unit, "help": meaning}


def column_of(declared: "Field[Any]") -> Column:
    """Return what a field declares of its column."""
    return Column(declared.name, **declared.metadata)
