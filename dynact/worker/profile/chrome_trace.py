"""A trace in Chrome's format read piece by piece: its file may be larger than the memory for it."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

# What happened is a list under this key; each piece of it is an event.
EVENTS = "traceEvents"

# In characters; events have some hundreds.
_CHUNK = 2**20
_BEHIND_VALUES = ",:]} \n\r\t"
_BLANK = re.compile(r"\s*")
_GZIP_MAGIC = b"\x1f\x8b"


def open_trace(path: Path) -> TextIO:
    """Return a trace's text, unpacked where its file begins as gzip's do, whatever its name."""
    with path.open("rb") as file:
        is_packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    # A name that is no UTF-8 costs itself, not the trace.
    if is_packed:
        return gzip.open(path, "rt", encoding="utf-8", errors="replace")
    return path.open(encoding="utf-8", errors="replace")


def items_of(text: TextIO) -> Iterator[tuple[str, Any]]:
    """Yield all that a trace holds, in its order: ``EVENTS`` with each event, a key with its value.

    Raises
    ------
    ValueError
        If the text is no JSON, or cut short: one line.
    """
    reader = _Reader(text)
    if reader.skip("["):
        for event in reader.rest_of_list():
            yield EVENTS, event
        return
    reader.expect("{")
    while not reader.skip("}"):
        key = reader.value()
        reader.expect(":")
        if key == EVENTS and reader.skip("["):
            for event in reader.rest_of_list():
                yield EVENTS, event
        else:
            yield key, reader.value()
        if not reader.skip(","):
            reader.expect("}")
            return


class _Reader:
    """A text of which only what is being read is in memory."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._decode = json.JSONDecoder().raw_decode
        self._buffer = ""
        self._at = 0

    def rest_of_list(self) -> Iterator[Any]:
        """Yield what a list holds whose begin was read."""
        while not self.skip("]"):
            yield self.value()
            if not self.skip(","):
                self.expect("]")
                return

    def value(self) -> Any:
        """Return the next value, and be behind it."""
        self._skip_blanks()
        while True:
            try:
                value, end = self._decode(self._buffer, self._at)
            except RecursionError:
                raise self._wrong() from None
            except ValueError:
                if not self._read_on():
                    raise self._wrong() from None
                continue
            # A number may go on: 0 is read where the buffer ends with "0." or "0".
            is_whole = end < len(self._buffer) and self._buffer[end] in _BEHIND_VALUES
            if not is_whole and self._read_on():
                continue
            self._at = end
            return value

    def skip(self, character: str) -> bool:
        """Return whether that comes next, and be behind it if so."""
        self._skip_blanks()
        found = self._buffer.startswith(character, self._at)
        self._at += found
        return found

    def expect(self, character: str) -> None:
        """Be behind a character that has to come next."""
        if not self.skip(character):
            raise self._wrong()

    def _skip_blanks(self) -> None:
        while True:
            blank = _BLANK.match(self._buffer, self._at)
            self._at = blank.end() if blank else self._at
            if self._at < len(self._buffer) or not self._read_on():
                return

    def _read_on(self) -> bool:
        rest = self._buffer[self._at :]
        # As much again as a long value has so far: it is decoded from its begin each time.
        more = self._text.read(max(_CHUNK, len(rest)))
        self._buffer = rest + more
        self._at = 0
        return bool(more)

    def _wrong(self) -> ValueError:
        if self._at >= len(self._buffer):
            return ValueError("it ends before it is whole: it was cut short")
        place = self._buffer[self._at :][:30]
        return ValueError(f"it is no JSON, or was cut short, from {place!r} on")
