"""What papers say an activation gains, against what it was measured to cost."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynact.networks.published import PAPERS_IMAGE_SIZE, PUBLISHED, SOURCES, Published, Source
from dynact.report.data.digits import one_visit_note, range_note
from dynact.report.data.names import display_name, resolution
from dynact.report.data.network_frames import labelled, mark_note, network_name, setting
from dynact.report.data.omissions import complete
from dynact.report.figures.declaration import NetworkFigure
from dynact.report.figures.style import (
    INK,
    SERIES_COLOURS,
    Page,
    ratio_axis,
    styled,
)
from dynact.report.run import Run
from dynact.schema.digits import measured_ratio

# Lengths in inches.
_PLOT = 2.9
_BESIDE = 3.05
_LEFT = 0.75
_LABEL_LINE = 0.19
_LEAST_HEIGHT = 1.9
_PANEL_TITLE = 0.36
_AXIS_LABELS = 0.8
_LEGEND_LINE = 0.2

# Over a narrow axis 1-2-5 leaves too few marks.
_NARROW = 5
_FINE_MARKS = (0.6, 0.8, 1, 1.2, 1.5, 2, 2.5, 3, 4)

_PAPERS_IMAGES = resolution(PAPERS_IMAGE_SIZE, PAPERS_IMAGE_SIZE)

_COLOURS = dict(zip(SOURCES, SERIES_COLOURS, strict=False))
_NUMBERS = {source: i for i, source in enumerate(SOURCES, 1)}
_EXPLANATION = (
    "How to read: a line runs from the original network (1×, the paper's own baseline) to the "
    "overhead measured here, with its 95 % interval, and the accuracy the paper reports; up is "
    "better, right is dearer. Accuracy is top-1 on ImageNet, 100 − the error at the source, of "
    "the papers' own training; nothing was trained here. SiLU is what the papers call Swish."
)
_RESNET = (
    "Torchvision's ResNet puts the stride of a stage in the 3×3 convolution where the papers' has "
    "it in the first 1×1: the activation between the two works on a map of twice the height and "
    "width there, one after the 3×3 on the same."
)


@dataclass(frozen=True)
class _Point:
    """A published accuracy that has a measured overhead."""

    published: Published
    overhead: float
    low: float
    high: float
    mark: str


def has_published(run: Run) -> bool:
    """Return whether a published accuracy has an overhead, placed as in its paper."""
    return bool(_measured(run.networks)[1])


@styled
def tradeoff(run: Run, caption: str = "") -> Figure:
    """Draw published accuracy against measured overhead.

    Parameters
    ----------
    run
        One with such networks, see `has_published`.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        A panel for each network that has both, and each phase: a line from the original network
        for each published activation, whose placement is the paper's. The notes list what has
        only one of both.
    """
    networks = run.networks
    rows, points = _measured(networks)
    drawn = [point for group in points.values() for point in group]
    phases = sorted({phase for _, phase in points})
    subjects = [s for s in rows["subject"].unique() if any((s, p) in points for p in phases)]
    heights = {
        s: max(_LEAST_HEIGHT, _LABEL_LINE * (2 + max(len(points.get((s, p), [])) for p in phases)))
        for s in subjects
    }
    sources = [s for s in SOURCES if any(point.published.source == s for point in drawn)]
    legend = _LEGEND_LINE * len(sources) + 0.1
    page = Page(
        "What papers say is gained, and what it costs here",
        [_EXPLANATION, *_notes(networks, rows, drawn), caption],
        width=_LEFT + len(phases) * (_PLOT + _BESIDE) + 0.1,
        body=legend + sum(heights.values()) + len(subjects) * (_PANEL_TITLE + _AXIS_LABELS),
    )
    top = legend
    for subject in subjects:
        accuracies = [
            accuracy
            for phase in phases
            for p in points.get((subject, phase), [])
            for accuracy in (p.published.top1, p.published.baseline_top1)
        ]
        for i, phase in enumerate(phases):
            axes = page.axes(
                _LEFT + i * (_PLOT + _BESIDE), top + _PANEL_TITLE, _PLOT, heights[subject]
            )
            here = points.get((subject, phase), [])
            axes.set_title(f"{subject}, {phase}", size=10, weight="bold", pad=5, loc="left")
            _scale(axes, here, min(accuracies), max(accuracies))
            if i == 0:
                axes.set_ylabel(f"published top-1 at {_PAPERS_IMAGES} (%)")
            mine = rows[rows["subject"] == subject]
            axes.set_xlabel(
                "measured time / original network's (log scale)\n"
                f"{setting(mine)}, {mine['device'].iloc[0]}"
            )
            for point in here:
                _draw_point(axes, point)
            _write_labels(axes, here, heights[subject])
        top += heights[subject] + _PANEL_TITLE + _AXIS_LABELS
    _draw_legend(page.axes(0.15, 0, 0.1, legend), sources)
    return page.figure


def _measured(networks: pd.DataFrame) -> tuple[pd.DataFrame, dict[tuple[str, str], list[_Point]]]:
    """Return the rows with an overhead, and by subject and phase what is published of them."""
    rows = labelled(complete(networks, ("overhead",)))
    points = {
        (str(part["subject"].iloc[0]), str(part["phase"].iloc[0])): found
        for _, part in rows.groupby(["subject", "phase"])
        if (found := _points(part))
    }
    return rows, points


def _points(rows: pd.DataFrame) -> list[_Point]:
    """Return what is published of one network's rows of one phase, least accurate first."""
    found = []
    for published in PUBLISHED:
        mine = rows[
            (rows["network"] == published.network)
            & (rows["activation"] == published.activation)
            & rows["placement"].isin(published.placements)
            & (rows["replaced"] == "")
        ]
        if len(mine):
            row = mine.iloc[0]
            ratio, low, high = row[["overhead", "overhead_lo", "overhead_hi"]].astype(float)
            found.append(_Point(published, ratio, low, high, row["mark"]))
    return sorted(found, key=lambda p: (p.published.top1, p.overhead))


