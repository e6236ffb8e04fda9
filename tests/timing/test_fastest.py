"""The fastest block, against a machine whose costs and disturbances are known."""

from collections.abc import Iterable
from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.timing import fastest_ns
from tests.timing.virtual import Machine, VirtualClock, Work


def read(
    cost_ns: float, seconds: float = 0.0, disturbances: Iterable[float] = repeat(1.0)
) -> tuple[float, VirtualClock]:
    machine = Machine()
    clock = VirtualClock(machine, disturbances)
    return fastest_ns(Work(machine, "work", cost_ns), clock, seconds), clock


@given(st.floats(1, 1e9))
def test_it_is_the_cost_of_one_call_whatever_the_block(cost_ns: float) -> None:
    found_ns, clock = read(cost_ns)

    assert found_ns == pytest.approx(cost_ns)
    *_, (_, calls) = clock.blocks
    assert calls * cost_ns >= clock.min_block_ns * (1 - 1e-9)


@given(st.lists(st.floats(1, 100), min_size=2, max_size=2))
def test_one_undisturbed_block_is_enough(slow: list[float]) -> None:
    found_ns, clock = read(1e6, disturbances=chain([slow[0], 1.0, slow[1]], repeat(1.0)))

    assert found_ns == pytest.approx(1e6)
    assert len(clock.blocks) == 3


def test_it_reads_for_as_long_as_asked() -> None:
    # The machine is slow for the first 50 ms.
    slow = repeat(3.0, 10)
    found_ns, clock = read(1e6, seconds=0.1, disturbances=chain(slow, repeat(1.0)))

    assert found_ns == pytest.approx(1e6)
    assert clock.now_s() >= 0.1
