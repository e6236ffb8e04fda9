import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.duration import format_seconds, rounded_up
from dynact.sweep.options import parse_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (130, "2 min 10 s"),
        (3599.9, "1 h 0 min"),
        (3600 * 5 + 60 * 7 + 31, "5 h 7 min"),
        (3600 * 100, "100 h 0 min"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@given(st.floats(0, 1e7))
def test_seconds_say_how_long_it_is(seconds: float) -> None:
    units = {"h": 3600, "min": 60, "s": 1}
    parts = re.findall(r"(\d+) (h|min|s)", format_seconds(seconds))
    assert 1 <= len(parts) <= 2
    # To the smaller of the two units shown.
    smallest = units[parts[-1][1]]
    assert abs(sum(int(n) * units[unit] for n, unit in parts) - seconds) <= smallest


@given(st.floats(0.1, 1e7))
def test_one_for_an_option_is_no_shorter_and_hardly_longer(seconds: float) -> None:
    found = parse_seconds(rounded_up(seconds), "--budget")

    assert seconds <= found <= max(1.5 * seconds, seconds + 5)
