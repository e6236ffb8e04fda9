"""What tests read off a drawn figure."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text


def panels(figure: Figure) -> dict[str, Axes]:
    """The plots with a title in their middle, by title."""
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def left_titled(figure: Figure) -> list[Axes]:
    """The plots with a title at their left end."""
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def beyond_the_axes(figure: Figure) -> set[Text]:
    """The labels of marks outside an axis's limits, which are never drawn."""
    return {
        tick.label1
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }


def notes_of(figure: Figure) -> str:
    """Title and small print, without line breaks."""
    return " ".join(" ".join(t.get_text().split()) for t in figure.texts)


def marked(axes: Axes, label: str) -> list[Line2D]:
    """The lines that were drawn as one kind of mark."""
    return [line for line in axes.lines if line.get_label() == label]


def labels_of(axes: Axes) -> list[str]:
    """What stands at the lines of a plot, from the top down."""
    return [t.get_text() for t in axes.get_yticklabels()]


def texts(figure: Figure) -> str:
    """All that is written on the page."""
    return "\n".join(
        text.get_text() for part in (figure, *figure.axes) for text in part.findobj(match=_is_text)
    )


def _is_text(artist: object) -> bool:
    return hasattr(artist, "get_text")
