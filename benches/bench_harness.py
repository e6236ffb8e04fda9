"""The suite's own gate: ReLU against itself, and against a little more of itself."""

from typing import Any

import pytest

from dynact.sweep.pytest_benchmark import params_of
from dynact.sweep.replay import Replay
from dynact.sweep.session import Sweep

replay = Replay()


@pytest.mark.benchmark(timer=replay.read)
def bench_gate(sweep: Sweep, benchmark: Any) -> None:
    """Find out whether ratios can be trusted on this machine, now."""
    verdict, samples_ns = sweep.compare_known_pairs()
    benchmark.params = params_of(None)
    benchmark.extra_info |= verdict
    if samples_ns:
        replay.show(benchmark, samples_ns)
    if not verdict["trustworthy"]:
        # The rows are kept and marked, so this is a finding and not a failure.
        pytest.xfail(f"ratios not trustworthy here and now: {verdict['message']}")
