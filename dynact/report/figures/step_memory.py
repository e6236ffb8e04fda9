"""What each activation has allocated in the course of one training step."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynact.report.data.profile import Profile
from dynact.report.data.profiled_steps import order_alone
from dynact.report.figures.declaration import ProfileFigure
from dynact.report.figures.profiled import no_step, short_names
from dynact.report.figures.style import INK, Page, styled

# In inches.
_PANEL_TITLE = 0.35


@styled
def step_memory(profile: Profile, caption: str = "") -> Figure:
    """Draw what each activation has allocated over one training step, each on its own time axis.

    A dashed line marks what is there between forward and backward: the output and what is kept.
    """
    memory = profile.of(profile.memory)
    if memory.empty:
        return no_step(caption)
    peaks = memory.groupby("activation")["allocated_bytes"].max().sort_values(kind="stable")
    order = list(map(str, peaks.index))
    names = short_names(profile)
    columns = min(len(order), 3)
    lines = -(-len(order) // columns)
    width, height, gap = 2.9, 1.35, 0.62
    page = Page(
        f"Memory over one {profile.step} ({profile.setting})",
        [
            "How to read: bytes allocated above what was there before the step, on one scale; each "
            "panel has its own time axis, the host's, under the profiler. Dashed: what is held "
            "when the forward pass is over, the output and what is kept for backward.",
            order_alone(profile),
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


FIGURE = ProfileFigure(
    name="step_memory",
    heading="Memory over one training step",
    reading=(
        "The dashed line is what is held when the forward pass is over: output and what is kept."
    ),
    shows="Allocated bytes over one training step, a panel for each activation",
    draw=step_memory,
    pages="memory_page",
)
