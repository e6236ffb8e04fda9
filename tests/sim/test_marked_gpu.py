"""What is marked `gpu` holds on the simulated accelerator too, but for what is CUDA's alone."""

import os
import re
import subprocess
import sys
from collections.abc import Callable

from tests.sim.conftest import Environment
from tests.sweeping import ROOT

# Whole sweeps there have tests of their own, which know more of what is true.
SWEEP = "tests/test_gpu.py::test_a_smoke_sweep_ends_well"
FILES = (
    "tests/test_gpu.py", "tests/networks/test_swap.py", "tests/worker/learning/test_training.py",
)  # fmt: skip
CUDAS_ALONE = ("CUDA", "torch.compile generates no code for sim")


def test_marked_gpu(with_sim: Callable[..., Environment]) -> None:
    options = ("-q", "--no-header", "-p", "no:cacheprovider", "-rs", "-m", "gpu")
    run = subprocess.run(
        (sys.executable, "-m", "pytest", *options, "--deselect", SWEEP, *FILES),
        cwd=ROOT, env={**os.environ, **with_sim()}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=500,
    )  # fmt: skip

    assert run.returncode == 0, run.stdout
    skipped = re.findall(r"^SKIPPED \[\d+\] (.*)$", run.stdout, re.MULTILINE)
    assert skipped
    assert all(any(words in line for words in CUDAS_ALONE) for line in skipped), skipped
    assert re.search(r"\b[1-9]\d* passed", run.stdout)
