"""Time against the number of positions, a panel for each channel count."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    LogLocator,
    NullLocator,
)

from dynact.report.data.names import resolution, shortened
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.figures.declaration import LayerFigure
from dynact.report.figures.style import INK, Page, nothing_to_draw, series_looks, styled

# Lengths in inches.
_PANEL = (3.0, 2.4)
_PANEL_TITLE = 0.3
_GAP = 0.18
_LEFT = 0.85
_AXIS_LABELS = 0.6
_LEGEND_LINE = 0.21
_LONGEST_NAME = 30

_CALL = {"inference": "time of one forward pass", "training": "time of forward + backward"}


@styled
def time_scaling(group: SettingsGroup, caption: str = "") -> Figure:
    """Draw the time of each activation, and of the baseline, against H·W.

    Parameters
    ----------
    group
        Rows of one phase.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        A panel for each channel count with a line (median) and a band (20th to 80th percentile)
        for each activation, in milliseconds. A case that failed leaves a gap.
    """
    rows = group.rows
    title = f"How the time grows with resolution ({group.description})"
    if group.ok.empty:
        return nothing_to_draw(title, rows, caption)

    labels = {a: shortened(n, _LONGEST_NAME) for a, n in group.names.items()}
    looks = {a: look | {"label": labels[a]} for a, look in series_looks(group.names).items()}
    # The legend lists the lines as they lie in the picture, dearest on top.
    looks = {activation: looks[activation] for activation in reversed(group.ranked)}
    baseline = shortened(group.baseline, _LONGEST_NAME) + " (baseline)"
    longest = max(map(len, [baseline, *labels.values()]))

    channels = np.sort(rows["channels"].unique())
    columns = min(len(channels), 3 if len(channels) in (3, 5, 6) else 4)
    lines = -(-len(channels) // columns)
    legend_height = _LEGEND_LINE * (len(looks) + 1)
    height = max(_PANEL[1], legend_height / lines - _PANEL_TITLE)
    panels_width = columns * (_PANEL[0] + _GAP)
    # Versions before made one visit a case.
    over = "visits" if rows["visits"].notna().any() else "blocks"
    page = Page(
        title,
        [
            f"Line: median; band: 20th to 80th percentile over {over}"
            + ("; gap: the case failed." if len(group.ok) < len(rows) else "."),
            caption,
        ],
        width=_LEFT + panels_width + 0.75 + 0.075 * longest,
        body=lines * (height + _PANEL_TITLE) + _AXIS_LABELS,
    )

    ok = rows["status"] == "ok"
    figures = ["time_p20_ns", "time_ns", "time_p80_ns", "baseline_time_ns"]
    rows = pd.concat(
        [
            rows[["channels", "activation", "height", "width"]],
            (rows["height"] * rows["width"]).rename("positions"),
            rows[figures].astype(float).where(ok) / 1e6,
        ],
        axis="columns",
    )
    rows.columns = rows.columns.str.replace("_ns", "_ms")
    handles: dict[str, Line2D] = {}
    for i, count in enumerate(channels):
        line, column = divmod(i, columns)
        axes = page.axes(
            _LEFT + column * (_PANEL[0] + _GAP),
            _PANEL_TITLE + line * (height + _PANEL_TITLE),
            _PANEL[0],
            height,
        )
        axes.set_title(f"{count} channels", size=10, weight="bold", pad=4, y=1.0)
        _scale(axes, rows)
        panel = rows[rows["channels"] == count].sort_values("positions")
        by_activation = dict(list(panel.groupby("activation")))
        for activation in [a for a in looks if a in by_activation]:
            handles[activation] = _draw_activation(
                axes, by_activation[activation], looks[activation]
            )
        handles[""] = _draw_baseline(axes, panel, baseline)
        axes.tick_params(left=column == 0)
        axes.tick_params(labelleft=column == 0, labelbottom=i + columns >= len(channels))
        if column == 0:
            axes.set_ylabel(f"{_CALL[group.phase]} (ms)")
        if i + columns >= len(channels):
            axes.set_xlabel("positions H·W")

    corner = page.axes(_LEFT + panels_width, _PANEL_TITLE, 0.1, height)
    corner.set_axis_off()
    corner.legend(
        handles=[handles[a] for a in [*looks, ""]],
        loc="upper left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0,
        frameon=False,
        fontsize=8.5,
        handlelength=3.2,
    )
    return page.figure


def _draw_activation(axes: Axes, rows: pd.DataFrame, look: dict[str, Any]) -> Line2D:
    positions, low, middle, high = (
        rows[column].to_numpy() for column in ("positions", "time_p20_ms", "time_ms", "time_p80_ms")
    )
    # Its edge keeps the band of a lone point visible.
    axes.fill_between(positions, low, high, color=look["color"], alpha=0.25)
    (line,) = axes.plot(positions, middle, linewidth=1.3, markersize=4, **look)
    return line


def _draw_baseline(axes: Axes, rows: pd.DataFrame, label: str) -> Line2D:
    """Draw the median of the baseline's times beside all the activations."""
    times = rows.groupby("positions")["baseline_time_ms"].median()
    (line,) = axes.plot(times.index, times, color=INK, linewidth=2.4, marker=".", label=label)
    return line


def _scale(axes: Axes, rows: pd.DataFrame) -> None:
    """Give all panels the same log axes, marked at the resolutions that occur."""
    times = rows[["time_p20_ms", "time_p80_ms", "time_ms", "baseline_time_ms"]].to_numpy()
    low, high = np.nanmin(times), np.nanmax(times)
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(rows["positions"].min() / 1.5, rows["positions"].max() * 1.5)
    axes.set_ylim(low / 1.4, high * 1.4)
    axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0,) if high > 30 * low else (1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    shapes = rows.drop_duplicates("positions").sort_values("positions")
    # On a crowded axis every other mark (or fewer) goes.
    shapes = shapes.iloc[:: -(-len(shapes) // 7)]
    marks = [resolution(h, w) for h, w in zip(shapes["height"], shapes["width"], strict=True)]
    axes.xaxis.set_major_locator(FixedLocator(shapes["positions"].tolist()))
    axes.xaxis.set_major_formatter(FixedFormatter(marks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(which="major", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)


FIGURE = LayerFigure(
    name="time_scaling",
    heading="Time against resolution",
    reading=(
        "Parallel lines keep their ratio at every size; lines that are flat at the left are paid "
        "per call, not per pixel."
    ),
    shows=(
        "Time against the number of positions, a panel for each channel count, a line for each "
        "activation and the baseline"
    ),
    draw=time_scaling,
    by_phase=True,
)
