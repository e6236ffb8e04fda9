"""Each case of the sweep is one benchmark."""

from typing import Any

import pytest

from dynact.cases import Case
from dynact.replay import Replay
from dynact.sweep import Sweep

replay = Replay()


@pytest.mark.benchmark(timer=replay.read)
def bench_activation(case: Case, sweep: Sweep, benchmark: Any) -> None:
    """Measure a case against its baseline."""
    replay.report(benchmark, *sweep.measure(case))
