"""Ranks and intervals against exact binomial arithmetic and plain enumeration."""

from fractions import Fraction
from functools import cache
from itertools import accumulate, product
from math import comb
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.timing.statistics import median_interval, values_needed

confidences = st.integers(1, 9999).map(lambda share: share / 10_000)


def coverage(count: int, rank: int) -> Fraction:
    """P(the rank-th smallest ≤ median ≤ the rank-th largest) of ``count`` independent draws."""
    return 1 - Fraction(2 * ways_up_to(count)[rank - 1], 2**count)


@cache
def ways_up_to(count: int) -> list[int]:
    """In how many of the 2^count worlds at most 0, 1, 2, … values lie below the median."""
    return list(accumulate(comb(count, below) for below in range(count + 1)))


def rank_of_interval(count: int, confidence: float) -> int:
    """The rank of the bounds, read off the values 1, 2, …, count."""
    _, lower, upper = median_interval(range(1, count + 1), confidence)
    assert upper == count + 1 - lower
    return int(lower)


@pytest.mark.parametrize("count", range(1, 13))
def test_formula_of_coverage_holds_in_every_world_of_a_few_values(count: int) -> None:
    # Each value lies below or above the true median, all 2^n patterns being equally likely.
    for rank in range(1, (count + 1) // 2 + 1):
        covered = sum(rank <= sum(below) <= count - rank for below in product((0, 1), repeat=count))
        assert coverage(count, rank) == Fraction(covered, 2**count)


@given(count=st.integers(1, 200), confidence=confidences)
def test_interval_is_the_narrowest_that_covers(count: int, confidence: float) -> None:
    rank = rank_of_interval(count, confidence)

    exact = Fraction(confidence)
    if coverage(count, 1) >= exact:
        assert coverage(count, rank) >= exact
        assert coverage(count, rank + 1) < exact
    else:
        assert rank == 1


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.97, 0.999, 0.9994])
@pytest.mark.parametrize("count", [1023, 1024, 1025, 1100, 2047, 3000])
def test_ranks_stay_exact_beyond_the_range_of_floats(count: int, confidence: float) -> None:
    rank = rank_of_interval(count, confidence)

    assert coverage(count, rank) >= Fraction(confidence) > coverage(count, rank + 1)


@given(confidence=confidences)
def test_values_needed_is_the_fewest_whose_range_covers(confidence: float) -> None:
    needed = values_needed(confidence)

    # The range misses where all n values lie on one side: 2 · 2^-n.
    assert 1 - Fraction(2, 2**needed) >= Fraction(confidence)
    assert needed == 1 or 1 - Fraction(2, 2 ** (needed - 1)) < Fraction(confidence)


@given(values=st.lists(st.integers(-1000, 1000), min_size=1, max_size=60), confidence=confidences)
def test_interval_holds_the_median_and_lies_among_the_values(
    values: list[int], confidence: float
) -> None:
    middle, lower, upper = median_interval(values, confidence)

    assert middle == median(values)
    assert lower <= middle <= upper
    assert {lower, upper} <= set(values)


@given(data=st.data(), confidence=confidences)
def test_order_does_not_matter(data: st.DataObject, confidence: float) -> None:
    values = data.draw(st.lists(st.floats(allow_nan=False), min_size=1, max_size=60))
    shuffled = data.draw(st.permutations(values))

    assert median_interval(shuffled, confidence)[1:] == median_interval(values, confidence)[1:]


@given(
    values=st.lists(st.integers(-1000, 1000), min_size=1, max_size=60).filter(lambda v: len(v) % 2),
    confidence=confidences,
)
def test_an_increasing_map_maps_the_interval_and_a_decreasing_one_flips_it(
    values: list[int], confidence: float
) -> None:
    def cubic(value: float) -> float:
        return value**3 + value

    middle, lower, upper = median_interval(values, confidence)

    assert median_interval([cubic(v) for v in values], confidence) == (
        cubic(middle),
        cubic(lower),
        cubic(upper),
    )
    assert median_interval([-v for v in values], confidence) == (-middle, -upper, -lower)


@given(data=st.data(), confidence=st.integers(7500, 9999).map(lambda share: share / 10_000))
def test_too_few_values_give_their_whole_range(data: st.DataObject, confidence: float) -> None:
    too_few = values_needed(confidence) - 1
    values = data.draw(st.lists(st.integers(), min_size=1, max_size=too_few))

    _, lower, upper = median_interval(values, confidence)

    assert (lower, upper) == (min(values), max(values))
