"""How many digits of a measured ratio are shown: as many as its interval supports."""

from decimal import Decimal
from math import isnan

import pandas as pd

from dynact.report.data.names import NO_FIGURE

# What an interval may seem to support beyond is not asked for, and has no room in a cell.
_MOST_DIGITS = 4
_DIGITS_OF_ONE_VISIT = 2
# From there on up the ends differ in their first digit.
_WIDE_FACTOR = 2.0


def is_too_wide(low: float, high: float) -> bool:
    """Return whether an interval leaves not even the first digit of its ratio standing."""
    return high >= _WIDE_FACTOR * low


def measured_ratio(ratio: float, low: float, high: float) -> str:
    """Return a measured ratio in the digits that its 95 % interval supports.

    The last digit stands where the larger half-width of the interval has its first: 1.853× of
    1.853 ± 0.004, 31× of 31.2 ± 4. Where the interval spans a factor of 2 or more, its ends stand
    in the ratio's place: 3–7×.

    Parameters
    ----------
    ratio, low, high
        The ratio and the ends of its interval; without an interval (NaN) two digits are shown,
        and a dash where the ratio itself is missing.
    """
    if isnan(ratio):
        return NO_FIGURE
    if is_too_wide(low, high):
        return f"{_of_digits(low, 1)}–{_of_digits(high, 1)}×"
    return f"{_at(ratio, _last_place(ratio, low, high))}×"


def measured_interval(ratio: float, low: float, high: float) -> str:
    """Return the ends of a ratio's interval, ``2.58–2.64``, to the place of its last digit.

    It is empty without an interval, and where `measured_ratio` gives the ends themselves.
    """
    if isnan(low + high) or is_too_wide(low, high):
        return ""
    place = _last_place(ratio, low, high)
    return f"{_at(low, place)}–{_at(high, place)}"


def ratio_with_interval(ratio: float, low: float, high: float) -> str:
    """Return ``2.61× (2.58–2.64)``, in the digits of `measured_ratio`."""
    interval = measured_interval(ratio, low, high)
    return measured_ratio(ratio, low, high) + (f" ({interval})" if interval else "")


def last_places(rows: pd.DataFrame) -> list[int | None]:
    """Return the power of ten of the last digit of each row's overhead, beside its interval.

    At least one digit is shown, as the interval stands beside it; None without an overhead.
    """
    figures = rows[["overhead", "overhead_lo", "overhead_hi"]].astype(float)
    return [
        None if isnan(row[0]) else min(_last_place(*row), _place_of(row[0], 1))
        for row in figures.itertuples(index=False)
    ]


def two_digits(ratio: float) -> str:
    """Return a ratio of which no interval is at hand, without a sign: 0.97, 1.0, 31, 110."""
    return _of_digits(ratio, _DIGITS_OF_ONE_VISIT)


def measured_ratios(rows: pd.DataFrame) -> list[str]:
    """Return `measured_ratio` of each row's overhead."""
    figures = rows[["overhead", "overhead_lo", "overhead_hi"]].astype(float)
    return [measured_ratio(*row) for row in figures.itertuples(index=False)]


def range_note(lines: pd.DataFrame) -> str:
    """Return what a range in place of a ratio is, empty where none of the overheads is one."""
    low, high = (lines[f"overhead_{end}"].astype(float) for end in ("lo", "hi"))
    said = "A range in place of a ratio: its 95 % interval, too wide for a single digit."
    return said if (high >= _WIDE_FACTOR * low).any() else ""


def means_note(means: pd.DataFrame) -> str:
    """Return what has to be said of how means over cases are shown, empty where nothing has."""
    ok = means[means["ok"] > 0]
    lacking = ok["overhead_lo"].isna().any()
    said = "A mean without an interval is over cases of which some have been visited once."
    return " ".join(filter(None, [range_note(ok), said if lacking else ""]))


def one_visit_note(ok: pd.DataFrame, what: str = "case") -> str:
    """Return how many of the measured rows have no interval, empty where all have one."""
    alone = int(ok["overhead_lo"].isna().sum())
    if not alone:
        return ""
    whose = "has been visited once: its overhead has no interval, and is"
    if alone > 1:
        whose = "have been visited once: their overheads have no interval, and are"
    return f"{alone} of {len(ok)} measured {what}s {whose} shown with two digits."


def _last_place(ratio: float, low: float, high: float) -> int:
    """Return the power of ten of the last digit to show."""
    if isnan(low + high):
        return _place_of(ratio, _DIGITS_OF_ONE_VISIT)
    half = max(ratio - low, high - ratio)
    finest = _place_of(ratio, _MOST_DIGITS)
    return max(Decimal(half).adjusted(), finest) if half > 0 else finest


def _of_digits(ratio: float, digits: int) -> str:
    return _at(ratio, _place_of(ratio, digits))


def _place_of(ratio: float, digits: int) -> int:
    """Return the power of ten of the last of so many significant digits, once rounded to them."""
    return Decimal(f"{ratio:.{digits - 1}e}").adjusted() - (digits - 1)


def _at(value: float, place: int) -> str:
    return f"{round(value, -place):.{max(-place, 0)}f}"
