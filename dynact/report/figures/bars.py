"""Stacked horizontal bars, a line for each activation."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer

THICKNESS = 0.62

# Every colour comes with its own hatch.
_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "||||", "++++", "oo")


def stacked_bars(axes: Axes, parts: pd.DataFrame, colours: Sequence[str]) -> list[BarContainer]:
    """Draw one bar a line from the parts it has.

    Parameters
    ----------
    axes
        Get lines 0, 1, … downwards.
    parts
        A line for each bar, a column for each part, in the order they are stacked; NaN is
        nothing.
    colours
        One for each column.
    """
    lines = np.arange(len(parts))
    sizes = parts.fillna(0.0)
    starts = sizes.cumsum(axis="columns") - sizes
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(parts) - 0.5, -0.5)
    return [
        axes.barh(
            lines,
            sizes[part],
            THICKNESS,
            left=starts[part],
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.5,
            label=str(part),
        )
        for part, colour, hatch in zip(parts.columns, colours, _HATCHES, strict=False)
    ]
