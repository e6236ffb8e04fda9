"""What the traces of single steps show: where the time goes, in which order, in what memory."""

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dynact.report.data.names import display_names, shortened
from dynact.report.data.profile import Traces
from dynact.report.figures.bars import stacked_bars
from dynact.report.figures.style import (
    INK,
    SERIES_COLOURS,
    Page,
    names_width,
    styled,
    texts_width,
    write_beside,
)
from dynact.timing import format_ns

# Lengths in inches.
_LINE = 0.36
_STRIP = 0.42
_LEGEND_LINE = 0.21
_PANEL_TITLE = 0.35
_PLOT = 3.4
_AXIS_LABELS = 0.5
_LONGEST_NAME = 28
_LONGEST_OPERATOR = 24

_OPERATORS = 8
_OTHER = "other"
_OWN = "the layer's one operator"
_KINDS = {
    "pointwise": "#e69f00",
    "reduction": "#0072b2",
    "matmul": "#009e73",
    "convolution": "#c1440e",
    "normalisation": "#cc79a7",
    "memory": "#8a8a8a",
    "other": "#d4d4d4",
}


@styled
def time_by_operator(traces: Traces, caption: str = "") -> Figure:
    """Draw where the time of a training step goes, forward and backward apart.

    A bar for each activation, quickest on top, stacked by operator; one training step. On a CPU
    the profiler's own cost is in it, on an accelerator the time of what the operators launched.
    """
    kernels = traces.of(traces.kernels)
    if kernels.empty:
        return _nothing(caption)
    totals = kernels.groupby("activation")["time_ns"].sum().sort_values(kind="stable")
    order = list(map(str, totals.index))
    own = _own_operators(kernels)
    operators = kernels["operator"].where(~kernels["operator"].isin(own), _OWN)
    by_time = kernels["time_ns"].groupby(operators).sum().sort_values(ascending=False)
    # Parts go by number: a label need not be unique.
    places = {operator: min(i, _OPERATORS) for i, operator in enumerate(by_time.index)}
    labels = _labels(by_time.index[:_OPERATORS])
    colours = list(SERIES_COLOURS[: len(labels)])
    if len(by_time) > _OPERATORS:
        labels.append(_OTHER)
        colours.append("#8a8a8a")

    names = _names(order)
    parts = [part for part in ("forward", "backward", "other") if (kernels["part"] == part).any()]
    tables = {
        part: kernels.assign(place=operators.map(places))[kernels["part"] == part]
        .pivot_table(index="activation", columns="place", values="time_ns", aggfunc="sum")
        .reindex(index=order, columns=range(len(labels)))
        / 1e6
        for part in parts
    }
    sums = {part: table.sum(axis="columns") for part, table in tables.items()}
    texts = {part: [format_ns(ms * 1e6) if ms else "–" for ms in sums[part]] for part in parts}
    left, gutter = names_width(names.values()), max(map(texts_width, texts.values()))
    body = _PANEL_TITLE + _LINE * len(order) + _AXIS_LABELS
    page = Page(
        f"Where the time of a training step goes, by operator ({traces.setting})",
        [
            "How to read: a bar is the time of one training step's kernels, by the operator that "
            "launched them, traced apart from all timing; time without a kernel is not in it; "
            "the same axis on all sides."
            if traces.on_accelerator
            else "How to read: a bar is the time of one training step's operators, traced apart "
            "from all timing, with the profiler's own cost in it; the same axis on all sides.",
            caption,
        ],
        width=left + len(parts) * (_PLOT + gutter) + 2.5,
        body=max(body, _LEGEND_LINE * (len(labels) + 2)),
    )
    reach = 1.05 * max(table.sum(axis="columns").max() for table in tables.values())
    for i, part in enumerate(parts):
        axes = page.axes(left + i * (_PLOT + gutter), _PANEL_TITLE, _PLOT, _LINE * len(order))
        bars = stacked_bars(axes, tables[part], colours)
        axes.set_title(part, size=10, weight="bold", pad=4)
        axes.set(xlim=(0, reach), xlabel="time of one step (ms)")
        axes.set_yticks(range(len(order)), [names[a] for a in order] if i == 0 else [])
        write_beside(axes, texts[part])
    legend = page.axes(left + len(parts) * (_PLOT + gutter), _PANEL_TITLE, 0.1, 0.1)
    legend.set_axis_off()
    legend.legend(
        bars, labels, title="operator", alignment="left", frameon=False, loc="upper left",
        borderaxespad=0.0,
    )  # fmt: skip
    return page.figure


