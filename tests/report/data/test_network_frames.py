"""How network rows read."""

import math

import pytest

from dynact.report.data.network_frames import (
    extra_with_range,
    labelled,
    mark_note,
    where_placed,
)
from tests.report.networks_sample import build_networks


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ((4.86e6, -9.8e6, 36.8e6), "+4.9 ms (−9.8 to +36.8)"),
        ((690e3, -54.6e6, 54e6), "+0.7 ms (−54.6 to +54.0)"),
        ((40e6, -59e9, 124e9), "no difference seen (−59 to +124 s)"),
        ((-40.0, -5e3, 9.99e5), "no difference seen (−5 to +999 µs)"),
        ((-5.0, -999.7e3, -4.0), "−5.00 ns (−1.00 ms to −4.00 ns)"),
        ((5.0, 4.0, 999.7e3), "+5.00 ns (+4.00 ns to +1.00 ms)"),
        ((0.0, 0.0, 0.0), "+0.00 ns (+0.00 to +0.00)"),
        ((1e-9, math.nan, math.nan), "+0.00 ns"),
        ((math.nan, math.nan, math.nan), "–"),
    ],
)
def test_an_extra_time_and_its_range_share_a_unit(extra, expected):
    assert extra_with_range(*extra) == expected


@pytest.mark.parametrize(
    ("drift", "share", "mark"), [(1.0, 0.5, ""), (1.2, 0.5, "‡"), (1.0, 0.95, "§"), (1.2, 1, "‡§")]
)
def test_a_row_has_a_mark_for_each_doubt_and_each_mark_its_note(
    drift: float, share: float, mark: str
) -> None:
    networks, _ = build_networks(("lenet",), ("frelu", "silu"), ("training",))
    networks["speed_drift"] = [1.0, drift]
    networks["baseline_host_share"] = [0.0, share]

    marks = labelled(networks)["mark"]

    assert marks.tolist() == ["", mark]
    assert [each for each in "‡§" if f"{each}: the device" in mark_note(marks)] == list(mark)


def test_sites_are_counted_where_that_tells_them_apart():
    networks, _ = build_networks(("lenet",), ("frelu", "silu"), ("training", "inference"))
    networks["placement"] = ["sites:1-3", "sites:1-3", "sites:2+4", "sites:1+4"]

    assert where_placed(networks).tolist() == [
        " (3 sites)", " (3 sites)", " (sites 2+4)", " (sites 1+4)",
    ]  # fmt: skip