def _scale(axes: Axes, points: list[_Point], lowest: float, highest: float) -> None:
    # Of one visit there are no ends.
    slowest = np.nanmax([2.0, *(end for p in points for end in (p.overhead, p.high))])
    quickest = np.nanmin([1.0, *(end for p in points for end in (p.overhead, p.low))])
    spread = slowest / quickest
    low, high = quickest / spread**0.08, slowest * spread**0.08
    margin = 0.12 * (highest - lowest)
    axes.set(xscale="log", xlim=(low, high), ylim=(lowest - margin, highest + margin))
    ratio_axis(axes.xaxis, low, high)
    if high < _NARROW * low:
        marks = [mark for mark in _FINE_MARKS if low <= mark <= high]
        axes.set_xticks(marks, [f"{mark:g}×" for mark in marks])
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axvline(1.0, color=INK, linewidth=0.8, zorder=1)


def _draw_point(axes: Axes, point: _Point) -> None:
    published, colour = point.published, _COLOURS[point.published.source]
    axes.plot(
        [1.0, point.overhead], [published.baseline_top1, published.top1], color=colour,
        linewidth=1.1, alpha=0.75, zorder=2, label="gain",
    )  # fmt: skip
    axes.plot(
        1.0, published.baseline_top1, marker="s", markersize=5, color="white",
        markeredgecolor=colour, markeredgewidth=1.2, zorder=3, label="original",
    )  # fmt: skip
    axes.plot([point.low, point.high], [published.top1] * 2, color=INK, linewidth=1.6, zorder=4)
    axes.plot(
        point.overhead, published.top1, marker="o", markersize=6, color=colour,
        markeredgecolor=INK, markeredgewidth=0.7, zorder=5, label="activation",
    )  # fmt: skip


def _write_labels(axes: Axes, points: list[_Point], height: float) -> None:
    """Name the points beside the plot, at their height as far as they keep clear."""
    bottom, top = axes.get_ylim()
    per_inch = (top - bottom) / height
    heights = [point.published.top1 for point in points]
    # Up where one would touch the one below, then down from the top edge.
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + _LABEL_LINE * per_inch)
    limit = top
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], limit)
        limit = heights[i] - _LABEL_LINE * per_inch
    for point, at in zip(points, heights, strict=True):
        published = point.published
        gain = published.top1 - published.baseline_top1
        axes.annotate(
            f"{display_name(published.activation)} {published.top1:.1f} ({gain:+.1f}), "
            f"{measured_ratio(point.overhead, point.low, point.high)}{point.mark} "
            f"[{_NUMBERS[published.source]}]",
            (1.0, at), xytext=(12, 0), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", size=8, va="center", color=_COLOURS[published.source],
        )  # fmt: skip
        axes.annotate(
            "", (point.overhead, published.top1), xytext=(1.03, at),
            textcoords=axes.get_yaxis_transform(), annotation_clip=False, zorder=1.5,
            arrowprops={"arrowstyle": "-", "color": "#b4b4b4", "linewidth": 0.6, "shrinkB": 4},
        )  # fmt: skip


