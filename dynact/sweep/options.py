"""From the words of a command line to values, with one clear line where they are wrong."""

import argparse
import os
import re
from math import inf
from pathlib import Path
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """A parser that answers a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with the message alone; --help has the rest."""
        self.exit(2, f"{self.prog}: {message}\n")

    def cannot_write(self, error: OSError, folder: Path) -> NoReturn:
        """Leave and say what of a run's folder could not be written or read."""
        # A full disk is met when a file is closed, whose name is not known any more.
        name = os.path.relpath(str(error.filename or folder))
        self.error(f"{name}: {error.strerror or error}")


def split_list(text: str, option: str) -> tuple[str, ...]:
    """Return the words of a comma list.

    Raises
    ------
    ValueError
        If it is empty or has an empty part.
    """
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise ValueError(f"{option} takes a comma list without empty parts, got {text!r}")
    return words


def parse_count(text: str, option: str) -> int:
    """Return a positive integer.

    Raises
    ------
    ValueError
        If it is not one.
    """
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", text):
        raise ValueError(f"{option} takes positive integers, got {text!r}")
    return int(text)


def parse_number(text: str, option: str) -> float:
    """Return a positive number.

    Raises
    ------
    ValueError
        If it is not one.
    """
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", text) or float(text) in (0, inf):
        raise ValueError(f"{option} takes a positive number, got {text!r}")
    return float(text)


def parse_share(text: str, option: str) -> float:
    """Return a number between 0 and 1, both excluded.

    Raises
    ------
    ValueError
        If it is not one.
    """
    share = parse_number(text, option)
    if share >= 1:
        raise ValueError(f"{option} takes a share between 0 and 1, got {text!r}")
    return share


def parse_sizes(text: str, option: str) -> tuple[int, ...]:
    """Return the positive integers of a comma list, in order.

    Raises
    ------
    ValueError
        If one of them is not a positive integer.
    """
    return tuple(sorted({parse_count(word, option) for word in split_list(text, option)}))


def parse_resolutions(text: str, option: str) -> tuple[tuple[int, int], ...]:
    """Return the (height, width) of a comma list of ``56`` or ``56x28``.

    Raises
    ------
    ValueError
        If a part is neither.
    """
    resolutions = set()
    for word in split_list(text, option):
        sides = [parse_count(side, option) for side in word.split("x")]
        if len(sides) > 2:
            raise ValueError(f"{option} takes 56 or 56x28, got {word!r}")
        resolutions.add((sides[0], sides[-1]))
    return tuple(sorted(resolutions))


def parse_seconds(text: str, option: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``10m`` or ``1.5h``.

    Raises
    ------
    ValueError
        If it is not a positive number with one of these units.
    """
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)([smh])", text)
    if not match or float(match[1]) in (0, inf):
        raise ValueError(f"{option} takes a duration such as 90s, 10m or 1.5h, got {text!r}")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
