"""Whether traces tell the truth, soon and in little memory: `pytest benches/scale -k trace`."""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dynact.sweep.worker import MEMORY_KEEPING_MALLOC

MB = 10**6
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

MAKE = """
import sys
from pathlib import Path
from tests.worker.profile.kineto import training

short, long = map(Path, sys.argv[1:])
training(1, 10).write(short)
training(5, 8066).write(long)
"""
READ = """
import resource, sys, time
from pathlib import Path
from dynact.worker.profile import read_trace, steps_of, tables_of

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

tables_of(steps_of(read_trace(Path(sys.argv[1]))), "cuda")  # what is set up once
before, begin = peak_bytes(), time.perf_counter()
tables = tables_of(steps_of(read_trace(Path(sys.argv[2]))), "cuda")
print(tables.operators, time.perf_counter() - begin, before, peak_bytes())
"""


@pytest.mark.parametrize("ending", ["json", "json.gz"])
def bench_tables_of_a_trace_of_90_mb(benchmark: Any, tmp_path: Path, ending: str) -> None:
    """Read a trace of 40,000 kernels: at most 6 s, and 100 MB above what torch takes."""
    # Where torch is built for CUDA it takes 520 MB by itself, and 650 MB as its process ends.
    short, path = tmp_path / f"short.{ending}", tmp_path / f"long.{ending}"

    def run(code: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(short), str(path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    # Not here: what this process takes at most would be the next one's peak too.
    run(MAKE)
    words = benchmark.pedantic(run, (READ,), rounds=1).stdout.split()
    operators, before, peak = int(words[0]), int(words[2]), int(words[3])
    seconds = float(words[1])
    benchmark.extra_info |= {
        "file_mb": path.stat().st_size / MB, "seconds": seconds, "before_mb": before / MB,
        "peak_mb": peak / MB,
    }  # fmt: skip
    assert operators == 8066
    assert ending == "json.gz" or path.stat().st_size >= 90 * MB
    assert seconds <= 6
    assert peak - before <= 100 * MB


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
