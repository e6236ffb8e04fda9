"""One training step of each activation, in the order in which its work ran."""

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dynact.report.data.profile import Profile
from dynact.report.data.profiled_steps import order_alone
from dynact.report.figures.declaration import ProfileFigure
from dynact.report.figures.profiled import CUT_OFF, no_step, share_for_axis, short_names
from dynact.report.figures.style import INK, Page, names_width, styled, texts_width, write_beside
from dynact.timing import format_ns

# Lengths in inches.
_STRIP = 0.42
_LEGEND_LINE = 0.21
_PLOT = 3.4
_AXIS_LABELS = 0.5

_MOST_EDGED = 300
_COLOURS = {
    "pointwise": "#e69f00",
    "reduction": "#0072b2",
    "matmul": "#009e73",
    "convolution": "#c1440e",
    "normalisation": "#cc79a7",
    "memory": "#8a8a8a",
    "communication": "#56b4e9",
    "other": "#d4d4d4",
}


@styled
def step_timeline(profile: Profile, caption: str = "") -> Figure:
    """Draw one training step of each activation on a common time axis, by kind of work.

    A block is an operator, on an accelerator a kernel. The strip of a disturbed step that would
    flatten all others is cut off.
    """
    timeline = profile.of(profile.timeline)
    if timeline.empty:
        return no_step(caption)
    ends = (timeline["start_ns"] + timeline["duration_ns"]).groupby(timeline["activation"]).max()
    order = [str(activation) for activation in ends.sort_values(kind="stable").index]
    calls = timeline.groupby("activation").size()
    of_each = " of each activation" if len(order) > 1 else ""
    block = "kernel" if profile.on_accelerator else "operator"
    reach_ns = 1.01 * (ends * share_for_axis(profile)[ends.index]).max()
    texts = [
        f"{format_ns(ends[a])}, {calls[a]} {block}s{f', {CUT_OFF}' * bool(ends[a] > reach_ns)}"
        for a in order
    ]
    kinds = [kind for kind in _COLOURS if (timeline["kind"] == kind).any()]
    on_line = ", on it what is neither" if (timeline["part"] == "other").any() else ""
    names = short_names(profile)
    left = names_width(names.values())
    page = Page(
        f"One {profile.step}{of_each}, {block} by {block} ({profile.setting})",
        [
            f"How to read: a block is one {block}, its colour what kind of work it is; above the "
            f"line forward, below it backward{on_line}. Blank is time between them: "
            + (
                "the device waits for the host, which the profiler slows."
                if profile.on_accelerator
                else "views, allocation, dispatch, the profiler."
            ),
            order_alone(profile),
            caption,
        ],
        width=left + 2 * _PLOT + texts_width(texts),
        body=_LEGEND_LINE * 1.6 + _STRIP * len(order) + _AXIS_LABELS,
    )
    axes = page.axes(left, _LEGEND_LINE * 1.6, 2 * _PLOT, _STRIP * len(order))
    for line, activation in enumerate(order):
        axes.axhline(line, color="#d4d4d4", linewidth=0.6, zorder=0)
        step = timeline[timeline["activation"] == activation]
        for part, top in (("forward", line - 0.4), ("backward", line), ("other", line - 0.2)):
            for kind in kinds:
                blocks = step[(step["part"] == part) & (step["kind"] == kind)]
                axes.broken_barh(
                    list(zip(blocks["start_ns"] / 1e6, blocks["duration_ns"] / 1e6, strict=True)),
                    (top, 0.4),
                    facecolors=_COLOURS[kind],
                    edgecolors=INK,
                    # Of a whole network's blocks nothing but edges would be seen.
                    linewidth=0.2 if calls[activation] <= _MOST_EDGED else 0,
                )
    axes.set(xlim=(0, reach_ns / 1e6), ylim=(len(order) - 0.5, -0.5))
    begin = "its first kernel" if profile.on_accelerator else "the step"
    axes.set_xlabel(f"time since {begin} began (ms)")
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(range(len(order)), [names[a] for a in order])
    axes.legend(
        handles=[
            Patch(facecolor=_COLOURS[k], edgecolor=INK, linewidth=0.2, label=k) for k in kinds
        ],
        ncols=len(kinds), frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0),
        borderaxespad=0.2, handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip
    write_beside(axes, texts)
    return page.figure


FIGURE = ProfileFigure(
    name="step_timeline",
    heading="One training step, piece by piece",
    reading=(
        "A block is one operator, on an accelerator one kernel, its colour the kind of work; in "
        "blanks the device waits for the host: for views, allocation, dispatch and the profiler."
    ),
    shows="A strip of one training step for each activation, on a common time axis",
    draw=step_timeline,
)
