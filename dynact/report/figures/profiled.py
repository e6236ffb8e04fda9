"""What the figures of profiled steps share."""

from matplotlib.figure import Figure

from dynact.report.data.names import shortened
from dynact.report.data.profile import Profile
from dynact.report.figures.style import Page

_LONGEST_NAME = 28


def short_names(profile: Profile) -> dict[str, str]:
    """Return by activation a display name for a line or panel."""
    return {a: shortened(name, _LONGEST_NAME) for a, name in profile.names.items()}


def no_step(caption: str) -> Figure:
    """Return a page that says that no training step was profiled."""
    page = Page("Traces", [caption], width=7.0, body=0.8)
    line = "Nothing to draw: no training step was traced."
    page.axes(0.15, 0.1, 6.7, 0.6).text(0, 0.5, line, size=10, va="center")
    page.figure.axes[0].set_axis_off()
    return page.figure
