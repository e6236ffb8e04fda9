"""The memory that a training step is to fit into."""

import re
from dataclasses import dataclass
from decimal import Decimal

_PREFIXES = "kMGT"


@dataclass(frozen=True)
class Budget:
    """A memory of a size; `budget_of` reads one."""

    nbytes: int
    name: str
    """As a reader is told it: ``"24 GiB"``."""


DEFAULT = Budget(16 * 10**9, "16 GB")


def budget_of(text: str) -> Budget:
    """Return the memory that ``"24GiB"``, ``"16 GB"`` or ``"80G"`` says; G and GB are decimal.

    Raises
    ------
    ValueError
        If it says none, or none at all: 0.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt])(i?)b?", text.strip(), re.IGNORECASE)
    if found is None or not Decimal(found[1]):
        raise ValueError(f"no memory {text!r}; give a number and a unit, as in 24GiB or 16GB")
    power, binary = _PREFIXES.lower().index(found[2].lower()), found[3].lower()
    nbytes = Decimal(found[1]) * (1024 if binary else 1000) ** (power + 1)
    return Budget(int(nbytes), f"{found[1]} {_PREFIXES[power]}{binary}B")
