"""Each case of the sweep is one benchmark."""

from typing import Any

import pytest

from dynact.schema.cases import Case
from dynact.sweep.replay import Replay
from dynact.sweep.session import Sweep

replay = Replay()


@pytest.mark.benchmark(timer=replay.read)
def bench_activation(case: Case, sweep: Sweep, benchmark: Any) -> None:
    """Measure a case against its baseline."""
    replay.report(benchmark, *sweep.measure(case))
