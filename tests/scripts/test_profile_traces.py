"""The command that traces cases of a run."""

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, schedule
from torch.profiler import profile as torch_profile

from dynact.schema.cases import PHASES
from dynact.schema.profile import NO_OPERATOR
from dynact.schema.rows import Row
from tests.report.conftest import build_rows
from tests.sweeping import case_of, ok_row
from tests.worker.profile.kineto import Kineto

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "started": "2026-03-01T10:00:00+00:00",
    "device": {"type": "cpu", "name": "Some CPU"},
    "threads": 1,
    "versions": {"torch": "2.14.1"},
}
ROWS = [
    ok_row(case_of(name, phase=phase, channels=channels), overhead=overhead)
    for channels in (8, 16)
    for name, overhead in (("prelu", 2.0), ("frelu", 7.0))
    for phase in PHASES
]
FAILED = Row(case_of("se"), "timeout", "not measured within 90 s")
HEADLINE = {
    f"{name}-{phase}-2x16x7x7-float32-cpu" for name in ("relu", "prelu", "frelu")
    for phase in PHASES
}  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with its own reports/: the script beside a copy of the package."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "dynact", tmp_path / "dynact", ignore=ignore)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/profile_traces.py", tmp_path / "scripts")
    for name, rows in (("monday", [*ROWS, FAILED]), ("tuesday", ROWS), ("failed", [FAILED])):
        folder = tmp_path / "reports" / name
        folder.mkdir(parents=True)
        lines = (json.dumps(row.record()) + "\n" for row in rows)
        (folder / "rows.jsonl").write_text("".join(lines))
        (folder / "environment.json").write_text(json.dumps(ENVIRONMENT))
    (tmp_path / "reports/latest").symlink_to("tuesday")
    (tmp_path / "reports/empty.json").touch()
    (tmp_path / "reports/other.json").write_text('{"traceEvents": [], "of": "another program"}')
    return tmp_path


def start(checkout: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "scripts/profile_traces.py", *arguments],
        cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts/profile_traces.py"))


def profile(checkout: Path, *arguments: str) -> tuple[int, list[str], str]:
    process = start(checkout, *arguments)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output.splitlines(), errors


def steps(checkout: Path, run: str) -> pd.DataFrame:
    return pd.read_csv(checkout / "reports" / run / "traces/steps.csv").set_index("case_id")


def kernels(checkout: Path, run: str) -> pd.DataFrame:
    return pd.read_csv(checkout / "reports" / run / "traces/kernels.csv")


@pytest.mark.parametrize(
    ("device", "channels", "side"), [("cpu", 512, 28), ("cuda", 512, 56), ("cuda:1", 512, 56)]
)
def test_an_accelerator_is_traced_at_a_shape_that_keeps_it_busy(
    device: str, channels: int, side: int
) -> None:
    chosen = runpy.run_path(str(ROOT / "scripts/profile_traces.py"))["chosen"]
    sizes = [(128, 28), (512, 28), (512, 56), (2048, 112)]
    rows = pd.concat(
        build_rows(channels=(c,), resolutions=(side,), batches=(2,)) for c, side in sizes
    )

    cases = list(chosen(rows.assign(device=device), "headline", None))

    assert {(case.channels, case.height) for case in cases} == {(channels, side)}


def test_by_default_it_traces_one_shape_and_the_baseline_of_the_latest_run(
    checkout: Path,
) -> None:
    status, lines, errors = profile(checkout)

    assert (status, errors) == (0, "")
    *progress, closing = lines
    progress, why = progress[: len(HEADLINE)], progress[len(HEADLINE) :]
    assert len(why) == len(HEADLINE)
    assert all(" % of the step is " in line for line in why)
    [relu] = [line for line in why if line.startswith("ReLU, inference: ")]
    assert relu.endswith(" of the step is ReLU.")
    assert all(" left · " in line for line in progress)
    assert progress[-1].startswith("[100%] 6/6 · 0 s left · ")
    assert "python scripts/plot_overhead.py reports/latest" in closing
    table = steps(checkout, "tuesday")
    assert set(table.index) == HEADLINE
    assert set(table["steps"]) == {16}
    # Timed anew: the rows of the fixture have whole numbers of µs.
    assert not (set(table["untraced_ns"]) & {1e3, 2e3, 7e3})
    for column in ("trace", "memory_page"):
        assert all((checkout / "reports/tuesday" / path).is_file() for path in table[column])
    assert kernels(checkout, "tuesday")["ceiling_bytes_per_s"].isna().all()
    assert not (checkout / "reports/monday/traces").exists()


