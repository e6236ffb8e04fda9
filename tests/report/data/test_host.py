"""Whose time a row is, by the host's shares of both sides."""

import pandas as pd
import pytest

from dynact.report.data.host import host_marks, marked_means_note, which_time, whose_time

HOSTS_OWN = (None, None)


def rows_of(*shares: tuple[float | None, float | None]) -> pd.DataFrame:
    rows = pd.DataFrame(shares, columns=["host_share", "baseline_host_share"], dtype=object)
    return rows.assign(clock="event", device_overhead=None)


@pytest.mark.parametrize(
    ("shares", "mark"),
    [
        (HOSTS_OWN, ""),
        ((0.0, 0.0), ""),
        ((0.9, 0.9), ""),
        ((0.91, 0.1), "§"),
        ((0.1, 0.91), "§"),
        ((1.3, 1.2), "§"),
    ],
)
def test_a_row_is_marked_where_the_host_takes_a_sides_time(
    shares: tuple[float | None, float | None], mark: str
) -> None:
    rows = rows_of(HOSTS_OWN, shares)

    assert list(host_marks(rows)) == ["", mark]
    assert (marked_means_note(rows) != "") == (mark != "")


def test_what_is_not_measured_is_not_counted() -> None:
    assert whose_time(rows_of()) == whose_time(rows_of(HOSTS_OWN)) == ""
    assert "in none of 1 measured cases" in whose_time(rows_of((0.5, 0.5), HOSTS_OWN))
    assert "in 2 of 3 measured cases" in whose_time(
        rows_of((1.0, 0.5), HOSTS_OWN, (0.2, 1.0), (0.2, 0.2))
    )


def test_the_device_s_ratio_is_pointed_to_where_there_is_one() -> None:
    waiting = rows_of((1.0, 0.5))

    assert "device_overhead" not in whose_time(waiting)
    assert "device_overhead, in the rows," in whose_time(waiting.assign(device_overhead=3.0))


def test_times_of_the_device_alone_are_said_to_be_those() -> None:
    rows = rows_of(HOSTS_OWN, HOSTS_OWN).assign(clock=["device", None])

    assert whose_time(rows).startswith("Times are the device’s alone: ")
    assert which_time(rows) == "Times: the device’s alone, without its host."


@pytest.mark.parametrize(
    ("clocks", "modes", "said"),
    [
        (["wall", "wall"], ["eager", "eager"], ""),
        ([None, None], ["eager", "eager"], ""),
        (["event", None], ["eager", "eager"], "Times: eager, gaps between kernels included."),
        (["event", "event"], ["compile", "compile"], "Times: gaps between kernels included."),
    ],
)
def test_which_of_an_accelerator_s_times_rows_are_of(
    clocks: list[str | None], modes: list[str], said: str
) -> None:
    rows = pd.DataFrame({"clock": clocks, "mode": modes})

    assert which_time(rows) == said


def test_whole_networks_are_eager() -> None:
    networks = pd.DataFrame({"clock": ["event"]})

    assert which_time(networks) == "Times: eager, gaps between kernels included."
