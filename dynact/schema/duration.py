"""How long something takes, as a person says it."""

from math import ceil


def format_seconds(seconds: float) -> str:
    """Return a duration in the two units that matter: ``"2 min 10 s"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def rounded_up(seconds: float) -> str:
    """Return a duration that is no shorter, in one unit, as an option takes it: ``"45s"``."""
    if seconds <= 120:
        return f"{5 * ceil(seconds / 5)}s"
    if seconds <= 7200:
        return f"{ceil(seconds / 60)}m"
    return f"{ceil(seconds / 3600)}h"
