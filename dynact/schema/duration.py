"""How long something takes, as a person says it."""


def format_seconds(seconds: float) -> str:
    """Return a duration in the two units that matter: ``"2 min 10 s"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
