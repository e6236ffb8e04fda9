"""How much of a cost is the maths, and how much the way it is written."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from dynact import activations
from dynact.report.data.digits import means_note
from dynact.report.data.names import cell_ratio, display_name, shortened
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.data.ways import COMPILED, Way, Ways, as_words
from dynact.report.figures.declaration import RunFigure
from dynact.report.figures.style import (
    BAND,
    INK,
    PHASE_COLOURS,
    QUIET,
    Page,
    names_width,
    panel_of_lines,
    styled,
)
from dynact.report.run import Run

# Lengths in inches.
_LINE = 0.62
_PANEL_TITLE = 0.3
_PLOT = 4.4
_GUTTER = 0.3
_AXIS_LABELS = 0.55
_LONGEST_NAME = 28
_LABELS_APART = 0.06

_FLOOR = "floor"


def rungs(run: Run) -> dict[str, dict[str, list[Way]]]:
    """Return by phase and activation its ways, dearest first, and the floor last."""
    return {
        phase: {name: [*ways.dearest_first, *_floor(ways)] for name, ways in of_phase.items()}
        for phase, of_phase in run.ways.items()
    }


def _floor(ways: Ways) -> list[Way]:
    known = not math.isnan(ways.floor)
    return [Way(_FLOOR, ways.floor, cell_ratio(ways.floor))] if known else []


def has_rungs(run: Run) -> bool:
    """Return whether any activation of a run was measured in several ways."""
    return any(run.ways.values())


@styled
def ladder(run: Run, caption: str = "") -> Figure:
    """Draw the ways to write an activation on one line each, from the dearest down to the floor.

    Parameters
    ----------
    run
        With an activation of several ways, see `has_rungs`.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        A panel for each phase: a mark and a number for each way, as multiples of the baseline.
    """
    main, found = run.main, rungs(run)
    names = list(dict.fromkeys(name for of_phase in found.values() for name in of_phase))
    titles = {name: shortened(display_name(name), _LONGEST_NAME) for name in names}
    left = names_width(titles.values())
    height = _LINE * len(names)
    ratios = [r.ratio for of in found.values() for ways in of.values() for r in ways]
    # With room for what is written about the marks at either end.
    low, high = min(min(ratios), 0.9) / 2, max(max(ratios), 2.0) * 2
    page = Page(
        _title(main, found) or "Ways to write an activation, and the least that any could take",
        [_explanation(main, found), _fewer_shapes(run), means_note(main.means), caption],
        width=left + len(main.phases) * (_PLOT + _GUTTER),
        body=_PANEL_TITLE + height + _AXIS_LABELS,
    )
    for i, phase in enumerate(main.phases):
        axes = page.axes(left + i * (_PLOT + _GUTTER), _PANEL_TITLE, _PLOT, height)
        shown = [titles[name] if i == 0 else "" for name in names]
        panel_of_lines(axes, phase, shown, (low, high), shortened(main.baseline, 20))
        _draw_panel(axes, [found[phase].get(name, []) for name in names], PHASE_COLOURS[phase])
    return page.figure


def _title(main: SettingsGroup, found: dict[str, dict[str, list[Way]]]) -> str:
    """Return the longest way down as a sentence."""
    phase = main.phases[0]
    measured = {name: [r for r in ways if r.name != _FLOOR] for name, ways in found[phase].items()}
    if not measured:
        return ""
    name = max(measured, key=lambda n: measured[n][0].ratio / measured[n][-1].ratio)
    ways = found[phase][name]
    said = ", ".join(f"{r.text} {as_words(r.name)}" for r in ways if r.name != _FLOOR)
    floor = "".join(f"; the floor is {r.text}" for r in ways if r.name == _FLOOR)
    return f"{display_name(name)}, {phase}: {said}{floor} ({main.description})"


_MEANINGS = {
    activations.REFERENCE: "the form of the code that people copy (of DY-ReLU-A, -B, -C, K lines "
    "stacked and a max)",
    "lines": "K elementwise lines and torch.maximum",
    COMPILED: "torch.compile of the reference",
    "fused": "one graph of ours",
    _FLOOR: "what the least traffic and arithmetic would take at the rates measured here, in one "
    "call as short as a copy's, so that it may lie below the baseline",
}


def _explanation(main: SettingsGroup, found: dict[str, dict[str, list[Way]]]) -> str:
    drawn = {r.name for of_phase in found.values() for ways in of_phase.values() for r in ways}
    meanings = "; ".join(f"{n}: {said}" for n, said in _MEANINGS.items() if n in drawn)
    return (
        "How to read: a mark is a way to write the same activation, geometric mean over the shapes "
        f"of its time over {main.baseline}'s. {meanings[0].upper()}{meanings[1:]}."
    )


def _fewer_shapes(run: Run) -> str:
    """Return which activations have means over fewer shapes, empty where none has."""
    fewer = [
        f"{display_name(name)} in {phase} {ways.shapes}"
        for phase, of_phase in run.ways.items()
        for name, ways in of_phase.items()
        if ways.shapes < run.main.shapes
    ]
    if not fewer:
        return ""
    every = f"of {run.main.shapes} shapes, those where all of its implementations were measured"
    return f"Not over all shapes: {', '.join(fewer)} {every}."


def _draw_panel(axes: Axes, lines: list[list[Way]], colour: str) -> None:
    for line, ways in enumerate(lines):
        measured = [rung.ratio for rung in ways if rung.name != _FLOOR]
        if measured:
            axes.hlines(line, min(measured), max(measured), color=colour, linewidth=1.6, alpha=0.5)
        for rung in ways:
            is_floor = rung.name == _FLOOR
            axes.plot(
                rung.ratio,
                line,
                marker="|" if is_floor else "o",
                markersize=13 if is_floor else 7,
                markeredgewidth=2.2 if is_floor else 0.8,
                markeredgecolor=INK,
                color=colour,
                zorder=3,
            )
        # In turn above and below, so that most neighbours do not meet.
        for side, of_side in ((1, ways[::2]), (-1, ways[1::2])):
            _set_apart(axes, [_write(axes, line, rung, side) for rung in reversed(of_side)])


def _write(axes: Axes, line: int, rung: Way, side: int) -> Annotation:
    return axes.annotate(
        f"{_label(rung.name)} {rung.text}",
        (rung.ratio, line),
        xytext=(0, 8 * side),
        textcoords="offset points",
        ha="center",
        va="bottom" if side > 0 else "top",
        size=7.8,
        color=QUIET if rung.name == _FLOOR else INK,
        # A line behind it would strike it through.
        bbox={
            "facecolor": BAND if line % 2 == 0 else "white",
            "edgecolor": "none",
            "pad": 0.6,
        },
    )


def _set_apart(axes: Axes, labels: list[Annotation]) -> None:
    """Move labels, from left to right, sideways as far as they would meet or leave the plot."""
    inside = axes.get_window_extent()
    gap = _LABELS_APART * axes.figure.dpi
    boxes = [label.get_window_extent() for label in labels]
    lefts: list[float] = []
    least = inside.x0 + gap
    for box in boxes:
        lefts.append(max(box.x0, least))
        least = lefts[-1] + box.width + gap
    most = inside.x1
    for i, box in reversed(list(enumerate(boxes))):
        lefts[i] = min(lefts[i], most - box.width - gap)
        most = lefts[i]
    for label, box, left in zip(labels, boxes, lefts, strict=True):
        _, height = label.xyann
        label.xyann = ((left - box.x0) / axes.figure.dpi * 72, height)


def _label(name: str) -> str:
    return shortened(name.rpartition(":")[2], 16)


FIGURE = RunFigure(
    name="ladder",
    heading="What is the maths, and what is the way it is written",
    reading=(
        "Each mark is a way to write the same activation: from the dearest on the right down to "
        "the least that this device could take."
    ),
    shows="Time of each implementation as a multiple of the baseline’s, a panel for each phase",
    draw=ladder,
    is_there=has_rungs,
)
