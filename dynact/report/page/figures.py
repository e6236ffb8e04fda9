"""The figures of a run's main group, networks and profile, with what is needed to read each."""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from dynact.report.figures.declaration import (
    LayerFigure,
    NetworkFigure,
    ProfileFigure,
    ReportFigure,
    RunFigure,
)
from dynact.report.figures.provenance import origin_of
from dynact.report.figures.registry import FIGURES
from dynact.report.run import Run


@dataclass(frozen=True)
class PageFigure:
    """One embedded figure."""

    heading: str
    reading: str
    alternative: str
    png: str
    """In base64."""
    width: int
    height: int
    links: dict[str, str] = field(default_factory=dict)
    """By name, pages of the run folder that show the same in more detail."""


def page_figures(run: Run) -> list[PageFigure]:
    """Return the figures that are there as PNG, in the order of the page.

    One that was drawn from anything but this run, such as its earlier rows, is left out: it would
    contradict the tables beside it.
    """
    return [
        replace(_page_figure(picture, figure), links=_links(figure, run))
        for figure in FIGURES.values()
        for picture in _pictures(figure, run)
        if picture.path.is_file() and origin_of(picture.path) == run.origin(figure.files)
    ]


def _links(figure: ReportFigure, run: Run) -> dict[str, str]:
    if not isinstance(figure, ProfileFigure) or not figure.pages or run.profile is None:
        return {}
    steps = run.profile.of(run.profile.steps.drop(columns="activation"))
    return {
        run.names[step["activation"]]: step[figure.pages]
        for step in steps.to_dict("records")
        if step[figure.pages]
    }


@dataclass(frozen=True)
class _Picture:
    """One file of a figure, and what it was drawn of."""

    path: Path
    phase: str
    """Its only one, or empty."""
    setting: str
    names: Iterable[str]


def _pictures(figure: ReportFigure, run: Run) -> Iterator[_Picture]:
    """Yield what the page shows of a figure, where it was drawn."""
    path = run.folder / f"figures/{figure.name}.png"
    if isinstance(figure, LayerFigure | RunFigure) and not run.groups:
        return
    if isinstance(figure, LayerFigure):
        for part in figure.parts(run.main):
            path = path.with_name(f"{figure.stem(part)}.png")
            yield _Picture(path, part.phase, part.description, run.main.names.values())
    elif isinstance(figure, RunFigure):
        yield _Picture(path, "", run.main.description, run.main.names.values())
    elif isinstance(figure, NetworkFigure):
        yield _Picture(path, "", run.network_setting, run.network_names.values())
    elif isinstance(figure, ProfileFigure) and run.profile is not None:
        setting = f"one training step, {run.profile.setting}"
        yield _Picture(path, "", setting, run.profile.names.values())


def embedded(png: Path, heading: str, reading: str, alternative: str) -> PageFigure:
    """Return a picture with the words that go with it."""
    with Image.open(png) as image:
        width, height = image.size
    content = base64.b64encode(png.read_bytes()).decode("ascii")
    return PageFigure(heading, reading, alternative, content, width, height)


def _page_figure(picture: _Picture, figure: ReportFigure) -> PageFigure:
    which = ", ".join(picture.names)
    return embedded(
        picture.path,
        f"{figure.heading}, {picture.phase}" if picture.phase else figure.heading,
        figure.reading,
        f"{figure.shows} ({picture.setting}). Activations: {which}.",
    )
