"""Placements say where they are, each place in one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.placement import known_placement, numbers_placed, sites_placement


@given(st.sets(st.integers(1, 60), min_size=1))
def test_numbers_come_back_and_are_written_in_one_way(numbers: set[int]) -> None:
    placement = sites_placement(numbers)

    assert numbers_placed(placement) == tuple(sorted(numbers))
    one_by_one = "sites:" + "+".join(map(str, numbers))
    assert known_placement(one_by_one) == known_placement(placement) == placement


def test_neighbours_are_a_range() -> None:
    assert sites_placement([7, 1, 3, 2, 9, 10]) == "sites:1-3+7+9-10"
    assert [*map(known_placement, ("all", "paper", "official"))] == ["all", "paper", "official"]


@pytest.mark.parametrize("numbers", ["", "0", "1,2", "a", "1+", "3-1", "1-999999999"])
def test_what_names_no_calls_is_told_in_one_line(numbers: str) -> None:
    with pytest.raises(ValueError, match=r"\Aa placement at sites names their numbers, as site"):
        known_placement(f"sites:{numbers}")
