"""Overhead of each network against the number of sites that have the activation."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from dynact.report.data.digits import one_visit_note, range_note
from dynact.report.data.fewer_sites import FORETOLD, FewerSites, fewer_sites
from dynact.report.data.names import cell_ratio, shortened
from dynact.report.data.network_frames import mark_note
from dynact.report.figures.declaration import BudgetFigure
from dynact.report.figures.style import (
    INK,
    QUIET,
    SERIES_COLOURS,
    Page,
    nothing_to_draw,
    styled,
)
from dynact.report.run import Run
from dynact.schema.digits import measured_ratio
from dynact.schema.placement import numbers_placed

# Lengths in inches.
_LEFT = 0.75
_PLOT = 3.7
_BESIDE = 3.6
_PANEL_TITLE = 0.4
_LEAST_HEIGHT = 2.3
_LINE = 0.155
_AXIS_LABELS = 0.65
_LONGEST_NAME = 32
# As many sites have a mark each.
_FEW = 20
# Of a log scale of overheads, as far as they have room.
_MARKS = (
    *(0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 2.5, 3, 4, 5, 7),
    *(10, 15, 20, 30, 50, 70, 100, 200, 500, 1000),
)
_LEAST_GAP = 0.05
_EXPLANATION = (
    "How to read: on the right the activation is at all of the sites that can have it, to the left "
    "at fewer and fewer of them, the most expensive given up first. A step is one site: a high "
    "one is worth giving up, and where the line is flat, sites are had for little. Diamonds were "
    "measured with all sites, circles with fewer of them, wherever these are, each with its 95 % "
    "interval; a dashed line is a budget that was asked for."
)


@styled
def placement_tradeoff(run: Run, caption: str = "") -> Figure:
    """Draw what each network is foretold to take with fewer sites, and what it was measured at.

    Parameters
    ----------
    run
        One with networks.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        A panel for each network and phase that was measured with an activation everywhere: a line
        for each activation, with what to read off it beside the panel.
    """
    curves = fewer_sites(run)
    if not curves:
        title = "What each network takes with fewer sites"
        return nothing_to_draw(title, run.networks, caption, "a time with all sites")
    phases = sorted({curve.phase for curve in curves})
    subjects = list(dict.fromkeys(curve.subject for curve in curves))
    panels: dict[tuple[str, str], list[FewerSites]] = {}
    for curve in curves:
        panels.setdefault((curve.subject, curve.phase), []).append(curve)
    heights = {
        subject: max(
            _LEAST_HEIGHT,
            *(
                _LINE * sum(len(_words(curve)) + 0.6 for curve in panels.get((subject, phase), []))
                for phase in phases
            ),
        )
        for subject in subjects
    }
    measured = pd.concat([curve.measured for curve in curves])
    page = Page(
        _answer(curves),
        [
            f"{_EXPLANATION} ({run.network_setting}.)",
            FORETOLD,
            range_note(measured),
            one_visit_note(measured, "network"),
            mark_note(measured["mark"]),
            caption,
        ],
        width=_LEFT + len(phases) * (_PLOT + _BESIDE) + 0.1,
        body=sum(heights.values()) + len(subjects) * (_PANEL_TITLE + _AXIS_LABELS),
    )
    top = 0.0
    for subject in subjects:
        for i, phase in enumerate(phases):
            if here := panels.get((subject, phase)):
                axes = page.axes(
                    _LEFT + i * (_PLOT + _BESIDE), top + _PANEL_TITLE, _PLOT, heights[subject]
                )
                _draw_panel(axes, here, heights[subject])
        top += heights[subject] + _PANEL_TITLE + _AXIS_LABELS
    return page.figure


def _answer(curves: list[FewerSites]) -> str:
    """Return what all curves say, for one in its own words."""
    asked = [(curve, budget) for curve in curves for budget in curve.budgets]
    if len(asked) == 1:
        curve, budget = asked[0]
        where = f"{curve.variant} in {curve.subject}, {curve.phase}"
        kept = f"{_kept(curve, budget)} of {len(curve.sites)} sites"
        return f"Foretold to keep {budget:g}×: {kept} ({where})"
    if asked and len({budget for _, budget in asked}) == 1:
        shares = [_kept(curve, budget) / len(curve.sites) for curve, budget in asked]
        return f"Foretold to keep {asked[0][1]:g}×: an activation at {_shares(shares)} of the sites"
    halved = [(curve, curve.halved) for curve in curves if curve.halved is not None]
    if len(halved) == 1:
        curve, given = halved[0]
        where = f"{curve.variant} costs in {curve.subject}, {curve.phase}"
        return f"Giving up {given} of {len(curve.sites)} sites is foretold to halve what {where}"
    if not halved:
        return "What each network takes with fewer sites"
    shares = [given / len(curve.sites) for curve, given in halved]
    return f"Giving up {_shares(shares)} of the sites is foretold to halve an activation's cost"


def _shares(shares: list[float]) -> str:
    low, high = (round(100 * end) for end in (min(shares), max(shares)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def _kept(curve: FewerSites, budget: float) -> int:
    placement = curve.budgets[budget]
    return len(numbers_placed(placement)) if placement else 0


def _words(curve: FewerSites) -> list[str]:
    """Return what stands beside a panel of one of its lines: its name, and what to read off it."""
    count, whole = len(curve.sites), curve.measured.iloc[0]
    ratio = measured_ratio(*whole[["overhead", "overhead_lo", "overhead_hi"]].astype(float))
    words = [
        shortened(curve.variant, _LONGEST_NAME),
        f"{ratio}{whole['mark']} at all {count} sites" if count else f"{ratio}{whole['mark']}",
    ]
    if curve.halved:
        halved = cell_ratio(curve.foretold(curve.halved))
        words.append(f"half the extra time: without {curve.halved}, foretold {halved}")
    for budget, placement in curve.budgets.items():
        stay = _kept(curve, budget)
        took = curve.measured[curve.measured["placement"] == placement]
        said = f"within {budget:g}×: {stay} stay" if stay else f"within {budget:g}×: none fits"
        if stay and len(took):
            row = took.iloc[0]
            ends = row[["overhead", "overhead_lo", "overhead_hi"]].astype(float)
            said += f", {measured_ratio(*ends)}{row['mark']} measured"
        words.append(said)
    if unmeasured := len(curve.giving_up.unmeasured):
        words.append(f"{unmeasured} without a measured layer stay")
    return words


def _draw_panel(axes: Axes, curves: list[FewerSites], height: float) -> None:
    first = curves[0]
    axes.set_title(f"{first.subject}, {first.phase}", size=10, weight="bold", pad=5, loc="left")
    count = max([1, *(len(curve.sites) for curve in curves)])
    margin = 0.03 * count + 0.3
    axes.set(yscale="log", xlim=(-margin, count + margin))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("sites that have the activation")
    axes.set_ylabel("time / original network's (log scale)")
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axhline(1.0, color=INK, linewidth=0.9, zorder=1)
    reach = [1.0]
    line = 0.0
    for curve, colour in zip(curves, _colours(len(curves)), strict=True):
        kept = len(curve.sites) - np.arange(len(curve.giving_up.overheads))
        axes.plot(
            kept, curve.giving_up.overheads, color=colour, linewidth=1.4, drawstyle="steps-mid",
            marker="." if len(curve.sites) <= _FEW else "", markersize=4, zorder=3,
            label="foretold",
        )  # fmt: skip
        reach += [ratio for ratio in curve.giving_up.overheads if ratio > 0]
        reach += _draw_measured(axes, curve, colour)
        for i, words in enumerate(_words(curve)):
            axes.annotate(
                words, (1, 1), xytext=(10, -72 * _LINE * line), xycoords="axes fraction",
                textcoords="offset points", va="top", size=8.5 if i == 0 else 8,
                weight="bold" if i == 0 else "normal", color=colour if i == 0 else INK,
            )  # fmt: skip
            line += 1
        line += 0.6
    budgets = sorted({budget for curve in curves for budget in curve.budgets})
    for budget in budgets:
        axes.axhline(budget, color=QUIET, linewidth=1.0, dashes=(4, 3), zorder=2, label="budget")
        axes.annotate(
            f"{budget:g}×", (0, budget), xytext=(3, 2), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", size=8, color=QUIET, va="bottom",
        )  # fmt: skip
    _scale(axes, [*reach, *budgets], height)


def _draw_measured(axes: Axes, curve: FewerSites, colour: str) -> list[float]:
    """Draw the points that were measured, and return which ratios they reach."""
    reach = []
    for row in curve.measured.to_dict("records"):
        ends = [end for end in (row["overhead_lo"], row["overhead_hi"]) if not np.isnan(end)]
        whole = row["placement"] == "all"
        axes.plot(
            row["kept"], row["overhead"], marker="D" if whole else "o", color=colour,
            markersize=6 if whole else 6.5, markeredgecolor=INK, markeredgewidth=0.8, zorder=5,
            linestyle="", label="measured",
        )  # fmt: skip
        axes.plot([row["kept"]] * len(ends), ends, color=INK, linewidth=1.1, zorder=4)
        reach += [row["overhead"], *ends]
    return reach


def _colours(count: int) -> list[str]:
    return [SERIES_COLOURS[i % len(SERIES_COLOURS)] for i in range(count)]


def _scale(axes: Axes, ratios: list[float], height: float) -> None:
    """Set the limits, and mark as many ratios as have room: 1× first, then from below."""
    low, high = min(ratios), max(ratios)
    spread = max(high / low, 1.1)
    low, high = low / spread**0.07, high * spread**0.1
    gap = np.log(high / low) * max(_LEAST_GAP, 0.19 / height)
    marks = [1.0]
    for mark in _MARKS:
        if low <= mark <= high and all(abs(np.log(mark / other)) >= gap for other in marks):
            marks.append(mark)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(sorted(marks)))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{mark:g}×" for mark in sorted(marks)]))
    axes.yaxis.set_minor_locator(NullLocator())


FIGURE = BudgetFigure(
    name="placement_tradeoff",
    heading="How many sites a budget leaves",
    reading=(
        "From right to left the most expensive sites are given up one by one: the line is what the "
        "network is foretold to take then, diamonds and circles what it was measured at."
    ),
    shows="A line of overhead against the sites that are kept, for each network and activation",
    draw=placement_tradeoff,
    is_there=lambda run: bool(
        ((run.networks["placement"] == "all") & (run.networks["status"] == "ok")).any()
    ),
)
