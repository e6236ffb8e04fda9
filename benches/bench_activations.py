"""Each case of the sweep is one benchmark."""

from dataclasses import asdict
from typing import Any

import pytest

from dynact.cases import Case
from dynact.replay import Replay
from dynact.sweep import Sweep

replay = Replay()


@pytest.mark.benchmark(timer=replay.read)
def bench_activation(case: Case, sweep: Sweep, benchmark: Any) -> None:
    """Measure a case against its baseline."""
    row, samples_ns = sweep.measure(case)
    if row.status in ("oom", "unsupported"):
        pytest.skip(f"{row.status}: {row.message}")
    if row.status != "ok":
        pytest.fail(f"{row.status}: {row.message}", pytrace=False)
    benchmark.params = asdict(case)
    benchmark.extra_info |= {
        "overhead": row.overhead,
        "overhead_lo": row.overhead_lo,
        "overhead_hi": row.overhead_hi,
        "baseline_time_ns": row.baseline_time_ns,
        "converged": row.converged,
    }
    replay.show(benchmark, samples_ns)
