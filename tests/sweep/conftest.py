"""Fixtures of what runs a sweep in the tests' own process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

# A run within a test forgets what it imports, and NumPy cannot be imported a second time.
import scipy.special  # noqa: F401

from dynact.schema.settings import Settings
from dynact.sweep import plugin
from dynact.sweep.worker import WorkerError
from tests.sweep.bench import FakeBench
from tests.sweep.in_process import Run, as_known


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(plugin, "REPORTS", tmp_path / "reports")
    return tmp_path / "reports"


@pytest.fixture
def bench() -> FakeBench:
    return FakeBench({"visit": as_known})


@pytest.fixture
def opened(bench: FakeBench, monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Have the bench in place of a measuring process; with what settings it was opened."""
    opened: list[Settings] = []

    def start(settings: Settings) -> FakeBench:
        opened.append(settings)
        if settings.device not in (None, "cpu"):
            raise WorkerError(f"device {settings.device!r} is not there; this machine has: cpu")
        return bench

    monkeypatch.setattr(plugin, "Worker", start)
    return opened


@pytest.fixture
def sweep(
    reports: Path,
    opened: list[Settings],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    assert reports is not None
    assert opened == []
    # Of the tests' own session; where it is set, pytest-benchmark measures nothing.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def sweep(
        *options: str,
        run: str = "first",
        only: bool = True,
        benches: Sequence[str | Path] = (),
        **how: Any,
    ) -> pytest.RunResult:
        asked = ("--benchmark-only",) if only else ()
        name = ("--run", run) if run else ()
        typed = (*asked, "-p", "no:cacheprovider", *options, *name)
        return pytester.runpytest_inprocess(*(benches or (plugin.BENCHES,)), *typed, **how)

    return sweep
