"""Memory that an activation needs, by what it is for."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from dynact.activations import writes_in_place
from dynact.report.data.names import (
    resolution,
    shortened,
)
from dynact.report.data.omissions import absence, complete, formulation
from dynact.report.data.own_inputs import own_inputs
from dynact.report.data.settings_groups import SettingsGroup, at_largest_input, input_bytes
from dynact.report.figures.bars import stacked_bars
from dynact.report.figures.declaration import LayerFigure
from dynact.report.figures.style import (
    INK,
    Page,
    names_width,
    nothing_to_draw,
    styled,
    texts_width,
    write_beside,
)
from dynact.schema.cases import BYTES_PER_ELEMENT
from dynact.schema.prefix import with_prefix

# Lengths in inches.
_LINE = 0.32
_LEGEND = 0.3
_PANEL_TITLE = 0.45
_PLOT = 3.0
_AXIS_LABELS = 0.5
_LONGEST_NAME = 28

_PARTS = {
    "parameters": "#8c6d00",
    "output": "#8fb8d8",
    "kept for backward, beyond input and output": "#c1440e",
    "temporary": "#8a8a8a",
}
_NEEDED = (
    "parameters",
    "saved_for_backward_bytes",
    "saved_input_bytes",
    "saved_output_bytes",
    "peak_bytes",
)


@styled
def memory(group: SettingsGroup, caption: str = "") -> Figure:
    """Draw what each activation allocates at the shape with the largest input.

    Parameters
    ----------
    group
        Rows of any phases.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        A panel for each phase and a bar for each activation, in multiples of the output's bytes:
        parameters, output, what is kept for backward beyond input and output, and the rest of
        the peak. The line that needs least on top.
    """
    title = f"Memory each activation needs beside its input ({group.description})"
    counted = complete(group.rows, _NEEDED)
    if counted.empty:
        return nothing_to_draw(title, group.rows, caption, "a peak and what is kept for backward")

    rows = at_largest_input(group.rows, counted)
    counted = counted.loc[counted.index.intersection(rows.index)]
    parts = _parts(counted)
    totals = parts.sum(axis="columns").unstack("phase")
    phases = sorted(rows["phase"].unique())
    order = list(totals.sort_values(list(totals.columns[::-1]), kind="stable").index)
    order += [a for a in group.names if a not in order]
    names = {a: shortened(n, _LONGEST_NAME) for a, n in group.names.items()}
    baseline = shortened(group.baseline, 20)

    first = rows.iloc[0]
    size = with_prefix(float(input_bytes(rows).iloc[0]), "B")
    shape = f"{first['channels']} channels, {resolution(first['height'], first['width'])}"
    title = (
        f"Memory each activation needs beside its input, for an output of {size} "
        f"({shape}, {group.description})"
    )
    of_phases = {phase: rows[rows["phase"] == phase] for phase in phases}
    texts = {p: _texts(part, parts, order, baseline) for p, part in of_phases.items()}
    peaks = {phase: _baseline_peak(part) for phase, part in of_phases.items()}
    left = names_width(names.values())
    gutters = [texts_width(texts[phase]) for phase in phases]
    plot = _PLOT if len(phases) > 1 else 1.5 * _PLOT
    page = Page(
        title,
        [_explanation(baseline, peaks), formulation(group.rows), own_inputs(rows), caption],
        width=max(left + len(phases) * plot + sum(gutters), 8.0),
        body=_LEGEND + _PANEL_TITLE + _LINE * len(order) + _AXIS_LABELS,
    )
    right = left
    reach = 1.05 * np.nanmax([totals.max().max(), *peaks.values(), 1.0])
    for phase, gutter in zip(phases, gutters, strict=True):
        axes = page.axes(right, _LEGEND + _PANEL_TITLE, plot, _LINE * len(order))
        axes.set_title(phase, size=10, weight="bold", pad=16, y=1.0)
        lines = pd.MultiIndex.from_product([order, [phase]])
        bars = stacked_bars(axes, parts.reindex(lines), list(_PARTS.values()))
        axes.set_xlim(0, reach)
        axes.set_xlabel("bytes / output's bytes")
        axes.set_yticks(range(len(order)), [names[a] for a in order] if right == left else [])
        if peaks[phase] > 0:
            _draw_baseline(axes, peaks[phase], baseline)
        write_beside(axes, texts[phase])
        right += plot + gutter
    _draw_legend(page.axes(left, 0, 0.1, _LEGEND), bars, parts)
    return page.figure


def _parts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return by (activation, phase) what the memory is for, over the output's bytes."""
    size = input_bytes(rows)
    # An output that is the input (identity) takes nothing.
    output = np.minimum(rows["peak_bytes"], size) * ~rows["activation"].map(writes_in_place)
    known = rows["saved_input_bytes"] + rows["saved_output_bytes"]
    kept = np.maximum(rows["saved_for_backward_bytes"] - known, 0.0)
    parts = pd.DataFrame(
        {
            "activation": rows["activation"],
            "phase": rows["phase"],
            "parameters": rows["parameters"] * rows["dtype"].map(BYTES_PER_ELEMENT) / size,
            "output": output / size,
            "kept for backward, beyond input and output": kept / size,
            "temporary": np.maximum(rows["peak_bytes"] - output - kept, 0.0) / size,
        }
    )
    return parts.set_index(["activation", "phase"])


