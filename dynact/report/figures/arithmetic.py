"""FLOPs per output element, by operator."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dynact.report.data.names import resolution, shortened
from dynact.report.data.omissions import (
    absence,
    complete,
    formulation,
    uncounted_operators,
    understatement,
)
from dynact.report.data.settings_groups import SettingsGroup, at_largest_input, input_elements
from dynact.report.figures.bars import THICKNESS, stacked_bars
from dynact.report.figures.declaration import LayerFigure
from dynact.report.figures.style import (
    INK,
    SERIES_COLOURS,
    Page,
    names_width,
    nothing_to_draw,
    styled,
    texts_width,
    write_beside,
)

# Lengths in inches.
_LINE = 0.34
_PANEL_TITLE = 0.1
_PLOT = 5.6
_AXIS_LABELS = 0.55
_LEGEND_LINE = 0.21
_LONGEST_NAME = 28

_OPERATORS = len(SERIES_COLOURS) - 1
_OWN = "the layer's one operator"
_OTHER = "other"
_OTHER_COLOUR = "#8a8a8a"
# The same arithmetic under several names.
_ALIASES = {"maximum": "max", "max_pool2d": "pooling", "avg_pool2d": "pooling"}
# A bar shorter than this share of the axis can no longer be read.
_READABLE = 1 / 20

_EXPLANATION = (
    "How to read: a bar is all arithmetic of one forward pass in eval mode, a multiply-add counted "
    "as two. The mark is fvcore's total, which counts it as one and leaves most element-wise "
    "operators out: which operators it falls on has no meaning."
)


@styled
def arithmetic(group: SettingsGroup, caption: str = "") -> Figure:
    """Draw the arithmetic of one forward pass, at the shape with the largest input.

    Parameters
    ----------
    group
        Rows of any phases.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        A bar for each activation, least arithmetic on top: FLOPs per output element, by operator,
        with a mark at what fvcore reports by default. Bars that dwarf the others run off the
        axis; their numbers stand beside them.
    """
    title = f"Where the arithmetic of each activation goes ({group.description})"
    counted = complete(group.rows, ["flops"])
    counted = counted[counted["flops_by_operator"].notna()]
    if counted.empty:
        return nothing_to_draw(title, group.rows, caption, "a count of FLOPs")

    rows = at_largest_input(group.rows, counted)
    counted = counted.loc[counted.index.intersection(rows.index)]
    # Both phases count the same forward pass.
    counted = counted.drop_duplicates("activation").set_index("activation")
    elements = input_elements(counted)
    parts, minor = _parts(counted, elements)
    totals = (counted["flops"] / elements).sort_values(kind="stable")
    fvcore = counted["flops_fvcore_default"].astype(float) / elements
    order = [*map(str, totals.index), *(a for a in group.names if a not in totals)]
    names = {a: shortened(n, _LONGEST_NAME) for a, n in group.names.items()}

    first = rows.iloc[0]
    title = (
        f"Where the arithmetic of each activation goes ({first['channels']} channels, "
        f"{resolution(first['height'], first['width'])}, {group.description})"
    )
    texts = _texts(rows, totals, fvcore, order)
    left = names_width(names.values())
    gutter = texts_width(texts)
    height = _LINE * len(order)
    # Three lines more for what "other" holds.
    legend_height = _LEGEND_LINE * (parts.any().sum() + 3 + 3)
    page = Page(
        title,
        [_EXPLANATION, formulation(rows), understatement(rows), caption],
        width=left + _PLOT + gutter + 2.1,
        body=_PANEL_TITLE + max(height + _AXIS_LABELS, legend_height),
    )
    axes = page.axes(left, _PANEL_TITLE, _PLOT, height)
    colours = [*SERIES_COLOURS[: len(parts.columns) - 1], _OTHER_COLOUR]
    bars = stacked_bars(axes, parts.reindex(order), colours)
    reach = _reach(totals)
    axes.set_xlim(0, 1.05 * reach)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.set_xlabel("FLOP / output element, one forward pass")
    axes.set_yticks(range(len(order)), [names[a] for a in order])
    _draw_breaks(axes, totals, reach)
    mark = _draw_fvcore(axes, fvcore.reindex(order), 1.05 * reach)
    write_beside(axes, texts)
    if minor:
        lines = textwrap.wrap(f"{_OTHER}: {', '.join(minor)}", 24, max_lines=3, placeholder=" …")
        bars[-1].set_label("\n".join(lines))
    corner = page.axes(left + _PLOT + gutter, _PANEL_TITLE, 0.1, legend_height)
    corner.set_axis_off()
    corner.legend(
        handles=[*(bar for bar, part in zip(bars, parts, strict=True) if parts[part].any()), mark],
        title="operator",
        alignment="left",
        loc="upper left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0,
        frameon=False,
        fontsize=8.5,
        title_fontsize=8.5,
    )
    return page.figure


def _parts(rows: pd.DataFrame, elements: "pd.Series[int]") -> tuple[pd.DataFrame, list[str]]:
    """Return FLOPs per element by activation and operator, and the minor ones taken together."""
    parts = pd.DataFrame(
        {a: _by_kind(counts) for a, counts in rows["flops_by_operator"].items()}
    ).T.fillna(0.0)
    # Element-wise layers have an operator each: one colour does for all of them.
    alone = (parts > 0).sum(axis="columns") == 1
    parts = parts.where(~alone, 0.0).assign(**{_OWN: parts.sum(axis="columns").where(alone, 0.0)})
    shares = parts.drop(columns=_OWN).div(parts.sum(axis="columns"), axis="index")
    # The largest part of a bar comes first, then what counts in most of them, then what counts
    # most.
    largest = shares.eq(shares.max(axis="columns"), axis="index") & (shares > 0)
    by_use = pd.DataFrame(
        {"leads": largest.any(), "bars": (shares > _READABLE).sum(), "share": shares.sum()}
    )
    by_use = by_use[by_use["share"] > 0]
    ranked = list(
        by_use.sort_values(["leads", "bars", "share"], ascending=False, kind="stable").index
    )
    major, minor = ranked[:_OPERATORS], ranked[_OPERATORS:]
    parts[_OTHER] = parts[minor].sum(axis="columns")
    return parts[[_OWN, *major, _OTHER]].div(elements, axis="index"), minor


def _by_kind(counts: dict[str, int]) -> dict[str, float]:
    """Return counts by operator with those of kindred operators added up."""
    parts: dict[str, float] = {}
    for operator, flops in counts.items():
        kind = _ALIASES.get(operator, operator)
        parts[kind] = parts.get(kind, 0.0) + flops
    return parts


def _reach(totals: "pd.Series[float]") -> float:
    """Return the largest bar beside which those of the next size can still be read."""
    sizes = totals.sort_values(ascending=False).to_list()
    for larger, next_one in zip(sizes, [*sizes[1:], None], strict=True):
        if next_one is None or next_one > larger * _READABLE:
            return larger or 1.0
    return 1.0


def _draw_breaks(axes: Axes, totals: "pd.Series[float]", reach: float) -> None:
    """Mark the bars that run off the axis."""
    for line, total in enumerate(totals):
        if total > reach:
            axes.annotate(
                "≫",
                (1.0, line),
                xytext=(-6, 0),
                xycoords=axes.get_yaxis_transform(),
                textcoords="offset points",
                ha="right",
                va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )


def _draw_fvcore(axes: Axes, fvcore: "pd.Series[float]", end: float) -> Line2D:
    """Mark what fvcore reports, and return what stands for the mark in the legend."""
    lines = np.arange(len(fvcore))
    inside = np.minimum(fvcore, end)
    half = THICKNESS / 2 + 0.1
    axes.vlines(inside, lines - half, lines + half, color="white", linewidth=4, zorder=3)
    axes.vlines(inside, lines - half, lines + half, color=INK, linewidth=2, zorder=4, clip_on=False)
    return Line2D(
        [], [], color=INK, linewidth=2, marker="|", markersize=9, markeredgewidth=2,
        linestyle="none", label="what fvcore reports\nby default",
    )  # fmt: skip


def _texts(
    rows: pd.DataFrame, totals: "pd.Series[float]", fvcore: "pd.Series[float]", order: list[str]
) -> list[str]:
    """Return what stands beside each bar: all FLOPs and fvcore's, or why there are none."""
    lacking = uncounted_operators(rows)
    texts = []
    for activation in order:
        if activation not in totals:
            texts.append(absence(rows, activation))
            continue
        text = "≥ " * (activation in lacking) + _flops(totals[activation])
        if not np.isnan(fvcore[activation]):
            text += f" (fvcore: {_flops(fvcore[activation])})"
        texts.append(text)
    return texts


def _flops(per_element: float) -> str:
    """Return FLOPs per element as short as can be: 0, 0.003, 6.1, 21, 2,050."""
    if per_element >= 9.95:
        return f"{per_element:,.0f}"
    return f"{per_element:.1f}" if per_element >= 0.05 else f"{per_element:.1g}"


FIGURE = LayerFigure(
    name="arithmetic",
    heading="Where the arithmetic goes",
    reading=(
        "A bar is all FLOPs for one output element by operator; the black mark is what fvcore "
        "reports by default."
    ),
    shows="Stacked bars of the FLOPs of each activation, by operator",
    draw=arithmetic,
)
