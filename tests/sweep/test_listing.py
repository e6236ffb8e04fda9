"""`--list` lists the same in every script, from any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeping import ROOT

SCRIPTS = [
    [str(ROOT / "scripts" / f"{name}.py")]
    for name in ("plot_overhead", "compare_runs", "profile_traces", "train_lenet", "check_device")
]
BENCHES = ["-m", "pytest", "-p", "no:cacheprovider", str(ROOT / "benches"), "--benchmark-only"]


def said(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    # As where it is not installed: only then is it known whose package it is.
    environment["PYTHONPATH"] = str(ROOT) if "dynact" in command else ""
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    return said(tmp_path_factory.mktemp("here"), "-m", "dynact", "list", "activations").stdout


@pytest.mark.parametrize("command", [*SCRIPTS, BENCHES], ids=lambda command: Path(command[-1]).name)
def test_it_is_the_list_whatever_else_is_asked_for(
    tmp_path: Path, command: list[str], whole: str
) -> None:
    assert "arXiv 2007.11824" in whole

    done = said(tmp_path, *command, "--list", "activations")

    assert (done.returncode, done.stdout, done.stderr) == (0, whole, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [SCRIPTS[0], BENCHES], ids=["script", "benches"])
def test_what_there_is_no_list_of_is_one_line(tmp_path: Path, command: list[str]) -> None:
    done = said(tmp_path, *command, "--list", "figurs")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "python -m dynact: unknown list 'figurs'; did you mean figures?\n"
