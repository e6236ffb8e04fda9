"""The look that all figures share: type, colours, page layout, ratio axes."""

import functools
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

INK = "#1a1a1a"
QUIET = "#5a5a5a"
UNMEASURED = "#d4d4d4"
# Behind every second line.
BAND = "#f4f4f4"

STYLE: dict[Any, Any] = {
    # The one family that matplotlib ships: a figure is the same on every machine.
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8a8a8a",
    "axes.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.color": "#b4b4b4",
    "hatch.linewidth": 0.6,
    # Names and messages are a user's: a dollar sign in them is a dollar sign.
    "text.parse_math": False,
    "svg.fonttype": "path",
    # Random ids would make two renderings of the same rows differ.
    "svg.hashsalt": "dynact",
}

# Blue is cheaper, yellow to dark red dearer: told apart with every common colour blindness.
COLOURS = LinearSegmentedColormap.from_list(
    "overhead",
    [
        *("#08306b", "#2171b5", "#6baed6", "#c6dbef"),
        "#f7f7f4",
        *("#fee391", "#fd8d3c", "#d7191c", "#67000d"),
    ],
    N=513,  # odd, so that 1× has a colour of its own
)

# Okabe and Ito's colours, their yellow replaced by tones that show on white.
SERIES_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#56b4e9", "#e69f00", "#8c6d00", "#7a4fa3"),
)
PHASE_COLOURS = {"inference": "#0072b2", "training": "#c1440e"}

# With the colours, three cycles whose lengths have no common divisor: any two of 56 series differ
# in at least two ways.
_DASHES: tuple[Any, ...] = (
    *("-", "--", "-.", ":"),
    *((0, (5, 1, 1, 1, 1, 1)), (0, (9, 2)), (0, (1, 2, 4, 2))),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "*", "<", "X", ">", "p")

# Which ends of a colour bar get an arrow, by (below it, above it).
BEYOND: dict[tuple[bool, bool], Literal["neither", "min", "max", "both"]] = {
    (False, False): "neither",
    (True, False): "min",
    (False, True): "max",
    (True, True): "both",
}

_LEAST_COLOURED = 4.0
_MOST_COLOURED = 200.0
_TITLE_SIZE = 12.5
_NOTE_SIZE = 7.5

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under ``STYLE`` and leave the caller's settings alone."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


class Page:
    """A figure with a title above and small notes below a body; all lengths in inches."""

    def __init__(self, title: str, notes: Sequence[str], width: float, body: float) -> None:
        # Mean advance of a character in DejaVu Sans (bold for the title), in ems.
        title_lines = textwrap.wrap(title, int((width - 0.3) * 72 / (_TITLE_SIZE * 0.64)))
        per_note_line = int((width - 0.3) * 72 / (_NOTE_SIZE * 0.56))
        note_lines = [line for note in notes for line in textwrap.wrap(note, per_note_line)]
        self._width = width
        self._body_top = 0.2 + 0.155 * len(note_lines) + body
        self._height = self._body_top + 0.14 + 0.22 * len(title_lines)
        self.figure = Figure(figsize=(width, self._height), facecolor="white")
        left = 0.15 / width
        self.figure.text(
            left,
            1 - 0.12 / self._height,
            "\n".join(title_lines),
            size=_TITLE_SIZE,
            weight="bold",
            va="top",
        )
        self.figure.text(
            left,
            0.1 / self._height,
            "\n".join(note_lines),
            size=_NOTE_SIZE,
            color=QUIET,
            va="bottom",
            linespacing=1.3,
        )

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return new axes, their upper edge ``top`` below the body's."""
        bottom = self._body_top - top - height
        return self.figure.add_axes(
            (
                left / self._width,
                bottom / self._height,
                width / self._width,
                height / self._height,
            )
        )


