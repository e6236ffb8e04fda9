"""All figures of the report. A new one is a module beside this and a line here."""

import importlib
from typing import TypeVar

from dynact.report.figures.declaration import ReportFigure

# In the order of the page.
_MODULES = (
    "overhead_ranking",
    "ladder",
    "promise",
    "overhead_heatmap",
    "time_scaling",
    "roofline",
    "memory",
    "arithmetic",
    "network_heatmap",
    "network_sites",
    "placement_tradeoff",
    "tradeoff",
    "time_by_operator",
    "step_timeline",
    "step_memory",
)
_Kind = TypeVar("_Kind", bound=ReportFigure)


def _declared(module: str) -> ReportFigure:
    figure: ReportFigure = importlib.import_module(f"{__package__}.{module}").FIGURE
    return figure


FIGURES = {figure.name: figure for figure in map(_declared, _MODULES)}


def figures_of(kind: type[_Kind]) -> dict[str, _Kind]:
    """Return the figures of one kind by name, in the order of the page."""
    return {name: figure for name, figure in FIGURES.items() if isinstance(figure, kind)}
