"""How many digits of a measured ratio are shown: as many as its interval supports."""

from decimal import Decimal
from math import isnan

NO_FIGURE = "–"
# What an interval may seem to support beyond is not asked for, and has no room in a cell.
_MOST_DIGITS = 4
_DIGITS_OF_ONE_VISIT = 2
# From there on up the ends differ in their first digit.
WIDE_FACTOR = 2.0


def is_too_wide(low: float, high: float) -> bool:
    """Return whether an interval leaves not even the first digit of its ratio standing."""
    return high >= WIDE_FACTOR * low


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
    return f"{_at(ratio, last_place(ratio, low, high))}×"


def measured_interval(ratio: float, low: float, high: float) -> str:
    """Return the ends of a ratio's interval, ``2.58–2.64``, to the place of its last digit.

    It is empty without an interval, and where `measured_ratio` gives the ends themselves.
    """
    if isnan(low + high) or is_too_wide(low, high):
        return ""
    place = last_place(ratio, low, high)
    return f"{_at(low, place)}–{_at(high, place)}"


def ratio_with_interval(ratio: float, low: float, high: float) -> str:
    """Return ``2.61× (2.58–2.64)``, in the digits of `measured_ratio`."""
    interval = measured_interval(ratio, low, high)
    return measured_ratio(ratio, low, high) + (f" ({interval})" if interval else "")


def two_digits(ratio: float) -> str:
    """Return a ratio of which no interval is at hand, without a sign: 0.97, 1.0, 31, 110."""
    return _of_digits(ratio, _DIGITS_OF_ONE_VISIT)


def last_place(ratio: float, low: float, high: float) -> int:
    """Return the power of ten of the last digit to show."""
    if isnan(low + high):
        return place_of(ratio, _DIGITS_OF_ONE_VISIT)
    half = max(ratio - low, high - ratio)
    finest = place_of(ratio, _MOST_DIGITS)
    return max(Decimal(half).adjusted(), finest) if half > 0 else finest


def _of_digits(ratio: float, digits: int) -> str:
    return _at(ratio, place_of(ratio, digits))


def place_of(ratio: float, digits: int) -> int:
    """Return the power of ten of the last of so many significant digits, once rounded to them."""
    return Decimal(f"{ratio:.{digits - 1}e}").adjusted() - (digits - 1)


def _at(value: float, place: int) -> str:
    return f"{round(value, -place):.{max(-place, 0)}f}"