def _draw_legend(corner: Axes, sources: list[Source]) -> None:
    handles = [
        Line2D(
            [], [], color=_COLOURS[source], marker="o", linewidth=1.1,
            label=f"[{_NUMBERS[source]}] {source.title}: {source.where}",
        )
        for source in sources
    ]  # fmt: skip
    corner.set_axis_off()
    corner.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0, 1), borderaxespad=0, frameon=False,
        fontsize=8, handlelength=1.6,
    )  # fmt: skip


def _notes(networks: pd.DataFrame, rows: pd.DataFrame, points: list[_Point]) -> list[str]:
    drawn = {point.published for point in points}
    marks = [point.mark for point in points]
    shown = pd.DataFrame({"overhead_lo": p.low, "overhead_hi": p.high} for p in points)
    sizes = sorted(
        rows.loc[rows["network"].isin([p.network for p in drawn]), "image_size"].unique()
    )
    other = [images for s in sizes if (images := resolution(s, s)) != _PAPERS_IMAGES]
    remarks: dict[str, dict[str, None]] = {}
    for p in PUBLISHED:
        if p in drawn and p.notes:
            remarks.setdefault(display_name(p.activation), {}).update(dict.fromkeys(p.notes))
    resnets = any(p.network.startswith("resnet") for p in drawn)
    return [
        f"Accuracies are of images of {_PAPERS_IMAGES}, overheads of {' and '.join(other)}: where "
        "they were measured is below each panel, and a ratio there need not be that of "
        f"{_PAPERS_IMAGES}."
        if other
        else "",
        " ".join(f"{name}: {'; '.join(notes)}." for name, notes in remarks.items()),
        _RESNET if resnets else "",
        range_note(shown),
        one_visit_note(shown, "network"),
        mark_note(pd.Series(marks)),
        _elsewhere(rows),
        _unmeasured(networks, drawn),
        _unpublished(networks),
    ]


def _elsewhere(rows: pd.DataFrame) -> str:
    """Name what was measured at other places than the paper's."""
    columns = ("network", "activation", "placement", "replaced")
    measured = set(zip(*(rows[column] for column in columns), strict=True))
    names = dict.fromkeys(
        f"{display_name(p.activation)} in {network_name(p.network)}"
        for p in PUBLISHED
        for network, activation, placement, replaced in measured
        if (network, activation) == (p.network, p.activation)
        and (placement not in p.placements or replaced)
    )
    return (
        "Measured at other places than where the paper has it, and not drawn so: "
        f"{', '.join(names)}."
        if names
        else ""
    )


def _unmeasured(networks: pd.DataFrame, drawn: set[Published]) -> str:
    ok = networks[networks["status"] == "ok"]
    pairs = set(zip(ok["network"], ok["activation"], strict=True))
    missing: dict[str, list[str]] = {}
    for p in PUBLISHED:
        if p not in drawn and (p.network, p.activation) not in pairs:
            names = missing.setdefault(network_name(p.network), [])
            names.extend([display_name(p.activation)] * (display_name(p.activation) not in names))
    parts = [f"{network} ({', '.join(names)})" for network, names in missing.items()]
    return f"Published, not measured in this run: {', '.join(parts)}." if parts else ""


def _unpublished(networks: pd.DataFrame) -> str:
    known = {p.network for p in PUBLISHED}
    names = [network_name(n) for n in networks["network"].unique() if n not in known]
    return f"Measured, without a published figure here: {', '.join(names)}." if names else ""


FIGURE = NetworkFigure(
    name="tradeoff",
    heading="What papers say is gained, and what it costs here",
    reading=(
        "Up is better, right is dearer: from the original network to the published accuracy at "
        "the overhead measured here."
    ),
    shows="Published accuracy against measured overhead, a line for each activation",
    draw=tradeoff,
    is_there=has_published,
)
