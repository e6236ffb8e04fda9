"""What a figure says of itself: its name, its words, what it is drawn from, and how."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure

from dynact.report.data.profile import Profile
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.run import Run
from dynact.schema.cases import Case, NetworkCase, SiteCase
from dynact.schema.run_folder import GATES, WITHIN
from dynact.schema.visits import VISITS


@dataclass(frozen=True, kw_only=True)
class ReportFigure:
    """A figure of the report, whatever the run."""

    files: ClassVar[tuple[str, ...]]
    """What it is drawn from, in the run folder."""

    name: str
    """That of its module and, without phase and settings, of its files."""

    heading: str
    reading: str
    """How to read it, in a sentence."""

    shows: str
    """What one sees, for someone who does not."""


@dataclass(frozen=True, kw_only=True)
class LayerFigure(ReportFigure):
    """A figure of each settings group of the sweep's layers."""

    files: ClassVar = (Case.table, VISITS, GATES)

    draw: Callable[[SettingsGroup, str], Figure]
    """Takes a group, or one phase of it, and a caption."""

    by_phase: bool = False
    """Whether each phase has a picture of its own."""

    def parts(self, group: SettingsGroup) -> list[SettingsGroup]:
        """Return what of a group has a picture of its own."""
        return list(group.by_phase.values()) if self.by_phase else [group]

    def stem(self, part: SettingsGroup) -> str:
        """Return the name, without ending, of a part's file."""
        return "_".join(filter(None, (self.name, part.phase, part.suffix)))


@dataclass(frozen=True, kw_only=True)
class RunFigure(ReportFigure):
    """A figure of a run's layers, where it has what it shows."""

    files: ClassVar = (Case.table, VISITS, GATES)

    draw: Callable[[Run, str], Figure]
    """Takes a run that has it and a caption."""

    is_there: Callable[[Run], bool]


@dataclass(frozen=True, kw_only=True)
class NetworkFigure(ReportFigure):
    """A figure of all networks of a run, where these have what it shows."""

    files: ClassVar[tuple[str, ...]] = (NetworkCase.table, SiteCase.table, VISITS, GATES)

    draw: Callable[[Run, str], Figure]
    """Takes a run with networks that has it and a caption."""

    is_there: Callable[[Run], bool] = lambda _run: True


@dataclass(frozen=True, kw_only=True)
class BudgetFigure(NetworkFigure):
    """A figure of networks and of what they were asked to keep."""

    files: ClassVar = (*NetworkFigure.files, WITHIN)


@dataclass(frozen=True, kw_only=True)
class ProfileFigure(ReportFigure):
    """A figure of the profiled training steps of a run."""

    files: ClassVar = (
        *("traces/steps.csv", "traces/kernels.csv"),
        *("traces/timeline.csv", "traces/memory.csv"),
    )

    draw: Callable[[Profile, str], Figure]
    """Takes a profile with training steps and a caption."""

    pages: str = ""
    """Which column of the steps names a page that shows more of the same, if one does."""
