"""A run folder's rows drawn and written into that folder."""

import difflib
import functools
import itertools
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dynact.report.data.caveats import gate_failed
from dynact.report.data.profile import load_traces
from dynact.report.data.settings_groups import Slice, device_and_threads, slices
from dynact.report.figures.files import FORMATS, write_figure
from dynact.report.figures.of_layers import FIGURES
from dynact.report.figures.of_networks import NETWORK_FIGURES
from dynact.report.figures.of_profile import TRACED
from dynact.report.figures.provenance import origins
from dynact.report.figures.style import styled
from dynact.report.page.figures import page_figures
from dynact.report.page.page import write_page
from dynact.report.tables.summary import summary_markdown, write_csv
from dynact.schema import run_folder as results


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
        Names out of ``FIGURES``, and out of ``NETWORK_FIGURES`` and ``TRACED`` where networks were
        measured and steps were traced; all by default.
    formats
        Names out of ``FORMATS``.

    Returns
    -------
    list of Path
        What was written. The same rows give the same bytes. The page also shows the figures that
        an earlier call drew, if from the same rows and as PNG.

    Raises
    ------
    ChoiceError
        If a figure or format is not there.
    results.RunNotFoundError
        If the folder is not a run, or one without rows.
    results.RunError
        If its traces cannot be read.
    """
    # Before anything is read: of what is stored meanwhile no figure claims to be drawn.
    origin_by_name = origins(run_folder)
    traces = load_traces(run_folder)
    networks = results.load_network_rows(run_folder), results.load_site_rows(run_folder)
    beside: dict[str, Callable[[str], Figure]] = {}
    if len(networks[0]):
        beside |= {
            name: functools.partial(draw, *networks) for name, draw in NETWORK_FIGURES.items()
        }
    # They show training steps.
    if traces is not None and traces.setting:
        beside |= {name: functools.partial(draw, traces) for name, draw in TRACED.items()}
    known = [*FIGURES, *beside]
    asked = known if figures is None else figures
    _check("figure", asked, known)
    _check("format", formats, FORMATS)
    rows = results.load(run_folder)
    if rows.empty:
        alone = " but those of networks; --resume adds what is missing" if len(networks[0]) else ""
        raise results.RunNotFoundError(f"run {run_folder.name!r} has no rows yet{alone}")
    environment = results.load_environment(run_folder)
    gates = results.load_gates(run_folder)
    rates = results.load_ceilings(run_folder)

    table, summary = run_folder / "table.csv", run_folder / "summary.md"
    write_csv(rows, table)
    summary.write_text(
        summary_markdown(rows, environment, gates, rates, networks), encoding="utf-8"
    )
    written = [table, summary]

    folder = run_folder / "figures"
    folder.mkdir(exist_ok=True)
    main, *others = slices(rows)
    # One shape makes no picture of its own; the tables have it.
    parts = [main, *(part for part in others if part.shapes > 1)]
    captions = [_caption(part, environment, gates) for part in parts]
    write = functools.partial(_write_figures, folder, formats, origin_by_name)
    of_slices = [name for name in asked if name in FIGURES]
    if len(parts) == 1:
        written += write(of_slices, main, captions[0])
    else:
        # Each figure is a job of its own, those that take longest first: no core is long idle.
        jobs = [([name], *part) for name in of_slices for part in zip(parts, captions, strict=True)]
        with ProcessPoolExecutor(max(1, min(len(jobs), os.cpu_count() or 1))) as pool:
            written += itertools.chain(*pool.map(write, *zip(*jobs, strict=True)))
    for name in asked:
        if name in beside:
            written += _write_beside(
                folder, formats, origin_by_name[name], name, beside[name], captions[0]
            )
    shown = page_figures(folder, origin_by_name, main, traces, networks[0])
    return [*written, write_page(run_folder, rows, environment, gates, shown, traces, networks)]


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
    folder: Path,
    formats: Sequence[str],
    origin_by_name: Mapping[str, str],
    figures: Sequence[str],
    part: Slice,
    caption: str,
) -> list[Path]:
    """Write the figures of one slice."""
    written = []
    for name in figures:
        for stem, figure in _draw(part, name, caption):
            written += write_figure(folder, formats, origin_by_name[name], stem, figure)
    return written


@styled
def _write_beside(
    folder: Path,
    formats: Sequence[str],
    origin: str,
    name: str,
    draw: Callable[[str], Figure],
    caption: str,
) -> list[Path]:
    """Write a figure that is not of the sweep's rows."""
    return write_figure(folder, formats, origin, name, draw(caption))


def _draw(part: Slice, name: str, caption: str) -> Iterator[tuple[str, Figure]]:
    """Yield (file name without ending, figure)."""
    tail = f"_{part.suffix}" if part.suffix else ""
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
