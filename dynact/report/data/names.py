"""How activations, shapes and ratios read in figures and tables."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd

from dynact import activations

NO_FIGURE = "–"


def display_name(activation: str) -> str:
    """Return the paper's spelling of an activation, or the class name of ``pkg.mod:Class``."""
    if activation in activations.names():
        return activations.activation(activation).title
    return activation.rpartition(":")[2]


def display_names(chosen: Iterable[str]) -> dict[str, str]:
    """Return activation → display name, the full path where two would read the same.

    The order is the registry's, a user's own layers after it by name.
    """
    place = {name: i for i, name in enumerate(activations.names())}
    ordered = sorted(set(chosen), key=lambda a: (place.get(a, len(place)), a))
    uses = Counter(map(display_name, ordered))
    return {a: display_name(a) if uses[display_name(a)] == 1 else a for a in ordered}


def shortened(text: str, limit: int) -> str:
    """Return the text in at most ``limit`` characters, its middle left out where too long."""
    if len(text) <= limit:
        return text
    head = limit // 2
    return text[:head] + "…" + text[len(text) - (limit - head - 1) :]


def resolution(height: int, width: int) -> str:
    """Return ``56²`` or, where not square, ``56×28`` (height × width)."""
    return f"{height}²" if height == width else f"{height}×{width}"


def with_prefix(value: float, unit: str) -> str:
    """Return a quantity in two digits or more with a decimal prefix: 49 kB, 3.2 MB, 410 GB/s."""
    power = 0
    # What would be rounded to 1000 has the next prefix.
    while power < 4 and value / 1000**power >= 999.5:
        power += 1
    scaled = value / 1000**power
    digits = 0 if scaled >= 9.95 or power == 0 else 1
    return f"{scaled:.{digits}f} {('', 'k', 'M', 'G', 'T')[power]}{unit}"


def count_range(counts: "pd.Series[float]") -> str:
    """Return the least and the most of several counts: 12, 12–14, or a dash for none."""
    known = counts.dropna().astype(int)
    if known.empty:
        return NO_FIGURE
    return "–".join(f"{end:,}" for end in sorted({known.min(), known.max()}))


def cell_ratio(ratio: float) -> str:
    """Return a ratio that needs no interval, in two or three digits: 0.97×, 2.6×, 12×, 107×."""
    if ratio < 0.0995:
        return np.format_float_positional(ratio, precision=2, fractional=False, trim="-") + "×"
    if ratio < 1.995:
        return f"{ratio:.2f}×"
    return f"{ratio:.1f}×" if ratio < 9.95 else f"{ratio:.0f}×"


def ratio_or_none(ratio: float) -> str:
    """Return a ratio of counts, which may be 0 or missing."""
    if np.isnan(ratio):
        return NO_FIGURE
    return cell_ratio(ratio) if ratio else "0"
