"""Counters: each is asked once, and one that fails costs itself alone."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from dynact.worker.counter_cache import Counter, CounterCache, Figures

ASKED = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=30)


def figures_of(name: str, key: int) -> Figures:
    if key == 0:
        raise ValueError(f"{name} has nothing\nto count")
    return {name: key}


@given(rounds=st.lists(ASKED, max_size=4), most=st.integers(0, 12))
def test_figures_and_errors_do_not_depend_on_what_is_kept(
    rounds: list[list[tuple[str, int]]], most: int
) -> None:
    cache = CounterCache(most)
    for asked in rounds:
        figures, errors = cache.count(
            Counter(name, key, partial(figures_of, name, key)) for name, key in asked
        )
        assert figures == {name: key for name, key in asked if key}
        assert errors == [
            f"{name} not counted: ValueError: {name} has nothing" for name, key in asked if not key
        ]


def test_what_is_kept_is_not_counted_again() -> None:
    cache, calls = CounterCache(most=2), []

    def count() -> Figures:
        calls.append(1)
        return {"figure": 1}

    for _ in range(3):
        assert cache.count([Counter("part", "key", count)]) == ({"figure": 1}, [])
    assert len(calls) == 1
    cache.count([Counter("part", other, count) for other in "xyz"])
    cache.count([Counter("part", "key", count)])
    assert len(calls) == 5
