"""What the profiler says for itself on standard error, and nowhere else."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# How the profiler's library begins a line: its level, date, time, process and thread.
_LINE = re.compile(r"(?P<level>[A-Z]+):\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \d+:\d+ (?P<words>.*)")
_WORTH_HEARING = ("ERROR", "WARNING")
# Why a device cannot be traced is said once a process, and holds for all traces that follow.
_said: dict[str, None] = {}


@contextmanager
def words_kept() -> Iterator[list[str]]:
    """Yield a list that gets the errors and warnings of this process's profiler at the end.

    Its library writes past Python, to the process's standard error. What others write there comes
    out at the end.
    """
    words: list[str] = []
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        own = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield words
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)
            os.close(own)
            file.seek(0)
            for line in file.read().decode(errors="replace").splitlines(keepends=True):
                if _LINE.match(line):
                    _said.update(dict.fromkeys(worth_hearing([line])))
                else:
                    os.write(2, line.encode())
            words += _said


def worth_hearing(lines: list[str]) -> list[str]:
    """Return the errors and warnings among the profiler's lines, without time and process."""
    found = map(_LINE.match, lines)
    return [line["words"] for line in found if line and line["level"] in _WORTH_HEARING]
