"""Kernels' names for page and dashboards: those of C++ templates run to thousands of letters."""

import re

# As many characters as a line of a table takes.
LONGEST = 56
_NAMESPACES = re.compile(r"(?:\w+::)+")
_ANONYMOUS = re.compile(r"\(anonymous namespace\)::")


def short_kernel(name: str) -> str:
    """Return a name that fits a table: of a C++ signature, what tells most comes first.

    Left out are the return type, namespaces and parameters, and the end, where it is still too
    long. Names that fit stay as they are.
    """
    if len(name) <= LONGEST:
        return name
    if "<" in name or "(" in name:
        plain = _NAMESPACES.sub("", _ANONYMOUS.sub("", name)).removeprefix("void ")
        name = plain[: _end_of_function(plain)]
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _end_of_function(signature: str) -> int:
    """Return where the parameters begin."""
    depth = 0
    for place, character in enumerate(signature):
        if character == "(" and depth == 0:
            return place
        depth += (character == "<") - (character == ">")
    return len(signature)
