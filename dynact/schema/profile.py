"""What the profiler leaves in a run folder: tables, each column declared once, and files."""

import csv
import io
import re
from dataclasses import dataclass, fields
from pathlib import Path

from dynact.schema.cases import Case
from dynact.schema.run_folder import RunError, folder_name

# By this ending TensorBoard's plugin knows a trace; each folder that has one is a run to it.
TRACE_FILE = "trace.pt.trace.json.gz"
MEMORY_PAGE = "memory.html"
MEMORY_SNAPSHOT = "memory_snapshot.pickle"

# What sort of work an operator does; the tables' column ``kind``.
OPERATOR_CATEGORIES = (
    "pointwise", "reduction", "matmul", "convolution", "normalisation", "memory", "communication",
    "other",
)  # fmt: skip
# The tables' ``operator`` of what none launched: a Triton kernel of one's own, a graph's replay.
NO_OPERATOR = "(no operator)"
# Of a step: the layer's call, its backward, and what is neither.
PARTS = ("forward", "backward", "other")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    name
        As in the header, with the unit of a figure.
    type
        What a cell is read as; figures as float, in which what is unknown has a place.
    may_be_empty
        Whether a cell may say nothing.
    may_lack
        Whether tables of former versions are read that have no such column: its cells are empty.
    """

    name: str
    type: type[str] | type[int] | type[float] | type[bool]
    may_be_empty: bool = False
    may_lack: bool = False


def _later(name: str) -> Column:
    """Return a figure's column that former versions did not have."""
    return Column(name, float, may_be_empty=True, may_lack=True)


_CASE_ID = Column("case_id", str)
_KERNEL, _KIND, _PART = Column("kernel", str), Column("kind", str), Column("part", str)
# How far a step's time under the profiler may be from that without it, as a share.
ORDER_ONLY_BEYOND = 0.15
# In shorter steps on a CPU the profiler's few µs an operator weigh: they may take twice as long.
SHORTEST_COMPARED_NS = 1e6
# In the order in which a case's lines are stored.
STEP_TABLES: dict[str, tuple[Column, ...]] = {
    "kernels": (
        _CASE_ID,
        _KERNEL,
        Column("operator", str),
        _KIND,
        _PART,
        Column("calls", float),
        # The median over the steps, and percentiles.
        Column("time_ns", float),
        _later("time_p20_ns"),
        _later("time_p80_ns"),
        Column("share", float),
        Column("input_shapes", str, may_be_empty=True),
        Column("bytes", float, may_be_empty=True),
        Column("bandwidth_bytes_per_s", float, may_be_empty=True),
        Column("ceiling_bytes_per_s", float, may_be_empty=True),
        Column("occupancy_percent", float, may_be_empty=True),
        Column("registers_per_thread", float, may_be_empty=True),
    ),
    "timeline": (
        _CASE_ID,
        Column("start_ns", float),
        Column("duration_ns", float),
        _KERNEL,
        _KIND,
        _PART,
    ),
    "memory": (_CASE_ID, Column("at_ns", float), Column("allocated_bytes", float), _PART),
    # A line a case, written last: what other tables hold of a case without one is not whole.
    "steps": (
        _CASE_ID,
        *(Column(field.name, int if field.type is int else str) for field in fields(Case)),
        Column("on_accelerator", bool),
        Column("steps", float),
        _later("steps_taken"),
        _later("steps_disturbed"),
        _later("tries"),
        Column("step_ns", float),
        _later("step_p20_ns"),
        _later("step_p80_ns"),
        Column("untraced_ns", float, may_be_empty=True),
        Column("coverage", float),
        Column("operators", float),
        _later("timeline_lines"),
        Column("memory_lines", float),
        Column("trace", str),
        Column("memory_page", str, may_be_empty=True),
        Column("memory_snapshot", str, may_be_empty=True),
    ),
}
# What an id says behind activation and phase.
_SETTING = re.compile(
    r"(?P<batch>\d+)x(?P<channels>\d+)x(?P<height>\d+)x(?P<width>\d+)"
    r"-(?P<dtype>\w+)-(?P<device>[^-]+)(?:-(?P<mode>compile|graph))?"
    r"(?:-(?P<memory_format>channels_last))?(?:-impl_(?P<impl>.+?))?(?:-vs_(?P<baseline>.+))?"
)
FAILED = "failed"
TABLES = {
    **STEP_TABLES,
    # The cases that could not be profiled in the last try, and why.
    FAILED: (_CASE_ID, Column("message", str, may_be_empty=True)),
}


