"""The tables of a run's traces, read back whole or not at all."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dynact.results import RunError

_COLUMNS = {
    "steps": (
        "case_id", "activation", "phase", "steps", "step_ns", "untraced_ns", "coverage",
        "operators", "trace", "memory_page", "memory_snapshot",
    ),
    "kernels": (
        "case_id", "kernel", "kind", "part", "calls", "time_ns", "share", "input_shapes", "bytes",
        "bandwidth_bytes_per_s", "ceiling_bytes_per_s", "occupancy_percent",
        "registers_per_thread",
    ),
    "timeline": ("case_id", "start_ns", "duration_ns", "kernel", "kind", "part"),
    "memory": ("case_id", "at_ns", "allocated_bytes"),
}  # fmt: skip
_TEXTS = {
    "case_id", "activation", "phase", "kernel", "kind", "part", "input_shapes", "trace",
    "memory_page", "memory_snapshot",
}  # fmt: skip
_MAY_BE_EMPTY = {
    "untraced_ns", "input_shapes", "bytes", "bandwidth_bytes_per_s", "ceiling_bytes_per_s",
    "occupancy_percent", "registers_per_thread", "memory_page", "memory_snapshot",
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

    @property
    def setting(self) -> str:
        """Shape, dtype and so on at which most training steps were traced, empty without any."""
        settings = self._training()["setting"].mode()
        return str(settings.iloc[0]) if len(settings) else ""

    @property
    def activations(self) -> list[str]:
        """Those whose training steps were traced at that setting."""
        return list(self._chosen()["activation"])

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table's lines of training steps of that setting, with their activation."""
        return table.merge(self._chosen(), on="case_id")

    def _chosen(self) -> pd.DataFrame:
        training = self._training()
        return training.loc[training["setting"] == self.setting, ["case_id", "activation"]]

    def _training(self) -> pd.DataFrame:
        training = self.steps[self.steps["phase"] == "training"]
        # An id is the activation, the phase and all else.
        settings = [
            case_id.removeprefix(f"{activation}-training-")
            for case_id, activation in zip(training["case_id"], training["activation"], strict=True)
        ]
        return training.assign(setting=settings)


def load_traces(run_folder: Path) -> Traces | None:
    """Return the tables in a run's traces/, or None where nothing was traced.

    Raises
    ------
    RunError
        If one is missing, was cut short or is of an older version: one line. Of memory.csv,
        whose lines nothing else counts, it is not seen when whole lines at its end are gone.
    """
    folder = run_folder / "traces"
    # Written last: without it no trace was stored whole.
    if not (folder / "steps.csv").is_file():
        return None
    traces = Traces(**{name: _table(folder / f"{name}.csv") for name in _COLUMNS})
    _check_whole(traces)
    return traces


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

    columns = list(_COLUMNS[path.stem])
    if not set(columns) <= set(header):
        raise _unreadable(path.stem, "was written by an older version")
    table = pd.DataFrame(lines, columns=header)[columns]
    required = [column for column in columns if column not in _MAY_BE_EMPTY]
    numbers = [column for column in columns if column not in _TEXTS]
    try:
        if (table[required] == "").any(axis=None):
            raise ValueError("a cell is empty")
        return table.assign(**table[numbers].replace("", "nan").astype(float))
    except ValueError:
        raise _unreadable(path.stem, _CUT) from None


def _check_whole(traces: Traces) -> None:
    """Hold the tables against each other: whole lines may be missing too."""
    steps = traces.steps.set_index("case_id")
    tables = {"kernels": traces.kernels, "timeline": traces.timeline, "memory": traces.memory}
    lines = {
        name: table.groupby("case_id").size().reindex(steps.index, fill_value=0)
        for name, table in tables.items()
    }
    if any(lines[name].sum() != len(table) for name, table in tables.items()):
        raise _unreadable("steps", _CUT)
    in_kernels, on_timeline = (
        table.groupby("case_id")[column].sum().reindex(steps.index, fill_value=0.0)
        for table, column in ((traces.kernels, "time_ns"), (traces.timeline, "duration_ns"))
    )
    if not np.allclose(in_kernels, steps["step_ns"], rtol=_ROUNDING, atol=0):
        raise _unreadable("kernels", _CUT)
    # A CPU's has a line an operator that reads or writes, an accelerator's all that ran there.
    all_there = lines["timeline"] == steps["operators"]
    all_there |= np.isclose(on_timeline, steps["step_ns"], rtol=_ROUNDING, atol=0)
    if not all_there.all():
        raise _unreadable("timeline", _CUT)
    if not lines["memory"].all():
        raise _unreadable("memory", _CUT)


def _unreadable(name: str, why: str) -> RunError:
    return RunError(f"traces/{name}.csv {why}; remove traces/ and run profile_traces.py again")
