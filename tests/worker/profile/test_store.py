"""Profiles in a run folder: whole at any moment, of each case its own, for TensorBoard too."""

import contextlib
import getpass
import gzip
import json
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dynact.schema.cases import Case
from dynact.schema.run_folder import RunError, folder_name
from dynact.worker.device import Cpu
from dynact.worker.profile import Profiled, profile_case, store, store_failure
from tests.sweeping import case_of

ROOT = Path(__file__).parents[3]
RELU, SILU = case_of("relu"), case_of("silu", phase="training")
TABLES = {
    "steps": [
        "case_id", "activation", "impl", "phase", "mode", "dtype", "memory_format", "batch",
        "channels", "height", "width", "device", "baseline", "on_accelerator", "steps",
        "steps_taken", "steps_disturbed", "tries", "step_ns", "step_p20_ns", "step_p80_ns",
        "untraced_ns", "coverage", "operators", "timeline_lines", "memory_lines", "trace",
        "memory_page", "memory_snapshot",
    ],
    "kernels": [
        "case_id", "kernel", "operator", "kind", "part", "calls", "time_ns",
        "time_p20_ns", "time_p80_ns", "share", "input_shapes", "bytes", "bandwidth_bytes_per_s",
        "ceiling_bytes_per_s", "occupancy_percent", "registers_per_thread",
    ],
    "timeline": ["case_id", "start_ns", "duration_ns", "kernel", "kind", "part"],
    "memory": ["case_id", "at_ns", "allocated_bytes", "part"],
}  # fmt: skip


def profiled(case: Case) -> Profiled:
    return profile_case(case, Cpu(), steps=2)


@pytest.fixture(scope="module")
def of_relu() -> Profiled:
    return profiled(RELU)


@pytest.fixture(scope="module")
def of_silu() -> Profiled:
    return profiled(SILU)


def lines_of(case: Case, run: Path, table: str) -> list[str]:
    lines = (run / f"traces/{table}.csv").read_text().splitlines()
    return [line for line in lines if line.startswith(case.id)]


def steps_in(run: Path) -> list[dict[Any, Any]]:
    return pd.read_csv(run / "traces/steps.csv").to_dict("records")


def test_profiling_again_replaces_the_lines_of_its_case_alone(
    tmp_path: Path, of_relu: Profiled, of_silu: Profiled
) -> None:
    for case, profile in ((RELU, of_relu), (SILU, of_silu), (RELU, of_relu)):
        store(tmp_path, case, profile)
    before = {table: lines_of(SILU, tmp_path, table) for table in TABLES}

    store(tmp_path, RELU, replace(of_relu, untraced_ns=5e9))

    assert all(before.values())
    assert {table: lines_of(SILU, tmp_path, table) for table in TABLES} == before
    steps = steps_in(tmp_path)
    assert [step["case_id"] for step in steps] == [SILU.id, RELU.id]
    assert steps[1]["untraced_ns"] == 5e9
    assert len(list(tmp_path.glob("tensorboard/*/*"))) == 4
    assert not list(tmp_path.rglob(".*"))


def test_columns_and_files(tmp_path: Path, of_silu: Profiled) -> None:
    store(tmp_path, SILU, of_silu)

    for table, columns in TABLES.items():
        assert list(pd.read_csv(tmp_path / f"traces/{table}.csv").columns) == columns
    [step] = steps_in(tmp_path)
    assert (tmp_path / step["trace"]).is_file()
    assert "silu-training" in (tmp_path / step["memory_page"]).read_text()
    assert pd.isna(step["memory_snapshot"])
    assert step["memory_lines"] == len(pd.read_csv(tmp_path / "traces/memory.csv"))
    assert not list(tmp_path.rglob("*.pickle"))


@pytest.mark.parametrize("on_accelerator", [False, True])
def test_a_step_says_of_which_case_and_device_it_is(
    tmp_path: Path, of_relu: Profiled, on_accelerator: bool
) -> None:
    case = case_of(
        "relu", impl="own", phase="training", mode="compile", dtype="bfloat16",
        memory_format="channels_last", batch=3, channels=5, height=7, width=9, device="xpu:1",
        baseline="silu",
    )  # fmt: skip

    store(tmp_path, case, replace(of_relu, on_accelerator=on_accelerator))

    [step] = steps_in(tmp_path)
    assert {name: step[name] for name in vars(case)} == vars(case)
    assert step["on_accelerator"] == on_accelerator


