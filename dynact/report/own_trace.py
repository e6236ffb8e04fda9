"""Tables and figures of one trace that was made elsewhere, in a folder of their own."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from dynact.report.data.profile import Profile
from dynact.report.figures.declaration import ProfileFigure
from dynact.report.figures.files import write_figure
from dynact.report.figures.registry import figures_of
from dynact.schema.profile import columns

_FORMATS = ("png", "svg")


@dataclass(frozen=True)
class _OneStep(Profile):
    """A step of any network, which no case says."""

    step = "step"

    @property
    def setting(self) -> str:
        """The trace's name."""
        return str(self.steps["case_id"].iloc[0])

    @cached_property
    def names(self) -> dict[str, str]:
        """What its bar and its line are called."""
        return {name: name for name in self.activations}

    def _chosen(self) -> pd.DataFrame:
        return self.steps


class _WholeTrace(_OneStep):
    """All of a trace, of which nobody says how many steps it holds."""

    step = "whole trace"


def write_own_trace(
    folder: Path,
    name: str,
    tables: dict[str, pd.DataFrame],
    step_ns: float,
    on_accelerator: bool,
    is_marked: bool,
) -> tuple[list[Path], list[Path]]:
    """Write the tables and draw the figures of a trace's step.

    Parameters
    ----------
    folder
        Gets the tables, and figures/. What an earlier trace left there is replaced.
    name
        The trace's, for the figures' titles.
    tables
        ``kernels``, ``timeline`` and ``memory``, with all columns that a run's have beside the
        case. The last, of one line, says that no memory was traced: then there is neither table
        nor figure of it.
    step_ns
        What the kernels add up to.
    on_accelerator
        Whether the step ran on any device but the host.
    is_marked
        Whether it is one step; all that was traced if not.

    Returns
    -------
    tuple
        The paths of tables, and of figures.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    has_memory = len(tables["memory"]) > 1
    written = []
    for table, lines in tables.items():
        path = folder / f"{table}.csv"
        path.unlink(missing_ok=True)
        if table != "memory" or has_memory:
            of_table = [column for column in columns(table) if column != "case_id"]
            lines[of_table].to_csv(path, index=False, lineterminator="\n")
            written.append(path)

    kind = _OneStep if is_marked else _WholeTrace
    step = {"case_id": name, "activation": f"one {kind.step}", "on_accelerator": on_accelerator}
    # It was not timed without the profiler.
    steps = pd.DataFrame([{**step, "step_ns": step_ns, "untraced_ns": float("nan")}])
    profile = kind(steps, **{of: lines.assign(case_id=name) for of, lines in tables.items()})
    drawn = []
    for figure, of_profile in figures_of(ProfileFigure).items():
        for suffix in _FORMATS:
            (folder / "figures" / f"{figure}.{suffix}").unlink(missing_ok=True)
        if has_memory or "memory" not in figure:
            picture = of_profile.draw(profile, "")
            drawn += write_figure(folder / "figures", _FORMATS, name, figure, picture)
    return written, drawn
