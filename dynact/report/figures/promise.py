"""What counting promises against what the clock says."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dynact.report.data.aggregate import times_over_arithmetic
from dynact.report.data.digits import measured_ratios, range_note
from dynact.report.data.names import cell_ratio, count_range, shortened
from dynact.report.data.omissions import (
    complete,
    formulation,
    omission,
    shows_operators,
    uncounted_operators,
    understatement,
    unwatched,
)
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.figures.declaration import LayerFigure
from dynact.report.figures.style import (
    INK,
    PHASE_COLOURS,
    QUIET,
    Page,
    names_width,
    nothing_to_draw,
    ratio_axis,
    styled,
)
from dynact.schema.digits import NO_FIGURE, measured_ratio

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
# Counts below this, and below every time, stand in a strip at the left end, with their numbers.
_LEFT_EDGE = 0.3
_PINNED_MARK = 0.17  # inches
_PINNED_CHARACTER = 0.065
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
_OF_ARITHMETIC = ("flops_fvcore_default", "flops", "baseline_flops")
_OF_OPERATORS = ("traffic_eager_bytes", "operator_calls", "baseline_traffic_eager_bytes")


@styled
def promise(group: SettingsGroup, caption: str = "") -> Figure:
    """Draw what FLOPs and bytes promise beside the measured time, as multiples of the baseline.

    Parameters
    ----------
    group
        Rows of any phases.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        A line for each activation, fastest in the first phase on top: geometric means over the
        shapes, single shapes' times as a thin range, a band from the arithmetic to the time,
        numbers beside. The title states the widest such gap.
    """
    rows, phases, means, counts = group.rows, group.phases, group.means, group.cost_ratios
    baseline = shortened(group.baseline, 20)
    neutral = (
        f"What counting promises and what the clock says, against {baseline} ({group.description})"
    )
    # True too where there is no ok row.
    if counts[list(_COUNTS)].isna().all(axis=None):
        return nothing_to_draw(neutral, rows, caption, "a count of arithmetic or bytes")

    counted = counts[list(_COUNTS)].notna().any(axis="columns")
    # Counts stand against the clock of one phase: the first that has any.
    first = str(counts.index[counted].unique("phase")[0])
    ok = group.of_phase(first).ok
    order = list(dict.fromkeys([*group.means_of(first).index, *group.ranked]))
    gaps = times_over_arithmetic(rows).reindex([(first, a) for a in order]).droplevel("phase")
    table = pd.DataFrame(counts.loc[first], index=order, columns=list(_COUNTS))
    times = {phase: group.means_of(phase).reindex(order) for phase in phases}
    for phase in phases:
        table[phase] = times[phase]["overhead"]
    # Beyond arithmetic that is not all counted, no gap is known.
    lacking = uncounted_operators(ok)
    table["gap"] = gaps["ratio"].mask(gaps.index.isin(list(lacking)))
    # Counts are exact: what is not is the time.
    of_time = times[first][["overhead_lo", "overhead_hi"]].div(times[first]["overhead"], axis=0)
    names = {a: shortened(n, _LONGEST_NAME) for a, n in group.names.items()}
    offsets = {k: _BELOW_BAND if k in phases and k != first else _IN_BAND for k in _KINDS}
    kinds = {k: kind for k, kind in _KINDS.items() if k in table}

    left = 0.1 + names_width(names.values())
    beside = _COLUMN * (len(kinds) + 2)
    height = _LINE * len(order)
    top = _LEGEND + _COLUMN_HEADS
    notes = [
        _explanation(first, baseline),
        range_note(means),
        group.fewer_shapes,
        formulation(rows),
        understatement(ok),
        unwatched(rows),
        omission(rows, _counted(rows), "all counts, but for their times"),
        caption,
    ]
    page = Page(
        _title(group, table, of_time, gaps["shapes"], first) or neutral,
        notes,
        width=left + _PLOT + beside + 0.25,
        body=top + height + _AXIS_LABELS,
    )
    axes = page.axes(left, top, _PLOT, height)
    edge = min(_LEFT_EDGE, 0.9 * means["smallest"].min())
    pinned = _pinned(table[list(_COUNTS)], edge)
    _scale(axes, table[list(kinds)], means, edge, pinned)
    axes.set_xlabel(f"multiple of {baseline}'s (log scale)")
    axes.set_yticks(range(len(order)), [names[a] for a in order])
    _draw_gaps(axes, table, edge)
    for phase in phases:
        _draw_range(axes, times[phase], offsets[phase], _KINDS[phase].colour)
    places = _places(axes, table[list(kinds)], edge)
    marks = [_draw_kind(axes, places[name], offsets[name], kind) for name, kind in kinds.items()]
    texts = _texts(table, kinds, ok, list(lacking))
    texts |= {phase: measured_ratios(times[phase]) for phase in phases}
    texts["gap"] = [
        measured_ratio(gap, gap * low, gap * high)
        for gap, low, high in table[["gap"]].join(of_time).itertuples(index=False)
    ]
    _write_columns(axes, texts, first)
    _draw_legend(page.axes(0.15, 0, 0.1, _LEGEND), marks)
    return page.figure


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have all counts that there can be of their implementation."""
    counted = complete(rows, _OF_ARITHMETIC)
    full = complete(counted, _OF_OPERATORS)
    return counted[counted.index.isin(full.index) | ~shows_operators(counted)]


