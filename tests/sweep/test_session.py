"""What a session plans, and its rows from a bench that answers as it is told."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dynact.schema.cases import MODES, Case
from dynact.schema.limits import Ceilings
from dynact.schema.network_cases import NetworkCase
from dynact.schema.run_folder import NETWORK_ROWS, ROWS, SITE_ROWS, Row, RunFolder, load_ceilings
from dynact.sweep.session import Plan, Sweep, plan
from dynact.sweep.worker import Welcome
from tests.sweeping import NO_GATE, House, case_of, ok_row

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
        self.patience: list[float] = []
        self._ceilings = ceilings
        self._status = status

    def measure(self, case: Case, patience: float = 1.0) -> tuple[Row, list[float]]:
        self.asked.append("measure")
        self.patience.append(patience)
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


def test_a_term_of_a_sum_gets_less_time_than_what_is_read_by_itself(run: RunFolder) -> None:
    bench = Bench()
    sweep = sweep_with(bench, run)

    for file in (ROWS, SITE_ROWS, NETWORK_ROWS):
        sweep.measure(case_of(), file)

    rows, sites, networks = bench.patience
    assert rows == networks == 1
    assert 0 < sites < 0.5


WELCOME = Welcome("cpu", 2**40, ("relu", "prelu"), {})
A_NETWORK = NetworkCase("resnet18", "prelu", "all", "training", "float32", 2, 224, "cpu")
# The bounds of what a case takes beside its timing, in seconds. Compiling two layers, forward and
# backward, takes the best of machines a few, and a slow one a minute.
COMPILING_S = (5, 60)
MAKING_LAYERS_S = (0.01, 0.5)
MAKING_NETWORKS_S = (1, 20)


def planned(max_seconds: float, budget_s: float | None, *modes: str) -> Plan:
    """Plan one activation at a thousand sizes in these modes."""
    axes = {
        "activations": ("prelu",),
        "phases": ("inference",),
        "modes": modes,
        "batches": (1,),
        "channels": tuple(range(1, 1001)),
        "resolutions": ((7, 7),),
    }
    return plan("smoke", axes, WELCOME, baseline="relu", max_seconds=max_seconds, budget_s=budget_s)


class TestPlannedSeconds:
    @pytest.mark.parametrize("max_seconds", [0.02, 1, 10])
    @pytest.mark.parametrize(
        ("case", "bounds_s"),
        [
            (case_of(), MAKING_LAYERS_S),
            (case_of(phase="training"), MAKING_LAYERS_S),
            (case_of(mode="compile"), COMPILING_S),
            (case_of(mode="compile", phase="training"), COMPILING_S),
            (A_NETWORK, MAKING_NETWORKS_S),
        ],
        ids=lambda value: getattr(value, "id", ""),
    )
    def test_a_case_takes_its_timing_and_what_comes_before(
        self, case: Case | NetworkCase, bounds_s: tuple[float, float], max_seconds: float
    ) -> None:
        seconds = planned(max_seconds, None, "eager").seconds([case])

        least, most = bounds_s
        assert max_seconds + least <= seconds <= max_seconds + most

    def test_cases_take_their_sum(self) -> None:
        cases: list[Case | NetworkCase] = [case_of(), case_of(mode="compile"), A_NETWORK]
        sweep = planned(1, None, "eager")

        assert sweep.seconds(cases * 3) == pytest.approx(
            3 * sum(sweep.seconds([case]) for case in cases)
        )
        assert sweep.seconds([]) == 0


class TestBudget:
    @pytest.mark.parametrize("max_seconds", [0.02, 1, 10])
    @pytest.mark.parametrize("modes", [("eager",), ("compile",), MODES], ids=" and ".join)
    def test_it_is_kept_and_used(self, modes: tuple[str, ...], max_seconds: float) -> None:
        thinned = planned(max_seconds, 600, *modes)

        took = thinned.seconds(thinned.cases)
        assert took <= 600
        if len(thinned.cases) < 1000 * len(modes):
            one_size_more = [case_of(mode=mode) for mode in modes]
            assert took + thinned.seconds(one_size_more) > 600
        assert {case.mode for case in thinned.cases} == set(modes)

    def test_compiling_leaves_room_for_far_fewer_cases(self) -> None:
        eager, compiled, both = (
            len(planned(1, 600, *modes).cases) for modes in (("eager",), ("compile",), MODES)
        )

        # A second of timing each, and what is beside it.
        for found, (least_s, most_s) in ((eager, MAKING_LAYERS_S), (compiled, COMPILING_S)):
            assert 600 / (1 + most_s) - 1 <= found <= 600 / (1 + least_s)
        assert compiled <= both <= 2 * compiled

    def test_without_one_nothing_is_left_out(self) -> None:
        assert len(planned(1, None, *MODES).cases) == 2000

    def test_the_command_line_keeps_it(self, tmp_path: Path) -> None:
        house = House(tmp_path / "dynact")
        options = (
            "--collect-only", "--activations", "prelu", "--phases", "inference", "--batches", "1",
            "--resolutions", "7", "--channels", ",".join(map(str, range(1, 201))),
            "--modes", "compile", "--budget", "2m", *NO_GATE,
        )  # fmt: skip

        outcome = house.sweep(*options)

        found = re.search(r"^dynact: (\d+) cases in about", outcome.output, re.MULTILINE)
        assert found, outcome.said
        assert 120 / (1 + COMPILING_S[1]) - 1 <= int(found[1]) <= 120 / (1 + COMPILING_S[0])