def panel_of_lines(
    axes: Axes, title: str, names: Sequence[str], reach: tuple[float, float], baseline: str
) -> None:
    """Set up a plot of a line for each name, its x axis a log scale of multiples of the baseline.

    Parameters
    ----------
    axes
        New ones. Lines are at 0, 1, … from the top.
    title
        Above the plot.
    names
        Left of the lines, one for each; empty texts where a plot further left has them.
    reach
        From which ratio to which.
    baseline
        Whose time is 1×.
    """
    axes.set_title(title, size=10, weight="bold", pad=4, y=1.0)
    axes.set(xscale="log", xlim=reach, ylim=(len(names) - 0.5, -0.5))
    ratio_axis(axes.xaxis, *reach)
    axes.set_xlabel(f"time / {baseline}'s time (log scale)")
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(range(len(names)), names)
    axes.axvline(1.0, color=INK, linewidth=0.9, zorder=1)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    for line in range(0, len(names), 2):
        axes.axhspan(line - 0.5, line + 0.5, color=BAND, zorder=0)


def names_width(names: Iterable[str]) -> float:
    """Return the inches that the names of lines take, left of a plot."""
    return 0.35 + 0.085 * max(map(len, names))


def texts_width(texts: Iterable[str]) -> float:
    """Return the inches that `write_beside` takes, right of a plot."""
    return 0.3 + 0.078 * max(map(len, texts))


def write_beside(axes: Axes, texts: Iterable[str]) -> None:
    """Write a text beside the right end of each line 0, 1, … of a plot."""
    for line, text in enumerate(texts):
        axes.annotate(
            text,
            (1.0, line),
            xytext=(6, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            size=8.5,
            va="center",
        )


def series_looks(activations: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what tells each activation's line or points apart, the same in every figure.

    Parameters
    ----------
    activations
        In the order of `display_names`.
    """
    return {
        activation: {
            "color": SERIES_COLOURS[i % len(SERIES_COLOURS)],
            "linestyle": _DASHES[i % len(_DASHES)],
            "marker": _MARKERS[i % len(_MARKERS)],
        }
        for i, activation in enumerate(activations)
    }


def nothing_to_draw(title: str, rows: pd.DataFrame, caption: str, lacking: str = "") -> Figure:
    """Return a page that says in one line why there is no figure.

    Parameters
    ----------
    title, rows, caption
        As the figure would have had them.
    lacking
        What no ok row holds; without an ok row the line says how the cases ended.
    """
    ok = (rows["status"] == "ok").sum()
    ends = ", ".join(f"{n} {status}" for status, n in rows["status"].value_counts().items())
    page = Page(title, [caption], width=7.0, body=0.8)
    line = (
        f"Nothing to draw: none of the {ok} measured cases holds {lacking}."
        if ok
        else f"Nothing to draw: none of the {len(rows)} cases was measured ({ends})."
    )
    page.axes(0.15, 0.1, 6.7, 0.6).text(0, 0.5, line, size=10, va="center", wrap=True)
    page.figure.axes[0].set_axis_off()
    return page.figure


def colour_reach(overheads: "pd.Series[float]") -> float:
    """Return the ratio r for which a log colour scale from 1/r to r shows the given ratios.

    It is at least 4, so that a few percent stay pale, and at most 200: beyond, one extreme value
    would wash out all the others.
    """
    reach = float(np.exp(np.abs(np.log(overheads)).max()))
    return min(max(reach, _LEAST_COLOURED), _MOST_COLOURED)


def readable_on(rgba: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> str:
    """Return the ink, dark or white, with the higher WCAG contrast on a colour."""
    linear = np.where(rgba[:3] <= 0.04045, rgba[:3] / 12.92, ((rgba[:3] + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    ink = 0.0103  # luminance of INK
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / (ink + 0.05) else INK


def ratio_axis(axis: Axis, low: float, high: float) -> None:
    """Mark a log axis with 1-2-5 (over wide ranges with powers of ten), each followed by ×."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    marks = [m * 10.0**d for d in decades for m in (1, 2, 5) if low <= m * 10.0**d <= high]
    if len(marks) > 9:
        marks = [10.0**d for d in decades if low <= 10.0**d <= high]
    axis.set_major_locator(FixedLocator(marks))
    axis.set_major_formatter(FixedFormatter([f"{mark:g}×" for mark in marks]))
    axis.set_minor_locator(NullLocator())
