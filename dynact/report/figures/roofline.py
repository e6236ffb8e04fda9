"""Arithmetic rate against arithmetic intensity, under what the device was measured to reach."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, NullLocator

from dynact.report.data.aggregate import times_over_floor
from dynact.report.data.names import cell_ratio, shortened
from dynact.report.data.omissions import complete, omission, understatement
from dynact.report.data.settings_groups import SettingsGroup, input_bytes
from dynact.report.figures.declaration import LayerFigure
from dynact.report.figures.style import INK, Page, nothing_to_draw, series_looks, styled
from dynact.schema.prefix import with_prefix

# Lengths in inches.
_PLOT = (6.4, 4.4)
_LEFT = 1.15
_TOP = 0.1
_AXIS_LABELS = 0.6
_LEGEND_LINE = 0.21
_LONGEST_NAME = 30
_ROOF_LABEL = 1.9

_NEEDED = ("flops", "traffic_floor_bytes", "time_ns")
_LACKING = "counted arithmetic and bytes to draw"
_MARKER_AREAS = (20.0, 75.0)  # of the smallest and the largest input, in points²


@styled
def roofline(group: SettingsGroup, caption: str = "") -> Figure:
    """Draw every case as a point under the device's measured ceilings.

    Parameters
    ----------
    group
        Rows of one phase.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        Log-log: FLOP/s against FLOP per byte that must be moved. The legend has each
        activation's median of time / least time, farthest from its roof on top.
    """
    rows, names = group.rows, group.names
    title = f"How far each activation is from this device's limits ({group.description})"
    counted = complete(rows, _NEEDED)
    # Without arithmetic (identity) there is no place on log axes.
    drawn = counted[(counted["flops"] > 0) & (counted["traffic_floor_bytes"] > 0)]
    if drawn.empty:
        return nothing_to_draw(title, rows, caption, _LACKING)

    sizes = input_bytes(drawn)
    drawn = drawn.assign(
        input_bytes=sizes,
        intensity=drawn["flops"] / drawn["traffic_floor_bytes"],
        rate=drawn["flops"] / drawn["time_ns"] * 1e9,
        area=np.interp(np.log(sizes), np.log([sizes.min(), sizes.max()]), _MARKER_AREAS),
    )
    distances = times_over_floor(drawn).droplevel("phase").sort_values(ascending=False)
    labels = {
        str(a): f"{shortened(names[str(a)], _LONGEST_NAME)}: "
        + ("floor unknown" if np.isnan(distance) else cell_ratio(distance))
        for a, distance in distances.items()
    }
    height = max(_PLOT[1], _LEGEND_LINE * (len(labels) + 5))
    bandwidths, peak = _bandwidths(drawn), drawn["peak_flops_per_s"].astype(float).median()
    page = Page(
        title,
        [
            _explanation(group.phase, len(bandwidths)),
            understatement(rows),
            omission(rows, drawn, _LACKING),
            caption,
        ],
        width=_LEFT + _PLOT[0] + 0.65 + max(1.7, 0.075 * max(map(len, labels.values()))),
        body=_TOP + height + _AXIS_LABELS,
    )
    axes = page.axes(_LEFT, _TOP, _PLOT[0], height)
    _scale(axes, drawn, bandwidths, peak)
    _draw_roofs(axes, bandwidths, peak, (_PLOT[0], height))
    looks = series_looks(names)
    handles = [
        _draw_points(axes, drawn[drawn["activation"] == a], looks[a], label)
        for a, label in labels.items()
    ]
    corner = page.axes(_LEFT + _PLOT[0] + 0.1, _TOP, 0.1, height)
    corner.set_axis_off()
    corner.legend(
        handles=handles,
        title="larger marks: larger inputs\n\ntime / least time\n(median over shapes)",
        title_fontsize=8.5,
        alignment="left",
        loc="upper left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0,
        frameon=False,
        fontsize=8.5,
        handlelength=1.2,
    )
    return page.figure


def _explanation(phase: str, slanted: int) -> str:
    training = (
        " FLOPs are those of the forward pass, bytes and time those of the whole step; the "
        "distance under a slanted roof is right all the same, as the FLOPs cancel."
    )
    of_which = (
        "; drawn for the smallest and the largest input. A point above the lower one is of a "
        "smaller input, whose own roof is higher."
        if slanted > 1
        else ", here the same for all."
    )
    return (
        "How to read: a point is a case. Its distance under its roof is how many times longer it "
        "takes than moving and computing alone; the least time beside it is never less than that "
        f"of the shortest call. Slanted roof{'s' * (slanted > 1)}: the bytes "
        "that must be moved, at the fastest rate measured for tensors of the output's size or "
        f"larger{of_which} Flat roof: the rate of this device's matrix product."
        + (training if phase == "training" else "")
    )


def _bandwidths(rows: pd.DataFrame) -> "pd.Series[float]":
    """Return the copying rate at the smallest and at the largest input that has one, by size."""
    rates = rows["bandwidth_bytes_per_s"].astype(float).groupby(rows["input_bytes"]).median()
    return rates.dropna().iloc[[0, -1]].drop_duplicates() if rates.notna().any() else rates[:0]


def _scale(axes: Axes, rows: pd.DataFrame, bandwidths: "pd.Series[float]", peak: float) -> None:
    ridges = (peak / bandwidths).dropna()
    right = max([rows["intensity"].max() * 2, *(ridges * 4)])
    first = min([rows["intensity"].min() / 1.4, *ridges])
    # Left of all points there is room for the labels of the slanted roofs.
    share = _ROOF_LABEL / _PLOT[0] if len(bandwidths) else 0.0
    left = first * (first / right) ** (share / (1 - share))
    bottom = min([rows["rate"].min() / 2, *(bandwidths * left / 3)])
    # fmin and nanmax pass over a peak that was not measured.
    top = np.nanmax([rows["rate"].max(), peak, *np.fmin(peak, bandwidths * right)]) * 2.5
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
    axes.set_xlabel("arithmetic intensity: FLOP per byte that must be moved")
    axes.set_ylabel("arithmetic rate (FLOP/s)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(EngFormatter())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.grid(which="major", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_roofs(
    axes: Axes, bandwidths: "pd.Series[float]", peak: float, inches: tuple[float, float]
) -> None:
    left, right = axes.get_xlim()
    if not np.isnan(peak):
        axes.plot(
            [min([right, *(peak / bandwidths)]), right],
            [peak, peak],
            color=INK,
            linewidth=1.2,
            label="peak",
        )
        axes.annotate(
            f"matrix product: {with_prefix(peak, 'FLOP/s')}",
            (right, peak),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            size=8,
        )
    slope = _slope(axes, inches)
    for size, rate in zip(bandwidths.index.astype(float), bandwidths, strict=True):
        ridge = np.fmin(peak / rate, right)
        axes.plot(
            [left, ridge], [left * rate, ridge * rate], color=INK, linewidth=1.2, label="roof"
        )
        # The faster one's label stands above its line and the slower one's below: never on both.
        above = rate == bandwidths.max()
        inputs = f"inputs of {with_prefix(size, 'B')}" if len(bandwidths) > 1 else "all inputs"
        axes.annotate(
            f"{inputs}: {with_prefix(rate, 'B/s')}",
            (left, left * rate),
            xytext=(4, 6) if above else (12, -4),
            textcoords="offset points",
            va="bottom" if above else "top",
            rotation=slope,
            rotation_mode="anchor",
            size=8,
        )


def _slope(axes: Axes, inches: tuple[float, float]) -> float:
    """Return the angle in degrees at which a bandwidth's roof rises on the page."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    across, up = inches[0] / np.log10(right / left), inches[1] / np.log10(high / low)
    return float(np.degrees(np.arctan2(up, across)))


def _draw_points(axes: Axes, rows: pd.DataFrame, look: dict[str, Any], label: str) -> Line2D:
    """Draw one activation's cases and return what stands for them in the legend."""
    axes.scatter(
        rows["intensity"],
        rows["rate"],
        s=rows["area"],
        facecolor=to_rgba(look["color"], 0.35),
        edgecolor=look["color"],
        marker=look["marker"],
        linewidth=1.0,
        label=label,
        zorder=3,
    )
    return Line2D([], [], color=look["color"], marker=look["marker"], linestyle="none", label=label)


FIGURE = LayerFigure(
    name="roofline",
    heading="Distance from the device’s limits",
    reading=(
        "A point is a case: the farther below its roof, the more time goes into something other "
        "than the bytes and FLOPs that are needed."
    ),
    shows=(
        "Arithmetic rate against arithmetic intensity of each case, under the device’s measured "
        "roofs"
    ),
    draw=roofline,
    by_phase=True,
)