def columns(table: str) -> list[str]:
    """Return the names of a table's columns, in order."""
    return [column.name for column in TABLES[table]]


def table_path(run_folder: Path, table: str) -> Path:
    """Return where a run keeps one of its ``TABLES``."""
    return run_folder / "traces" / f"{table}.csv"


def files_folder(case_id: str) -> Path:
    """Return the folder of a case's files, relative to the run's: one run to TensorBoard."""
    return Path("tensorboard") / folder_name(case_id)


def read_table(run_folder: Path, table: str) -> list[list[str]]:
    """Return the lines of a table, to the letter, with a cell for each of its columns.

    Raises
    ------
    RunError
        If it is missing, was cut short or is of an older version: one line.
    """
    # Not by a reader that fills up a line that is too short.
    try:
        text = table_path(run_folder, table).read_bytes().decode()
        if not text.endswith("\n"):
            raise ValueError("the last line has no end")
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        if any(len(line) != len(header) for line in lines):
            raise ValueError("a line has more or fewer cells than the header")
        if table == "steps":
            header, lines = _upgraded_steps(header, lines)
    except FileNotFoundError:
        raise unreadable(table, "is missing") from None
    except (csv.Error, ValueError):
        raise cut_short(table) from None
    lacking = [column for column in TABLES[table] if column.name not in header]
    if not all(column.may_lack for column in lacking):
        raise unreadable(table, "was written by an older version")
    header = [*header, *(column.name for column in lacking)]
    lines = [[*line, *[""] * len(lacking)] for line in lines]
    places = [header.index(name) for name in columns(table)]
    return [[line[place] for place in places] for line in lines]


def times_hold(step_ns: float, untraced_ns: float, on_accelerator: bool) -> bool:
    """Return whether a step's time under the profiler is near enough to that without it.

    So it is where the latter, NaN then, is not known. An accelerator's may be any shorter: between
    kernels the device waits for the host.
    """
    change = step_ns / untraced_ns - 1
    if on_accelerator:
        return not change > ORDER_ONLY_BEYOND
    if untraced_ns < SHORTEST_COMPARED_NS:
        return not change > 1
    return not abs(change) > ORDER_ONLY_BEYOND


def cut_short(table: str) -> RunError:
    """Return the error of a table that lacks some of what was written."""
    return unreadable(table, "is cut short")


def unreadable(table: str, why: str) -> RunError:
    """Return the error of a table, in one line, with what to do about it."""
    return RunError(f"traces/{table}.csv {why}; remove traces/ and run profile_traces.py again")


def _upgraded_steps(header: list[str], lines: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Return steps.csv with its cases' fields, which in a former version only their ids said.

    Raises
    ------
    ValueError
        If an id says no case.
    """
    if "device" in header or not {"case_id", "activation", "phase"} <= set(header):
        return header, lines
    added = [field.name for field in fields(Case) if field.name not in header]
    upgraded = []
    for line in lines:
        step = dict(zip(header, line, strict=True))
        case = _case_of(step["case_id"], step["activation"], step["phase"])
        values = (getattr(case, name) for name in added)
        upgraded.append([*line, *map(str, values), str(case.device != "cpu")])
    return [*header, *added, "on_accelerator"], upgraded


def _case_of(case_id: str, activation: str, phase: str) -> Case:
    found = _SETTING.fullmatch(case_id.removeprefix(f"{activation}-{phase}-"))
    if found is None:
        raise ValueError(f"{case_id!r} is no case's id")
    sizes = ("batch", "channels", "height", "width")
    return Case(
        activation=activation,
        impl=found["impl"] or "reference",
        phase=phase,
        mode=found["mode"] or "eager",
        dtype=found["dtype"],
        memory_format=found["memory_format"] or "contiguous",
        device=found["device"],
        baseline=found["baseline"] or "relu",
        **{size: int(found[size]) for size in sizes},
    )
