"""Shows pytest-benchmark durations that were measured elsewhere, on the device's own clock."""

from collections.abc import Iterator, Sequence
from typing import Any


class Replay:
    """A timer that advances by one measured sample for each call that pytest-benchmark times."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._samples_ns: Iterator[float] = iter(())

    def read(self) -> float:
        """Return the seconds shown; the ``timer`` of the benchmark's marker."""
        return self._now_s

    def show(self, benchmark: Any, samples_ns: Sequence[float]) -> None:
        """Let pytest-benchmark see the samples, one a round."""
        self._samples_ns = iter(samples_ns)
        benchmark.pedantic(self._advance, rounds=len(samples_ns), iterations=1)

    def _advance(self) -> None:
        self._now_s += next(self._samples_ns) / 1e9
