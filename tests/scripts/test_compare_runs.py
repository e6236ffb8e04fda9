"""The command that compares runs."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tests.report.comparison.visits_sample import ROWS, visited, visits_of
from tests.report.test_render import write_run

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "started": "2026-03-01T10:00:00+00:00",
    "device": {"type": "cpu", "name": "Some CPU"},
    "host": {"cpu": "Some CPU"},
    "threads": 1,
    "versions": {"torch": "2.14.1"},
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with its own reports/: the script beside the package."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "dynact").symlink_to(ROOT / "dynact")
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/compare_runs.py", folder / "scripts")
    return folder


@pytest.fixture
def reports(checkout: Path) -> Path:
    """Runs: three of the same code, one with a slow layer, others that cannot be compared."""
    folder = checkout / "reports"
    if folder.exists():
        shutil.rmtree(folder)
    compiled = visited(ROWS, 9, mode="compile", case_id=ROWS["case_id"] + "-compile")
    for name, rows in {
        "monday": visited(ROWS, 1, scatter=0.03),
        "tuesday": visited(ROWS, 2, scatter=0.03),
        "wednesday": visited(ROWS, 3, scatter=0.03),
        "slow": visited(ROWS, 4, scatter=0.03, slower={"frelu": 1.15}),
        "single": visited(ROWS, 5, visits=1),
        "mish": visited(ROWS.assign(activation="mish", case_id="m" + ROWS["case_id"]), 6),
        "modes": pd.concat([visited(ROWS, 8), compiled], ignore_index=True),
    }.items():
        write_run(folder / name, rows, ENVIRONMENT)
    (folder / "latest").symlink_to("tuesday")
    return folder


@dataclass
class Done:
    """How a command ended and what it said."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def written(self) -> list[str]:
        return [line for line in self.stdout.splitlines() if line.startswith("reports/")]


Compare = Callable[..., Done]


