"""What a run was compared with, as its page shows it."""

from dataclasses import dataclass

from dynact.report.comparison.comparison import FILES
from dynact.report.comparison.section import HEADINGS, Section
from dynact.report.comparison.store import COMPARISONS, stored_sections
from dynact.report.page.figures import PageFigure, embedded
from dynact.report.run import Run


@dataclass(frozen=True)
class PageComparison:
    """A stored comparison with its pictures."""

    folder: str
    """From the page."""
    section: Section | None
    """None where it is not of the rows that the run has now, or of another version."""
    figures: list[PageFigure]


def page_comparisons(run: Run) -> list[PageComparison]:
    """Return the comparisons in a run's folder."""
    origin = run.origin(FILES)
    shown = []
    for name, section in stored_sections(run.folder).items():
        folder = f"{COMPARISONS}/{name}"
        if section is None or section.origin != origin:
            shown.append(PageComparison(folder, None, []))
            continue
        pictures = {kind: run.folder / folder / f"{kind}.png" for kind in section.figures}
        figures = [
            embedded(path, HEADINGS[kind], "", section.figures[kind])
            for kind, path in pictures.items()
            if path.is_file()
        ]
        shown.append(PageComparison(folder, section, figures))
    return shown
