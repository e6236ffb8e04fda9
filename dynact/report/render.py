"""A run folder's rows drawn and written into that folder."""

import difflib
import functools
import itertools
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from dynact import results
from dynact.report.caveats import gate_failed
from dynact.report.figures import FIGURES
from dynact.report.page import write_page
from dynact.report.slices import Slice, device_and_threads, slices
from dynact.report.style import styled
from dynact.report.tables import summary_markdown, write_csv
from dynact.report.traced import TRACED, Traces, load_traces

_DOTS_PER_INCH = 120


def _write_png(figure: Figure, path: Path) -> None:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    image = Image.fromarray(pixels).convert("RGB")
    # Figures have few colours: with a palette the file is a quarter as large.
    palette = image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    palette.save(path, optimize=True, dpi=(_DOTS_PER_INCH, _DOTS_PER_INCH))


def _write_svg(figure: Figure, path: Path) -> None:
    # A date in the file would make two renderings of the same rows differ.
    FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})  # type: ignore[no-untyped-call]


def _write_pdf(figure: Figure, path: Path) -> None:
    FigureCanvasPdf(figure).print_pdf(path, metadata={"CreationDate": None})  # type: ignore[no-untyped-call]


# Not Figure.savefig, which draws twice, the first time to measure what needs no measuring.
_WRITERS: dict[str, Callable[[Figure, Path], None]] = {
    "png": _write_png,
    "svg": _write_svg,
    "pdf": _write_pdf,
}
FORMATS = tuple(_WRITERS)


class ChoiceError(ValueError):
    """A figure or format that there is not; the message is one line for the user."""


def render(
    run_folder: Path, figures: Sequence[str] | None = None, formats: Sequence[str] = ("png", "svg")
) -> list[Path]:
    """Draw the figures of a run and write its table, summary and page, from what is stored.

    Parameters
    ----------
    run_folder
        Holds rows.jsonl and environment.json; gets figures/, table.csv, summary.md and index.html.
    figures
        Names out of ``FIGURES`` and, where steps were traced, ``TRACED``; all by default.
    formats
        Names out of ``FORMATS``.

    Returns
    -------
    list of Path
        What was written. The same rows give the same bytes.

    Raises
    ------
    ChoiceError
        If a figure or format is not there.
    results.RunNotFoundError
        If the folder is not a run, or one without rows.
    """
    traces = load_traces(run_folder)
    if traces is not None and not traces.setting:
        traces = None  # they show training steps, and none was traced
    known = {**FIGURES, **(TRACED if traces is not None else {})}
    asked = list(known if figures is None else figures)
    _check("figure", asked, known)
    figures = [name for name in asked if name in FIGURES]
    traced = [name for name in asked if name in TRACED]
    _check("format", formats, FORMATS)
    rows = results.load(run_folder)
    if rows.empty:
        raise results.RunNotFoundError(f"run {run_folder.name!r} has no rows yet")
    environment = results.load_environment(run_folder)
    gates = results.load_gates(run_folder)
    rates = results.load_ceilings(run_folder)

    table, summary = run_folder / "table.csv", run_folder / "summary.md"
    write_csv(rows, table)
    summary.write_text(summary_markdown(rows, environment, gates, rates), encoding="utf-8")
    written = [table, summary]

    folder = run_folder / "figures"
    folder.mkdir(exist_ok=True)
    main, *others = slices(rows)
    # One shape makes no picture of its own; the tables have it.
    parts = [main, *(part for part in others if part.shapes > 1)]
    captions = [_caption(part, environment, gates) for part in parts]
    write = functools.partial(_write_figures, folder, formats)
    if len(parts) == 1:
        written += write(figures, main, captions[0])
    else:
        # Each figure is a job of its own, those that take longest first: no core is long idle.
        jobs = [([name], *part) for name in figures for part in zip(parts, captions, strict=True)]
        with ProcessPoolExecutor(max(1, min(len(jobs), os.cpu_count() or 1))) as pool:
            written += itertools.chain(*pool.map(write, *zip(*jobs, strict=True)))
    if traces is not None:
        written += _write_traced(folder, formats, traced, traces, captions[0])
    return [*written, write_page(run_folder, rows, environment, gates)]


def _check(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ChoiceError(f"no {kind} {name!r}{hint} (there are: {', '.join(known)})")
    if not names:
        raise ChoiceError(f"no {kind} given (there are: {', '.join(known)})")


@styled
def _write_figures(
    folder: Path, formats: Sequence[str], figures: Sequence[str], part: Slice, caption: str
) -> list[Path]:
    """Write the figures of one slice."""
    written = []
    for name, figure in _draw(part, figures, caption):
        written += _write(folder, formats, name, figure)
    return written


@styled
def _write_traced(
    folder: Path, formats: Sequence[str], figures: Sequence[str], traces: Traces, caption: str
) -> list[Path]:
    """Write the figures of what was traced."""
    written = []
    for name in figures:
        written += _write(folder, formats, name, TRACED[name](traces, caption))
    return written


def _write(folder: Path, formats: Sequence[str], name: str, figure: Figure) -> list[Path]:
    figure.set_dpi(_DOTS_PER_INCH)
    paths = [folder / f"{name}.{suffix}" for suffix in formats]
    for path, suffix in zip(paths, formats, strict=True):
        _WRITERS[suffix](figure, path)
    return paths


def _draw(part: Slice, figures: Sequence[str], caption: str) -> Iterator[tuple[str, Figure]]:
    """Yield (file name without ending, figure)."""
    tail = f"_{part.suffix}" if part.suffix else ""
    for name in figures:
        kind = FIGURES[name]
        if kind.per_phase:
            for phase, rows in part.rows.groupby("phase"):
                yield f"{name}_{phase}{tail}", kind.draw(rows, caption)
        else:
            yield f"{name}{tail}", kind.draw(part.rows, caption)


def _caption(part: Slice, environment: dict[str, Any], gates: list[dict[str, Any]]) -> str:
    """Return where and when it was measured, and whether the gate had doubts."""
    words = [
        device_and_threads(part.rows, environment),
        f"torch {environment['versions']['torch']}",
        pd.Timestamp(environment["started"]).strftime("%Y-%m-%d"),
    ]
    doubt = "RATIOS NOT TRUSTWORTHY (the gate failed). " if gate_failed(gates) else ""
    return f"{doubt}Measured on {', '.join(words)}."
