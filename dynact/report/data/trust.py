"""Whether a run's ratios can be trusted, and from where on it can tell a difference."""

from typing import Any

from dynact.schema.digits import two_digits


def not_trustworthy(gates: list[dict[str, Any]]) -> bool:
    """Return whether in any session known ratios were not found."""
    return not all(gate["trustworthy"] for gate in gates)


def resolution(gates: list[dict[str, Any]]) -> float | None:
    """Return the least difference that all sessions can tell, as a share, or None if unknown.

    Versions before stated none, and none follows from a single visit of the known pairs.
    """
    return max((gate["resolution"] for gate in gates if gate.get("resolution")), default=None)


def told(gates: list[dict[str, Any]], where: str = "") -> str:
    """Return from where on differences can be told, in a sentence, empty where that is unknown."""
    least = resolution(gates)
    return "" if least is None else f"Differences of {percent(least)} or more can be told{where}."


def percent(share: float) -> str:
    """Return a share in two digits at most: 1.9 %, 12 %."""
    digits = two_digits(100 * share)
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits} %"
