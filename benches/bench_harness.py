"""The suite's own gate: pairs whose difference is known, visited in each pass like cases."""

from typing import Any

import pytest

from dynact.sweep.progress import gate_line
from dynact.sweep.pytest_benchmark import params_of
from dynact.sweep.replay import Replay
from dynact.sweep.session import Sweep

replay = Replay()


@pytest.mark.benchmark(timer=replay.read)
def bench_gate(sweep: Sweep, benchmark: Any) -> None:
    """Report which differences can be told on this machine, now."""
    gate = sweep.gate
    assert gate
    benchmark.params = params_of(None)
    benchmark.extra_info |= gate
    if gate["self_times_ns"]:
        replay.show(benchmark, gate["self_times_ns"])
    if not gate["trustworthy"]:
        # The rows are kept and marked, so this is a finding and not a failure.
        pytest.xfail(f"ratios not trustworthy here and now: {gate['message']}")
    if not gate["self_times_ns"]:
        pytest.skip(gate_line(gate)[0])
