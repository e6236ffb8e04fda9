"""Each case of the sweep is one benchmark."""

from typing import Any

import pytest

from dynact.schema.cases import Case
from dynact.sweep.replay import Replay
from dynact.sweep.session import Sweep

replay = Replay()


@pytest.mark.benchmark(timer=replay.read)
def bench_activation(case: Case, sweep: Sweep, benchmark: Any) -> None:
    """Report what all visits of a case say of it and its baseline."""
    replay.report(benchmark, *sweep.found(case))
