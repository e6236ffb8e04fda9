"""What counting promises against what the clock says."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dynact.report.aggregate import cost_ratios, geometric_means
from dynact.report.missing import omission
from dynact.report.names import cell_ratio, display_name, display_names, shortened
from dynact.report.slices import describe
from dynact.report.style import INK, PHASE_COLOURS, QUIET, Page, nothing_to_draw, ratio_axis, styled

# Lengths in inches.
_LINE = 0.44
_LEGEND = 0.3
_COLUMN_HEADS = 0.42
_PLOT = 5.6
_COLUMN = 0.68
_AXIS_LABELS = 0.55
_LONGEST_NAME = 28

# Where marks stand, in lines below a line's middle: those in the band, and the second phase's.
_IN_BAND = -0.12
_BELOW_BAND = 0.24

_GAP_COLOUR = "#fbd5c5"
# What is cheaper than this is drawn at the left edge, with its number.
_LEFT_EDGE = 0.3
# Below this, arithmetic foretells the time well enough to be no finding.
_FINDING = 2.0


@dataclass(frozen=True)
class _Kind:
    """One of the figures compared: a marker on each line and a column beside the plot."""

    label: str
    head: str
    marker: str
    colour: str
    filled: bool


_KINDS = {
    "flops_fvcore_default": _Kind(
        "FLOPs, fvcore's default", "FLOPs\nfvcore", "o", QUIET, filled=False
    ),
    "flops": _Kind("FLOPs, all", "FLOPs\nall", "D", INK, filled=False),
    "traffic_eager_bytes": _Kind("bytes moved", "bytes\nmoved", "s", "#009e73", filled=False),
    "inference": _Kind(
        "time, inference", "time\ninference", "o", PHASE_COLOURS["inference"], filled=True
    ),
    "training": _Kind(
        "time, training", "time\ntraining", "^", PHASE_COLOURS["training"], filled=True
    ),
}
_COUNTS = ("flops_fvcore_default", "flops", "traffic_eager_bytes")


@styled
def promise(rows: pd.DataFrame, caption: str = "") -> Figure:
    """Draw what FLOPs and bytes promise beside the measured time, as multiples of the baseline.

    Parameters
    ----------
    rows
        Rows of one slice, any phases.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        A line for each activation, fastest in the first phase on top: geometric means over the
        shapes, single shapes' times as a thin range, a band from the arithmetic to the time. The
        title states the widest such gap.
    """
    baseline = shortened(display_name(rows["baseline"].iloc[0]), 20)
    phases = sorted(rows["phase"].unique())
    means = geometric_means(rows)
    counts = cost_ratios(rows)
    where = describe(rows)
    neutral = f"What counting promises and what the clock says, against {baseline} ({where})"
    # True too where there is no ok row.
    if counts[list(_COUNTS)].isna().all(axis=None):
        return nothing_to_draw(neutral, rows, caption, "a count of arithmetic or bytes")

    failures = omission(rows, rows[rows["status"] == "ok"], "")
    # Forward counts stand against the first phase's clock.
    first = phases[0]
    order = list(dict.fromkeys(means.index.get_level_values("activation")))
    table = pd.DataFrame(index=order)
    for count in _COUNTS:
        table[count] = counts.xs(first, level="phase")[count] if first in counts.index else np.nan
    for phase in phases:
        table[phase] = means.loc[phase]["overhead"]
    table["gap"] = table[first] / table["flops"].replace(0.0, np.nan)
    names = {a: shortened(n, _LONGEST_NAME) for a, n in display_names(order).items()}
    offsets = {k: _BELOW_BAND if k in phases[1:] else _IN_BAND for k in _KINDS}
    kinds = {k: kind for k, kind in _KINDS.items() if k in table}

    left = 0.45 + 0.085 * max(map(len, names.values()))
    beside = _COLUMN * (len(kinds) + 1)
    height = _LINE * len(order)
    top = _LEGEND + _COLUMN_HEADS
    page = Page(
        _title(table, names, baseline, f"{first}, {where}") or neutral,
        [_explanation(first, baseline), _lacking(table, first, names), failures, caption],
        width=left + _PLOT + beside + 0.25,
        body=top + height + _AXIS_LABELS,
    )
    axes = page.axes(left, top, _PLOT, height)
    _scale(axes, table[list(kinds)], means)
    axes.set_xlabel(f"multiple of {baseline}'s (log scale)")
    axes.set_yticks(range(len(order)), [names[a] for a in order])
    _draw_gaps(axes, table, first)
    for phase in phases:
        _draw_range(axes, means.loc[phase].reindex(order), offsets[phase], _KINDS[phase].colour)
    marks = [_draw_kind(axes, table[name], offsets[name], kind) for name, kind in kinds.items()]
    _write_below(axes, table[list(_COUNTS)])
    _write_columns(axes, table, kinds)
    _draw_legend(page.axes(0.15, 0, 0.1, _LEGEND), marks)
    return page.figure


def _title(table: pd.DataFrame, names: dict[str, str], baseline: str, where: str) -> str:
    """Return the widest gap between arithmetic and time as a sentence, if it is a finding."""
    gaps = table["gap"].dropna()
    if gaps.empty or gaps.max() < _FINDING:
        return ""
    activation = str(gaps.idxmax())
    widest = table.astype(float).to_dict("index")[activation]
    return (
        f"{names[activation]}: {cell_ratio(widest['flops'])} the arithmetic of {baseline}, "
        f"{cell_ratio(widest['gap'] * widest['flops'])} the time ({where})"
    )


def _explanation(first: str, baseline: str) -> str:
    return (
        f"How to read: every mark is a multiple of {baseline}'s, geometric mean over the shapes; "
        "thin lines are the range of single shapes' times; what is too small for the axis stands "
        f"at its left end. The band reaches from all arithmetic to the time in {first}; the last "
        "column is their ratio. FLOPs are of one forward pass, a multiply-add counted as two; "
        "fvcore counts it as one and leaves most element-wise operators out. Bytes: what the plain "
        f"formulation reads and writes in {first}, operator by operator."
    )


def _lacking(table: pd.DataFrame, first: str, names: dict[str, str]) -> str:
    """Name the activations whose counts are missing though their time is there."""
    uncounted = table[list(_COUNTS)].isna().any(axis="columns") & table[first].notna()
    lacking = [names[str(a)] for a in table.index[uncounted]]
    return f"Not counted: {', '.join(lacking)}." if lacking else ""


def _scale(axes: Axes, table: pd.DataFrame, means: pd.DataFrame) -> None:
    shown = [*table.to_numpy().ravel(), *means["smallest"], *means["largest"]]
    inside = [value for value in shown if value >= _LEFT_EDGE]
    low, high = min([_LEFT_EDGE, *inside]), max([2.0, *inside]) * 1.25
    axes.set(xscale="log", xlim=(low, high), ylim=(len(table) - 0.5, -0.5))
    ratio_axis(axes.xaxis, low * 1.2, high)
    axes.tick_params(axis="y", length=0, pad=10)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axvline(1.0, color=INK, linewidth=0.9, zorder=1)
    for line in range(0, len(table), 2):
        axes.axhspan(line - 0.5, line + 0.5, color="#f6f6f6", zorder=0)


def _draw_gaps(axes: Axes, table: pd.DataFrame, phase: str) -> None:
    """Shade what the clock adds to the arithmetic."""
    known = (table["gap"] > 1).to_numpy()
    lines = np.flatnonzero(known)
    starts, ends = table["flops"][known], table[phase][known]
    axes.barh(
        lines + _IN_BAND,
        ends - starts,
        0.42,
        left=np.maximum(starts, axes.get_xlim()[0]),
        color=_GAP_COLOUR,
        zorder=1.5,
    )


def _draw_range(axes: Axes, means: pd.DataFrame, offset: float, colour: str) -> None:
    lines = np.arange(len(means)) + offset
    axes.hlines(lines, means["smallest"], means["largest"], color=colour, linewidth=0.9)


def _draw_kind(axes: Axes, ratios: "pd.Series[float]", offset: float, kind: _Kind) -> Line2D:
    lines = np.arange(len(ratios)) + offset
    (marks,) = axes.plot(
        ratios.clip(lower=axes.get_xlim()[0]),
        lines,
        linestyle="none",
        marker=kind.marker,
        markersize=6.5,
        color=kind.colour,
        markerfacecolor=kind.colour if kind.filled else "white",
        markeredgewidth=1.3,
        clip_on=False,
        zorder=4,
        label=kind.label,
    )
    return marks


def _write_below(axes: Axes, table: pd.DataFrame) -> None:
    """Write beside the left edge what stands there for being too small for the axis."""
    edge = axes.get_xlim()[0]
    for line, ratios in enumerate(table.to_numpy()):
        texts = ["0" if ratio == 0 else f"{ratio:.1g}" for ratio in ratios if ratio < edge]
        axes.annotate(
            ", ".join(dict.fromkeys(texts)),
            (edge, line + _IN_BAND),
            xytext=(7, 0),
            textcoords="offset points",
            size=7.5,
            va="center",
            color=QUIET,
        )


def _write_columns(axes: Axes, table: pd.DataFrame, kinds: dict[str, _Kind]) -> None:
    """Write the numbers beside the plot, in the colours of their marks."""
    heads = {name: (kind.head, kind.colour) for name, kind in kinds.items()}
    heads["gap"] = ("time /\nFLOPs", INK)
    for i, (name, (head, colour)) in enumerate(heads.items()):
        at = 1 + (0.62 + i) * _COLUMN / _PLOT
        weight = "bold" if name == "gap" else "normal"
        look: dict[str, Any] = {"ha": "center", "color": colour, "weight": weight, "size": 8.5}
        axes.text(at, 1.0, head, va="bottom", transform=axes.transAxes, **look)
        for line, ratio in enumerate(table[name]):
            text = "–" if np.isnan(ratio) else "0" if ratio == 0 else cell_ratio(ratio)
            axes.text(at, line, text, va="center", transform=axes.get_yaxis_transform(), **look)


def _draw_legend(corner: Axes, marks: list[Line2D]) -> None:
    gap = Patch(color=_GAP_COLOUR, label="time beyond what FLOPs promise")
    corner.set_axis_off()
    corner.legend(
        handles=[*marks, gap],
        loc="upper left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0,
        frameon=False,
        fontsize=8.5,
        ncols=len(marks) + 1,
        handletextpad=0.4,
        columnspacing=1.4,
    )
