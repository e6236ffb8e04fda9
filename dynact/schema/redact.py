"""What people publish must not name their folders."""

import re

# At the start of a word, or glued to an option of one letter: -c/home/ada/pytest.ini
_START = r"(?:(?<![\w.)\]])|(?<=-[A-Za-z])(?<![\w.-]-[A-Za-z]))"
_NAMED_ROOT = r"(?:~[^/\\\s:=,]*|[A-Za-z]:)[/\\]+"
_AT_A_ROOT = r"[/\\~]|[A-Za-z]:[/\\]"
# A blank belongs to the name unless another path follows it, and so does what parts a list.
_FOLDER = rf"(?:[^/\\\s:=,]|[^\S\n](?!{_AT_A_ROOT})|[:=,](?!\s|{_AT_A_ROOT}))+[/\\]+"
_ABSOLUTE = rf"{_START}(?:{_NAMED_ROOT}(?:{_FOLDER})*|[/\\]+(?!\s)(?:{_FOLDER})+)"
_CLIMB = rf"((?<!\.)\.\.[/\\]+(?:\.\.[/\\]+)*)(?:{_FOLDER})+"

_FRAME = re.compile(r"[^;].*?\(\d+\): [^;/\\]*|[^;].*", re.DOTALL)
_OUTSIDE = re.compile(rf"\A(?:{_AT_A_ROOT}|file:|(?:.*[/\\])?\.\.[/\\]).*[/\\]", re.DOTALL)


def one_line(text: str) -> str:
    """Return a message fit for a table: its first line, printable, without folders."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    printable = "".join(character if character.isprintable() else " " for character in first)
    return without_paths(printable).strip()[:300]


def without_paths(text: str) -> str:
    """Return prose or a command without the folders of absolute paths, and of those after "..".

    Where a path ends in prose is a guess, which rather takes too much: words between a path and a
    later slash go with it. A folder is kept whose name ends in ":", "=" or ",", or goes on after
    one of these and a blank.
    """
    return re.sub(_CLIMB, r"\1", re.sub(_ABSOLUTE, "", text))


def without_folders(text: str) -> str:
    """Return a file's name, or stack frames, without the folders of files.

    A file given below an entry of Python's path, as in torch/nn/modules/linear.py, is named in
    full. Unlike prose, the text is nothing but one FILE, FILE:LINE, or FILE(LINE): FUNCTION, or
    several of the last, joined by ";". Any other text stays.
    """
    return _FRAME.sub(lambda frame: _OUTSIDE.sub("", frame[0], count=1), text)


def error_line(error: Exception) -> str:
    """Return what went wrong, fit for a row's message."""
    return f"{type(error).__name__}: {one_line(str(error))}"