@pytest.mark.parametrize(
    ("cases", "words", "expected"),
    [
        ("slowest:1", None, {"frelu-inference-2x8x7x7-float32-cpu"}),
        (
            "prelu-inference-2x8x7x7-float32-cpu,prelu-training-2x8x7x7-float32-cpu",
            None,
            {f"prelu-{phase}-2x8x7x7-float32-cpu" for phase in PHASES},
        ),
        ("headline", "8x7 frelu train", {"frelu-training-2x8x7x7-float32-cpu"}),
    ],
)
def test_cases_are_chosen_as_asked_for(cases: str, words: str | None, expected: set[str]) -> None:
    rows = pd.DataFrame([row.record() for row in (*ROWS, FAILED)])

    taken = {case.id for case in script()["chosen"](rows, cases, words)}

    assert taken == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--cases", "slowest:1"], "frelu-inference-2x8x7x7-float32-cpu"),
        (["-k", "8x7 frelu train"], "frelu-training-2x8x7x7-float32-cpu"),
    ],
)
def test_it_traces_what_is_asked_for(checkout: Path, arguments: list[str], expected: str) -> None:
    status, _, errors = profile(checkout, "monday", "--steps", "1", *arguments)

    assert (status, errors) == (0, "")
    table = steps(checkout, "monday")
    assert list(table.index) == [expected]
    assert set(table["steps"]) == {1}


def test_what_the_run_knows_of_the_device_is_the_kernels_ceiling(checkout: Path) -> None:
    record = {
        "session": "2026-03-01T10:00:00", "case_s": 0.5,
        "copies": [{"bytes": 2**14, "bytes_per_s": 5e9}], "flops_per_s": {},
    }  # fmt: skip
    (checkout / "reports/monday/ceilings.json").write_text(json.dumps(record))

    profile(checkout, "monday", "--steps", "1", "-k", "8x7 prelu")

    table = kernels(checkout, "monday")
    assert table["bytes"].notna().any()
    assert (table["ceiling_bytes_per_s"].dropna() == 5e9).all()
    assert (table["ceiling_bytes_per_s"].notna() == table["bytes"].notna()).all()


def test_compiled_cases_are_traced_where_they_are_asked_for() -> None:
    chosen = script()["chosen"]
    compiled = ok_row(case_of(mode="compile", channels=16), overhead=1e3)
    rows = pd.DataFrame([row.record() for row in (*ROWS, compiled)])
    for cases, words in (
        ("slowest:1", None), (compiled.case.id, None), ("headline", "prelu compile"),
    ):  # fmt: skip
        assert list(chosen(rows, cases, words)) == [compiled.case]

    assert {case.mode for case in chosen(rows, "headline", None)} == {"eager"}
    with pytest.raises(ValueError, match="no ok rows in eager mode"):
        list(chosen(rows[rows["mode"] == "compile"], "headline", None))


@pytest.mark.parametrize(
    ("words", "chosen", "says"),
    [
        ("swish", ["hardswish"],
         ["-k swish matches hardswish; no activation swish is traced; near: silu (swish)"]),
        ("relu 8x7", ["frelu", "own.layers:AReLU_relu"],
         ["-k relu matches frelu, own.layers:AReLU_relu; no activation relu is traced"]),
        ("prel x frel", ["prelu", "frelu"],
         ["-k prel matches prelu; no activation prel", "-k frel matches frelu; no activation fr"]),
        ("frelu 8x7 train", ["frelu", "frelu_light"], []),
        ("Mine", ["own.layers:Mine"], []),
        ("layers", ["own.layers:Mine"], []),
    ],
)  # fmt: skip
def test_a_word_that_is_only_part_of_names_is_told(
    words: str, chosen: list[str], says: list[str]
) -> None:
    lines = list(script()["parts_of_names"](list(map(case_of, chosen)), words))

    assert len(lines) == len(says)
    for line, beginning in zip(lines, says, strict=True):
        assert line.startswith(beginning)


def test_it_is_told_before_anything_is_traced(checkout: Path) -> None:
    status, output, errors = profile(checkout, "monday", "--steps", "1", "-k", "prel 8x7 train")

    assert (status, errors) == (0, "")
    assert output[0].startswith("-k prel matches prelu; no activation prel is traced; near: prelu")
    assert sum(line.startswith("-k ") for line in output) == 1


