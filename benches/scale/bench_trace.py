"""Whether traces tell the truth about time: `pytest benches/scale --benchmark-only -k trace`."""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dynact.sweep.worker import MEMORY_KEEPING_MALLOC

ROOT = Path(__file__).parents[2]
RATIO = """
import sys
import torch
from dynact.schema.cases import Case
from dynact.worker.device import Cpu
from dynact.worker.profile import profile_case

torch.set_num_threads(1)
activation, phase = sys.argv[1:]
# The shape whose cases are traced by default.
case = Case(activation, "reference", phase, "eager", "float32", "contiguous", 2, 512, 28, 28,
            "cpu", "relu")
# Each time with tensors of its own: where they lie changes the time too.
for _ in range(9):
    profiled = profile_case(case, Cpu(), 16)
    print(profiled.tables.step_ns, profiled.untraced_ns)
"""


@pytest.mark.parametrize(
    ("activation", "phase"),
    [
        ("dyrelu_b", "training"),
        ("dyrelu_c", "inference"),
        ("frelu", "training"),
        ("relu", "training"),
        ("silu", "training"),
    ],
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
    ratio = statistics.median(step_ns / untraced_ns for step_ns, untraced_ns in pairs)
    benchmark.extra_info |= {"traced_over_untraced": ratio}
    assert 0.85 <= ratio <= 1.15
