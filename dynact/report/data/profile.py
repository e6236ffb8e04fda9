"""The tables of a run's traces, read back whole or not at all."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from dynact.schema.run_folder import RunError

COLUMNS = {
    "steps": (
        "case_id", "activation", "phase", "steps", "step_ns", "untraced_ns", "coverage",
        "operators", "memory_lines", "trace", "memory_page", "memory_snapshot",
    ),
    "kernels": (
        "case_id", "kernel", "operator", "kind", "part", "calls", "time_ns", "share",
        "input_shapes", "bytes", "bandwidth_bytes_per_s", "ceiling_bytes_per_s",
        "occupancy_percent", "registers_per_thread",
    ),
    "timeline": ("case_id", "start_ns", "duration_ns", "kernel", "kind", "part"),
    "memory": ("case_id", "at_ns", "allocated_bytes", "part"),
    "failed": ("case_id", "message"),
}  # fmt: skip
"""Of each table in traces/."""
_OF_STEPS = ("steps", "kernels", "timeline", "memory")
_TEXTS = {
    "case_id", "activation", "phase", "kernel", "operator", "kind", "part", "input_shapes",
    "trace", "memory_page", "memory_snapshot", "message",
}  # fmt: skip
_MAY_BE_EMPTY = {
    "untraced_ns", "input_shapes", "bytes", "bandwidth_bytes_per_s", "ceiling_bytes_per_s",
    "occupancy_percent", "registers_per_thread", "memory_page", "memory_snapshot", "message",
}  # fmt: skip
_CUT = "is cut short"
_ROUNDING = 1e-12
"""Of sums of whole nanoseconds: less than one in a quarter of an hour."""


@dataclass(frozen=True)
class Traces:
    """The tables of a run's traces, one line a case, kernel, call of a kernel and allocation."""

    steps: pd.DataFrame
    kernels: pd.DataFrame
    timeline: pd.DataFrame
    memory: pd.DataFrame
    failed: pd.DataFrame = field(default_factory=lambda: _no_lines("failed"))
    """A line a case that could not be traced: ``case_id`` and, in ``message``, why."""

    @property
    def setting(self) -> str:
        """Shape, dtype and so on at which most training steps were traced, empty without any."""
        settings = self._training()["setting"].mode()
        return str(settings.iloc[0]) if len(settings) else ""

    @property
    def activations(self) -> list[str]:
        """Those whose training steps were traced at that setting."""
        return list(self._chosen()["activation"])

    @property
    def on_accelerator(self) -> bool:
        """Whether the steps at that setting ran on anything but a CPU."""
        return on_accelerator(self.setting)

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table's lines of training steps of that setting, with their activation."""
        return table.merge(self._chosen(), on="case_id")

    def _chosen(self) -> pd.DataFrame:
        training = self._training()
        return training.loc[training["setting"] == self.setting, ["case_id", "activation"]]

    def _training(self) -> pd.DataFrame:
        training = self.steps[self.steps["phase"] == "training"]
        settings = [
            setting_of(case_id, activation, "training")
            for case_id, activation in zip(training["case_id"], training["activation"], strict=True)
        ]
        return training.assign(setting=settings)


def setting_of(case_id: str, activation: str, phase: str) -> str:
    """Return what a case's id says behind activation and phase: shape, dtype, device and so on."""
    return case_id.removeprefix(f"{activation}-{phase}-")


def on_accelerator(setting: str) -> bool:
    """Return whether a setting is of anything but a CPU."""
    return setting.split("-")[2:3] not in ([], ["cpu"])


def is_compiled(setting: str) -> bool:
    """Return whether a setting is of ``torch.compile``."""
    # The first of what is unusual.
    return setting.split("-")[3:4] == ["compile"]


def load_traces(run_folder: Path) -> Traces | None:
    """Return the tables in a run's traces/, or None where nothing was traced.

    Raises
    ------
    RunError
        If one is missing, was cut short or is of an older version: one line.
    """
    folder = run_folder / "traces"
    # Written last: without it no trace was stored whole.
    stored = list(_OF_STEPS) if (folder / "steps.csv").is_file() else []
    stored += ["failed"] if (folder / "failed.csv").is_file() else []
    if not stored:
        return None
    tables = {
        name: _table(folder / f"{name}.csv") if name in stored else _no_lines(name)
        for name in COLUMNS
    }
    # Of a case that is not in steps its process died before it was stored whole.
    for name in _OF_STEPS:
        tables[name] = tables[name][tables[name]["case_id"].isin(tables["steps"]["case_id"])]
    traces = Traces(**tables)
    _check_whole(traces)
    return traces


def _no_lines(name: str) -> pd.DataFrame:
    return _with_numbers(pd.DataFrame(columns=list(COLUMNS[name])))


def _with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    numbers = [column for column in table.columns if column not in _TEXTS]
    return table.assign(**table[numbers].replace("", "nan").astype(float))


def _table(path: Path) -> pd.DataFrame:
    # Not pandas' own reader: it fills up a line that is too short.
    try:
        text = path.read_bytes().decode()
        if not text.endswith("\n"):
            raise ValueError("the last line has no end")
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        if any(len(line) != len(header) for line in lines):
            raise ValueError("a line has more or fewer cells than the header")
    except FileNotFoundError:
        raise _unreadable(path.stem, "is missing") from None
    except (csv.Error, ValueError):
        raise _unreadable(path.stem, _CUT) from None

    columns = list(COLUMNS[path.stem])
    if not set(columns) <= set(header):
        raise _unreadable(path.stem, "was written by an older version")
    table = pd.DataFrame(lines, columns=header)[columns]
    required = [column for column in columns if column not in _MAY_BE_EMPTY]
    try:
        if (table[required] == "").any(axis=None):
            raise ValueError("a cell is empty")
        return _with_numbers(table)
    except ValueError:
        raise _unreadable(path.stem, _CUT) from None


def _check_whole(traces: Traces) -> None:
    """Hold the tables against the steps: whole lines may be missing too."""
    steps = traces.steps.set_index("case_id")
    on_lines, in_memory = (
        table.groupby("case_id").size().reindex(steps.index, fill_value=0)
        for table in (traces.timeline, traces.memory)
    )
    in_kernels, on_timeline = (
        table.groupby("case_id")[column].sum().reindex(steps.index, fill_value=0.0)
        for table, column in ((traces.kernels, "time_ns"), (traces.timeline, "duration_ns"))
    )
    if not np.allclose(in_kernels, steps["step_ns"], rtol=_ROUNDING, atol=0):
        raise _unreadable("kernels", _CUT)
    # A CPU's has a line an operator that reads or writes, an accelerator's all that ran there.
    all_there = on_lines == steps["operators"]
    all_there |= np.isclose(on_timeline, steps["step_ns"], rtol=_ROUNDING, atol=0)
    if not all_there.all():
        raise _unreadable("timeline", _CUT)
    if not (in_memory == steps["memory_lines"]).all():
        raise _unreadable("memory", _CUT)


def _unreadable(name: str, why: str) -> RunError:
    return RunError(f"traces/{name}.csv {why}; remove traces/ and run profile_traces.py again")
