"""Quantities with a decimal prefix."""


def with_prefix(value: float, unit: str) -> str:
    """Return a quantity in two digits or more with a decimal prefix: 49 kB, 3.2 MB, 410 GB/s."""
    power = 0
    # What would be rounded to 1000 has the next prefix.
    while power < 4 and value / 1000**power >= 999.5:
        power += 1
    scaled = value / 1000**power
    digits = 0 if scaled >= 9.95 or power == 0 else 1
    return f"{scaled:.{digits}f} {('', 'k', 'M', 'G', 'T')[power]}{unit}"


def rate(per_second: float) -> str:
    """Return how many a second in three digits, all digits from a thousand on: 12.3, 1,600."""
    return f"{per_second:.3g}" if per_second < 999.5 else f"{per_second:,.0f}"
