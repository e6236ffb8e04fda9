"""Every activation in every network: overhead and memory as multiples of the original."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dynact.report.data.digits import measured_ratios, one_visit_note, range_note
from dynact.report.data.names import cell_ratio, shortened
from dynact.report.data.network_frames import (
    mark_note,
    memory_ratios,
    paper_note,
)
from dynact.report.figures.declaration import NetworkFigure
from dynact.report.figures.style import (
    BEYOND,
    COLOURS,
    UNMEASURED,
    Page,
    colour_reach,
    names_width,
    nothing_to_draw,
    ratio_axis,
    readable_on,
    styled,
)
from dynact.report.run import Run

# Lengths in inches.
_CELL = (0.66, 0.32)
_LEAST_PANEL = 1.9
_GAP = 0.2
_PANEL_TITLE = 0.3
_BAR = 1.2
_TALLEST_BAR = 4.0
_CHARACTER = 0.078
_LONGEST_NAME = 28

_SLANT = 40  # degrees, of the networks' names
_PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
_NOT_COUNTED = "not\ncounted"
_FAILURE = {"unsupported": "unsup-\nported"}


@dataclass(frozen=True, eq=False)
class _Panel:
    """A table of ratios by (variant, subject), and what each cell says."""

    title: str
    ratios: pd.DataFrame
    texts: pd.DataFrame


@styled
def network_heatmap(run: Run, caption: str = "") -> Figure:
    """Draw what each activation costs in each network, as multiples of the original network.

    Parameters
    ----------
    run
        One with networks.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        A panel for the overhead in each phase and one for the memory in training; networks are
        columns, activations (and placements) lines, cheapest first. A case that failed is hatched
        and named, one that was not measured is blank grey.
    """
    title = f"What each activation costs in whole networks ({run.network_setting})"
    rows = run.labelled_networks
    measured = rows[rows["status"] == "ok"]
    panels = _panels(rows)
    if not any(panel.ratios.notna().any(axis=None) for panel in panels):
        return nothing_to_draw(title, run.networks, caption, "a time or a need of memory")

    order = _order(panels)
    subjects = list(rows["subject"].unique())
    names = [shortened(v, _LONGEST_NAME) for v in order]
    heads = [shortened(s, _LONGEST_NAME) for s in subjects]
    longest = max(map(len, heads)) * _CHARACTER
    slant = math.radians(_SLANT)
    heads_height = longest * math.sin(slant) + 0.2
    overhang = longest * math.cos(slant)
    left = names_width(names)
    width = max(_CELL[0] * len(subjects), _LEAST_PANEL)
    height = _CELL[1] * len(order)
    # A slanted name over the last column must not reach the next panel's title.
    pitch = width + _GAP
    top = _PANEL_TITLE + heads_height
    page = Page(
        title,
        [
            _explanation(panels),
            "An overhead has the digits that its 95 % interval supports.",
            range_note(measured),
            one_visit_note(measured, "network"),
            mark_note(rows["mark"]),
            paper_note(rows["variant"]),
            caption,
        ],
        width=left + len(panels) * pitch + max(_BAR, overhang),
        body=top + height + 0.1,
    )
    known = pd.Series(np.concatenate([p.ratios.to_numpy().ravel() for p in panels])).dropna()
    reach = colour_reach(known)
    norm = LogNorm(1 / reach, reach)
    for i, panel in enumerate(panels):
        axes = page.axes(left + i * pitch, top, width, height)
        axes.set_title(
            panel.title, size=10, weight="bold", loc="left", pad=heads_height * 72, y=1.0
        )
        _draw_cells(axes, panel.ratios.reindex(order), panel.texts.reindex(order), norm)
        axes.set_yticks(np.arange(len(order)) + 0.5, names if i == 0 else [""] * len(order))
        axes.xaxis.tick_top()
        axes.set_xticks(
            np.arange(len(subjects)) + 0.5, heads, rotation=_SLANT, ha="left",
            rotation_mode="anchor",
        )  # fmt: skip
        axes.tick_params(length=0)
    bar_height = min(height, _TALLEST_BAR)
    _draw_bar(page.axes(left + len(panels) * pitch + 0.05, top, 0.18, bar_height), norm, known)
    return page.figure


def _panels(rows: pd.DataFrame) -> list[_Panel]:
    ok = rows["status"] == "ok"
    overhead = pd.to_numeric(rows["overhead"]).where(ok)
    slow = rows.assign(ratio=overhead, text=measured_ratios(rows) + rows["mark"])
    panels = [
        _panel(f"overhead, {phase}", slow[slow["phase"] == phase], rows)
        for phase in sorted(rows["phase"].unique())
    ]
    training = rows["phase"] == "training"
    if training.any():
        need = memory_ratios(rows)
        texts = need["ratio"].map(_cell) + np.where(need["of_peaks"], "*", "")
        memory = rows.assign(ratio=need["ratio"], text=texts)[training]
        panels.append(_panel("memory, training", memory, rows))
    return panels


def _panel(title: str, rows: pd.DataFrame, every: pd.DataFrame) -> _Panel:
    failed = rows["status"].map(lambda status: _FAILURE.get(status, status))
    failed = failed.mask(rows["status"] == "ok", _NOT_COUNTED)
    rows = rows.assign(text=rows["text"].where(rows["ratio"].notna(), failed))

    def cells(column: str) -> pd.DataFrame:
        table = rows.pivot(index="variant", columns="subject", values=column)
        return table.reindex(index=every["variant"].unique(), columns=every["subject"].unique())

    return _Panel(title, cells("ratio").astype(float), cells("text"))


def _cell(ratio: float) -> str:
    return "" if np.isnan(ratio) else cell_ratio(ratio)


def _order(panels: list[_Panel]) -> list[str]:
    """Return the variants by their mean ratio in the first panel, those without one last."""
    means = panels[0].ratios.map(math.log, na_action="ignore").mean(axis="columns")
    return list(means.sort_values(kind="stable").index)


def _draw_cells(axes: Axes, ratios: pd.DataFrame, texts: pd.DataFrame, norm: LogNorm) -> None:
    axes.set_facecolor(UNMEASURED)
    values = ratios.to_numpy()
    axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=COLOURS, norm=norm, edgecolors="white", linewidth=0.8
    )
    for (line, column), text in np.ndenumerate(texts.to_numpy()):
        ratio = values[line, column]
        if np.isnan(ratio) and pd.isna(text):
            continue
        x, y = column + 0.5, line + 0.5
        if np.isnan(ratio):
            axes.add_patch(
                Rectangle(
                    (column, line), 1, 1, facecolor="white", edgecolor="#b4b4b4", linewidth=0.8,
                    hatch="////", label="failed",
                )
            )  # fmt: skip
            axes.text(x, y, text, ha="center", va="center", size=7, linespacing=0.95, bbox=_PLATE)
        else:
            colour = readable_on(np.array(COLOURS(norm(ratio))))
            axes.text(x, y, text, ha="center", va="center", size=9, color=colour)
    axes.set(xlim=(0, values.shape[1]), ylim=(values.shape[0], 0))


def _draw_bar(axes: Axes, norm: LogNorm, ratios: "pd.Series[float]") -> None:
    reach = float(norm.vmax or 1.0)
    # The reach comes from a logarithm: the extreme itself may lie a rounding beyond it.
    beyond = BEYOND[bool(ratios.min() < 0.999 / reach), bool(ratios.max() > 1.001 * reach)]
    bar = Colorbar(axes, ScalarMappable(norm, COLOURS), extend=beyond, extendfrac=0.03)
    bar.outline.set_visible(False)
    low, high = max(min(ratios.min(), 0.5), 1 / reach), min(max(ratios.max(), 2.0), reach)
    axes.set_ylim(low, high)
    ratio_axis(axes.yaxis, low, high)
    axes.set_ylabel("new / original", size=8.5)


def _explanation(panels: list[_Panel]) -> str:
    every = pd.Series(np.concatenate([p.texts.to_numpy().ravel() for p in panels]))
    texts = every.dropna().astype(str)
    measured = sum(int(p.ratios.notna().sum().sum()) for p in panels)
    memory = any(p.title.startswith("memory") for p in panels)
    marks = {
        "How to read: 2× takes twice what the network takes with its original activations.": True,
        "Memory: bytes that one more image takes in a training step; 2× fits half as many images "
        "beside the parameters.": memory,
        "Star: the ratio of the peaks at this batch, as memory by image is not known.": (
            texts.str.endswith("*").any()
        ),
        "Hatched: the case failed, as named.": len(texts) > measured,
        "Grey: not measured.": len(texts) < len(every),
    }
    return " ".join(mark for mark, occurs in marks.items() if occurs)


FIGURE = NetworkFigure(
    name="network_heatmap",
    heading="Whole networks: overhead and memory",
    reading=(
        "A cell is a network with the activation in it, against the same network with its own: "
        "the darker the red, the dearer."
    ),
    shows="A heat map of networks and activations: time in inference and training, and memory",
    draw=network_heatmap,
)
