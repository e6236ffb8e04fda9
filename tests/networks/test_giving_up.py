"""Which sites to give up, held against all subsets there are."""

from itertools import chain, combinations
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.networks.giving_up import giving_up

# In quarters of a microsecond: sums of few are exact.
EXTRAS = st.dictionaries(
    st.integers(1, 40), st.integers(-40, 40).map(lambda n: n * 250.0), min_size=1, max_size=7
)
ORIGINAL_NS = 2.0**14


def overhead_of(extras: dict[int, float], more: float = 1.0) -> float:
    """Return a network's overhead of which each site that costs takes ``more`` times that."""
    return 1 + sum(extra * (more if extra > 0 else 1) for extra in extras.values()) / ORIGINAL_NS


@given(EXTRAS, st.sampled_from((0.5, 1.0, 2.0)), st.floats(1.0, 3.0))
def test_no_other_set_keeps_more_sites_within_the_budget(
    extras: dict[int, float], more: float, budget: float
) -> None:
    found = giving_up(extras, ORIGINAL_NS, overhead_of(extras, more)).within(budget)

    subsets = chain.from_iterable(combinations(extras, n) for n in range(len(extras) + 1))
    fitting = [
        kept for kept in subsets if overhead_of({s: extras[s] for s in kept}, more) <= budget
    ]
    # Without what costs, what is left is at most the original.
    assert found is not None
    kept = set(extras) - set(found)
    assert len(kept) == max(map(len, fitting))
    assert all(extras[site] > 0 for site in found)


@given(EXTRAS, st.sampled_from((0.5, 1.0, 2.0)))
def test_what_is_foretold_is_the_network_s_own_with_all_and_that_of_the_gains_without(
    extras: dict[int, float], more: float
) -> None:
    found = giving_up(extras, ORIGINAL_NS, overhead_of(extras, more))

    gains = {site: extra for site, extra in extras.items() if extra <= 0}
    assert found.overheads[0] == overhead_of(extras, more)
    assert found.overheads[-1] == pytest.approx(overhead_of(gains))
    assert len(found.overheads) == len(found.order) + 1
    given_up = [extras[site] for site in found.order]
    assert given_up == sorted(given_up, reverse=True)
    steps = [a - b for a, b in zip(found.overheads, found.overheads[1:], strict=False)]
    assert steps == pytest.approx([more * extra / ORIGINAL_NS for extra in given_up])


def test_of_equal_sites_the_earlier_goes_first() -> None:
    found = giving_up({3: 10.0, 1: 10.0, 2: 20.0, 4: 0.0}, 100.0, 1.4)

    assert found.order == (2, 1, 3)
    assert found.overheads == pytest.approx((1.4, 1.2, 1.1, 1.0))
    assert found.within(1.5) == ()
    assert found.within(1.2001) == (2,)


def test_a_site_that_was_not_measured_stays_and_a_rest_that_may_be_its_own_with_it() -> None:
    extras = {1: 30.0, 2: nan, 3: 10.0}

    more = giving_up(extras, 100.0, 1.9)
    less = giving_up(extras, 100.0, 1.2)

    assert more.unmeasured == less.unmeasured == (2,)
    assert more.order == (1, 3)
    # 50 of 90 ns are of nothing that was measured.
    assert more.overheads == pytest.approx((1.9, 1.6, 1.5))
    assert more.within(1.3) is None
    # The sites alone are more than the network: shared out.
    assert less.overheads == pytest.approx((1.2, 1.05, 1.0))


def test_without_a_site_that_costs_there_is_nothing_to_give_up() -> None:
    assert giving_up({1: -5.0, 2: 0.0}, 100.0, 0.9).order == ()
    assert giving_up({1: nan}, 100.0, 2.0).within(1.5) is None
    # A network that is quicker than its gains tell: no site is taken to gain for that.
    assert giving_up({1: -5.0, 2: 1.0}, 100.0, 0.5).overheads == (0.5, 0.5)
