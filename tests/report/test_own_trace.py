"""Tables and figures of a trace of one's own: its whole folder, and nothing of an earlier one's."""

from pathlib import Path

import pandas as pd
import pytest

from dynact.report import own_trace as own_trace_module
from dynact.report.own_trace import write_own_trace
from dynact.schema.profile import columns
from tests.report.figures.reading import texts

FIGURES = ("time_by_operator", "step_timeline", "step_memory")


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """Of a step of one kernel in each of two parts."""
    kernel = dict.fromkeys(column for column in columns("kernels") if column != "case_id")
    silu = {"kernel": "silu", "operator": "aten::silu", "kind": "pointwise", "calls": 1}
    parts = {"forward": 75, "other": 25}
    return {
        "kernels": pd.DataFrame(
            [
                {**kernel, **silu, "part": part, "time_ns": time_ns, "share": time_ns / 100}
                for part, time_ns in parts.items()
            ]
        ),
        "timeline": pd.DataFrame(
            [
                {"start_ns": 0, "duration_ns": time_ns, "kernel": "silu", "kind": "pointwise",
                 "part": part}
                for part, time_ns in parts.items()
            ]
        ),
        "memory": pd.DataFrame(
            {"at_ns": [0, 10], "allocated_bytes": [0, 512], "part": ["forward", "forward"]}
        ),
    }  # fmt: skip


def write(
    folder: Path, tables: dict[str, pd.DataFrame], is_marked: bool = True
) -> tuple[list[Path], list[Path]]:
    return write_own_trace(folder, "my.json", tables, 100, True, is_marked)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}


def test_all_that_a_trace_holds_is_written(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    written, drawn = write(tmp_path, tables)

    assert files_in(tmp_path) == {
        "kernels.csv", "timeline.csv", "memory.csv",
        *(f"figures/{name}.{end}" for name in FIGURES for end in ("png", "svg")),
    }  # fmt: skip
    assert {*written, *drawn} == set(tmp_path.rglob("*.*"))
    for table in ("kernels", "timeline", "memory"):
        found = pd.read_csv(tmp_path / f"{table}.csv")
        assert list(found) == [column for column in columns(table) if column != "case_id"]
        assert len(found) == 2


def test_what_an_earlier_trace_left_is_not_a_later_one_s(
    tmp_path: Path, tables: dict[str, pd.DataFrame]
) -> None:
    write(tmp_path, tables)

    without = {**tables, "memory": tables["memory"][:1]}
    write(tmp_path, without)

    assert not [name for name in files_in(tmp_path) if "memory" in name]


@pytest.mark.parametrize(("is_marked", "what"), [(True, "step"), (False, "whole trace")])
def test_figures_say_what_they_are_of(
    tmp_path: Path,
    tables: dict[str, pd.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
    is_marked: bool,
    what: str,
) -> None:
    said = []
    monkeypatch.setattr(
        own_trace_module, "write_figure", lambda *given: said.append(texts(given[-1])) or []
    )

    write(tmp_path, tables, is_marked)

    by_operator, timeline, memory = (words.replace("\n", " ") for words in said)
    assert f"Where the time of a {what} goes, by operator (my.json)" in by_operator
    assert f"time of one {what} (ms)" in by_operator
    assert f"One {what}, kernel by kernel (my.json)" in timeline
    assert f"Memory over one {what} (my.json)" in memory
    assert all(f"one {what}" in words for words in (by_operator, timeline, memory))
