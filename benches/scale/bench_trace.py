"""Whether traces tell the truth about time: `pytest benches/scale --benchmark-only -k trace`."""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dynact.worker import MEMORY_KEEPING_MALLOC

ROOT = Path(__file__).parents[2]
RATIO = """
import statistics, sys, time
from contextlib import nullcontext
from types import SimpleNamespace
import torch
from dynact.cases import Case
from dynact.device import Cpu
from dynact.layers import call_of, draw_gradient, draw_input, prepared
from dynact.trace import record, tables_of

torch.set_num_threads(1)
# Sizes that fill no whole pages: or tensors that happen to follow each other share cache sets.
case = Case(sys.argv[1], "reference", sys.argv[2], "eager", "float32", "contiguous", 4, 64, 33, 27,
            "cpu", "relu")
# Alternating, each time with tensors of its own: where they lie changes the time too.
for _ in range(9):
    traced_ns = tables_of(record(case, Cpu(), 8), "cpu", []).step_ns
    gradient = draw_gradient(case, Cpu())
    source = SimpleNamespace(current=draw_input(case, Cpu()))
    call = call_of(prepared(case.activation, case, Cpu()), source, gradient)
    samples_ns = []
    with nullcontext() if gradient is not None else torch.inference_mode():
        for _ in range(10):
            start_ns = time.perf_counter_ns()
            call()
            samples_ns.append(time.perf_counter_ns() - start_ns)
    print(traced_ns, statistics.median(samples_ns[5:]))
"""


@pytest.mark.parametrize(
    ("activation", "phase"),
    [("dyrelu_b", "training"), ("dyrelu_c", "inference"), ("frelu", "training")],
)
def bench_trace_against_the_clock(benchmark: Any, activation: str, phase: str) -> None:
    """Sum a trace's kernel times: within 15 % of the step's time without the profiler."""
    # In a process of its own: only a new one takes the allocator that timing has.
    environment = {**MEMORY_KEEPING_MALLOC, **os.environ, "KINETO_LOG_LEVEL": "99"}

    def compare() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", RATIO, activation, phase]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )

    lines = benchmark.pedantic(compare, rounds=1).stdout.splitlines()
    pairs = [tuple(map(float, line.split())) for line in lines]
    assert min(untraced_ns for _, untraced_ns in pairs) > 1e6, "too short to compare"
    ratio = statistics.median(traced_ns / untraced_ns for traced_ns, untraced_ns in pairs)
    benchmark.extra_info |= {"traced_over_untraced": ratio}
    assert 0.85 <= ratio <= 1.15
