"""Parts: each is counted once, and one that fails costs itself alone."""

from hypothesis import given
from hypothesis import strategies as st

from dynact.worker.counter_cache import Figures, Parts

ASKED = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=30)


def figures_of(name: str, key: int) -> Figures:
    if key == 0:
        raise ValueError(f"{name} has nothing\nto count")
    return {name: key}


@given(rounds=st.lists(ASKED, max_size=4), most=st.integers(0, 12))
def test_figures_and_faults_do_not_depend_on_what_is_kept(
    rounds: list[list[tuple[str, int]]], most: int
) -> None:
    parts = Parts(most)
    for asked in rounds:
        figures, faults = parts.count(
            (name, key, lambda name=name, key=key: figures_of(name, key)) for name, key in asked
        )
        assert figures == {name: key for name, key in asked if key}
        assert faults == [
            f"{name} not counted: ValueError: {name} has nothing" for name, key in asked if not key
        ]


def test_what_is_kept_is_not_counted_again() -> None:
    parts, calls = Parts(most=2), []

    def count() -> Figures:
        calls.append(1)
        return {"figure": 1}

    for _ in range(3):
        assert parts.count([("part", "key", count)]) == ({"figure": 1}, [])
    assert len(calls) == 1
    parts.count([("part", other, count) for other in "xyz"])
    parts.count([("part", "key", count)])
    assert len(calls) == 5