def test_a_snapshot_is_stored_beside_the_trace(tmp_path: Path, of_relu: Profiled) -> None:
    store(tmp_path, RELU, replace(of_relu, memory_snapshot=b"made by CUDA's allocator"))

    [step] = steps_in(tmp_path)
    snapshot = tmp_path / step["memory_snapshot"]
    assert snapshot.read_bytes() == b"made by CUDA's allocator"
    assert snapshot.parent == (tmp_path / step["trace"]).parent


def test_what_was_not_made_of_the_trace_is_not_left_of_an_earlier_one(
    tmp_path: Path, of_relu: Profiled
) -> None:
    store(tmp_path, RELU, replace(of_relu, memory_snapshot=b"made by CUDA's allocator"))

    store(tmp_path, RELU, replace(of_relu, memory_page=None))

    [step] = steps_in(tmp_path)
    assert pd.isna(step["memory_page"])
    assert pd.isna(step["memory_snapshot"])
    [left] = tmp_path.glob("tensorboard/*/*")
    assert left == tmp_path / step["trace"]


def test_steps_of_a_former_version_stay_beside_a_new_one(
    tmp_path: Path, of_relu: Profiled, of_silu: Profiled
) -> None:
    former, present = tmp_path / "former", tmp_path / "present"
    for run in (former, present):
        store(run, SILU, of_silu)
    path = former / "traces/steps.csv"
    # It had no more of the case than its id.
    added = [*TABLES["steps"][2:3], *TABLES["steps"][4:14]]
    pd.read_csv(path).drop(columns=added).to_csv(path, index=False, lineterminator="\n")
    assert path.read_bytes() != (present / "traces/steps.csv").read_bytes()

    for run in (former, present):
        store(run, RELU, of_relu)

    assert path.read_bytes() == (present / "traces/steps.csv").read_bytes()


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, of_relu: Profiled) -> Path:
    run = tmp_path_factory.mktemp("run")
    store(run, RELU, of_relu)
    return run


@contextlib.contextmanager
def other_content(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_table_that_was_cut_short_is_named_and_nothing_is_written(
    stored: Path, of_silu: Profiled, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(TABLES)))
    path = stored / f"traces/{name}.csv"
    whole = path.read_bytes()
    # Cut between two lines nobody can tell.
    inside = [end for end in range(len(whole)) if not end or whole[end - 1 : end] != b"\n"]
    with other_content(path, whole[: data.draw(st.sampled_from(inside))]):
        before = files_in(stored)

        with pytest.raises(RunError, match=rf"^traces/{name}\.csv is cut short; remove traces/"):
            store(stored, SILU, of_silu)

        assert files_in(stored) == before


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("case_id,at_ns,allocated_bytes\nrelu-inference,5,6\n", "was written by an older version"),
        ("case_id,at_ns,allocated_bytes,part\nrelu-inference,1\n", "is cut short"),
        (
            "case_id,at_ns,allocated_bytes,part\nrelu-inference,1,2,a,3\nrelu-inference,1,2,a\n",
            "is cut short",
        ),
        ('case_id,at_ns,allocated_bytes,part\n"relu-inference,1,2,forward\n', "is cut short"),
        ("case_id,at_ns,allocated_bytes,part\nrelu-inference,1,2,a\n\xff\x00\n", "is cut short"),
    ],
)
def test_a_table_of_another_make_is_named(
    tmp_path: Path, of_relu: Profiled, content: str, why: str
) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces/memory.csv").write_bytes(content.encode("latin-1"))
    before = files_in(tmp_path)

    with pytest.raises(RunError, match=rf"^traces/memory\.csv {why}; remove traces/"):
        store(tmp_path, RELU, of_relu)

    assert files_in(tmp_path) == before


def content_of(run: Path) -> dict[str, dict[str, Any]]:
    """Return all there is of each case that steps.csv names."""
    if not (run / "traces/steps.csv").exists():
        return {}
    found = {}
    for step in steps_in(run):
        of_tables = {}
        for name in TABLES:
            table = pd.read_csv(run / f"traces/{name}.csv", dtype=str)
            of_tables[name] = table[table["case_id"] == step["case_id"]].to_csv()
        files = {name: (run / step[name]).read_bytes() for name in ("trace", "memory_page")}
        found[step["case_id"]] = of_tables | files
    return found


