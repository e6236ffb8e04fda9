"""Traces in a run folder: one folder a case for TensorBoard, and four tables for all cases."""

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd

from dynact.cases import Case
from dynact.results import folder_name
from dynact.trace.tables import Tables

TABLES = ("kernels", "timeline", "memory", "steps")
"""The tables in traces/, one CSV each; steps comes last, so that who is in it is in all."""
TRACE_FILE = "trace.pt.trace.json.gz"
"""By this ending TensorBoard's plugin knows a trace; each folder that has one is a run to it."""


def store(
    run_folder: Path,
    case: Case,
    trace: dict[str, Any],
    tables: Tables,
    untraced_ns: float | None,
) -> None:
    """Store a trace and its tables in a run, in place of an earlier trace of the same case.

    Each file is replaced whole: whatever happens, the traces of other cases stay.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    folder = run_folder / "tensorboard" / folder_name(case.id)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / TRACE_FILE
    _replace(path, gzip.compress(json.dumps(trace).encode(), mtime=0))

    step = {
        "activation": case.activation,
        "phase": case.phase,
        "steps": tables.steps,
        "step_ns": tables.step_ns,
        "untraced_ns": untraced_ns,
        "coverage": tables.coverage,
        "operators": tables.operators,
        "trace": path.relative_to(run_folder).as_posix(),
    }
    contents = {
        "kernels": tables.kernels,
        "timeline": tables.timeline,
        "memory": tables.memory,
        "steps": pd.DataFrame([step]),
    }
    (run_folder / "traces").mkdir(exist_ok=True)
    for name in TABLES:
        _replace_lines(run_folder / "traces" / f"{name}.csv", case.id, contents[name])


def _replace_lines(path: Path, case_id: str, lines: pd.DataFrame) -> None:
    lines = lines.copy()
    lines.insert(0, "case_id", case_id)
    if path.exists():
        # As text: what is there already is to be kept to the letter.
        before = pd.read_csv(path, dtype=str, keep_default_na=False)
        lines = pd.concat([before[before["case_id"] != case_id], lines.astype(object)])
    _replace(path, lines.to_csv(index=False, lineterminator="\n").encode())


def _replace(path: Path, content: bytes) -> None:
    # Renamed into place: a reader never finds half of it.
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)
