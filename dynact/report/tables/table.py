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

    def text(self) -> str:
        """Return it for a terminal, its columns one under the other."""
        cells = [self.header, *self.lines]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
