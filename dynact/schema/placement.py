"""Where in a network an activation is placed: a word, or the numbers of the calls themselves."""

import re
from collections.abc import Iterable
from itertools import groupby

from dynact.schema.choice import choice

PLACEMENTS = ("all", "paper", "official")
SITES = "sites:"
_RANGE = r"[1-9][0-9]{0,4}(?:-[1-9][0-9]{0,4})?"


def sites_placement(numbers: Iterable[int]) -> str:
    """Return the placement at some calls by their numbers, from 1: ``"sites:1-3+7"``."""
    ordered = sorted(set(numbers))
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0])
    ]
    return SITES + "+".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def numbers_placed(placement: str) -> tuple[int, ...]:
    """Return the numbers of the calls of ``"sites:1-3+7"``, in order.

    Raises
    ------
    ValueError
        If it is not that: one line.
    """
    ranges = placement.removeprefix(SITES)
    is_read = re.fullmatch(rf"{_RANGE}(?:\+{_RANGE})*", ranges)
    parts = [list(map(int, part.split("-"))) for part in ranges.split("+")] if is_read else []
    if not parts or any(part[0] > part[-1] for part in parts):
        raise ValueError(
            f"a placement at sites names their numbers, as sites:1-3+7, got {placement!r}"
        )
    return tuple(sorted({n for part in parts for n in range(part[0], part[-1] + 1)}))


def known_placement(placement: str) -> str:
    """Return a placement as cases have it: equal for equal places.

    Raises
    ------
    ValueError
        If it is none: one line.
    """
    if placement.startswith(SITES):
        return sites_placement(numbers_placed(placement))
    return choice("placement", placement, PLACEMENTS)
