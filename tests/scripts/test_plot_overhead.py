"""The command that draws a run."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dynact.report.figures.declaration import LayerFigure
from dynact.report.figures.registry import FIGURES, figures_of
from dynact.schema import run_folder
from dynact.schema.run_folder import RunError
from tests.report.networks_sample import build_networks

ROOT = Path(__file__).parents[2]
ROW = {
    "case_id": "a", "activation": "frelu", "impl": "reference", "phase": "inference",
    "mode": "eager", "dtype": "float32", "memory_format": "contiguous", "batch": 8,
    "channels": 64, "height": 28, "width": 28, "device": "cpu", "baseline": "relu",
    "status": "ok", "message": "", "time_ns": 9e5, "time_p20_ns": 8e5, "time_p80_ns": 1e6,
    "baseline_time_ns": 3e5, "overhead": 3.0, "overhead_lo": 2.9, "overhead_hi": 3.1,
    "pairs": 40, "converged": True, "speed_drift": 0.0, "cache": "warm", "clock": "wall",
    "timing_s": 0.5, "case_s": 1.0, "session": "2026-03-01T10:00:00+00:00", "elapsed_s": 9.0,
}  # fmt: skip
ENVIRONMENT = {
    "started": "2026-03-01T10:00:00+00:00",
    "device": {"type": "cpu", "name": "Some CPU"},
    "threads": 1,
    "versions": {"torch": "2.14.1"},
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with its own reports/: the script beside a copy of the package."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "dynact", tmp_path / "dynact", ignore=ignore)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/plot_overhead.py", tmp_path / "scripts")
    for name, rows in (("monday", [ROW]), ("tuesday", [ROW]), ("nothing", [])):
        folder = tmp_path / "reports" / name
        folder.mkdir(parents=True)
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "environment.json").write_text(json.dumps(ENVIRONMENT))
    (tmp_path / "reports/latest").symlink_to("tuesday")
    return tmp_path


def plot(checkout: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "scripts/plot_overhead.py", *arguments]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True)


def test_it_draws_the_latest_run_and_prints_what_it_wrote(checkout: Path) -> None:
    done = plot(checkout, "--format", "svg")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    stems = [
        f"{name}_inference" if figure.by_phase else name
        for name, figure in figures_of(LayerFigure).items()
    ]
    table, summary, *drawn, page, dashboards = done.stdout.splitlines()
    assert [table, summary] == ["reports/latest/table.csv", "reports/latest/summary.md"]
    assert sorted(drawn) == sorted(f"reports/latest/figures/{stem}.svg" for stem in stems)
    assert [page, dashboards] == ["reports/latest/index.html", "reports/latest/tensorboard"]
    assert all((checkout / line).stat().st_size > 0 for line in done.stdout.splitlines())
    assert not (checkout / "reports/monday/figures").exists()


@pytest.mark.parametrize(
    ("limit", "verdict"), [("3.5x", "yes"), ("3.11", "yes"), ("3×", "cannot be told"), ("2", "no")]
)
def test_it_says_which_activations_keep_a_limit(checkout: Path, limit: str, verdict: str) -> None:
    done = plot(checkout, "--figures", "overhead_ranking", "--format", "svg", "--at-most", limit)

    assert (done.returncode, done.stderr) == (0, "")
    # 3.0, of which 2.9 to 3.1 is the interval.
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FReLU ")]
    assert line.startswith(f"FReLU       {verdict} ")
    heading = f"which take {float(limit.rstrip('x×')):g}× ReLU"
    for file in ("summary.md", "index.html"):
        assert heading in (checkout / "reports/latest" / file).read_text()


def test_without_a_limit_nothing_is_said_of_one(checkout: Path) -> None:
    done = plot(checkout, "--figures", "overhead_ranking", "--format", "svg")

    assert "which take" not in done.stdout
    for file in ("summary.md", "index.html"):
        assert "which take" not in (checkout / "reports/latest" / file).read_text()


@pytest.mark.parametrize("run", ["monday", "reports/monday"])
def test_it_takes_a_name_or_a_path_and_some_figures(checkout: Path, run: str) -> None:
    done = plot(checkout, run, "--figures", "overhead_ranking", "--format", "png,pdf")
    assert done.returncode == 0, done.stderr
    names = [path.name for path in (checkout / "reports/monday/figures").iterdir()]
    assert sorted(names) == ["overhead_ranking.pdf", "overhead_ranking.png"]


@pytest.mark.parametrize(
    ("arguments", "over"),
    [
        ((), "eager"),
        (("--baseline-mode", "eager"), "eager"),
        (("--baseline-mode=same",), "compile"),
    ],
)
def test_it_compares_modes_over_the_baseline_that_is_asked_for(
    checkout: Path, arguments: tuple[str, ...], over: str
) -> None:
    with (checkout / "reports/monday/rows.jsonl").open("a") as rows:
        rows.write(json.dumps(ROW | {"case_id": "b", "mode": "compile"}) + "\n")

    done = plot(checkout, "monday", "--figures", "overhead_ranking", "--format", "svg", *arguments)

    assert done.returncode == 0, done.stderr
    summary = (checkout / "reports/monday/summary.md").read_text()
    assert f"| compile, × {over} ReLU |" in summary


def test_it_tells_the_largest_batch_in_the_memory_that_is_asked_for(checkout: Path) -> None:
    networks, _ = build_networks(("lenet",), ("frelu",))
    rows = networks.to_json(orient="records", lines=True)
    (checkout / "reports/monday/network_rows.jsonl").write_text(rows)

    done = plot(
        checkout, "monday", "--figures", "overhead_ranking", "--format", "svg", "--memory", "24GiB"
    )

    assert done.returncode == 0, done.stderr
    for name in ("summary.md", "index.html"):
        text = (checkout / "reports/monday" / name).read_text()
        assert "largest batch in 24 GiB" in text
        assert "does not exceed 24 GiB" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wednesday"], "monday"),
        (["nothing"], "'nothing' has no rows"),
        (["--figures", "overhead_heatmp"], "did you mean overhead_heatmap?"),
        (["--figures", "zzz"], ", ".join(figures_of(LayerFigure))),
        (["--figures", ","], "no figure given"),
        (["--format", "gif"], "png, svg, pdf"),
        (["--baseline-mode", "compile"], "'eager', 'same'"),
        (
            ["--at-most", "1.5y"],
            "--at-most takes a positive multiple of the baseline's time, as 1.5x",
        ),
        (["--memory", "24 gigs"], "no memory '24 gigs'; give a number and a unit"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    checkout: Path, arguments: list[str], message: str
) -> None:
    done = plot(checkout, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_help_names_every_figure(checkout: Path) -> None:
    done = plot(checkout, "--help")
    assert done.returncode == 0
    words = re.split(r"[\s,;]+", done.stdout)
    assert set(FIGURES) < set(words)


def test_a_full_disk_is_answered_in_one_line_with_the_runs_folder(checkout: Path) -> None:
    # Met when the file is closed: the error names no file.
    (checkout / "reports/tuesday/table.csv").symlink_to("/dev/full")
    done = plot(checkout, "--format", "svg")
    assert done.returncode == 2
    assert done.stderr == "plot_overhead.py: reports/latest: No space left on device\n"


RESTORE = "restore it from a copy, or measure again under another --run"
REMOVE = "remove it, and --resume measures it again"
WHOLE = json.dumps(ENVIRONMENT)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("environment", WHOLE[:40], f"is cut short or no JSON; {RESTORE}"),
        ("environment", "", f"is cut short or no JSON; {RESTORE}"),
        ("environment", '{"started": "2026-03-01"}',
         f"lacks 'threads', or it is no int; {RESTORE}"),
        ("environment", '["threads"]', f"lacks 'started', or it is no str; {RESTORE}"),
        ("ceilings", '{"copies": [{"byt', f"is cut short or no JSON; {REMOVE}"),
        ("ceilings", '{"copies": []}', f"lacks 'session', or it is no str; {REMOVE}"),
    ],
)  # fmt: skip
def test_a_file_that_was_cut_short_is_named(
    checkout: Path, name: str, content: str, message: str
) -> None:
    run = checkout / "reports/tuesday"
    (run / f"{name}.json").write_text(content)
    done = plot(checkout, "--format", "svg")
    assert done.returncode == 2
    assert done.stderr == f"plot_overhead.py: latest/{name}.json {message}\n"
    assert not (run / "table.csv").exists()
    # By the same readers profile_traces.py takes its threads and ceilings.
    load = getattr(run_folder, f"load_{name}")
    with pytest.raises(RunError, match=re.escape(f"tuesday/{name}.json {message}")):
        load(run)


def test_no_run_at_all(checkout: Path) -> None:
    shutil.rmtree(checkout / "reports")
    done = plot(checkout)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
