"""Counting part after part: one that fails costs itself alone, and what was counted is kept."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from dynact.schema.redact import error_line

Figures = dict[str, Any]
Part = tuple[str, Hashable, Callable[[], Figures]]
"""Its name, what its figures depend on, and how to count it."""


class Parts:
    """Figures by part, kept for later cases that share it.

    Parameters
    ----------
    most
        How many to keep.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[tuple[str, Hashable], Figures] = {}

    def count(self, parts: Iterable[Part]) -> tuple[Figures, list[str]]:
        """Return the figures of all parts together, and a line for each that failed."""
        figures: Figures = {}
        faults = []
        for name, key, count in parts:
            try:
                if (name, key) not in self._kept:
                    self._kept[name, key] = count()
                figures |= self._kept[name, key]
            except Exception as error:
                faults.append(f"{name} not counted: {error_line(error)}")
        if len(self._kept) > self._most:
            self._kept.clear()
        return figures, faults
