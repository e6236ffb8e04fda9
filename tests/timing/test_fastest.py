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


@pytest.mark.parametrize(
    ("cost_ns", "disturbances", "calls"),
    [
        pytest.param(100e3, [], [1, 1, 1], id="long enough to the nanosecond"),
        pytest.param(99e3, [], [1, 2, 2, 2], id="a little too short"),
        pytest.param(30e3, [], [1, 4, 4, 4], id="as many as are missing"),
        pytest.param(1e3, [], [1, 10, 100, 100, 100], id="at most ten times as many"),
        pytest.param(10e3, [1, 0.96], [1, 10, 15, 15, 15], id="at least half as many again"),
        pytest.param(30e3, [0], [1, 10, 10, 10], id="too short for the clock to tell"),
        pytest.param(
            0.3, [], [1, 10, 100, 1000, 10_000, 100_000, *3 * [333_334]], id="less than 1 ns"
        ),
    ],
)
def test_the_block_grows_until_it_is_long_enough_for_the_clock(
    cost_ns: float, disturbances: list[float], calls: list[int]
) -> None:
    _, clock = read(cost_ns, disturbances=chain(disturbances, repeat(1.0)))

    assert [block_calls for _, block_calls in clock.blocks] == calls


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