def _title(
    group: SettingsGroup,
    table: pd.DataFrame,
    of_time: pd.DataFrame,
    shapes: "pd.Series[float]",
    first: str,
) -> str:
    """Return the widest gap between arithmetic and time as a sentence, if it is a finding."""
    gaps = table["gap"].dropna()
    if gaps.empty or gaps.max() < _FINDING:
        return ""
    activation = str(gaps.idxmax())
    flops = table["flops"][activation]
    time = gaps.max() * flops
    low, high = time * of_time.loc[activation]
    name = shortened(group.names[activation], _LONGEST_NAME)
    baseline = shortened(group.baseline, 20)
    forward = "" if first == "inference" else "forward "
    mean = f"mean of {shapes[activation]:.0f} shapes" if shapes[activation] > 1 else "one shape"
    return (
        f"{name}: {cell_ratio(flops)} the {forward}arithmetic of {baseline}, "
        f"{measured_ratio(time, low, high)} the time ({mean}, {group.of_phase(first).description})"
    )


def _explanation(first: str, baseline: str) -> str:
    return (
        f"How to read: every mark is a multiple of {baseline}'s, geometric mean over the shapes; "
        "thin lines are the range of single shapes' times; counts too small for the axis stand in "
        f"a strip at its left end. The band reaches from all arithmetic to the time in {first}; "
        "the last column is their ratio, over the shapes that have both. FLOPs are of one forward "
        "pass, a multiply-add counted as two; fvcore counts it as one and leaves most element-wise "
        "operators out. Bytes and operator calls: what the plain formulation reads and writes in "
        f"{first}, operator by operator, and how many of them it starts, from the least to the "
        "most over the shapes."
    )


def _pinned(counts: pd.DataFrame, edge: float) -> list[list[str]]:
    """Return for each line, in words, what is too small for the axis."""
    return [
        ["0" if ratio == 0 else f"{ratio:.1g}" for ratio in ratios if ratio < edge]
        for ratios in counts.to_numpy()
    ]


def _scale(
    axes: Axes, table: pd.DataFrame, means: pd.DataFrame, edge: float, pinned: list[list[str]]
) -> None:
    """Set up the axis and, left of ``edge`` and where needed, a strip for what is too small."""
    high = 1.25 * np.nanmax([2.0, *table.to_numpy().ravel(), *means["largest"]])
    strip = (
        max(
            _PINNED_MARK * (len(texts) + 1) + _PINNED_CHARACTER * len(", ".join(texts))
            for texts in pinned
        )
        if any(pinned)
        else 0.0
    )
    share = strip / _PLOT
    low = edge * (edge / high) ** (share / (1 - share))
    axes.set(xscale="log", xlim=(low, high), ylim=(len(table) - 0.5, -0.5))
    ratio_axis(axes.xaxis, edge * 1.3, high)
    axes.tick_params(axis="y", length=0, pad=10)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axvline(1.0, color=INK, linewidth=0.9, zorder=1)
    for line in range(0, len(table), 2):
        axes.axhspan(line - 0.5, line + 0.5, color="#f6f6f6", zorder=0)
    if strip:
        axes.axvline(edge, color=QUIET, linewidth=0.7, linestyle=":", zorder=1)
        axes.annotate(
            f"< {edge:.2g}×",
            (edge, 0),
            xytext=(-3, -6),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="right",
            va="top",
            color=QUIET,
        )
    for line, texts in enumerate(pinned):
        axes.annotate(
            ", ".join(texts),
            (low, line + _IN_BAND),
            xytext=((len(texts) + 0.6) * _PINNED_MARK * 72, 0),
            textcoords="offset points",
            size=7.5,
            va="center",
            color=QUIET,
        )


