"""All figures by name. A new one is a function and a line in ``FIGURES``."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from dynact.report.figures.arithmetic import arithmetic
from dynact.report.figures.memory import memory
from dynact.report.figures.overhead_heatmap import overhead_heatmap
from dynact.report.figures.overhead_ranking import overhead_ranking
from dynact.report.figures.promise import promise
from dynact.report.figures.roofline import roofline
from dynact.report.figures.time_scaling import time_scaling

__all__ = [
    "FIGURES",
    "FigureKind",
    "arithmetic",
    "memory",
    "overhead_heatmap",
    "overhead_ranking",
    "promise",
    "roofline",
    "time_scaling",
]


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
    "roofline": FigureKind(roofline, per_phase=True),
    "memory": FigureKind(memory, per_phase=False),
    "promise": FigureKind(promise, per_phase=False),
    "arithmetic": FigureKind(arithmetic, per_phase=False),
}