@pytest.fixture
def compare(
    reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Compare:
    """Run the command in this process: starting one takes longer than what it does."""
    path = reports.parent / "scripts/compare_runs.py"
    monkeypatch.setattr(sys, "path", sys.path[:])
    command = runpy.run_path(str(path))["main"]
    monkeypatch.chdir(reports.parent)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        with pytest.raises(SystemExit) as exit_:
            command()
        assert isinstance(exit_.value.code, int)
        return Done(exit_.value.code, *capsys.readouterr())

    return run


def test_it_says_what_it_found_and_writes_into_the_later_run(
    reports: Path, compare: Compare
) -> None:
    done = compare("monday", "latest")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Of 36 cases, tuesday compared with monday: 0 slower, 0 faster,")
    folder = "reports/tuesday/comparisons/against-monday"
    names = ("comparison.md", "layers.csv", "layers.png", "layers.svg")
    assert done.written == [*(f"{folder}/{name}" for name in names), "reports/tuesday/index.html"]
    assert all((reports.parent / path).stat().st_size > 0 for path in done.written)
    assert not (reports / "monday/comparisons").exists()
    assert "tuesday against monday" in (reports / "tuesday/index.html").read_text("utf-8")


def test_of_several_runs_the_first_is_the_reference(reports: Path, compare: Compare) -> None:
    done = compare("monday", "tuesday", "reports/slow")
    assert done.returncode == 0
    assert re.findall(r"cases, (\w+) compared with (\w+):", done.stdout) == [
        ("tuesday", "monday"),
        ("slow", "monday"),
    ]
    for later in ("tuesday", "slow"):
        stored = [path.name for path in (reports / later / "comparisons").iterdir()]
        assert stored == ["against-monday"]


def test_within_a_run(reports: Path, compare: Compare) -> None:
    rows = [json.loads(line) for line in (reports / "modes/rows.jsonl").open()]
    for row in rows:
        row["time_ns"] *= 2 if row["mode"] == "compile" else 1
    visits = visits_of(pd.DataFrame(rows), 1).assign(
        number=1, message="", seconds=0.07, session="s", elapsed_s=1.0, overhead=2.0,
        baseline_time_ns=1e3, pairs=4, timing_s=0.07, visit_s=0.08,
    )  # fmt: skip
    visits.to_json(reports / "modes/visits.jsonl", orient="records", lines=True)
    done = compare("modes", "--between", "mode")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Of 36 cases, compile compared with eager: 36 slower, 0 faster" in done.stdout
    assert (reports / "modes/comparisons/between-mode-compile/layers.csv").is_file()
    shutil.copytree(reports / "modes", reports / "new")
    (reports / "latest").unlink()
    (reports / "latest").symlink_to("new")
    assert "reports/new/index.html" in compare("--between", "mode").written


@pytest.mark.parametrize(
    ("arguments", "code", "last"),
    [
        (["monday", "tuesday"], 0, "tuesday against monday: 0 slower by more than 5 %"),
        (["monday", "slow"], 1, None),
        (["monday", "tuesday", "slow"], 1, None),
        # 15 % is not more than 20 %.
        (["monday", "slow"], 0, "slow against monday: 0 slower by more than 20 %"),
        (["slow", "monday"], 0, "monday against slow: 0 slower by more than 5 %"),
    ],
)
def test_fail_on(compare: Compare, arguments: list[str], code: int, last: str | None) -> None:
    limit = "20%" if last and "20" in last else "5%"
    done = compare(*arguments, "--fail-on", f"slower:{limit}")
    assert (done.returncode, done.stderr) == (code, "")
    if last:
        assert done.stdout.splitlines()[-1] == last
        return
    # FReLU's twelve cases, and no others, each with its ratio.
    assert "slow against monday: 12 slower by more than 5 %" in done.stdout
    named = re.findall(r"^  (\S+): ([\d.]+)× \(", done.stdout, re.MULTILINE)
    assert (len(named), done.stdout.splitlines()[-1]) == (10, "  and 2 more")
    assert all(case.startswith("frelu-") and float(ratio) > 1.05 for case, ratio in named)


def test_fail_on_does_not_pass_where_nothing_can_be_told(compare: Compare) -> None:
    done = compare("monday", "single", "--fail-on", "slower:5%")
    assert done.returncode == 2
    assert done.stderr.startswith("compare_runs.py: --fail-on: nothing can be told")
    assert len(done.stderr.splitlines()) == 1
    assert compare("monday", "single").returncode == 0


def test_runs_of_earlier_versions_are_compared_with_a_warning(
    reports: Path, compare: Compare
) -> None:
    for name in ("monday", "tuesday"):
        rows = [json.loads(line) for line in (reports / name / "rows.jsonl").open()]
        old = [{k: v for k, v in row.items() if "visits" not in k} for row in rows]
        (reports / name / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in old))
    done = compare("monday", "tuesday")
    assert (done.returncode, done.stderr) == (0, "")
    assert "36 cases with an interval of a single visit" in done.stdout
    assert "TOO NARROW" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name two runs or more"),
        (["monday"], "name two runs or more"),
        (["monday", "sunday"], "no run 'sunday'; runs in reports/: mish, modes, monday"),
        (["monday", "monday"], "'monday' and 'monday' are the same run"),
        (["latest", "tuesday"], "'latest' and 'tuesday' are the same run"),
        (["monday", "tuesday", "reports/monday"], "'monday' and 'reports/monday' are the same"),
        (["monday", "mish"], "no case was measured in both runs: 'monday' has 36 (prelu-"),
        (["monday", "--between", "mode"], "between mode: all cases have mode eager"),
        (["monday", "tuesday", "--between", "impl"], "of one run, got 2: monday, tuesday"),
        (["monday", "--between", "batch"], "invalid choice: 'batch'"),
        (["monday", "tuesday", "--fail-on", "slower"], "such as 5%, got ''"),
        (["monday", "tuesday", "--fail-on", "slower:5"], "such as 5%, got '5'"),
        (["monday", "tuesday", "--fail-on", "slower:-5%"], "got '-5%'"),
        (["monday", "tuesday", "--fail-on", "slower:nan%"], "got 'nan%'"),
        (["monday", "tuesday", "--fail-on", "faster:5%"], "slower:5%, got 'faster:5%'"),
        (["monday", "tuesday", "--margin", "0%"], "got '0%'"),
        (["monday", "tuesday", "--margin", "five"], "got 'five'"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    reports: Path, compare: Compare, arguments: list[str], message: str
) -> None:
    done = compare(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert done.stdout == ""
    assert not list(reports.glob("*/comparisons"))


def test_one_mistake_among_several_runs_leaves_nothing_behind(
    reports: Path, compare: Compare
) -> None:
    done = compare("monday", "tuesday", "mish")
    assert (done.returncode, done.stdout) == (2, "")
    assert not list(reports.glob("*/comparisons"))


def test_a_full_disk_is_answered_in_one_line(reports: Path, compare: Compare) -> None:
    (reports / "tuesday/index.html").symlink_to("/dev/full")
    done = compare("monday", "tuesday")
    assert done.returncode == 2
    assert done.stderr == "compare_runs.py: reports/tuesday: No space left on device\n"


def test_as_a_command_of_its_own_it_says_what_slower_by_more_means(reports: Path) -> None:
    command = [sys.executable, "scripts/compare_runs.py", "--help"]
    done = subprocess.run(command, cwd=reports.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    words = " ".join(done.stdout.split())
    assert "the ratio itself, not all of its interval, is above 1.05" in words


def test_what_differs_is_said_and_times_of_another_cpu_are_refused(
    reports: Path, compare: Compare
) -> None:
    other = ENVIRONMENT | {"host": {"cpu": "EPYC"}, "versions": {"torch": "2.15.0"}}
    (reports / "tuesday/environment.json").write_text(json.dumps(other))
    done = compare("monday", "tuesday")
    assert "differs: versions.torch, 2.14.1 and 2.15.0" in done.stdout
    assert "Times are not compared: another CPU model, 'Some CPU' against 'EPYC'" in done.stdout
