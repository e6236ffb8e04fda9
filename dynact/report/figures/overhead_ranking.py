"""Overhead of every activation over all shapes, on one page."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynact.report.data.digits import means_note, one_visit_note
from dynact.report.data.names import shortened
from dynact.report.data.omissions import absence
from dynact.report.data.own_inputs import own_inputs
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.figures.declaration import LayerFigure
from dynact.report.figures.style import (
    INK,
    PHASE_COLOURS,
    Page,
    names_width,
    nothing_to_draw,
    panel_of_lines,
    styled,
    texts_width,
    write_beside,
)
from dynact.schema.digits import ratio_with_interval

# Lengths in inches.
_LINE = 0.3
_PANEL_TITLE = 0.3
_PLOT = 3.6
_AXIS_LABELS = 0.55
_LONGEST_NAME = 28


@styled
def overhead_ranking(group: SettingsGroup, caption: str = "") -> Figure:
    """Draw each activation's mean overhead with its interval, phases side by side.

    Parameters
    ----------
    group
        Rows of any phases.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        A line for each activation, cheapest in the first phase on top: the geometric mean over
        the shapes with its 95 % interval and number, every shape's own overhead, their range.
    """
    title = (
        f"What each activation costs over all shapes, as a multiple of {group.baseline} "
        f"({group.description})"
    )
    if group.ok.empty:
        return nothing_to_draw(title, group.rows, caption)

    means, order, phases = group.means, group.ranked, group.phases
    names = {a: shortened(n, _LONGEST_NAME) for a, n in group.names.items()}
    numbers = {p: _numbers(group.of_phase(p).rows, group.means_of(p), order) for p in phases}
    left = names_width(names.values())
    plot = _PLOT if len(phases) > 1 else 1.5 * _PLOT
    gutter = max(map(texts_width, numbers.values()))
    height = _LINE * len(order)
    partly = "Behind a number: of how many shapes it is." if group.fewer_shapes else ""
    page = Page(
        title,
        [
            _explanation(group),
            means_note(means),
            one_visit_note(group.ok),
            own_inputs(group.rows),
            partly,
            caption,
        ],
        width=left + len(phases) * (plot + gutter),
        body=_PANEL_TITLE + height + _AXIS_LABELS,
    )
    low = np.nanmin([0.8, *means["smallest"], *means["overhead_lo"]]) / 1.1
    high = np.nanmax([2.0, *means["largest"], *means["overhead_hi"]]) * 1.1
    for i, phase in enumerate(phases):
        axes = page.axes(left + i * (plot + gutter), _PANEL_TITLE, plot, height)
        shown = [names[a] if i == 0 else "" for a in order]
        panel_of_lines(axes, phase, shown, (low, high), shortened(group.baseline, 20))
        table = group.means_of(phase).reindex(order)
        _draw_phase(axes, group.of_phase(phase).ok, table, PHASE_COLOURS[phase])
        write_beside(axes, numbers[phase])
    return page.figure


def _explanation(group: SettingsGroup) -> str:
    known = bool(group.means["overhead_lo"].notna().any())
    return (
        "How to read: diamond and number are the geometric mean over the shapes"
        f"{f' with its {group.interval}' * known}, dots are single shapes, the thin line is their "
        f"range; 2× takes twice as long as {group.baseline}, left of 1× is faster. "
        f"{group.interval_note * known}"
    ).rstrip()


def _numbers(rows: pd.DataFrame, means: pd.DataFrame, order: list[str]) -> list[str]:
    """Return what stands beside each line: the mean with its interval, or why there is none."""
    by_activation = means.to_dict("index")
    texts = []
    for activation in order:
        mean = by_activation.get(activation)
        if mean is None or mean["ok"] == 0:
            texts.append(absence(rows, activation))
            continue
        text = ratio_with_interval(mean["overhead"], mean["overhead_lo"], mean["overhead_hi"])
        if mean["ok"] < mean["cases"]:
            text += f", {mean['ok']:.0f}/{mean['cases']:.0f}"
        texts.append(text)
    return texts


def _draw_phase(axes: Axes, ok: pd.DataFrame, means: pd.DataFrame, colour: str) -> None:
    lines = np.arange(len(means))
    axes.hlines(lines, means["smallest"], means["largest"], color=colour, linewidth=0.9, alpha=0.6)
    axes.plot(
        ok["overhead"].astype(float),
        means.index.get_indexer(pd.Index(ok["activation"])),
        linestyle="none",
        marker="o",
        markersize=3.2,
        markeredgewidth=0,
        color=colour,
        alpha=0.4,
        label="shapes",
    )
    axes.hlines(lines, means["overhead_lo"], means["overhead_hi"], color=INK, linewidth=2.6)
    axes.plot(
        means["overhead"],
        lines,
        linestyle="none",
        marker="D",
        markersize=5,
        color=colour,
        markeredgecolor=INK,
        markeredgewidth=0.7,
        label="geometric mean",
    )


FIGURE = LayerFigure(
    name="overhead_ranking",
    heading="Overhead over all shapes",
    reading=(
        "A diamond is an activation’s mean over the shapes, a dot one shape; 2× takes twice as "
        "long as the baseline."
    ),
    shows="Overhead of each activation on a log scale, a panel for each phase",
    draw=overhead_ranking,
)
