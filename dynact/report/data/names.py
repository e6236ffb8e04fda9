"""How activations, shapes and ratios read in figures and tables."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd

from dynact import activations
from dynact.schema.digits import NO_FIGURE


def subject(activation: str, impl: str) -> str:
    """Return what stands for an implementation of an activation where several are drawn.

    The reference stands for its activation.
    """
    return activation if impl == activations.REFERENCE else f"{activation} {impl}"


def with_subjects(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows whose ``activation`` is its `subject`."""
    pairs = zip(rows["activation"], rows["impl"], strict=True)
    return rows.assign(activation=[subject(*pair) for pair in pairs])


def without_subjects(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows as they were before `with_subjects`."""
    return rows.assign(activation=[a.partition(" ")[0] for a in rows["activation"]])


def display_name(subject: str) -> str:
    """Return the paper's spelling of an activation, or the class name of ``pkg.mod:Class``.

    An implementation's name, or the name of its class, follows.
    """
    name, _, impl = subject.partition(" ")
    known = name in activations.names()
    title = activations.activation(name).title if known else name.rpartition(":")[2]
    return f"{title} {impl.rpartition(':')[2]}".rstrip()


def display_names(chosen: Iterable[str]) -> dict[str, str]:
    """Return subject → display name, the full path where two would read the same.

    The order is the registry's, a user's own layers after it by name. A reference beside which
    another implementation stands is called one.
    """
    known = (
        subject(n, impl) for n in activations.names() for impl in activations.implementations(n)
    )
    place = {one: i for i, one in enumerate(known)}
    # A user's implementation stands with its activation's.
    last = {one.partition(" ")[0]: i + 0.5 for one, i in place.items()}
    ordered = sorted(
        set(chosen), key=lambda s: (place.get(s, last.get(s.partition(" ")[0], len(place))), s)
    )
    uses = Counter(map(display_name, ordered))
    several = {s.partition(" ")[0] for s in ordered if " " in s}

    def shown(one: str) -> str:
        name = display_name(one)
        if one in several:
            return f"{name} {activations.REFERENCE}"
        return name if uses[name] == 1 else one

    return {one: shown(one) for one in ordered}


def shortened(text: str, limit: int) -> str:
    """Return the text in at most ``limit`` characters, its middle left out where too long."""
    if len(text) <= limit:
        return text
    head = limit // 2
    return text[:head] + "…" + text[len(text) - (limit - head - 1) :]


def resolution(height: int, width: int) -> str:
    """Return ``56²`` or, where not square, ``56×28`` (height × width)."""
    return f"{height}²" if height == width else f"{height}×{width}"


def positions(sizes: tuple[int, ...]) -> str:
    """Return ``56²`` of maps, ``197 tokens``, and of clips ``8×28²`` (frames × height × width)."""
    if len(sizes) == 1:
        return f"{sizes[0]} tokens"
    *before, height, width = sizes or (1, 1)
    return "×".join([*map(str, before), resolution(height, width)])


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
