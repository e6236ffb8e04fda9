"""Traces in a run folder: one folder a case for TensorBoard, and four tables for all cases."""

import csv
import gzip
import io
import json
from pathlib import Path

import pandas as pd

from dynact.schema.cases import Case
from dynact.schema.run_folder import RunError, folder_name
from dynact.worker.profile.profiled import Traced

TABLES = ("kernels", "timeline", "memory", "steps")
"""The tables in traces/, one CSV each."""
FAILED = Path("traces/failed.csv")
"""The cases that could not be traced in the last try, and why."""
TRACE_FILE = "trace.pt.trace.json.gz"
"""By this ending TensorBoard's plugin knows a trace; each folder that has one is a run to it."""
MEMORY_PAGE = "memory.html"
MEMORY_SNAPSHOT = "memory_snapshot.pickle"


def store(run_folder: Path, case: Case, traced: Traced) -> None:
    """Store what was traced of a case in a run, in place of an earlier trace of the same case.

    Each file is written beside and renamed. The line in steps.csv goes first and comes back last:
    a case that is in it has all its files and lines whole, wherever the process died. What other
    tables hold of a case that is not in it is to be ignored. Of other cases all stays.

    Raises
    ------
    RunError
        If a table that is there already is cut short or of another version; nothing has been
        written then.
    OSError
        If a file cannot be written.
    """
    folder = Path("tensorboard") / folder_name(case.id)
    tables = traced.tables
    files = {
        folder / TRACE_FILE: gzip.compress(json.dumps(traced.trace).encode(), mtime=0),
        folder / MEMORY_PAGE: traced.memory_page.encode(),
    }
    snapshot = traced.memory_snapshot
    if snapshot is not None:
        files[folder / MEMORY_SNAPSHOT] = snapshot
    step = {
        "activation": case.activation,
        "phase": case.phase,
        "steps": tables.steps,
        "step_ns": tables.step_ns,
        "untraced_ns": traced.untraced_ns,
        "coverage": tables.coverage,
        "operators": tables.operators,
        "memory_lines": len(tables.memory),
        "trace": (folder / TRACE_FILE).as_posix(),
        "memory_page": (folder / MEMORY_PAGE).as_posix(),
        "memory_snapshot": (folder / MEMORY_SNAPSHOT).as_posix() if snapshot else None,
    }
    contents = {
        "kernels": tables.kernels,
        "timeline": tables.timeline,
        "memory": tables.memory,
        "steps": pd.DataFrame([step]),
    }
    for name in TABLES:
        path = Path("traces") / f"{name}.csv"
        files[path] = _csv(_beside_other_cases(run_folder / path, case.id, contents[name]))
    steps = run_folder / "traces/steps.csv"
    others = _csv(_of_other_cases(steps, case.id, ["case_id", *step]))
    failed = _of_other_cases(run_folder / FAILED, case.id, ["case_id", "message"])
    if steps.exists():
        _replace(steps, others)
    for path, content in files.items():
        _replace(run_folder / path, content)
    if len(failed):
        _replace(run_folder / FAILED, _csv(failed))
    else:
        (run_folder / FAILED).unlink(missing_ok=True)


def store_failure(run_folder: Path, case: Case, message: str) -> None:
    """Store why a case could not be traced; an earlier trace of it stays.

    Raises
    ------
    RunError, OSError
        As `store`.
    """
    path = run_folder / FAILED
    line = pd.DataFrame([{"message": message}])
    _replace(path, _csv(_beside_other_cases(path, case.id, line)))


def _beside_other_cases(path: Path, case_id: str, lines: pd.DataFrame) -> pd.DataFrame:
    lines = lines.copy()
    lines.insert(0, "case_id", case_id)
    before = _of_other_cases(path, case_id, list(lines.columns))
    return pd.concat([before, lines.astype(object)])


def _of_other_cases(path: Path, case_id: str, columns: list[str]) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=columns, dtype=object)
    before = _read(path, columns)
    return before[before["case_id"] != case_id]


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        # As text: what is there already is to be kept to the letter.
        header, *lines = csv.reader(io.StringIO(text, newline=""))
    except (csv.Error, ValueError):  # no table, or an empty file
        header, lines = [], []
    widths = {len(line) for line in lines} | {len(columns)}
    if header != columns or len(widths) > 1 or not text.endswith("\n"):
        raise RunError(
            f"traces/{path.name} is cut short or of another version; remove traces/ and trace again"
        )
    return pd.DataFrame(lines, columns=columns)


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renamed into place: a reader never finds half of it.
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)