def _places(axes: Axes, table: pd.DataFrame, edge: float) -> pd.DataFrame:
    """Return where the marks stand: those too small for the axis side by side at its left end."""
    low, high = axes.get_xlim()
    step = (high / low) ** (_PINNED_MARK / _PLOT)
    small = table < edge
    return table.mask(small, low * step ** small.cumsum(axis="columns"))


def _draw_gaps(axes: Axes, table: pd.DataFrame, edge: float) -> None:
    """Shade what the clock adds to the arithmetic, at the shapes that have both."""
    known = (table["gap"] > 1).to_numpy()
    starts = table["flops"][known].clip(lower=edge)
    ends = (table["flops"] * table["gap"])[known]
    axes.barh(
        np.flatnonzero(known) + _IN_BAND,
        ends - starts,
        0.42,
        left=starts,
        color=_GAP_COLOUR,
        zorder=1.5,
    )


def _draw_range(axes: Axes, means: pd.DataFrame, offset: float, colour: str) -> None:
    lines = np.arange(len(means)) + offset
    axes.hlines(lines, means["smallest"], means["largest"], color=colour, linewidth=0.9)


def _draw_kind(axes: Axes, ratios: "pd.Series[float]", offset: float, kind: _Kind) -> Line2D:
    lines = np.arange(len(ratios)) + offset
    (marks,) = axes.plot(
        ratios,
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


def _texts(
    table: pd.DataFrame, kinds: dict[str, _Kind], ok: pd.DataFrame, lacking: list[str]
) -> dict[str, list[str]]:
    """Return the columns beside the plot, from left to right."""
    texts = {name: list(map(_number, table[name])) for name in (*kinds, "gap")}
    texts["flops"] = [
        "≥ " * (a in lacking) + text for a, text in zip(table.index, texts["flops"], strict=True)
    ]
    calls = [count_range(ok["operator_calls"][ok["activation"] == a]) for a in table.index]
    return {name: texts[name] for name in _COUNTS} | {"operator_calls": calls} | texts


def _number(ratio: float) -> str:
    if np.isnan(ratio):
        return NO_FIGURE
    return cell_ratio(ratio) if ratio else "0"


def _write_columns(axes: Axes, texts: dict[str, list[str]], first: str) -> None:
    """Write the numbers beside the plot, in the colours of their marks."""
    heads = {name: (kind.head, kind.colour) for name, kind in _KINDS.items()}
    heads |= {"operator_calls": ("operator\ncalls", INK), "gap": (f"{first} /\nFLOPs", INK)}
    for i, (name, column) in enumerate(texts.items()):
        at = 1 + (0.62 + i) * _COLUMN / _PLOT
        head, colour = heads[name]
        weight = "bold" if name == "gap" else "normal"
        look: dict[str, Any] = {"ha": "center", "color": colour, "weight": weight, "size": 8.5}
        axes.text(at, 1.0, head, va="bottom", transform=axes.transAxes, **look)
        for line, text in enumerate(column):
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


FIGURE = LayerFigure(
    name="promise",
    heading="What counting promises, and what the clock says",
    reading=(
        "The band reaches from the arithmetic to the measured time: where it is long, FLOPs do "
        "not tell the cost."
    ),
    shows="FLOPs, bytes moved and time of each activation as multiples of the baseline’s",
    draw=promise,
)
