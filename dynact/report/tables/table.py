"""A table of plain text, for the page and the summary alike."""

from dataclasses import dataclass

from dynact.report.tables import markdown


@dataclass(frozen=True)
class Table:
    """Cells of plain text, the first column a name."""

    header: list[str]
    lines: list[list[str]]

    def markdown(self) -> str:
        """Return it in Markdown that shows the text as it is."""
        header, *lines = [list(map(markdown.escaped, line)) for line in (self.header, *self.lines)]
        return markdown.table(header, lines)
