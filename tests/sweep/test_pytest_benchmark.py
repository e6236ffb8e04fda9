"""A sweep does what pytest-benchmark's and xdist's options say, or refuses before it starts."""

import json
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest
from pytest_benchmark.plugin import pytest_benchmark_group_stats

from dynact.schema.messages import Answer, Request
from dynact.schema.settings import Settings
from dynact.sweep import plugin
from dynact.sweep.pytest_benchmark import GROUPINGS, params_of
from dynact.sweep.worker import WorkerError
from tests.sweep.bench import FakeBench
from tests.sweep.in_process import FOUR_CASES, FOUR_IDS, Run, as_known, check_refused
from tests.sweeping import case_of, network_case_of, site_of

pytest_plugins = ["pytester"]

WITH_A_NETWORK = (*FOUR_CASES, "--networks", "lenet")
MORE_PROCESSES = "a sweep measures in one process"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def slower(bench: FakeBench) -> None:
    """Have each case take three times as long as usual."""

    def three_times(request: Request) -> Answer:
        answer = as_known(request)
        return Answer(figures=answer.figures | {"time_ns": 3 * answer.figures["time_ns"]})

    bench.answers["visit"] = three_times


class TestMoreProcesses:
    @pytest.mark.parametrize("only", [True, False])
    @pytest.mark.parametrize(
        "options",
        [
            ("-n2",), ("-n=2",), ("-n", "auto"), ("--numprocesses", "logical"),
            ("-d", "--tx", "popen"), ("--tx", "2*popen", "--dist", "loadfile"), ("--dist", "each"),
        ],
        ids=" ".join,
    )  # fmt: skip
    def test_is_refused_before_anything_is_opened(
        self, sweep: Run, opened: list[Settings], reports: Path, options: Any, only: bool
    ) -> None:
        check_refused(sweep(*FOUR_CASES, *options, only=only), MORE_PROCESSES)

        assert opened == []
        assert not reports.exists()

    def test_is_refused_where_the_environment_asks_for_it(
        self, sweep: Run, reports: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTEST_ADDOPTS", "-n 2")

        check_refused(sweep(*FOUR_CASES), MORE_PROCESSES)

        assert not reports.exists()
        # As the line says.
        assert sweep(*FOUR_CASES, "-n0").ret == 0

    def test_is_refused_in_one_of_several_processes(
        self, sweep: Run, reports: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")

        check_refused(sweep(*FOUR_CASES), "pytest-benchmark measures nothing where PYTEST_XDIST_")

        assert not reports.exists()

    @pytest.mark.parametrize("options", [("-n", "0"), ("--tx", "popen"), ("--dist", "no")])
    def test_what_asks_for_one_is_fine(
        self, sweep: Run, bench: FakeBench, options: tuple[str, ...]
    ) -> None:
        assert sweep(*FOUR_CASES, *options).ret == 0
        assert {request.case.id for request in bench.requests("visit")} >= {*FOUR_IDS}


class TestSwitchedOff:
    @pytest.mark.parametrize("option", ["--benchmark-skip", "--benchmark-disable"])
    def test_measures_nothing_leaves_nothing_and_says_so(
        self, sweep: Run, opened: list[Settings], reports: Path, option: str
    ) -> None:
        sweep(*FOUR_CASES)
        before, latest = contents(reports), (reports / "latest").readlink()
        opened.clear()

        outcome = sweep(*FOUR_CASES, option, run="second", only=False)

        assert outcome.ret == 0
        outcome.assert_outcomes(skipped=4)
        assert f"dynact: nothing was measured, for {option} was given" in outcome.outlines
        assert not any("further" in line for line in outcome.outlines)
        assert opened == []
        assert contents(reports) == before
        assert (reports / "latest").readlink() == latest

    def test_also_in_several_processes(
        self, sweep: Run, opened: list[Settings], reports: Path
    ) -> None:
        outcome = sweep("--benchmark-skip", "-n2", run="", only=False)

        assert outcome.ret == 0
        outcome.assert_outcomes(skipped=4)
        said = "dynact: nothing was measured, for --benchmark-skip was given"
        assert outcome.outlines.count(said) == 1
        assert opened == []
        assert not reports.exists()

    def test_but_tests_beside_it_run(self, sweep: Run, pytester: pytest.Pytester) -> None:
        test = pytester.makepyfile("def test_mine(): pass")

        outcome = sweep("--benchmark-skip", only=False, benches=(test, plugin.BENCHES))

        outcome.assert_outcomes(passed=1, skipped=4)

    @pytest.mark.parametrize(
        ("options", "only"),
        [
            (("--benchmark-skip",), True),
            (("--benchmark-disable", "--benchmark-enable"), True),
            (("--benchmark-disable", "--benchmark-enable"), False),
            ((), False),
        ],
    )
    def test_unless_the_opposite_is_asked_for_too(
        self, sweep: Run, bench: FakeBench, options: tuple[str, ...], only: bool
    ) -> None:
        assert sweep(*FOUR_CASES, *options, only=only).ret == 0
        assert {request.case.id for request in bench.requests("visit")} >= {*FOUR_IDS}

    def test_and_only_to_measure_exclude_each_other(
        self, sweep: Run, opened: list[Settings], reports: Path
    ) -> None:
        outcome = sweep(*FOUR_CASES, "--benchmark-disable")

        check_refused(outcome, "--benchmark-only and --benchmark-disable exclude each other")
        assert opened == []
        assert not reports.exists()


def groups_in(outcome: pytest.RunResult) -> dict[str, int]:
    """Return how many benchmarks pytest-benchmark's table has of each group."""
    found = re.findall(r"- benchmark '(.*)': (\d+) tests -", outcome.stdout.str())
    return {name: int(count) for name, count in found}


class TestGroups:
    def test_are_by_any_parameter_and_a_dash_where_there_is_none(self, sweep: Run) -> None:
        outcome = sweep(*WITH_A_NETWORK, "--benchmark-group-by=param:channels")

        assert outcome.ret == 0
        # Two layers at 16 and 32 channels, and at LeNet's two sites; LeNet with each, and the gate.
        assert groups_in(outcome) == {
            "channels=16": 4, "channels=32": 2, "channels=6": 2, "channels=-": 3,
        }  # fmt: skip

    def test_are_by_several_at_once(self, sweep: Run) -> None:
        outcome = sweep(*WITH_A_NETWORK, "--benchmark-group-by=func,param:network")

        assert groups_in(outcome) == {
            "bench_gate network=-": 1, "bench_activation network=-": 4, "bench_site network=-": 4,
            "bench_network network=lenet": 2,
        }  # fmt: skip

    @pytest.mark.parametrize("grouping", GROUPINGS)
    def test_of_each_kind_that_is_offered_take_every_benchmark(self, grouping: str) -> None:
        cases = (case_of(), site_of(), network_case_of(), None)
        benchmarks = [
            {
                "name": f"bench[{i}]", "fullname": f"benches/b.py::bench[{i}]", "group": None,
                "param": case and case.id, "params": params_of(case),
            }
            for i, case in enumerate(cases)
        ]  # fmt: skip

        groups = pytest_benchmark_group_stats(None, benchmarks, grouping)

        assert sum(len(members) for _, members in groups) == len(cases)

    @pytest.mark.parametrize(
        ("grouping", "line"),
        [
            ("param:chanels", "'param:chanels'; did you mean param:channels "),
            ("channels", "'channels'; did you mean param:channels?"),
            ("func,param:case_id", "'param:case_id'; did you mean param:"),
            ("param:", "'param:'; did you mean param"),
            ("func, name", "' name'; did you mean name"),
            ("xyz", "'xyz'; choose from: group, name, func, "),
        ],
    )
    def test_that_there_are_not_are_refused(
        self, sweep: Run, opened: list[Settings], grouping: str, line: str
    ) -> None:
        outcome = sweep(*FOUR_CASES, f"--benchmark-group-by={grouping}")

        check_refused(outcome, f"unknown --benchmark-group-by {line}")
        assert opened == []


TIMED_ELSEWHERE = "is not for a sweep: a process of its own times the cases; --precision and"
PROFILED_ELSEWHERE = "would profile this process, and another one measures; scripts/profile_traces"


@pytest.mark.parametrize(
    ("option", "line"),
    [
        *(
            (option, f"{option.split('=')[0]} {TIMED_ELSEWHERE}")
            for option in (
                "--benchmark-min-rounds=7", "--benchmark-min-time=0.1", "--benchmark-max-time=3",
                "--benchmark-precision=0.02", "--benchmark-confidence=0.9",
                "--benchmark-timer=time.process_time", "--benchmark-calibration-precision=2",
                "--benchmark-warmup=on", "--benchmark-warmup-iterations=3",
                "--benchmark-disable-gc",
            )
        ),
        *(
            (option, f"{option.split('=')[0]} {PROFILED_ELSEWHERE}")
            for option in (
                "--benchmark-cprofile=tottime", "--benchmark-cprofile-loops=2",
                "--benchmark-cprofile-top=3", "--benchmark-cprofile-dump=mine",
            )
        ),
        ("--benchmark-compare-fail=min:5%", "--benchmark-compare-fail has nothing to compare with"),
        ("--benchmark-compare=a/b/c", "--benchmark-storage or --benchmark-compare: 'a/b/c' isn't"),
        ("--benchmark-storage=ftp://there", "--benchmark-storage or --benchmark-compare: Storage"),
        ("--benchmark-json=nowhere/x.json", "--benchmark-json names no file that can be written: "),
        ("--benchmark-json=.", "--benchmark-json names no file that can be written: ."),
        ("-pno:benchmark", "the sweep reports through pytest's plugin 'benchmark'; leave out"),
        ("-pno:terminal", "the sweep reports through pytest's plugin 'terminal'; leave out"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_is_opened(
    sweep: Run, opened: list[Settings], reports: Path, option: str, line: str
) -> None:
    outcome = sweep(*FOUR_CASES, option, only="no:benchmark" not in option)

    check_refused(outcome, line)
    assert opened == []
    assert not reports.exists()


def test_what_a_plugin_s_default_is_may_be_said(sweep: Run) -> None:
    usual = ("--benchmark-min-rounds=5", "--benchmark-warmup=off", "--benchmark-cprofile-top=25")

    assert sweep(*FOUR_CASES, *usual).ret == 0


def test_a_table_may_have_another_shape(sweep: Run) -> None:
    outcome = sweep(
        *FOUR_CASES, "--benchmark-columns=median,rounds", "--benchmark-sort=name",
        "--benchmark-time-unit=ns", "--benchmark-name=short",
    )  # fmt: skip

    assert outcome.ret == 0
    assert any(
        re.fullmatch(rf"bench_activation\[{FOUR_IDS[0]}\] +2,000\.0000 \(1\.0+\) +5", line)
        for line in outcome.outlines
    )


class TestTable:
    """It is wide, and in multiples of whichever benchmark is fastest: for who asks for it."""

    def test_is_not_shown_unasked_but_its_file_is_written(self, sweep: Run) -> None:
        outcome = sweep(*FOUR_CASES, "--benchmark-save=mine", "--benchmark-json=copy.json")

        assert outcome.ret == 0
        assert not shows_table(outcome)
        assert "Wrote benchmark data in: " in outcome.stderr.str()
        copy = json.loads(Path("copy.json").read_text())
        # And the gate.
        assert len(copy["benchmarks"]) == len(FOUR_IDS) + 1

    @pytest.mark.parametrize(
        "option",
        [
            "-v", "--benchmark-columns=median", "--benchmark-sort=name", "--benchmark-sort=min",
            "--benchmark-group-by=func", "--benchmark-name=short", "--benchmark-time-unit=ns",
            "--benchmark-verbose",
        ],
    )  # fmt: skip
    def test_is_shown_to_who_asks_for_it(self, sweep: Run, option: str) -> None:
        assert shows_table(sweep(*FOUR_CASES, option))

    def test_is_not_shown_where_quiet_is_asked_for_too(self, sweep: Run) -> None:
        assert not shows_table(sweep(*FOUR_CASES, "-v", "--benchmark-quiet"))


def shows_table(outcome: pytest.RunResult) -> bool:
    return any(line.startswith("Name (time in ") for line in outcome.outlines)


class TestHistogram:
    def test_needs_pygal(
        self, sweep: Run, opened: list[Settings], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dynact.sweep.pytest_benchmark.find_spec", lambda _name: None)

        outcome = sweep(*FOUR_CASES, "--benchmark-histogram")

        check_refused(outcome, "--benchmark-histogram needs pygal, which is not installed; ")
        assert opened == []

    def test_that_cannot_be_written_costs_the_closing_table_nothing(
        self, sweep: Run, reports: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def make_histogram(*_: Any) -> NoReturn:
            raise PermissionError(13, "Permission denied", "mine.svg")

        for name in ("pygal", "pytest_benchmark.histogram"):
            module = ModuleType(name)
            module.__spec__ = ModuleSpec(name, None)
            module.make_histogram = make_histogram  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, name, module)

        outcome = sweep(*FOUR_CASES, "--benchmark-histogram=mine")

        assert outcome.ret == pytest.ExitCode.TESTS_FAILED
        assert "Permission denied: 'mine.svg'" in outcome.stderr.str()
        assert f"rows: {reports / 'first' / 'rows.jsonl'}" in outcome.outlines


class TestSavedRuns:
    @pytest.mark.parametrize("save", ["--benchmark-save=mine", "--benchmark-autosave"])
    def test_are_compared_with(self, sweep: Run, bench: FakeBench, save: str) -> None:
        sweep(*FOUR_CASES, save)
        slower(bench)

        outcome = sweep(*FOUR_CASES, "--benchmark-compare", run="second")

        assert outcome.ret == 0
        for case_id in FOUR_IDS:
            lines = [line for line in outcome.outlines if f"[{case_id}]" in line]
            assert [float(line.split(")")[1].split()[0]) for line in lines] == [2.0, 6.0]

    def test_that_were_faster_fail_the_session_in_words(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        limit = ("--benchmark-compare=0001", "--benchmark-compare-fail=median:150%")
        sweep(*FOUR_CASES, "--benchmark-save=mine")
        assert sweep(*FOUR_CASES, *limit, run="second").ret == 0
        slower(bench)

        outcome = sweep(*FOUR_CASES, *limit, run="third")

        assert outcome.ret == pytest.ExitCode.TESTS_FAILED
        said = outcome.stderr.str()
        assert "Traceback" not in outcome.stdout.str() + said
        assert said.count("Field 'median' has failed PercentageRegressionCheck: 200.0") == 5
        assert f"rows: {reports / 'third' / 'rows.jsonl'}" in outcome.outlines
        assert (reports / "third" / "benchmark.json").is_file()

    def test_have_all_times_when_asked_for_them(self, sweep: Run, pytester: Any) -> None:
        sweep(*FOUR_CASES, "--benchmark-save=small")
        sweep(*FOUR_CASES, "--benchmark-save=large", "--benchmark-save-data", run="second")

        small, large = (
            json.loads(path.read_text())["benchmarks"]
            for path in sorted(pytester.path.glob(".benchmarks/*/*.json"))
        )
        assert not any("data" in benchmark["stats"] for benchmark in small)
        assert [len(benchmark["stats"]["data"]) for benchmark in large] == [6, 5, 5, 5, 5]

    def test_are_of_the_same_machine_whatever_its_clock_does(
        self, sweep: Run, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
    ) -> None:
        clocks = iter(range(10))
        monkeypatch.setattr(
            "pytest_benchmark.plugin.get_cpu_info",
            lambda: {"brand_raw": "Some CPU", "hz_actual": [next(clocks), 0]},
        )
        sweep(*FOUR_CASES, "--benchmark-save=mine")

        assert sweep(*FOUR_CASES, "--benchmark-compare", run="second").ret == 0

        assert next(clocks) > 2
        assert not [w for w in recwarn if "machine_info is different" in str(w.message)]

    def test_need_a_folder_to_lie_in(
        self, sweep: Run, opened: list[Settings], pytester: pytest.Pytester
    ) -> None:
        (pytester.path / "mine").write_text("")

        outcome = sweep(*FOUR_CASES, "--benchmark-autosave", "--benchmark-storage=mine")

        check_refused(outcome, f"--benchmark-storage: cannot write to {pytester.path}/mine")
        assert opened == []


def test_a_copy_whose_folder_went_meanwhile_is_named(
    sweep: Run, bench: FakeBench, pytester: pytest.Pytester
) -> None:
    (pytester.path / "copies").mkdir()

    def remove(request: Request) -> Answer:
        if (pytester.path / "copies").exists():
            (pytester.path / "copies").rmdir()
        return as_known(request)

    bench.answers["visit"] = remove

    outcome = sweep(*FOUR_CASES, "--benchmark-json=copies/mine.json")

    assert outcome.ret == pytest.ExitCode.TESTS_FAILED
    assert "dynact: cannot write mine.json: No such file or directory" in outcome.outlines


class Refuses:
    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        raise pytest.UsageError("not with me")


class TestNoEmptyRunIsLeft:
    @pytest.mark.parametrize(
        "options",
        [
            ("-k", "a b"), ("-m", "("), ("-k", "nosuch"), ("--deselect", "benches"),
            ("--setup-plan",), ("--fixtures-per-test",), ("--setup-only",),
        ],
        ids=" ".join,
    )  # fmt: skip
    def test_where_pytest_measures_nothing(
        self, sweep: Run, bench: FakeBench, reports: Path, options: tuple[str, ...]
    ) -> None:
        outcome = sweep(*FOUR_CASES, *options)

        assert bench.verbs == []
        assert "dynact: nothing was measured, so there is no run first" in outcome.outlines
        assert not any("further" in line for line in outcome.outlines)
        assert list(reports.iterdir()) == []
        # The name is free.
        assert sweep(*FOUR_CASES).ret == 0

    def test_where_a_benchmark_is_not_there(self, sweep: Run, reports: Path) -> None:
        outcome = sweep(*FOUR_CASES, benches=(f"{plugin.BENCHES}/bench_activations.py::nosuch",))

        assert outcome.ret == pytest.ExitCode.USAGE_ERROR
        assert list(reports.iterdir()) == []

    def test_where_another_plugin_refuses(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        check_refused(sweep(*FOUR_CASES, plugins=[Refuses()]), "not with me")

        assert bench.closed
        assert list(reports.iterdir()) == []

    @pytest.mark.parametrize("error", [WorkerError("no process any more"), KeyboardInterrupt()])
    def test_where_the_sweep_ends_before_its_first_figure(
        self, sweep: Run, bench: FakeBench, reports: Path, error: BaseException
    ) -> None:
        def fail(_request: Request) -> NoReturn:
            raise error

        bench.answers["visit"] = fail

        sweep(*FOUR_CASES, no_reraise_ctrlc=True)

        assert bench.verbs == ["limits", "visit"]
        assert list(reports.iterdir()) == []

    def test_but_one_with_rows_stays(self, sweep: Run, reports: Path) -> None:
        sweep(*FOUR_CASES)
        before = contents(reports / "first")

        sweep(*FOUR_CASES, "--resume", "-k", "a b")

        assert contents(reports / "first") == before
