"""A run drawn and written into its folder."""

import difflib
import functools
import gc
import itertools
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from matplotlib.figure import Figure

from dynact.report.data.baseline_mode import BaselineMode
from dynact.report.data.budget import DEFAULT, Budget
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.figures.declaration import (
    LayerFigure,
    NetworkFigure,
    ProfileFigure,
    RunFigure,
)
from dynact.report.figures.files import FORMATS, write_figure
from dynact.report.figures.registry import FIGURES, figures_of
from dynact.report.figures.style import styled
from dynact.report.page.page import write_page
from dynact.report.run import Run
from dynact.report.tables.summary import summary_markdown, write_csv
from dynact.schema.run_folder import RunNotFoundError


class ChoiceError(ValueError):
    """A figure or format that there is not; the message is one line for the user."""


def render(
    run: Run,
    figures: Sequence[str] | None = None,
    formats: Sequence[str] = ("png", "svg"),
    baseline_mode: BaselineMode = "eager",
    budget: Budget = DEFAULT,
    at_most: float | None = None,
) -> list[Path]:
    """Draw the figures of a run and write its table, summary and page, from what is stored.

    Parameters
    ----------
    run
        Its folder gets figures/, table.csv, summary.md and index.html.
    figures
        Names out of ``FIGURES``: those of layers and of networks only where these were measured,
        those of the profile only where training steps were profiled; all of these by default.
    formats
        Names out of ``FORMATS``.
    baseline_mode
        Over which baseline tables that mix modes give their ratios: the eager one, or each mode's
        own.
    budget
        The memory for which the largest batch of whole networks is computed.
    at_most
        A multiple of the baseline's time: summary and page then say which activations keep it.

    Returns
    -------
    list of Path
        What was written. The same rows give the same bytes. The page also shows the figures that
        an earlier call drew, if from the same rows and as PNG.

    Raises
    ------
    ChoiceError
        If a figure or format is not there, or a limit is given and there are no layers.
    RunNotFoundError
        If the folder is not a run, or one without rows of layers or networks.
    RunError
        If its profile cannot be read.
    """
    of_layers = figures_of(LayerFigure) if len(run.rows) else {}
    of_run = _drawers_of_run(run)
    known = [*of_layers, *of_run]
    asked = known if figures is None else figures
    if run.rows.empty and run.networks.empty:
        raise RunNotFoundError(f"run {run.folder.name!r} has no rows yet")
    if at_most is not None and not run.groups:
        raise ChoiceError(f"run {run.folder.name!r} has no layers, of which a limit could be kept")
    _check("figure", asked, known)
    _check("format", formats, FORMATS)

    table, summary = run.folder / "table.csv", run.folder / "summary.md"
    # Before anything is written: a file that is read for it may be cut short.
    findings = summary_markdown(run, baseline_mode, budget, at_most)
    write_csv(run.rows, table)
    summary.write_text(findings, encoding="utf-8")
    written = [table, summary]

    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    if run.groups:
        layers = [name for name in asked if name in of_layers]
        written += _write_of_layers(run, folder, formats, layers)
    main = run.main if run.groups else None
    for name in asked:
        if name in of_run:
            figure = FIGURES[name]
            caption = run.caption(main, of_traces=isinstance(figure, ProfileFigure))
            origin = run.origin(figure.files)
            written += _write_of_run(folder, formats, origin, name, of_run[name], caption)
    return [*written, write_page(run, budget, at_most)]


def _drawers_of_run(run: Run) -> dict[str, Callable[[str], Figure]]:
    """Return what draws each figure that a run has beside those of its layers."""
    drawers: dict[str, Callable[[str], Figure]] = {
        name: functools.partial(figure.draw, run)
        for name, figure in figures_of(RunFigure).items()
        if len(run.rows) and figure.is_there(run)
    }
    if len(run.networks):
        for name, of_networks in figures_of(NetworkFigure).items():
            if of_networks.is_there(run):
                drawers[name] = functools.partial(of_networks.draw, run)
    # They show training steps.
    if run.profile is not None and run.profile.setting:
        for name, of_profile in figures_of(ProfileFigure).items():
            drawers[name] = functools.partial(of_profile.draw, run.profile)
    return drawers


def _check(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ChoiceError(f"no {kind} {name!r}{hint} (there are: {', '.join(known)})")
    if not names:
        raise ChoiceError(f"no {kind} given (there are: {', '.join(known)})")


def _write_of_layers(
    run: Run, folder: Path, formats: Sequence[str], figures: Sequence[str]
) -> list[Path]:
    """Write figures of every settings group."""
    # One shape makes no picture of its own; the tables have it.
    groups = [run.main, *(group for group in run.groups[1:] if group.shapes > 1)]
    # A phase, or a whole group, is a job: what its figures share is found once. Those that take
    # longest come first: no core is long idle.
    phases = [part for group in groups for part in group.by_phase.values()]
    parts = [*phases, *groups]
    captions = [run.caption(part) for part in parts]
    write = functools.partial(_write_part, folder, formats, run.origin(LayerFigure.files), figures)
    if len(groups) == 1:
        return list(itertools.chain(*map(write, parts, captions)))
    # Frozen, what was there before is not searched for garbage again and again.
    with ProcessPoolExecutor(min(len(parts), os.cpu_count() or 1), initializer=gc.freeze) as pool:
        return list(itertools.chain(*pool.map(write, parts, captions)))


@styled
def _write_part(
    folder: Path,
    formats: Sequence[str],
    origin: str,
    figures: Sequence[str],
    part: SettingsGroup,
    caption: str,
) -> list[Path]:
    """Write those of the figures that show a group as a whole, or one phase of it."""
    written = []
    for name, figure in figures_of(LayerFigure).items():
        if name in figures and figure.by_phase == bool(part.phase):
            drawn = figure.draw(part, caption)
            written += write_figure(folder, formats, origin, figure.stem(part), drawn)
    return written


@styled
def _write_of_run(
    folder: Path,
    formats: Sequence[str],
    origin: str,
    name: str,
    draw: Callable[[str], Figure],
    caption: str,
) -> list[Path]:
    return write_figure(folder, formats, origin, name, draw(caption))
