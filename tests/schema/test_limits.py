"""Ceilings and floors against their closed forms."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.limits import Ceilings

SIZES = tuple(4**i for i in range(2, 10))
RATES = st.lists(st.floats(1e6, 1e13), min_size=len(SIZES), max_size=len(SIZES))


def ceilings(rates: list[float], flops_per_s: float = 1e9) -> Ceilings:
    return Ceilings(tuple(zip(SIZES, rates, strict=True)), {"float32": flops_per_s})


@given(RATES, st.floats(1, 4**12), st.floats(1, 4**12))
def test_no_size_is_copied_faster_than_a_smaller_one(
    rates: list[float], one: float, other: float
) -> None:
    found = ceilings(rates)

    small, large = sorted((round(one), round(other)))

    faster, slower = map(found.bandwidth_bytes_per_s, (small, large))
    assert faster is not None
    assert slower is not None
    assert faster >= slower


@given(RATES)
def test_a_ceiling_is_above_each_rate_measured_and_reaches_one_of_them(rates: list[float]) -> None:
    found = [ceilings(rates).bandwidth_bytes_per_s(size) or 0.0 for size in SIZES]

    assert all(ceiling >= rate for ceiling, rate in zip(found, rates, strict=True))
    assert found[0] == pytest.approx(max(rates))
    assert found[-1] == pytest.approx(rates[-1])


@given(RATES, st.integers(SIZES[0], SIZES[-1]))
def test_the_edge_of_a_cache_costs_no_ceiling(rates: list[float], size: int) -> None:
    found = ceilings(rates)
    below = max(measured for measured in SIZES if measured <= size)

    assert found.bandwidth_bytes_per_s(size) == found.bandwidth_bytes_per_s(below)


def test_a_device_whose_rates_are_unknown_has_no_floor() -> None:
    assert Ceilings((), {}).figures(64, "float32", 1, 1) == {
        "bandwidth_bytes_per_s": None,
        "peak_flops_per_s": None,
        "floor_time_ns": None,
    }


def test_beyond_the_sizes_measured_the_nearest_one_holds() -> None:
    found = ceilings([8e9, 4e9, 4e9, 4e9, 4e9, 4e9, 4e9, 2e9])

    assert found.bandwidth_bytes_per_s(1) == pytest.approx(8e9)
    assert found.bandwidth_bytes_per_s(2**40) == pytest.approx(2e9)


@pytest.mark.parametrize(
    ("traffic_bytes", "flops", "floor_ns"),
    [
        (1_000, 10, 500.0),  # 1,000 B at 2 GB/s
        (1_000, 10_000, 10_000.0),  # 10,000 FLOP at 1 GFLOP/s
        (0, 0, 0.0),
        (1, 1, 16.0),  # no call is shorter
        (0, 1, 1.0),
    ],
)
def test_the_floor_is_the_longest_of_moving_computing_and_calling(
    traffic_bytes: int, flops: int, floor_ns: float
) -> None:
    found = replace(ceilings([2e9] * len(SIZES)), call_s=16e-9)
    figures = found.figures(64, "float32", traffic_bytes, flops)

    assert figures == {
        "bandwidth_bytes_per_s": pytest.approx(2e9),
        "peak_flops_per_s": 1e9,
        "floor_time_ns": pytest.approx(floor_ns),
    }


@pytest.mark.parametrize(
    ("dtype", "traffic_bytes", "flops"),
    [("float64", 1, 1), ("float32", None, 1), ("float32", 1, None)],
)
def test_without_a_rate_or_a_count_there_is_no_floor(
    dtype: str, traffic_bytes: int | None, flops: int | None
) -> None:
    figures = ceilings([2e9] * len(SIZES)).figures(64, dtype, traffic_bytes, flops)

    assert figures["floor_time_ns"] is None
