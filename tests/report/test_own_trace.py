"""Tables and figures of a trace of one's own: its whole folder, and nothing of an earlier one's."""

from pathlib import Path

import pandas as pd
import pytest

from dynact.report.own_trace import write_own_trace
from dynact.schema.profile import columns

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


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}


def test_all_that_a_trace_holds_is_written(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    written, drawn = write_own_trace(tmp_path, "my.json", tables, 100, on_accelerator=True)

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
    write_own_trace(tmp_path, "my.json", tables, 100, on_accelerator=True)

    without = {**tables, "memory": tables["memory"][:1]}
    write_own_trace(tmp_path, "my.json", without, 100, on_accelerator=True)

    assert not [name for name in files_in(tmp_path) if "memory" in name]
