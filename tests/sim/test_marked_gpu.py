"""What is marked `gpu` holds on the simulated accelerator too, but for what is CUDA's alone.

And for what compiles: torch generates no code for it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sim.conftest import Environment
from tests.sweeping import ROOT

# Whole sweeps, cold times and networks there have tests of their own, which know more of what is
# true.
ELSEWHERE = (
    "tests/test_gpu.py::test_a_smoke_sweep_ends_well",
    "tests/test_gpu.py::test_a_flush_empties_the_caches",
    "tests/test_gpu.py::test_a_network_is_measured_and_counted",
)
FILES = sorted(
    str(path)
    for path in (ROOT / "tests").rglob("test_*.py")
    if "mark.gpu" in path.read_text() and not path.is_relative_to(Path(__file__).parent)
)


@pytest.mark.slow
def test_marked_gpu(with_sim: Callable[..., Environment]) -> None:
    options = ("-q", "--no-header", "-p", "no:cacheprovider", "-rs", "-m", "gpu and not compiles")
    left_out = [f"--deselect={test}" for test in ELSEWHERE]
    run = subprocess.run(
        (sys.executable, "-m", "pytest", *options, *left_out, *FILES),
        cwd=ROOT, env={**os.environ, **with_sim()}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=500,
    )  # fmt: skip

    assert run.returncode == 0, run.stdout
    skipped = re.findall(r"^SKIPPED \[\d+\] (.*)$", run.stdout, re.MULTILINE)
    assert skipped
    assert all("CUDA" in line for line in skipped), skipped
    assert re.search(r"\b[1-9]\d* passed", run.stdout)
