"""A line of a terminal that says what is going on, and goes again."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ERASE = "\r\x1b[K"


@contextmanager
def terminal_line() -> Iterator[Callable[[str], None]]:
    """Yield what shows a text on stderr in the place of the last one; nothing if that is a file."""
    stream = sys.stderr

    def show(text: str) -> None:
        if stream.isatty():
            stream.write(_ERASE + text[: shutil.get_terminal_size().columns - 1])
            stream.flush()

    try:
        yield show
    finally:
        show("")
