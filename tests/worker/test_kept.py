"""What is kept within a limit, against a model: the most recent of it, as many as fit."""

import weakref
from dataclasses import dataclass
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.worker.device import Cpu
from dynact.worker.kept import Kept

KEYS = "abcdef"


@dataclass(eq=False)
class Thing:
    kept_bytes: int | None


@st.composite
def things(draw: st.DrawFn) -> dict[str, Thing]:
    sizes = st.one_of(st.none(), st.integers(0, 8))
    return {key: Thing(draw(sizes)) for key in KEYS}


def expected_after(recent: list[str], things: dict[str, Thing], most_bytes: int) -> list[str]:
    """Return which keys of those kept, the most recent first, are still kept after a get.

    The newest and what is never given up stay; of all else as many of the most recent as fit.
    """
    newest = recent[0]
    others = [key for key in recent if key != newest and things[key].kept_bytes is not None]
    staying = [key for key in recent if key not in others]
    needed = accumulate(
        (things[key].kept_bytes or 0 for key in others),
        initial=sum(things[key].kept_bytes or 0 for key in staying),
    )
    # Without any of the others, with one, with two, …; only the first may be beyond the limit.
    fitting = sum(total <= most_bytes for total in list(needed)[1:])
    return [key for key in recent if key in staying or key in others[:fitting]]


@given(
    things=things(),
    most_bytes=st.integers(0, 20),
    asked=st.lists(st.sampled_from(KEYS), max_size=30),
)
def test_as_many_of_the_most_recent_are_kept_as_fit(
    things: dict[str, Thing], most_bytes: int, asked: list[str]
) -> None:
    kept = Kept(most_bytes)
    recent: list[str] = []
    for key in asked:
        made: list[str] = []

        def make(key: str = key, made: list[str] = made) -> Thing:
            made.append(key)
            return things[key]

        found = kept.get(key, make)

        assert found is things[key]
        assert made == ([] if key in recent else [key])
        recent = expected_after([key, *(k for k in recent if k != key)], things, most_bytes)
        assert len(kept) == len(recent)


def test_what_could_not_be_made_is_not_kept_and_costs_nothing_that_is() -> None:
    kept = Kept(10)
    thing = kept.get("a", lambda: Thing(10))

    def fail() -> Thing:
        raise MemoryError("no more")

    with pytest.raises(MemoryError, match="no more"):
        kept.get("b", fail)

    assert len(kept) == 1
    assert kept.get("a", fail) is thing
    second = Thing(0)
    assert kept.get("b", lambda: second) is second


def test_clearing_gives_up_all_whatever_it_is() -> None:
    kept = Kept(10)
    gone = [weakref.ref(kept.get(size, lambda size=size: Thing(size))) for size in (None, 3)]

    kept.clear()

    assert len(kept) == 0
    assert [thing() for thing in gone] == [None, None]


def test_what_is_given_up_is_let_go() -> None:
    kept = Kept(10)
    first = weakref.ref(kept.get("a", lambda: Thing(6)))
    assert first() is not None

    kept.get("b", lambda: Thing(6))

    assert first() is None


def test_a_size_counts_as_it_was_when_last_asked_for() -> None:
    kept = Kept(10)
    growing = kept.get("a", lambda: Thing(1))
    kept.get("b", lambda: Thing(1))

    growing.kept_bytes = 10
    kept.get("b", lambda: Thing(1))
    assert len(kept) == 2
    kept.get("a", lambda: Thing(1))

    assert len(kept) == 1


@pytest.mark.parametrize(("more_bytes", "left"), [(0, 2), (1, 1)])
def test_a_device_spares_an_eighth_of_its_free_memory(
    more_bytes: int, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cpu, "free_bytes", lambda _device: 8 * 1000)
    kept = Kept.on(Cpu())

    kept.get("a", lambda: Thing(600))
    kept.get("b", lambda: Thing(400 + more_bytes))

    assert len(kept) == left
