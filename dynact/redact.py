"""What people publish must not name their folders."""

import re

# At the start of a word, or glued to an option of one letter: -c/home/ada/pytest.ini
_START = r"(?:(?<![\w.])|(?<=-[A-Za-z])(?<![\w.-]-[A-Za-z]))"
_ROOT = r"(?:~[^/\\\s:=,]*|[A-Za-z]:)?[/\\]"
# A blank belongs to the name unless another path follows it.
_FOLDER = r"(?:[^/\\\s:=,]| (?![/\\~]|[A-Za-z]:))+[/\\]"


def one_line(text: str) -> str:
    """Return a message fit for a table: its first line, printable, without folders."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    printable = "".join(character if character.isprintable() else " " for character in first)
    return without_paths(printable).strip()[:300]


def without_paths(text: str) -> str:
    """Return the text with the folders of every absolute path left out."""
    return re.sub(f"{_START}{_ROOT}(?:{_FOLDER})*", "", text)


def error_line(error: Exception) -> str:
    """Return what went wrong, fit for a row's message."""
    return f"{type(error).__name__}: {one_line(str(error))}"
