"""Short texts that are drawn many times over."""

import functools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_rgba
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

_EM = 100.0
_DIGIT_HEIGHT = 0.729  # of DejaVu Sans, in ems


@dataclass(frozen=True)
class Label:
    """One line centred on its position in the data, of a size in points."""

    x: float
    y: float
    text: str
    size: float
    colour: str


class OutlinedTexts(Artist):
    """Labels of one plot, drawn from cached outlines.

    Shaping each text anew takes most of the time of a page with hundreds of numbers, and an artist
    for each most of the rest.
    """

    zorder = 3  # as of any text

    def __init__(self, labels: Iterable[Label]) -> None:
        super().__init__()
        self.labels = list(labels)

    def draw(self, renderer: RendererBase) -> None:
        """Draw each text's outline as a marker, which vector formats store only once."""
        alike: dict[tuple[str, float, str], list[tuple[float, float]]] = defaultdict(list)
        for label in self.labels:
            alike[label.text, label.size, label.colour].append((label.x, label.y))
        context = renderer.new_gc()
        context.set_linewidth(0)
        for (text, size, colour), places in alike.items():
            scale: Any = renderer.points_to_pixels(size)
            renderer.draw_markers(
                context,
                _outline(text),
                Affine2D().scale(scale / _EM),
                Path(self.get_transform().transform(places)),
                Affine2D(),
                to_rgba(colour),
            )
        context.restore()
        self.stale = False


@functools.cache
def _outline(text: str) -> Path:
    path = TextPath((0, 0), text, size=_EM, prop=FontProperties("DejaVu Sans"))
    x = path.vertices[:, 0]
    centre = Affine2D().translate(-(x.min() + x.max()) / 2, -_EM * _DIGIT_HEIGHT / 2)
    return path.transformed(centre)
