"""What people publish must not name their folders."""

import re

# Where a path begins: at home, on a drive, or at the root; but " / " is a division.
_HOME = r"[~$](?:[^/\\\s]*|[^\W\d][^/\\\n~$]*)[/\\]|[A-Za-z]:[/\\]"
_ROOT = r"(?!(?<=[^\S\n])[/\\]+\s)[/\\]"
# A file's name is known by its ending, and by one of these after it; few folders have both.
_AFTER = r"[\s:;,='\"(]"
_FILE = rf"\w[\w.+-]*\.\w+(?::\s|(?={_AFTER})[^/\\\n]*(?<={_AFTER})(?:{_HOME}|{_ROOT}))"
_FOLDER = rf"(?!{_FILE})[^/\\\n]*[/\\]"
_PATH = re.compile(
    rf"""
      (https?://[\w.-]+(?::\d+)?(?:/[\w.%~-]*)*)               # A web address stays,
    | ((?<!\.)(?:\.\.[/\\]+)+) (?:{_FOLDER})*                  # so does the way up,
    | (?<![\w./\\)\]]) ((?<!-)-+[A-Za-z][\w-]*)?               # and an option glued to a path.
      (?:(?:{_HOME})(?:{_FOLDER})* | {_ROOT}(?:{_FOLDER})+)
    """,
    re.VERBOSE,
)

# Where an object lies, as its repr says: <function f at 0x7f…>.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+(?=[\s>),;:]|$)")

_FRAME = re.compile(r"[^;].*?\(\d+\): [^;/\\]*(?=;|\Z)|[^;].*", re.DOTALL)
# First, what torch.fx names: <eval_with_key>.0 from FILE:LINE in FUNCTION.
_OUTSIDE = re.compile(
    r"\A((?:<[^<>/\\]*>[^/\\]* from )?)"
    r"(?:[/\\~]|[A-Za-z]:[/\\]|file:|(?:.*[/\\])?\.\.[/\\]).*[/\\]",
    re.DOTALL,
)


def one_line(text: str) -> str:
    """Return a message fit for a table: its first line, printable, without folders."""
    # First of all, as some of what ends a line may also be in a folder's name.
    lines = without_paths(text).splitlines()
    first = next((line for line in lines if line.strip()), "")
    printable = "".join(character if character.isprintable() else " " for character in first)
    return printable.strip()[:300]


def without_paths(text: str) -> str:
    r"""Return prose or a command without the folders of absolute paths, and of those after "..".

    From where a path begins, all goes up to the last slash or backslash of its line, words between
    included: no blank, option or punctuation tells a folder's end from a part of its name. Only a
    name with an ending, as x.py, is taken for a file's if ": " follows, or if punctuation or a
    blank does and then another path. A path begins with /, ~, $NAME, C:\ or "..", but not after a
    letter, a digit, ".", ")" or "]": 3/4 and torch/nn stay. Web addresses stay too, and the last
    name of a path, even if it is a folder's.
    """
    return _PATH.sub(r"\1\2\3", text)


def without_folders(text: str) -> str:
    """Return a file's name, or stack frames, without the folders of files.

    A file given below an entry of Python's path, as in torch/nn/modules/linear.py, is named in
    full. Unlike prose, the text is nothing but one FILE, FILE:LINE, or FILE(LINE): FUNCTION, or
    several of the last, joined by ";". FILE may be a name that torch.fx gave, which tells where
    the traced function is. Any other text stays.
    """
    return _FRAME.sub(lambda frame: _OUTSIDE.sub(r"\1", frame[0]), text)


def error_line(error: BaseException) -> str:
    """Return what went wrong, fit for a row's message: the same in every run, without addresses."""
    return f"{type(error).__name__}: {one_line(_ADDRESS.sub('', str(error)))}"