@pytest.mark.parametrize("again", [True, False], ids=["profiled before", "new"])
def test_death_at_any_point_leaves_each_case_whole_or_unnamed(
    tmp_path: Path,
    of_relu: Profiled,
    of_silu: Profiled,
    again: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Another time and page, so that what was before and after differ.
    new = replace(of_silu, untraced_ns=5e9, memory_page="another")
    rename = Path.replace

    def store_until(run: Path, last: int | None) -> int:
        done = 0

        def or_die(path: Path, target: Path) -> Path:
            nonlocal done
            if done == last:
                raise KeyboardInterrupt
            done += 1
            return rename(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", or_die)
            with contextlib.suppress(KeyboardInterrupt):
                store(run, SILU, new)
        return done

    begun = tmp_path / "begun"
    store(begun, RELU, of_relu)
    if again:
        store(begun, SILU, of_silu)
    before = content_of(begun)
    whole = shutil.copytree(begun, tmp_path / "whole")
    writes = store_until(whole, None)
    after = content_of(whole)
    assert writes > len(TABLES)
    assert after[SILU.id] != before.get(SILU.id)

    for last in range(writes):
        run = shutil.copytree(begun, tmp_path / str(last))
        assert store_until(run, last) == last

        left = content_of(run)
        assert left[RELU.id] == before[RELU.id]
        assert left.get(SILU.id) in (None, before.get(SILU.id))
        # And it can be stored as if nothing had been.
        store(run, SILU, new)
        assert content_of(run) == after


def test_a_case_that_fails_is_kept_until_it_is_profiled(
    tmp_path: Path, of_relu: Profiled, of_silu: Profiled
) -> None:
    path = tmp_path / "traces/failed.csv"

    def failed() -> dict[str, str]:
        table = pd.read_csv(path)
        assert list(table.columns) == ["case_id", "message"]
        return dict(zip(table["case_id"], table["message"], strict=True))

    store_failure(tmp_path, RELU, 'ValueError: "no", not at all')
    store_failure(tmp_path, SILU, "first")
    store_failure(tmp_path, SILU, "second")
    assert failed() == {RELU.id: 'ValueError: "no", not at all', SILU.id: "second"}

    store(tmp_path, SILU, of_silu)
    assert set(failed()) == {RELU.id}

    store(tmp_path, RELU, of_relu)
    assert not path.exists()


def test_a_case_that_fails_keeps_its_earlier_profile(tmp_path: Path, of_relu: Profiled) -> None:
    store(tmp_path, RELU, of_relu)
    before = content_of(tmp_path)

    store_failure(tmp_path, RELU, "now it fails")

    assert list(pd.read_csv(tmp_path / "traces/failed.csv")["case_id"]) == [RELU.id]
    assert content_of(tmp_path) == before


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


def test_no_folder_host_or_user_in_what_is_written(tmp_path: Path) -> None:
    case = case_of(f"{__name__}:Own", phase="training")

    store(tmp_path, case, profiled(case))

    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == [folder_name(case.id)]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
            for folder in (ROOT, Path.home(), Path(sys.prefix), tmp_path.parent, Path("/tmp/")):
                assert f"{folder}/" not in text
            for name in ("host_name", "traceName", socket.gethostname(), getpass.getuser()):
                assert not re.search(rf"\b{re.escape(name)}\b", text)


def test_tensorboards_plugin_reads_it(tmp_path: Path) -> None:
    from torch_tb_profiler.io.cache import Cache
    from torch_tb_profiler.profiler import RunLoader
    from torch_tb_profiler.utils import is_chrome_trace_file

    case = case_of("dyrelu_b", phase="training")
    store(tmp_path, case, profiled(case))
    folder = tmp_path / "tensorboard" / case.id
    [path] = folder.glob("*.gz")

    with Cache() as cache:
        run = RunLoader(case.id, str(folder), cache).load()
        views = [view.display_name for view in run.views]
        [worker] = run.get_workers("Operator")
        profile = run.get_profile(worker, run.get_spans(worker)[0])
        rows = profile.operation_table_by_name["data"]

    assert is_chrome_trace_file(path.name)
    assert json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    assert views == ["Overview", "Operator", "Trace", "Memory", "Module"]
    assert {"aten::mul", "aten::addmm", "aten::maximum"} & {row["name"] for row in rows}
