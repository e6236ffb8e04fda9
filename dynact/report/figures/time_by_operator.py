"""Where the time of a training step goes, by operator."""

from collections import Counter
from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from dynact.report.data.names import shortened
from dynact.report.data.profile import Profile
from dynact.report.data.profiled_steps import order_alone
from dynact.report.figures.bars import stacked_bars
from dynact.report.figures.declaration import ProfileFigure
from dynact.report.figures.profiled import CUT_OFF, no_step, share_for_axis, short_names
from dynact.report.figures.style import (
    INK,
    SERIES_COLOURS,
    Page,
    names_width,
    styled,
    texts_width,
    write_beside,
)
from dynact.schema.profile import PARTS
from dynact.timing import format_ns

# Lengths in inches.
_LINE = 0.36
_LEGEND_LINE = 0.21
_PANEL_TITLE = 0.35
_PLOT = 3.4
_AXIS_LABELS = 0.5
_LONGEST_OPERATOR = 24

_OPERATORS = 8
_OTHER = "other"
_ENDS = ("time_p20_ns", "time_p80_ns")
_SPREAD = (
    "Times are medians over several steps; the black line goes from the sum of the 20th "
    "percentiles to that of the 80th."
)
_OWN = "the layer's one operator"


@styled
def time_by_operator(profile: Profile, caption: str = "") -> Figure:
    """Draw where the time of a training step goes, forward and backward apart.

    A bar for each activation, quickest on top, stacked by operator; one training step, medians
    over several. On a CPU the profiler's own cost is in it, on an accelerator the time of what the
    operators launched. A bar of a disturbed step that would flatten all others is cut off.
    """
    kernels = profile.of(profile.kernels)
    if kernels.empty:
        return no_step(caption)
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

    names = short_names(profile)
    parts = [part for part in PARTS if (kernels["part"] == part).any()]
    tables = {
        part: kernels.assign(place=operators.map(places))[kernels["part"] == part]
        .pivot_table(index="activation", columns="place", values="time_ns", aggfunc="sum")
        .reindex(index=order, columns=range(len(labels)))
        / 1e6
        for part in parts
    }
    sums = {part: table.sum(axis="columns") for part, table in tables.items()}
    needed = share_for_axis(profile)[order]
    reach = 1.05 * max((of_part * needed).max() for of_part in sums.values())
    texts = {
        part: [
            f"{format_ns(ms * 1e6) if ms else '–'}{f', {CUT_OFF}' * bool(ms > reach)}"
            for ms in sums[part]
        ]
        for part in parts
    }
    left, gutter = names_width(names.values()), max(map(texts_width, texts.values()))
    body = _PANEL_TITLE + _LINE * len(order) + _AXIS_LABELS
    page = Page(
        f"Where the time of a {profile.step} goes, by operator ({profile.setting})",
        [
            f"How to read: a bar is the time of one {profile.step}'s kernels, by the operator that "
            "launched them, traced apart from all timing; time without a kernel is not in it; "
            f"the same axis on all sides. {_SPREAD}"
            if profile.on_accelerator
            else f"How to read: a bar is the time of one {profile.step}'s operators, traced apart "
            "from all timing, with the profiler's own cost in it; the same axis on all sides. "
            f"{_SPREAD}",
            order_alone(profile),
            caption,
        ],
        width=left + len(parts) * (_PLOT + gutter) + 2.5,
        body=max(body, _LEGEND_LINE * (len(labels) + 2)),
    )
    for i, part in enumerate(parts):
        axes = page.axes(left + i * (_PLOT + gutter), _PANEL_TITLE, _PLOT, _LINE * len(order))
        bars = stacked_bars(axes, tables[part], colours)
        # A trace of a user's own has but one step, and neither end.
        of_part = kernels[kernels["part"] == part].astype(dict.fromkeys(_ENDS, float))
        ends = of_part.groupby("activation")
        low_ms, high_ms = (ends[end].agg(_sum).reindex(order) / 1e6 for end in _ENDS)
        axes.hlines(range(len(order)), low_ms, high_ms, colors=INK, linewidth=1.2)
        axes.set_title(part, size=10, weight="bold", pad=4)
        axes.set(xlim=(0, reach), xlabel=f"time of one {profile.step} (ms)")
        axes.set_yticks(range(len(order)), [names[a] for a in order] if i == 0 else [])
        write_beside(axes, texts[part])
    legend = page.axes(left + len(parts) * (_PLOT + gutter), _PANEL_TITLE, 0.1, 0.1)
    legend.set_axis_off()
    legend.legend(
        bars, labels, title="operator", alignment="left", frameon=False, loc="upper left",
        borderaxespad=0.0,
    )  # fmt: skip
    return page.figure


def _sum(times: "pd.Series[float]") -> float:
    """Return a sum; unknown of one kernel is unknown of all."""
    return float(times.sum(skipna=False))


def _own_operators(kernels: pd.DataFrame) -> set[str]:
    """Return operators that are nearly all of one activation's bar, and no other's part.

    A colour for each would leave none for what the longer bars are made of, if there are others.
    """
    if kernels["activation"].nunique() == 1:
        return set()
    of_bars = kernels.groupby(["activation", "part", "operator"])["time_ns"].sum()
    shares = of_bars / of_bars.groupby(["activation", "part"]).transform("sum")
    users = kernels.groupby("operator")["activation"].nunique()
    nearly_all = shares[shares > 0.9].index.get_level_values("operator")
    return {operator for operator in nearly_all if users[operator] == 1}


def _labels(operators: Iterable[str]) -> list[str]:
    """Return short names of operators, numbered where two would read the same."""
    short = [shortened(o.removeprefix("aten::"), _LONGEST_OPERATOR) for o in operators]
    return [
        f"{name} ({short[: i + 1].count(name)})" if uses > 1 else name
        for i, (name, uses) in enumerate((name, Counter(short)[name]) for name in short)
    ]


FIGURE = ProfileFigure(
    name="time_by_operator",
    heading="Where the time of a training step goes",
    reading=(
        "A bar is one step’s operators, medians over several, forward and backward apart: on a CPU "
        "with the profiler’s own cost in it, on an accelerator the time of the kernels that they "
        "launched."
    ),
    shows="Stacked bars of the time of one training step by operator, a bar for each activation",
    draw=time_by_operator,
)
