"""One word out of those that are known."""

import difflib
from collections.abc import Sequence


def choice(kind: str, value: str, known: Sequence[str]) -> str:
    """Return ``value`` if it is known.

    Raises
    ------
    ValueError
        If it is not: one line that names near names, or all of them where none is near.
    """
    if value in known:
        return value
    near = difflib.get_close_matches(value.lower().replace("-", "_"), known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from: {', '.join(known)}"
    raise ValueError(f"unknown {kind} {value!r}; {hint}")
