"""Markdown from text that others wrote."""

import re
from collections.abc import Iterable, Sequence


def escaped(text: str) -> str:
    """Return one line of Markdown that shows the text as it is, also inside a table."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", line)


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table, first column to the left and the others to the right; cells are Markdown."""
    rule = [":--", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *lines])
