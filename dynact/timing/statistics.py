"""Medians with intervals that hold without assuming any distribution."""

from collections.abc import Sequence
from functools import lru_cache
from statistics import median


def median_interval(values: Sequence[float], confidence: float) -> tuple[float, float, float]:
    """Return the median of ``values`` and an interval for the median they were drawn from.

    The interval is bounded by two order statistics: the number of values below the true median
    is binomial (n, 1/2) whatever the distribution, so spikes and skew cost width, not coverage
    (David & Nagaraja, *Order Statistics*, 3rd ed., section 7.1).

    Parameters
    ----------
    values
        At least one number, independent draws.
    confidence
        The least probability, in (0, 1), that the interval covers the true median. With too few
        values for it, the interval is their whole range.

    Returns
    -------
    tuple
        ``(median, lower, upper)`` in the unit of the values.
    """
    ordered = sorted(values)
    rank = max(_outermost_rank(len(ordered), confidence), 1)
    return median(ordered), ordered[rank - 1], ordered[len(ordered) - rank]


def values_needed(confidence: float) -> int:
    """Return the smallest number of values for which an interval of ``confidence`` exists."""
    count = 1
    while _outermost_rank(count, confidence) < 1:
        count += 1
    return count


@lru_cache(maxsize=4096)
def _outermost_rank(count: int, confidence: float) -> int:
    """Return the largest r with P(r-th smallest ≤ median ≤ r-th largest) ≥ confidence, or 0."""
    # Integers throughout: 2**count leaves the range of floats at 1024 values.
    tail_budget = int((1 - confidence) / 2 * 2**53) * 2**count // 2**53
    rank, binomial = 0, 1
    tail = binomial
    while tail <= tail_budget:
        rank += 1
        binomial = binomial * (count - rank + 1) // rank
        tail += binomial
    return rank
