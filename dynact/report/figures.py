"""All figures by name. A new one is a function and a line in ``FIGURES``."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from dynact.report.heatmap import overhead_heatmap
from dynact.report.ranking import overhead_ranking
from dynact.report.scaling import time_scaling

__all__ = ["FIGURES", "FigureKind", "overhead_heatmap", "overhead_ranking", "time_scaling"]


@dataclass(frozen=True)
class FigureKind:
    """How a figure is drawn from the rows of one slice."""

    draw: Callable[[pd.DataFrame, str], Figure]
    """Takes rows and a caption."""

    per_phase: bool
    """Whether it shows one phase (one file each) or all of them."""


FIGURES = {
    "overhead_heatmap": FigureKind(overhead_heatmap, per_phase=True),
    "time_scaling": FigureKind(time_scaling, per_phase=True),
    "overhead_ranking": FigureKind(overhead_ranking, per_phase=False),
}
