"""What a user does: commands from a folder of their own, and the rows they leave there."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweeping import ROOT

Ask = Callable[..., str]
# A few short visits: what they find is uncertain, and is to be told as such.
SHORT = ("--passes", "6", "--max-seconds", "0.05", "--run", "./mine", "-p", "no:cacheprovider")


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Runs Python with some arguments in the user's folder, and returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def ask(*arguments: str) -> str:
        environment = {n: v for n, v in os.environ.items() if not n.startswith(("PYTEST", "COV"))}
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return ask


@pytest.fixture
def sweep(ask: Ask) -> Ask:
    """Runs a short sweep with more options."""

    def sweep(*options: str) -> str:
        return ask("-m", "pytest", str(ROOT / "benches"), "--benchmark-only", *SHORT, *options)

    return sweep
