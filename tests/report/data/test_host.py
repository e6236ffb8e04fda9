"""Whose time a row is, by the host's shares of both sides."""

import pandas as pd
import pytest

from dynact.report.data.host import host_marks, marked_means_note, whose_time

HOSTS_OWN = (None, None)


def rows_of(*shares: tuple[float | None, float | None]) -> pd.DataFrame:
    return pd.DataFrame(shares, columns=["host_share", "baseline_host_share"], dtype=object)


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
