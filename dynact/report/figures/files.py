"""Figures as files: the same figure gives the same bytes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

# A keyword of the PNG specification for text in the file.
PNG_KEY = "Source"
_DOTS_PER_INCH = 120


def _write_png(figure: Figure, path: Path, origin: str) -> None:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    image = Image.fromarray(pixels).convert("RGB")
    # Figures have few colours: with a palette the file is a quarter as large.
    palette = image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    info = PngInfo()
    info.add_text(PNG_KEY, origin)
    palette.save(path, compress_level=6, dpi=(_DOTS_PER_INCH, _DOTS_PER_INCH), pnginfo=info)


def _write_svg(figure: Figure, path: Path, origin: str) -> None:
    # A date in the file would make two renderings of the same rows differ.
    metadata = {"Date": None, "Source": origin}
    FigureCanvasSVG(figure).print_svg(path, metadata=metadata)  # type: ignore[no-untyped-call]


def _write_pdf(figure: Figure, path: Path, origin: str) -> None:
    metadata = {"CreationDate": None, "Subject": origin}
    FigureCanvasPdf(figure).print_pdf(path, metadata=metadata)  # type: ignore[no-untyped-call]


# Not Figure.savefig, which draws twice, the first time to measure what needs no measuring.
_WRITERS: dict[str, Callable[[Figure, Path, str], None]] = {
    "png": _write_png,
    "svg": _write_svg,
    "pdf": _write_pdf,
}
FORMATS = tuple(_WRITERS)


def write_figure(
    folder: Path, formats: Sequence[str], origin: str, stem: str, figure: Figure
) -> list[Path]:
    """Write a figure in some of ``FORMATS``; each file says what it was drawn from."""
    figure.set_dpi(_DOTS_PER_INCH)
    paths = [folder / f"{stem}.{suffix}" for suffix in formats]
    for path, suffix in zip(paths, formats, strict=True):
        _WRITERS[suffix](figure, path, origin)
    return paths