@styled
def step_timeline(traces: Traces, caption: str = "") -> Figure:
    """Draw one training step of each activation on a common time axis, by kind of work.

    A block is an operator, on an accelerator a kernel.
    """
    timeline = traces.of(traces.timeline)
    if timeline.empty:
        return _nothing(caption)
    ends = (timeline["start_ns"] + timeline["duration_ns"]).groupby(timeline["activation"]).max()
    order = [str(activation) for activation in ends.sort_values(kind="stable").index]
    calls = timeline.groupby("activation").size()
    block = "kernel" if traces.on_accelerator else "operator"
    texts = [f"{format_ns(ends[a])}, {calls[a]} {block}s" for a in order]
    kinds = [kind for kind in _KINDS if (timeline["kind"] == kind).any()]
    names = _names(order)
    left = names_width(names.values())
    page = Page(
        f"One training step of each activation, {block} by {block} ({traces.setting})",
        [
            f"How to read: a block is one {block}, its colour what kind of work it is; above the "
            "line forward, below it backward. Blank is time between them: "
            + (
                "the device waits for the host, which the profiler slows."
                if traces.on_accelerator
                else "views, allocation, dispatch, the profiler."
            ),
            caption,
        ],
        width=left + 2 * _PLOT + texts_width(texts),
        body=_LEGEND_LINE * 1.6 + _STRIP * len(order) + _AXIS_LABELS,
    )
    axes = page.axes(left, _LEGEND_LINE * 1.6, 2 * _PLOT, _STRIP * len(order))
    for line, activation in enumerate(order):
        axes.axhline(line, color="#d4d4d4", linewidth=0.6, zorder=0)
        step = timeline[timeline["activation"] == activation]
        for part, top in (("forward", line - 0.4), ("backward", line), ("other", line)):
            for kind in kinds:
                blocks = step[(step["part"] == part) & (step["kind"] == kind)]
                axes.broken_barh(
                    list(zip(blocks["start_ns"] / 1e6, blocks["duration_ns"] / 1e6, strict=True)),
                    (top, 0.4),
                    facecolors=_KINDS[kind],
                    edgecolors=INK,
                    linewidth=0.2,
                )
    axes.set(xlim=(0, 1.01 * ends.max() / 1e6), ylim=(len(order) - 0.5, -0.5))
    begin = "its first kernel" if traces.on_accelerator else "the step"
    axes.set_xlabel(f"time since {begin} began (ms)")
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(range(len(order)), [names[a] for a in order])
    axes.legend(
        handles=[Patch(facecolor=_KINDS[k], edgecolor=INK, linewidth=0.2, label=k) for k in kinds],
        ncols=len(kinds), frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0),
        borderaxespad=0.2, handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip
    write_beside(axes, texts)
    return page.figure


