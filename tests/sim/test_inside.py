"""The tests of and on the simulated accelerator itself, in a process of their own.

Who has loaded a device has it for good: torch takes it for the accelerator, and all that asks for
the machine's best device would find it.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.sim.conftest import Environment
from tests.sweeping import ROOT

INSIDE = Path(__file__).parent / "inside"


def test_inside(with_sim: Callable[..., Environment]) -> None:
    options = ("-q", "--no-header", "-p", "no:cacheprovider", "-o", "python_files=check_*.py")
    run = subprocess.run(
        (sys.executable, "-m", "pytest", *options, str(INSIDE)),
        cwd=ROOT, env={**os.environ, **with_sim()}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
