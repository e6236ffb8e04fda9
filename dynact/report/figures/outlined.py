"""Short texts that are drawn many times over."""

import functools
from typing import Any

from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_rgba
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

_EM = 100.0
_DIGIT_HEIGHT = 0.729  # of DejaVu Sans, in ems


class OutlinedText(Text):
    """One line centred on its position, drawn from a cached outline.

    Shaping each text anew takes most of the time of a page with hundreds of numbers.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Draw the text's outline as a marker, which vector formats store only once."""
        at = Path([self.get_transform().transform(self.get_position())])
        size: Any = renderer.points_to_pixels(self.get_fontsize())
        context = renderer.new_gc()
        context.set_linewidth(0)
        renderer.draw_markers(
            context,
            _outline(self.get_text()),
            Affine2D().scale(size / _EM),
            at,
            Affine2D(),
            to_rgba(self.get_color()),
        )
        context.restore()
        self.stale = False


@functools.cache
def _outline(text: str) -> Path:
    path = TextPath((0, 0), text, size=_EM, prop=FontProperties("DejaVu Sans"))
    x = path.vertices[:, 0]
    centre = Affine2D().translate(-(x.min() + x.max()) / 2, -_EM * _DIGIT_HEIGHT / 2)
    return path.transformed(centre)
