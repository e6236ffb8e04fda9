"""What the figures of profiled steps share."""

import pandas as pd
from matplotlib.figure import Figure

from dynact.report.data.names import shortened
from dynact.report.data.profile import Profile
from dynact.report.figures.style import Page

_LONGEST_NAME = 28
# A step that took more than so many times as long as without the profiler is no axis' measure.
_STRETCHED = 2.0
CUT_OFF = "cut off"


def short_names(profile: Profile) -> dict[str, str]:
    """Return by activation a display name for a line or panel."""
    return {a: shortened(name, _LONGEST_NAME) for a, name in profile.names.items()}


def share_for_axis(profile: Profile) -> "pd.Series[float]":
    """Return by activation the share of its time that a common axis has to have room for.

    All of it, but of a step that was disturbed so much that it would flatten all others: of that
    as much as it takes without the profiler.
    """
    steps = profile.of(profile.steps.drop(columns="activation")).set_index("activation")
    untraced = steps["untraced_ns"].astype(float) / steps["step_ns"].astype(float)
    return untraced.where(untraced < 1 / _STRETCHED, 1.0)


def no_step(caption: str) -> Figure:
    """Return a page that says that no training step was profiled."""
    page = Page("Traces", [caption], width=7.0, body=0.8)
    line = "Nothing to draw: no training step was traced."
    page.axes(0.15, 0.1, 6.7, 0.6).text(0, 0.5, line, size=10, va="center")
    page.figure.axes[0].set_axis_off()
    return page.figure
