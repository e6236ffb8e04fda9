"""Whether the suite itself stays fast and small: `pytest benches/scale --benchmark-only`."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from dynact.report.figures.declaration import LayerFigure, ProfileFigure
from dynact.report.figures.registry import figures_of
from dynact.report.render import render
from dynact.report.run import Run, load
from dynact.report.tensorboard import write_dashboards
from dynact.schema.cases import Case
from dynact.schema.messages import Request
from dynact.schema.profile import columns, table_path
from dynact.schema.rows import Row
from dynact.schema.run_folder import RunFolder
from dynact.schema.settings import Settings
from dynact.sweep.presets import Grid
from dynact.sweep.worker import Worker

ROOT = Path(__file__).parents[2]
MIB = 2**20
CHANNELS = ",".join(str(8 * i) for i in range(1, 106))
RESOLUTIONS = ",".join(str(i) for i in range(1, 7))
COLLECT = f"""
import resource, sys, pytest
code = pytest.main(["benches", "--collect-only", "-q", "--benchmark-only", "--batches", "1",
                    "--impls", "reference", "--channels", "{CHANNELS}",
                    "--resolutions", "{RESOLUTIONS}"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)
sys.exit(code)
"""


def bench_collecting_10_000_cases(benchmark: Any) -> None:
    """Start pytest, plan and collect; the limit is 15 s and 500 MB (without the worker)."""

    def collect() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", COLLECT]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    done = benchmark.pedantic(collect, rounds=1)
    cases = done.stdout.count("bench_activation[")
    peak_bytes = int(done.stderr.split()[-1])
    benchmark.extra_info |= {"cases": cases, "peak_mib": peak_bytes / MIB}
    assert cases == 8 * 2 * 105 * 6
    assert benchmark.stats["max"] <= 15
    assert peak_bytes <= 500 * 10**6


@pytest.mark.parametrize("rows_before", [0, 10_000])
def bench_appending_a_row(benchmark: Any, run: RunFolder, rows_before: int) -> None:
    """Put one row on disk; the limit is 5 ms, however many there are."""
    if rows_before:
        _fill(run, rows_before)
    benchmark.pedantic(run.append, (_row(next(_cases())),), rounds=200)
    assert benchmark.stats["median"] <= 0.005


def bench_rendering_10_000_rows(benchmark: Any, run: RunFolder) -> None:
    """Draw all figures and tables; the limit is 20 s."""
    _fill(run, 10_000)
    assert len(load(run.folder)) == 10_000
    benchmark.pedantic(lambda: render(Run(run.folder)), rounds=1)
    assert benchmark.stats["max"] <= 20


def bench_writing_dashboards_of_100_cases(benchmark: Any, run: RunFolder) -> None:
    """Write what TensorBoard shows, with all figures and ten traces; the limit is 10 s."""
    _fill(run, 100)
    _fill_traces(run, 10)
    # Drawing has a limit of its own.
    render(Run(run.folder), formats=("png",))
    figures = len(list((run.folder / "figures").glob("*.png")))
    assert figures >= len({*figures_of(LayerFigure), *figures_of(ProfileFigure)})
    logdir = benchmark.pedantic(lambda: write_dashboards(Run(run.folder)), rounds=1)
    files = [path for path in logdir.rglob("*") if path.is_file()]
    assert sum(path.parent.parent.name == "trials" for path in files) == 100
    written_bytes = sum(path.stat().st_size for path in files)
    benchmark.extra_info |= {
        "files": len(files), "figures": figures, "written_mib": written_bytes / MIB
    }  # fmt: skip
    assert benchmark.stats["max"] <= 10


def bench_worker_memory(benchmark: Any) -> None:
    """Measure 500 cases; after the first 50 the worker grows by 5 % at most."""
    # Fewer than 50, so that whatever a case needs has been needed once by then.
    cases = list(Grid(impls=("reference",), channels=(16, 64, 256)).cases("cpu", "relu"))
    assert len(cases) < 50
    resident_bytes = []

    def sweep() -> None:
        worker = Worker(Settings(max_seconds=0.02))
        try:
            (process,) = psutil.Process().children()
            for i in range(500):
                answer = worker.ask(compared(cases[i % len(cases)]))
                assert answer.status == "ok", answer.message
                resident_bytes.append(process.memory_info().rss)
        finally:
            worker.close()

    benchmark.pedantic(sweep, rounds=1)
    growth = max(resident_bytes[50:]) / max(resident_bytes[:50]) - 1
    benchmark.extra_info |= {"growth": growth, "resident_mib": resident_bytes[-1] / MIB}
    assert growth <= 0.05


def bench_counting(benchmark: Any) -> None:
    """Count the quick sweep's largest shape: at most 50 ms or a tenth of the timing.

    Of both phases together, as they share what does not depend on the phase.
    """
    counting_s: defaultdict[str, float] = defaultdict(float)
    timing_s: defaultdict[str, float] = defaultdict(float)

    def sweep() -> None:
        worker = Worker(Settings())
        try:
            for case in Grid(impls=("reference",), batches=(2,), channels=(512,)).cases(
                "cpu", "relu"
            ):
                timed, counted = worker.ask(compared(case)), worker.ask(Request("count", case))
                timing_s[case.activation] += timed.figures["timing_s"]
                counting_s[case.activation] += counted.figures["counting_s"]
        finally:
            worker.close()

    benchmark.pedantic(sweep, rounds=1)
    share = max(counting_s[name] / max(0.1, 0.1 * timing_s[name]) for name in counting_s)
    benchmark.extra_info |= {"largest_share_of_limit": share}
    assert share <= 1


def compared(case: Case) -> Request:
    """Return the request to time a case."""
    return Request("visit", case, {"seconds": 1.0})


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    """Yield an empty run."""
    folder = RunFolder(tmp_path / "reports" / "scale", resume=False, environment=_ENVIRONMENT)
    yield folder
    folder.close()


_ENVIRONMENT: dict[str, Any] = {
    "started": "2026-01-01T00:00:00",
    "device": {"type": "cpu", "name": "a device", "memory_bytes": 2**34},
    "host": {"cpu": "a cpu", "cores": 2},
    "threads": 1,
    "versions": {"python": "3.11", "torch": "2.9"},
    "settings": {"precision": 0.01, "max_seconds": 1.0},
    "git": None,
    "command": ["pytest", "benches"],
}


def _fill(run: RunFolder, count: int) -> None:
    # Not through append: this is not the place to wait 10,000 times for the disk.
    with (run.folder / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(_row(case).record()) + "\n" for case in islice(_cases(), count))


def _fill_traces(run: RunFolder, count: int) -> None:
    """Store the tables of training steps of 200 operators, more than any built-in layer has."""
    calls = 200
    tables: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for activation in (f"layer_{i}" for i in range(count)):
        case_id = f"{activation}-training-32x64x56x56-float32-cpu"
        tables["steps"].append(
            (case_id, activation, "reference", "training", "eager", "float32", "contiguous", 32, 64,
             56, 56, "cpu", "relu", False, 16, 1000 * calls, 900 * calls, 1.0, calls, calls,
             "trace.json.gz", "memory.html", None)
        )  # fmt: skip
        for call in range(calls):
            part = "forward" if call < calls / 2 else "backward"
            kernel = f"aten::operator_{call}"
            tables["kernels"].append(
                (case_id, kernel, kernel, "pointwise", part, 1, 1000, 1 / calls, "32x64x56x56",
                 4096, 4e9, 1e10, None, None)
            )  # fmt: skip
            tables["timeline"].append((case_id, 1000 * call, 1000, kernel, "pointwise", part))
            tables["memory"].append((case_id, 1000 * call, 4096 * call, part))
    (run.folder / "traces").mkdir()
    for name, lines in tables.items():
        table = pd.DataFrame(lines, columns=columns(name))
        table.to_csv(table_path(run.folder, name), index=False, lineterminator="\n")


def _cases() -> Iterator[Case]:
    return Grid(
        batches=(1, 8, 32),
        channels=tuple(range(16, 16 * 22, 16)),
        resolutions=tuple((size, size) for size in range(7, 77, 7)),
    ).cases("cpu", "relu")


def _row(case: Case) -> Row:
    overhead = 1 + case.channels % 97
    return Row(
        case,
        "ok",
        time_ns=1e4 * overhead,
        time_p20_ns=0.9e4 * overhead,
        time_p80_ns=1.2e4 * overhead,
        baseline_time_ns=1e4,
        overhead=overhead,
        overhead_lo=0.99 * overhead,
        overhead_hi=1.01 * overhead,
        visits=10,
        disturbed_visits=1,
        pairs=64,
        converged=True,
        speed_drift=1.0,
        cache="warm",
        clock="wall",
        parameters=case.channels,
        parameters_normalisation=0,
        buffers=0,
        flops=2 * case.input_bytes,
        flops_fvcore_default=case.input_bytes,
        flops_by_operator={"conv": case.input_bytes, "add": case.input_bytes},
        uncounted_ops=[],
        baseline_flops=case.input_bytes // 4,
        traffic_floor_bytes=2 * case.input_bytes,
        traffic_eager_bytes=5 * case.input_bytes,
        operator_calls=3,
        baseline_traffic_eager_bytes=2 * case.input_bytes,
        data_dependent=False,
        saved_for_backward_bytes=3 * case.input_bytes,
        saved_input_bytes=case.input_bytes,
        saved_output_bytes=0,
        baseline_saved_for_backward_bytes=case.input_bytes,
        peak_bytes=4 * case.input_bytes,
        peak_source="tracker",
        baseline_peak_bytes=case.input_bytes,
        bandwidth_bytes_per_s=1e10,
        peak_flops_per_s=1e11,
        floor_time_ns=0.2 * case.input_bytes,
        counting_s=0.02,
        timing_s=0.5,
        case_s=0.6,
        session=_ENVIRONMENT["started"],
        elapsed_s=1.0,
    )
