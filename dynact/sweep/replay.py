"""Shows pytest-benchmark durations that were measured elsewhere, on the device's own clock."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from dynact.schema.rows import Measured
from dynact.sweep.pytest_benchmark import params_of

_SHOWN = (
    *("overhead", "overhead_lo", "overhead_hi", "baseline_time_ns", "converged"),
    *("visits", "observations", "disturbed_visits"),
)


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

    def report(self, benchmark: Any, row: Measured, samples_ns: Sequence[float]) -> None:
        """Let pytest-benchmark see a row: its samples, its ratio, or why there is none."""
        if row.status in ("oom", "unsupported"):
            pytest.skip(f"{row.status}: {row.message}")
        if row.status != "ok":
            pytest.fail(f"{row.status}: {row.message}", pytrace=False)
        benchmark.params = params_of(row.case)
        benchmark.extra_info |= {name: getattr(row, name) for name in _SHOWN}
        self.show(benchmark, samples_ns)

    def _advance(self) -> None:
        self._now_s += next(self._samples_ns) / 1e9
