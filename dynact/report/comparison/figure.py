"""Every case's ratio with its interval and verdict, a line for each activation.

In whole networks a line is an activation in a network.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from dynact.report.comparison.subjects import subjects, subjects_in_order
from dynact.report.comparison.verdicts import FASTER, NOT_RESOLVED, SAME, SLOWER
from dynact.report.data.names import shortened
from dynact.report.figures.style import INK, QUIET, Page, names_width, ratio_axis, styled

# Lengths in inches.
_LEAST_LINE = 0.34
_MOST_LINE = 1.3
_PER_CASE = 0.028
_PANEL_TITLE = 0.45
_PLOT = 3.4
_COUNT = 0.48
_GUTTER = 0.25
_AXIS_LABELS = 0.55
_MARKS_APART = 0.42
_LONGEST_NAME = 34

# Of marks on the axis, where it spans less than a factor of 5.
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0)

_LOOKS: dict[str, dict[str, Any]] = {
    SLOWER: {"color": "#c1440e", "marker": ">", "markersize": 6},
    FASTER: {"color": "#0072b2", "marker": "<", "markersize": 6},
    SAME: {"color": QUIET, "marker": "o", "markersize": 3.4},
    NOT_RESOLVED: {"color": "#9a9a9a", "marker": "o", "markersize": 3.8, "fillstyle": "none"},
}
_HEADINGS = {SLOWER: "slower", FASTER: "faster", SAME: "same", NOT_RESOLVED: "not\nresolved"}


@styled
def comparison_figure(
    cases: pd.DataFrame, measure: str, margin: float, title: str, caption: str = ""
) -> Figure:
    """Draw the ratio of each case, phases side by side.

    Parameters
    ----------
    cases
        Of one table of a `Comparison`; at least one.
    measure
        What the ratios are of, as in `Comparison`.
    margin
        The share within which a difference does not matter.
    title, caption
        What stands above, and what in small print below.

    Returns
    -------
    Figure
        A line for each of the `subjects`. In it the cases from the lowest ratio down to the
        highest, each with its 95 % interval as far as the axis goes; beside it how many got which
        verdict.
    """
    order, cases = subjects_in_order(cases), cases.assign(subject=subjects(cases))
    names = [shortened(subject, _LONGEST_NAME) for subject in order]
    phases = sorted(cases["phase"].unique())
    most = cases.groupby(["subject", "phase"]).size().max()
    line = float(np.clip(_PER_CASE * most, _LEAST_LINE, _MOST_LINE))
    height, left = line * len(names), names_width(names)
    panel = _PLOT + 4 * _COUNT + _GUTTER
    page = Page(
        title,
        [
            "How to read: a mark is a case, its line the 95 % interval of the ratio of "
            f"{measure}s, cut off where the axis ends; right of 1× is slower. Shaded: within "
            f"{100 * margin:.3g} %. Triangles are cases called slower or faster, filled dots are "
            "the same within the shade, rings are not resolved. Numbers: cases by verdict.",
            caption,
        ],
        width=left + len(phases) * panel,
        body=_PANEL_TITLE + height + _AXIS_LABELS,
    )
    low, high = _limits(cases, margin)
    for i, phase in enumerate(phases):
        axes = page.axes(left + i * panel, _PANEL_TITLE, _PLOT, height)
        axes.set_title(phase, size=10, weight="bold", pad=4, y=1.0)
        axes.set(xscale="log", xlim=(low, high), ylim=(len(names) - 0.5, -0.5))
        _mark_ratios(axes, low, high)
        axes.set_xlabel(f"ratio of {measure}s (log scale)")
        axes.tick_params(axis="y", length=0)
        axes.set_yticks(range(len(names)), names if i == 0 else [])
        axes.axvspan(1 / (1 + margin), 1 + margin, color="#e3ece5", zorder=0)
        axes.axvline(1.0, color=INK, linewidth=0.9, zorder=1)
        for y in range(1, len(names)):
            axes.axhline(y - 0.5, color="#e4e4e4", linewidth=0.6, zorder=0)
        of_phase = cases[cases["phase"] == phase]
        _draw_cases(axes, of_phase.assign(line=_places(of_phase, order)))
        _write_counts(axes, of_phase, order)
    return page.figure


def _limits(cases: pd.DataFrame, margin: float) -> tuple[float, float]:
    """Return where the axis ends: beyond all ratios, half of the intervals, and the margin."""
    reach = 1 + 2.2 * margin
    least = cases["ratio_lo"].quantile(0.5, interpolation="lower")
    most = cases["ratio_hi"].quantile(0.5, interpolation="higher")
    low = float(np.nanmin([cases["ratio"].min(), least, 1 / reach]))
    high = float(np.nanmax([cases["ratio"].max(), most, reach]))
    return low / 1.03, high * 1.03


def _mark_ratios(axes: Axes, low: float, high: float) -> None:
    if high / low > 5:
        ratio_axis(axes.xaxis, low, high)
        return
    # Outwards from 1×, which no ready-made locator is sure to mark; the last two are nearest.
    nearest = (high / low) ** (_MARKS_APART / _PLOT)
    marks = next(
        marks
        for step in _STEPS
        if len(marks := [m for m in 1 + step * np.arange(-100, 401) if low <= m <= high]) < 2
        or marks[-1] / marks[-2] >= nearest
    )
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{mark:.4g}×" for mark in marks]))
    axes.xaxis.set_minor_locator(NullLocator())


def _places(cases: pd.DataFrame, order: list[str]) -> "pd.Series[float]":
    """Return at what height each case is drawn: its subject's line, ordered by ratio in it."""
    groups = cases.groupby("subject")["ratio"]
    share = (groups.rank(method="first") - 0.5) / groups.transform("size")
    return cases["subject"].map(order.index) + 0.8 * (share - 0.5)


def _draw_cases(axes: Axes, cases: pd.DataFrame) -> None:
    for verdict, look in _LOOKS.items():
        part = cases[cases["verdict"] == verdict]
        known = part.dropna(subset=["ratio_lo", "ratio_hi"])
        axes.hlines(
            known["line"],
            known["ratio_lo"],
            known["ratio_hi"],
            color=look["color"],
            linewidth=0.8,
            alpha=0.55,
        )
        axes.plot(
            part["ratio"],
            part["line"],
            linestyle="none",
            markeredgewidth=0.8,
            label=verdict,
            **look,
        )


def _write_counts(axes: Axes, cases: pd.DataFrame, order: list[str]) -> None:
    """Write right of the plot how many cases of each line got which verdict, under headings."""
    counts = cases.groupby(["subject", "verdict"]).size()
    for i, (verdict, heading) in enumerate(_HEADINGS.items()):
        x, colour = 1 + (i + 0.62) * _COUNT / _PLOT, _LOOKS[verdict]["color"]
        if verdict == NOT_RESOLVED:
            colour = QUIET
        axes.annotate(
            heading,
            (x, 1.0),
            xytext=(0, 4),
            xycoords="axes fraction",
            textcoords="offset points",
            size=7.5,
            ha="center",
            va="bottom",
            color=colour,
        )
        for line, subject in enumerate(order):
            count = counts.get((subject, verdict), 0)
            axes.annotate(
                f"{count}" if count else "·",
                (x, line),
                xycoords=axes.get_yaxis_transform(),
                size=8.5,
                ha="center",
                va="center",
                color=colour,
                weight="bold" if count and verdict in (SLOWER, FASTER) else "normal",
            )