@styled
def step_memory(traces: Traces, caption: str = "") -> Figure:
    """Draw what each activation has allocated over one training step, each on its own time axis.

    A dashed line marks what is there between forward and backward: the output and what is kept.
    """
    memory = traces.of(traces.memory)
    if memory.empty:
        return _nothing(caption)
    peaks = memory.groupby("activation")["allocated_bytes"].max().sort_values(kind="stable")
    order = list(map(str, peaks.index))
    names = _names(order)
    columns = min(len(order), 3)
    lines = -(-len(order) // columns)
    width, height, gap = 2.9, 1.35, 0.62
    page = Page(
        f"Memory over one training step ({traces.setting})",
        [
            "How to read: bytes allocated above what was there before the step, on one scale; each "
            "panel has its own time axis, the host's, under the profiler. Dashed: what is held "
            "when the forward pass is over, the output and what is kept for backward.",
            caption,
        ],
        width=0.8 + columns * (width + 0.3),
        body=_PANEL_TITLE + lines * (height + gap),
    )
    reach = 1.1 * peaks.max() / 1e6
    for i, activation in enumerate(order):
        left = 0.65 + i % columns * (width + 0.3)
        axes = page.axes(left, _PANEL_TITLE + i // columns * (height + gap), width, height)
        step = memory[memory["activation"] == activation].sort_values("at_ns", kind="stable")
        _draw_memory(axes, step, _held_after_forward(step))
        axes.set_title(names[activation], size=9.5, weight="bold", pad=4)
        axes.set(ylim=(0, reach))
        if i % columns:
            axes.tick_params(axis="y", labelleft=False)
        else:
            axes.set_ylabel("allocated (MB)")
        axes.set_xlabel("time (ms)", labelpad=1)
    return page.figure


TRACED: dict[str, Callable[[Traces, str], Figure]] = {
    "time_by_operator": time_by_operator,
    "step_timeline": step_timeline,
    "step_memory": step_memory,
}
"""Figures of traces by name."""


def _own_operators(kernels: pd.DataFrame) -> set[str]:
    """Return operators that are nearly all of one activation's bar, and no other's part.

    A colour for each would leave none for what the longer bars are made of.
    """
    of_bars = kernels.groupby(["activation", "part", "operator"])["time_ns"].sum()
    shares = of_bars / of_bars.groupby(["activation", "part"]).transform("sum")
    users = kernels.groupby("operator")["activation"].nunique()
    nearly_all = shares[shares > 0.9].index.get_level_values("operator")
    return {operator for operator in nearly_all if users[operator] == 1}


def _nothing(caption: str) -> Figure:
    page = Page("Traces", [caption], width=7.0, body=0.8)
    line = "Nothing to draw: no training step was traced."
    page.axes(0.15, 0.1, 6.7, 0.6).text(0, 0.5, line, size=10, va="center")
    page.figure.axes[0].set_axis_off()
    return page.figure


def _names(activations: list[str]) -> dict[str, str]:
    return {a: shortened(n, _LONGEST_NAME) for a, n in display_names(activations).items()}


def _labels(operators: Iterable[str]) -> list[str]:
    """Return short names of operators, numbered where two would read the same."""
    short = [shortened(o.removeprefix("aten::"), _LONGEST_OPERATOR) for o in operators]
    return [
        f"{name} ({short[: i + 1].count(name)})" if uses > 1 else name
        for i, (name, uses) in enumerate((name, Counter(short)[name]) for name in short)
    ]


def _held_after_forward(step: pd.DataFrame) -> float:
    """Return the bytes allocated when backward allocates or frees for the first time."""
    before = step[~(step["part"] == "backward").cummax()]
    return float(before["allocated_bytes"].iloc[-1]) if len(before) else 0.0


def _draw_memory(axes: Axes, step: pd.DataFrame, held: float) -> None:
    at_ms = np.append(0.0, step["at_ns"] / 1e6)
    allocated = np.append(0.0, step["allocated_bytes"] / 1e6)
    axes.fill_between(at_ms, allocated, step="post", color="#8fb8d8", linewidth=0)
    axes.step(at_ms, allocated, where="post", color="#0072b2", linewidth=0.9)
    axes.add_line(Line2D([0, at_ms[-1]], [held / 1e6] * 2, color=INK, linewidth=0.9, dashes=(4, 2)))
    axes.set_xlim(0, at_ms[-1] * 1.02)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
