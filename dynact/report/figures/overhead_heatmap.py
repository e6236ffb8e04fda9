"""Overhead over channels × resolution, a panel for each activation."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from dynact.report.data.digits import measured_ratios, one_visit_note, range_note
from dynact.report.data.host import MARK_NOTE, host_decides, host_marks
from dynact.report.data.names import resolution, shortened
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.figures.declaration import LayerFigure
from dynact.report.figures.outlined import Label, OutlinedTexts
from dynact.report.figures.style import (
    BEYOND,
    COLOURS,
    INK,
    UNMEASURED,
    Page,
    colour_reach,
    nothing_to_draw,
    ratio_axis,
    readable_on,
    styled,
)

# Lengths in inches.
_PANEL_TITLE = 0.3
_GAP = 0.14
_LEFT = 0.85
_RIGHT = 1.3
_AXIS_LABELS = 0.5
_SMALLEST_CELL = (0.44, 0.28)
_SMALLEST_PANEL = (2.3, 1.7)
_ONLY_PANEL = (4.6, 2.6)
_TALLEST_BAR = 5.0

# Broken where one line would have to be too small to read.
_FAILURE = {"unsupported": "unsup-\nported"}

_PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}


@styled
def overhead_heatmap(group: SettingsGroup, caption: str = "") -> Figure:
    """Draw the overhead of every activation at every shape.

    Parameters
    ----------
    group
        Rows of one phase.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        Panels in order of overhead, cheapest first. A case that failed is hatched and named, one
        that was not measured is blank grey. Ratios have the digits of `measured_ratio`.
    """
    rows, ok = group.rows, group.ok
    title = f"What each activation costs, as a multiple of {group.baseline} ({group.description})"
    if ok.empty:
        return nothing_to_draw(title, rows, caption)

    order = group.ranked
    grid = _grid(rows, panels=len(order))
    columns = _columns(len(order), grid.width, grid.height)
    lines = -(-len(order) // columns)
    panels_width = columns * (grid.width + _GAP) - _GAP
    panels_height = lines * (grid.height + _PANEL_TITLE)
    page = Page(
        title,
        [_legend(rows, grid, len(order)), caption],
        width=_LEFT + panels_width + _RIGHT,
        body=panels_height + _AXIS_LABELS,
    )

    reach = colour_reach(ok["overhead"].astype(float))
    norm = LogNorm(1 / reach, reach)
    cells = _cells(rows, grid, norm)
    for i, activation in enumerate(order):
        line, column = divmod(i, columns)
        axes = page.axes(
            _LEFT + column * (grid.width + _GAP),
            _PANEL_TITLE + line * (grid.height + _PANEL_TITLE),
            grid.width,
            grid.height,
        )
        name = shortened(group.names[activation], int(grid.width * 72 / (10 * 0.68)))
        axes.set_title(name, size=10, weight="bold", pad=4, y=1.0)
        _draw_cells(axes, cells[cells["activation"] == activation], grid, norm)
        _label(axes, grid, left=column == 0, bottom=i + columns >= len(order))

    bar_height = min(panels_height - _PANEL_TITLE, _TALLEST_BAR)
    bar_top = _PANEL_TITLE + (panels_height - _PANEL_TITLE - bar_height) / 2
    bar = page.axes(_LEFT + panels_width + 0.25, bar_top, 0.2, bar_height)
    _draw_bar(bar, norm, reach, ok["overhead"].astype(float), group.baseline)
    return page.figure


@dataclass(frozen=True)
class _Grid:
    """What all panels share: columns are channels, lines are (height, width) pairs."""

    channels: "pd.Index[int]"
    resolutions: pd.MultiIndex
    width: float
    height: float


def _grid(rows: pd.DataFrame, panels: int) -> _Grid:
    channels = pd.Index(np.sort(rows["channels"].unique()))
    pairs = rows[["height", "width"]].drop_duplicates()
    # Largest on top, the way a network's stages are listed.
    pairs = pairs.iloc[np.lexsort((-pairs["width"], -pairs["height"] * pairs["width"]))]
    width, height = _ONLY_PANEL if panels == 1 else _SMALLEST_PANEL
    return _Grid(
        channels,
        pd.MultiIndex.from_frame(pairs),
        max(width, _SMALLEST_CELL[0] * len(channels)),
        max(height, _SMALLEST_CELL[1] * len(pairs)),
    )


def _columns(panels: int, width: float, height: float) -> int:
    """Return how many panels to put side by side for a page about 1.8 times as wide as high."""

    def strangeness(columns: int) -> float:
        lines = -(-panels // columns)
        aspect = columns * (width + _GAP) / (lines * (height + _PANEL_TITLE))
        return abs(float(np.log(aspect / 1.8))) + 0.15 * (columns * lines - panels)

    return min(range(1, panels + 1), key=strangeness)


def _cells(rows: pd.DataFrame, grid: _Grid, norm: LogNorm) -> pd.DataFrame:
    """Return one line a case: where its cell lies, what it says, in which size and colour."""
    ok = (rows["status"] == "ok").to_numpy()
    overhead = rows["overhead"].astype(float).where(ok).to_numpy(float)
    text = [
        ratio + mark if fine else _FAILURE.get(status, status)
        for fine, ratio, mark, status in zip(
            ok, measured_ratios(rows), host_marks(rows), rows["status"], strict=True
        )
    ]
    cells = pd.DataFrame(
        {
            "activation": rows["activation"].to_numpy(),
            "ok": ok,
            "overhead": overhead,
            "column": grid.channels.get_indexer(pd.Index(rows["channels"])),
            "line": grid.resolutions.get_indexer(
                pd.MultiIndex.from_frame(rows[["height", "width"]])
            ),
            "text": text,
            "colour": [
                readable_on(rgba) if fine else INK
                for fine, rgba in zip(ok, COLOURS(norm(overhead)), strict=True)
            ],
        }
    )
    # Ratios share one size over the whole page, so that none looks more important; a range, which
    # is longer, takes what room it has.
    across, down = grid.width / len(grid.channels) * 72, grid.height / len(grid.resolutions) * 72
    alike = ok & ~cells["text"].str.contains("–").to_numpy()
    longest = cells["text"].str.len().where(alike).max()
    size = min(10.5, down * 0.5, across * 0.9 / (0.63 * (longest if alike.any() else 1)))
    widest_line = cells["text"].str.split("\n").map(lambda lines: max(map(len, lines)))
    fitting = across * 0.9 / (0.6 * widest_line)
    cells["size"] = np.where(alike, size, np.minimum(fitting, size))
    return cells


def _draw_cells(axes: Axes, cells: pd.DataFrame, grid: _Grid, norm: LogNorm) -> None:
    lines, columns = len(grid.resolutions), len(grid.channels)
    values = np.full((lines, columns), np.nan)
    values[cells["line"], cells["column"]] = cells["overhead"]
    axes.set_facecolor(UNMEASURED)
    axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=COLOURS, norm=norm, edgecolors="white", linewidth=0.8
    )
    failed = cells[~cells["ok"]]
    if len(failed):
        corners = failed[["column", "line"]].to_numpy(dtype=float)[:, None, :]
        square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        axes.add_collection(
            PolyCollection(
                list(corners + square),
                facecolor="white",
                edgecolor="#b4b4b4",
                linewidth=0.8,
                hatch="////",
                label="failed",
            )
        )
    ratios = []
    for cell in cells.to_dict("records"):
        x, y, text, size = cell["column"] + 0.5, cell["line"] + 0.5, cell["text"], cell["size"]
        if cell["ok"]:
            ratios.append(Label(x, y, text, size, cell["colour"]))
        else:
            # A failure's name stands on a plate, clear of the hatching.
            axes.text(x, y, text, size=size, ha="center", va="center", linespacing=1.0, bbox=_PLATE)
    axes.add_artist(OutlinedTexts(ratios))
    axes.set(xlim=(0, columns), ylim=(lines, 0))


def _label(axes: Axes, grid: _Grid, *, left: bool, bottom: bool) -> None:
    """Name lines and columns where no neighbouring panel does."""
    axes.xaxis.set_visible(bottom)
    axes.yaxis.set_visible(left)
    if bottom:
        axes.set_xticks(np.arange(len(grid.channels)) + 0.5, list(map(str, grid.channels)))
        axes.set_xlabel("channels")
    if left:
        marks = [resolution(*pair) for pair in grid.resolutions]
        axes.set_yticks(np.arange(len(marks)) + 0.5, marks)
        axes.set_ylabel("resolution H × W (pixels)")
    axes.tick_params(length=0, labelsize=8.5)


def _draw_bar(
    axes: Axes, norm: LogNorm, reach: float, overheads: "pd.Series[float]", baseline: str
) -> None:
    low, high = float(overheads.min()), float(overheads.max())
    beyond = BEYOND[low < 1 / reach, high > reach]
    mappable = ScalarMappable(norm, COLOURS)
    bar = Colorbar(axes, mappable, extend=beyond, extendfrac=0.03)
    bar.outline.set_visible(False)
    # The scale itself reaches as far below 1× as above; showing only what occurs saves the space.
    low, high = max(min(low, 0.5), 1 / reach), min(max(high, 2.0), reach)
    axes.set_ylim(low, high)
    ratio_axis(axes.yaxis, low, high)
    axes.set_ylabel(f"time / {shortened(baseline, 20)}'s time  (above 1×: slower)", size=8.5)


def _legend(rows: pd.DataFrame, grid: _Grid, panels: int) -> str:
    """Explain the marks that occur, and no others."""
    ok = rows["status"] == "ok"
    measured = rows[["activation", "channels", "height", "width"]].drop_duplicates()
    marks = {
        "A ratio has the digits that its 95 % interval supports.": True,
        range_note(rows[ok]): True,
        one_visit_note(rows[ok]): True,
        MARK_NOTE: host_decides(rows[ok]).any(),
        "Hatched: the case failed, as named.": not ok.all(),
        "Grey: not measured.": len(measured) < panels * len(grid.channels) * len(grid.resolutions),
    }
    return " ".join(mark for mark, occurs in marks.items() if mark and occurs)


FIGURE = LayerFigure(
    name="overhead_heatmap",
    heading="Overhead at every shape",
    reading=(
        "A cell is one shape: the darker the red, the dearer; look along a row for channels, "
        "along a column for resolution."
    ),
    shows="A heat map of the overhead over channels and resolution for each activation",
    draw=overhead_heatmap,
    by_phase=True,
)
