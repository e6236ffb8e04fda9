"""Counting one thing after the other: what fails costs itself alone, what was counted is kept."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from dynact.schema.redact import error_line

Figures = dict[str, Any]


@dataclass(frozen=True)
class Counter:
    """Something to count."""

    name: str
    """In words, for the message that it could not be."""
    key: Hashable
    """All that its figures depend on."""
    count: Callable[[], Figures]


class PartlyCountedError(ValueError):
    """Not all could be counted of what a counter is for.

    Parameters
    ----------
    message
        What could not, and why.
    figures
        What could.
    """

    def __init__(self, message: str, figures: Figures) -> None:
        super().__init__(message)
        self.figures = figures


class CounterCache:
    """Figures by counter, kept for later cases that share them.

    Parameters
    ----------
    most
        How many to keep.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[tuple[str, Hashable], Figures] = {}

    def count(self, counters: Iterable[Counter]) -> tuple[Figures, list[str]]:
        """Return the figures of all counters together, and a line for each that failed."""
        figures: Figures = {}
        errors = []
        for counter in counters:
            key = counter.name, counter.key
            try:
                if key not in self._kept:
                    self._kept[key] = counter.count()
                figures |= self._kept[key]
            except PartlyCountedError as error:
                figures |= error.figures
                errors.append(f"{counter.name} not counted: {error}")
            except Exception as error:
                errors.append(f"{counter.name} not counted: {error_line(error)}")
        if len(self._kept) > self._most:
            self._kept.clear()
        return figures, errors

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
