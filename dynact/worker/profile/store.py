"""Profiles in a run folder: a folder of each case's files, and tables of all cases together."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from dynact.schema.cases import Case
from dynact.schema.profile import (
    FAILED,
    MEMORY_PAGE,
    MEMORY_SNAPSHOT,
    STEP_TABLES,
    TRACE_FILE,
    columns,
    files_folder,
    read_table,
    table_path,
)
from dynact.worker.profile.profiled import Profiled


def store(run_folder: Path, case: Case, profiled: Profiled) -> None:
    """Store a case's profile in a run, in place of an earlier one of the same case.

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
    folder = files_folder(case.id)
    tables = profiled.tables
    page, snapshot = profiled.memory_page, profiled.memory_snapshot
    files = {
        folder / TRACE_FILE: profiled.trace.file,
        folder / MEMORY_PAGE: None if page is None else page.encode(),
        folder / MEMORY_SNAPSHOT: snapshot,
    }
    step = {
        **asdict(case),
        "on_accelerator": profiled.on_accelerator,
        "steps": tables.steps,
        "steps_taken": tables.steps_taken,
        "steps_disturbed": tables.steps_disturbed,
        "tries": profiled.tries,
        "step_ns": tables.step_ns,
        "step_p20_ns": tables.step_p20_ns,
        "step_p80_ns": tables.step_p80_ns,
        "untraced_ns": profiled.untraced_ns,
        "coverage": tables.coverage,
        "operators": tables.operators,
        "timeline_lines": len(tables.timeline),
        "memory_lines": len(tables.memory),
        "trace": (folder / TRACE_FILE).as_posix(),
        "memory_page": None if page is None else (folder / MEMORY_PAGE).as_posix(),
        "memory_snapshot": None if snapshot is None else (folder / MEMORY_SNAPSHOT).as_posix(),
    }
    lines = {
        "kernels": tables.kernels,
        "timeline": tables.timeline,
        "memory": tables.memory,
        "steps": pd.DataFrame([step]),
    }
    others = {table: _of_other_cases(run_folder, table, case) for table in STEP_TABLES}
    failed = _of_other_cases(run_folder, FAILED, case)
    if table_path(run_folder, "steps").exists():
        _write_table(run_folder, "steps", others["steps"])
    for path, content in files.items():
        if content is None:
            # One of an earlier profile is not this one's.
            (run_folder / path).unlink(missing_ok=True)
        else:
            _replace(run_folder / path, content)
    for table in STEP_TABLES:
        _write_table(run_folder, table, others[table], _of_case(case, table, lines[table]))
    if len(failed):
        _write_table(run_folder, FAILED, failed)
    else:
        table_path(run_folder, FAILED).unlink(missing_ok=True)


def store_failure(run_folder: Path, case: Case, message: str) -> None:
    """Store why a case could not be profiled; an earlier profile of it stays.

    Raises
    ------
    RunError, OSError
        As `store`.
    """
    line = _of_case(case, FAILED, pd.DataFrame([{"message": message}]))
    _write_table(run_folder, FAILED, _of_other_cases(run_folder, FAILED, case), line)


def _of_case(case: Case, table: str, lines: pd.DataFrame) -> pd.DataFrame:
    return lines.assign(case_id=case.id)[columns(table)]


def _of_other_cases(run_folder: Path, table: str, case: Case) -> pd.DataFrame:
    there = table_path(run_folder, table).exists()
    # As text: what is there already is to be kept to the letter.
    before = pd.DataFrame(
        read_table(run_folder, table) if there else [], columns=columns(table), dtype=object
    )
    return before[before["case_id"] != case.id]


def _write_table(run_folder: Path, table: str, *parts: pd.DataFrame) -> None:
    whole = pd.concat([part.astype(object) for part in parts])
    content = whole.to_csv(index=False, lineterminator="\n").encode()
    _replace(table_path(run_folder, table), content)


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renamed into place: a reader never finds half of it.
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)