def _baseline_peak(rows: pd.DataFrame) -> float:
    """Return the baseline's peak over the output's bytes, NaN where it was not measured."""
    ok = rows[rows["status"] == "ok"]
    return float((ok["baseline_peak_bytes"].astype(float) / input_bytes(ok)).median())


def _texts(rows: pd.DataFrame, parts: pd.DataFrame, order: list[str], baseline: str) -> list[str]:
    """Return what stands beside each bar: its length and what it does to the batch, or why none."""
    by_activation = rows.set_index("activation").to_dict("index")
    texts = []
    for activation in order:
        row = by_activation.get(activation)
        if row is None or (activation, row["phase"]) not in parts.index:
            texts.append(absence(rows, activation))
        else:
            text = _times(parts.loc[(activation, row["phase"])].sum())
            texts.append(text + _batch(row, baseline) if row["phase"] == "training" else text)
    return texts


def _batch(row: dict[Hashable, Any], baseline: str) -> str:
    """Say by how much the samples that fit differ from the baseline's."""
    kept, baselines = row["saved_for_backward_bytes"], row["baseline_saved_for_backward_bytes"]
    if pd.isna(baselines) or not kept or not baselines:
        return ""
    factor = kept / baselines
    fits = f"{_times(max(factor, 1 / factor))} {'fewer' if factor > 1 else 'more'}"
    if 0.95 < factor < 1.05:
        fits = "as many"
    return f"; keeps {_times(factor)} {baseline}'s: fits {fits} samples"


def _draw_baseline(axes: Axes, peak: float, baseline: str) -> None:
    axes.axvline(peak, color=INK, linewidth=1.2, linestyle="--", label="baseline")
    axes.annotate(
        f"{baseline}: {_times(peak)}",
        (peak, 1.0),
        xytext=(0, 3),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        size=8,
        ha="center",
    )


def _times(ratio: float) -> str:
    return f"{ratio:.1f}×"


def _draw_legend(corner: Axes, bars: list[BarContainer], parts: pd.DataFrame) -> None:
    """Name the parts that occur, in one line above the panels."""
    corner.set_axis_off()
    corner.legend(
        handles=[bar for bar in bars if (parts[bar.get_label()] > 0).any()],
        loc="upper left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0,
        frameon=False,
        fontsize=8.5,
        ncols=len(bars),
        handlelength=1.8,
        columnspacing=1.4,
    )


def _explanation(baseline: str, peaks: dict[str, float]) -> str:
    dashed = f" Dashed: {baseline}'s peak, without parameters." if max(peaks.values()) > 0 else ""
    training = (
        " Fewer samples: where what is kept from forward to backward decides the batch, its ratio "
        f"to what {baseline} keeps is how many times fewer samples fit, taken alone: in a network, "
        "what a neighbour keeps anyway (the next convolution keeps its input) is not kept twice."
    )
    return (
        "How to read: a bar is the most that is allocated at once above the input and, in "
        "training, the output's gradient; parameters are added to it. Temporary: workspace and, "
        f"in training, gradients.{dashed}" + (training if "training" in peaks else "")
    )


FIGURE = LayerFigure(
    name="memory",
    heading="Memory at the largest input",
    reading=(
        "A bar is the most that is allocated at once; what is kept for backward bears on how many "
        "samples fit."
    ),
    shows="Stacked bars of the memory each activation needs, by what it is for",
    draw=memory,
)