def test_a_table_that_was_cut_short_is_answered_in_one_line(checkout: Path) -> None:
    path = checkout / "reports/monday/traces/kernels.csv"
    path.parent.mkdir()
    path.write_text("case_id,kernel,operator\nrelu-inf")

    status, _, errors = profile(checkout, "monday", "--steps", "1", "-k", "8x7 frelu")

    assert status == 2
    [line] = errors.splitlines()
    assert "traces/kernels.csv is cut short" in line
    assert "remove traces/" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wednesday"], "monday"),
        (["failed"], "no ok rows"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--steps", "few"], "--steps"),
        (["-k", "gelu"], "no ok case has 'gelu' in its id; one is prelu-inference"),
        (["-k", "swish 8x7"], "no ok case has 'swish 8x7' in its id; did you mean silu (swish) or"),
        (
            ["--cases", "prelu-inferense-2x8x7x7-float32-cpu"],
            "did you mean prelu-inference-2x8x7x7-float32-cpu",
        ),
        (["--cases", "zzz"], "'zzz' is not in the run"),
        (["monday", "--cases", FAILED.case.id], "timeout not measured within 90 s"),
        (["--cases", ","], "no case given"),
        (["--cases", "slowest:none"], "slowest:5"),
        (["--cases", "slowest:0"], "slowest:5"),
        (["-k", "prelu", "--cases", "headline"], "not allowed with"),
        (["--nonsense"], "--nonsense"),
        (["monday", "--run", "tuesday"], "two runs given, monday and --run tuesday"),
        (["-k", ""], "-k is given no words"),
        (["--from-trace", "gone.json"], "gone.json: No such file or directory"),
        (["--from-trace", "reports"], "reports: Is a directory"),
        (["--from-trace", "reports/monday/rows.jsonl"], "rows.jsonl: it "),
        (["--from-trace", "reports/empty.json"], "empty.json: it ends before it is whole"),
        (["--from-trace", "reports/other.json"], "it holds no operators and no kernels"),
        (["monday", "--from-trace", "gone.json"], "monday is a run that was measured"),
        (["-k", "frelu", "--from-trace", "gone.json"], "not allowed with"),
        (["-k", "  "], "-k is given no words"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    checkout: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Not in a process of its own, which takes seconds to begin. New strings, as from a shell:
    # argparse knows an option that was not given by its default being the very same object.
    words = [argument.encode().decode() for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["profile_traces.py", *words])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(checkout)
    monkeypatch.delattr(os, "execve")

    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(checkout / "scripts/profile_traces.py"), run_name="__main__")

    output, errors = capsys.readouterr()
    assert (ended.value.code, output) == (2, "")
    [line] = errors.splitlines()
    assert message in line


def test_a_mistake_is_answered_before_torch_is_there(checkout: Path) -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['profile_traces.py', '-k', 'gelu']\n"
        "try:\n    runpy.run_path('scripts/profile_traces.py', run_name='__main__')\n"
        "finally:\n    print('torch' in sys.modules)"
    )

    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert (process.returncode, process.stdout) == (2, "False\n")
    assert len(process.stderr.splitlines()) == 1
    assert "no ok case has 'gelu' in its id" in process.stderr


def test_a_device_that_is_not_there(checkout: Path) -> None:
    row = ok_row(replace(case_of(), device="xpu:9"))
    (checkout / "reports/monday/rows.jsonl").write_text(json.dumps(row.record()) + "\n")

    status, _, errors = profile(checkout, "monday")

    assert status == 2
    [line] = errors.splitlines()
    assert "xpu:9" in line


def test_a_case_that_fails_costs_no_other(checkout: Path) -> None:
    gone = ok_row(case_of("gone.module:Layer", channels=16))
    path = checkout / "reports/monday/rows.jsonl"
    path.write_text(path.read_text() + json.dumps(gone.record()) + "\n")

    status, lines, errors = profile(checkout, "monday", "--steps", "1")

    assert (status, errors) == (1, "")
    assert "not traced: ValueError: gone.module:Layer: there is no module" in "".join(lines)
    assert set(steps(checkout, "monday").index) == HEADLINE
    failed = pd.read_csv(checkout / "reports/monday/traces/failed.csv")
    assert list(failed["case_id"]) == [gone.case.id]
    assert failed["message"][0].startswith("ValueError: gone.module:Layer: there is no module")
    assert len(failed["message"][0].splitlines()) == 1


