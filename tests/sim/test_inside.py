"""Tests of and on the simulated accelerator, each file of them in a process of its own.

Who has loaded a device has it for good: torch takes it for the accelerator, and all that asks for
the machine's best device would find it.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sim.conftest import Environment
from tests.sweeping import ROOT

INSIDE = sorted((Path(__file__).parent / "inside").glob("*.py"))


@pytest.mark.parametrize("path", INSIDE, ids=lambda path: path.stem)
def test_inside(path: Path, with_sim: Callable[..., Environment]) -> None:
    options = ("-q", "--no-header", "-p", "no:cacheprovider", "-o", "python_files=*.py")
    run = subprocess.run(
        (sys.executable, "-m", "pytest", *options, str(path)),
        cwd=ROOT, env={**os.environ, **with_sim()}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
