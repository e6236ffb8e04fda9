"""One session's rows from a bench that answers as it is told."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dynact.cases import Case
from dynact.results import Row, RunFolder, load_ceilings
from dynact.roofline import Ceilings
from dynact.sweep import Sweep
from dynact.worker import Welcome

from .sweeping import case_of, ok_row

CEILINGS = {
    "copies": [{"bytes": 16, "bytes_per_s": 1e9}],
    "flops_per_s": {"float32": 1e9},
    "case_s": 0.1,
}
COUNTS = {"flops": 3_000, "traffic_floor_bytes": 1_000, "message": "", "counting_s": 0.5}


class Bench:
    """Measures nothing."""

    def __init__(self, ceilings: Any = CEILINGS, status: str = "ok") -> None:
        self.welcome = Welcome("cpu", 2**30, ("relu",), {})
        self.asked: list[str] = []
        self._ceilings = ceilings
        self._status = status

    def measure(self, case: Case, _patience: float = 1.0) -> tuple[Row, list[float]]:
        self.asked.append("measure")
        return (ok_row(case) if self._status == "ok" else Row(case, self._status)), [1.0]

    def count(self, case: Case) -> dict[str, Any]:
        self.asked.append(f"count {case.activation}")
        return COUNTS

    def check(self, case: Case) -> None:
        raise AssertionError(case)

    def run_gate(self) -> tuple[dict[str, Any], list[float]]:
        raise AssertionError

    def measure_ceilings(self) -> dict[str, Any]:
        self.asked.append("ceilings")
        if isinstance(self._ceilings, Exception):
            raise self._ceilings
        return dict(self._ceilings)

    def close(self) -> None:
        pass


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    run = RunFolder(tmp_path / "reports" / "run", resume=False, environment={"started": "now"})
    yield run
    run.close()


def sweep_with(bench: Bench, run: RunFolder) -> Sweep:
    return Sweep(bench, run, datetime.now())


def test_a_row_brings_timing_counts_and_ceilings_together(run: RunFolder) -> None:
    bench = Bench()

    row, _ = sweep_with(bench, run).measure(case_of("prelu"))

    assert bench.asked == ["ceilings", "measure", "count prelu"]
    assert row.overhead == 2.0
    assert (row.flops, row.counting_s) == (3_000, 0.5)
    assert (row.bandwidth_bytes_per_s, row.peak_flops_per_s) == (1e9, 1e9)
    assert row.floor_time_ns == pytest.approx(3_000)


def test_ceilings_are_measured_once_for_all_sessions(run: RunFolder) -> None:
    first, second = Bench(), Bench()
    for bench in (first, second):
        sweep = sweep_with(bench, run)
        sweep.measure(case_of("prelu"))
        sweep.measure(case_of("silu"))

    assert first.asked.count("ceilings") == 1
    assert second.asked.count("ceilings") == 0
    record = load_ceilings(run.folder)
    assert record is not None
    assert Ceilings.of(record).flops_per_s == {"float32": 1e9}


def test_a_case_that_failed_is_not_counted(run: RunFolder) -> None:
    bench = Bench(status="oom")

    row, _ = sweep_with(bench, run).measure(case_of())

    assert bench.asked == ["ceilings", "measure"]
    assert row.flops is None
    assert row.floor_time_ns is None


def test_without_ceilings_there_are_rows_without_floors(run: RunFolder) -> None:
    bench = Bench(ceilings=ValueError("ceilings: the process was ended by SIGKILL"))
    sweep = sweep_with(bench, run)

    rows = [sweep.measure(case_of(name))[0] for name in ("prelu", "silu")]

    assert bench.asked.count("ceilings") == 1
    for row in rows:
        assert (row.status, row.flops) == ("ok", 3_000)
        assert row.floor_time_ns is None
    record = load_ceilings(run.folder)
    assert record is not None
    assert record["message"] == "ceilings: the process was ended by SIGKILL"
