"""A run's profile: the tables of its profiled steps, read back whole or not at all."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from dynact.report.data.names import display_names, with_subjects, without_subjects
from dynact.schema.profile import (
    FAILED,
    STEP_TABLES,
    TABLES,
    Column,
    columns,
    cut_short,
    read_table,
    table_path,
)

# Of sums of whole nanoseconds: less than one in a quarter of an hour.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Profile:
    """The tables of a run's profiled steps: a line a case, kernel, call of one and allocation."""

    step: ClassVar[str] = "training step"
    """What figures call one of those that they show."""

    steps: pd.DataFrame
    """Their ``activation`` tells implementations apart."""
    kernels: pd.DataFrame
    timeline: pd.DataFrame
    memory: pd.DataFrame
    failed: pd.DataFrame = field(default_factory=lambda: _frame(FAILED, []))
    """A line a case that could not be profiled: ``case_id`` and, in ``message``, why."""

    @property
    def setting(self) -> str:
        """The most frequent setting of training steps, such as ``"8x64x56x56-float32-cpu"``.

        Empty where there are none.
        """
        settings = self._training()["setting"].mode()
        return str(settings.iloc[0]) if len(settings) else ""

    @property
    def activations(self) -> list[str]:
        """Those whose training steps were profiled at that setting."""
        return list(self._chosen()["activation"])

    @cached_property
    def names(self) -> dict[str, str]:
        """Display names of those activations."""
        return display_names(self.activations)

    @property
    def on_accelerator(self) -> bool:
        """Whether the steps at that setting ran on a device other than the host."""
        return bool(self._chosen()["on_accelerator"].any())

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table's lines of training steps of that setting, with their activation."""
        return table.merge(self._chosen()[["case_id", "activation"]], on="case_id")

    def _chosen(self) -> pd.DataFrame:
        training = self._training()
        return training[training["setting"] == self.setting]

    def _training(self) -> pd.DataFrame:
        training = self.steps[self.steps["phase"] == "training"]
        # All that an id says beside the activation, its implementation and the phase.
        named = without_subjects(training)[["case_id", "activation", "impl"]]
        settings = [
            case_id.removeprefix(f"{activation}-training-").replace(f"-impl_{impl}", "")
            for case_id, activation, impl in named.itertuples(index=False)
        ]
        return training.assign(setting=settings)


def load_profile(run_folder: Path) -> Profile | None:
    """Return the tables in a run's traces/, or None where nothing was profiled.

    Raises
    ------
    RunError
        If one is missing, was cut short or is of an older version: one line.
    """
    # Written last: without it no profile was stored whole.
    stored = list(STEP_TABLES) if table_path(run_folder, "steps").is_file() else []
    stored += [FAILED] if table_path(run_folder, FAILED).is_file() else []
    if not stored:
        return None
    tables = {
        name: _frame(name, read_table(run_folder, name) if name in stored else [])
        for name in TABLES
    }
    # Of a case that is not in steps its process died before it was stored whole.
    for name in STEP_TABLES:
        tables[name] = tables[name][tables[name]["case_id"].isin(tables["steps"]["case_id"])]
    tables["steps"] = with_subjects(tables["steps"])
    profile = Profile(**tables)
    _check_whole(profile)
    return profile


def _frame(name: str, lines: list[list[str]]) -> pd.DataFrame:
    """Return a table with each column in its type.

    Raises
    ------
    RunError
        If a cell is empty that may not be, or not of its column's type.
    """
    texts = pd.DataFrame(lines, columns=columns(name), dtype=object)
    try:
        return pd.DataFrame({column.name: _typed(texts, column) for column in TABLES[name]})
    except (ValueError, OverflowError):
        raise cut_short(name) from None


def _typed(texts: pd.DataFrame, column: Column) -> "pd.Series[Any]":
    cells = texts[column.name]
    if not column.may_be_empty and (cells == "").any():
        raise ValueError("a cell is empty")
    if column.type is bool:
        if not cells.isin(["True", "False"]).all():
            raise ValueError("neither True nor False")
        return cells == "True"
    if column.type is float:
        return cells.replace("", "nan").astype(float)
    return cells.astype(column.type)


def _check_whole(profile: Profile) -> None:
    """Hold the tables against the steps: whole lines may be missing too."""
    steps = profile.steps.set_index("case_id")
    on_lines, in_memory = (
        table.groupby("case_id").size().reindex(steps.index, fill_value=0)
        for table in (profile.timeline, profile.memory)
    )
    in_kernels, on_timeline = (
        table.groupby("case_id")[column].sum().reindex(steps.index, fill_value=0.0)
        for table, column in ((profile.kernels, "time_ns"), (profile.timeline, "duration_ns"))
    )
    if not np.allclose(in_kernels, steps["step_ns"], rtol=_ROUNDING, atol=0):
        raise cut_short("kernels")
    all_there = on_lines == steps["timeline_lines"]
    # Former versions did not say how many, and all their tables were of one step: a CPU's has a
    # line an operator that reads or writes, an accelerator's all that ran there.
    unsaid = steps["timeline_lines"].isna()
    all_there |= unsaid & (on_lines == steps["operators"])
    all_there |= unsaid & np.isclose(on_timeline, steps["step_ns"], rtol=_ROUNDING, atol=0)
    if not all_there.all():
        raise cut_short("timeline")
    if not (in_memory == steps["memory_lines"]).all():
        raise cut_short("memory")