def test_a_disk_without_room_is_answered_in_one_line(checkout: Path) -> None:
    # As on a full disk, the system's error names no file.
    command = "ulimit -f 0; exec \"$0\" scripts/profile_traces.py monday --steps 1 -k '8x7 prelu'"
    process = subprocess.run(
        ["bash", "-c", command, sys.executable],
        cwd=checkout, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert process.returncode == 2
    [line] = process.stderr.splitlines()
    assert line.startswith("profile_traces.py: reports/monday: ")
    assert "None" not in line
    assert not (checkout / "reports/monday/traces/steps.csv").exists()


def test_an_interrupted_tracing_leaves_earlier_traces_whole(checkout: Path) -> None:
    process = start(checkout, "--steps", "50")
    assert process.stdout
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in errors
    assert len(errors.splitlines()) == 1
    done: list[Any] = list(steps(checkout, "tuesday").index)
    assert done[0] in first
    assert len(done) < len(HEADLINE)
    for name in ("kernels", "timeline", "memory"):
        table = pd.read_csv(checkout / f"reports/tuesday/traces/{name}.csv")
        assert set(done) <= set(table["case_id"])


def test_an_interrupted_reading_of_a_trace_is_one_line(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dynact.worker.profile.own_trace", interrupted)
    path = Kineto().write(checkout / "night.json")
    monkeypatch.setattr(sys, "argv", ["profile_traces.py", "--from-trace", str(path)])
    monkeypatch.setattr(sys, "path", list(sys.path))

    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(checkout / "scripts/profile_traces.py"), run_name="__main__")

    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted; begin again for all tables and figures\n"


def test_a_folder_that_cannot_be_written(checkout: Path) -> None:
    (checkout / "reports/tuesday/tensorboard").write_text("in the way")

    status, _, errors = profile(checkout, "--steps", "1", "-k", "16x7 prelu inference")

    assert status == 2
    assert len(errors.splitlines()) == 1
    assert "Traceback" not in errors


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trace of a training loop of one's own, of three steps as the profiler marks them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(32, 64), torch.randint(10, (32,))
    with torch_profile(
        activities=[ProfilerActivity.CPU],
        schedule=schedule(wait=1, warmup=1, active=3, repeat=1),
        record_shapes=True,
        profile_memory=True,
    ) as profiler:
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            profiler.step()
    path = tmp_path_factory.mktemp("own") / "loop.pt.trace.json.gz"
    profiler.export_chrome_trace(str(path))
    return path


def test_a_trace_of_one_s_own_training_needs_no_run(checkout: Path, trained: Path) -> None:
    shutil.rmtree(checkout / "reports")

    status, lines, errors = profile(checkout, "--from-trace", str(trained))

    assert (status, errors) == (0, "")
    assert re.search(
        r" of operators, medians over [12] of 3 steps(, 1 disturbed left out)?: ", lines[0]
    )
    folder = checkout / "reports/trace-loop"
    assert lines[-2:] == [
        "tables in reports/trace-loop: kernels.csv, timeline.csv, memory.csv",
        "figures in reports/trace-loop/figures: time_by_operator.png, time_by_operator.svg, "
        "step_timeline.png, step_timeline.svg, step_memory.png, step_memory.svg",
    ]
    assert len(list(folder.glob("figures/*"))) == 6
    table = pd.read_csv(folder / "kernels.csv")
    assert table["share"].sum() == pytest.approx(1)
    calls = table.groupby(["kernel", "part"])["calls"].sum()
    # Two layers; back from each to its weight, and from the second to the first.
    assert calls["aten::addmm"].to_dict() == {"forward": 2}
    assert calls["aten::mm"].to_dict() == {"backward": 3}
    assert calls["aten::threshold_backward"].to_dict() == {"backward": 1}
    shapes = table[table["kernel"] == "aten::addmm"]["input_shapes"]
    assert set(shapes) == {"128 32x64 64x128", "10 32x128 128x10"}
    optimizer = table[table["part"] == "other"]["kernel"]
    assert any("add_" in kernel for kernel in optimizer)
    # Since the begin of the step that is shown.
    assert (pd.read_csv(folder / "timeline.csv")["start_ns"] >= 0).all()


def test_a_trace_of_a_gpu_is_read_where_there_is_none(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = Kineto()
    by = trace.operator("aten::silu", 10, 8)
    trace.launch(12, ("silu_kernel", 50, 75), by=by)
    trace.launch(40, ("a", 200, 10), ("b", 220, 15), call="cudaGraphLaunch")
    path = trace.write(checkout / "night.json")
    monkeypatch.chdir(checkout)
    own = script()

    # Not in a process of its own, which takes seconds to begin.
    own["_read_own"](own["OneLineParser"](), path, "mine", checkout / "reports")

    assert capsys.readouterr().out.splitlines() == [
        "100 µs of kernels, in the whole trace, as it marks no steps: 100 % forward",
        "  75 %  aten::silu",
        f"  25 %  {NO_OPERATOR}",
        "tables in reports/mine: kernels.csv, timeline.csv",
        "figures in reports/mine/figures: time_by_operator.png, time_by_operator.svg, "
        "step_timeline.png, step_timeline.svg",
    ]
