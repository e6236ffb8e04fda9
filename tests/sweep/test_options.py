"""The command line's words, good and bad."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynact.sweep.options import (
    parse_count,
    parse_number,
    parse_resolutions,
    parse_seconds,
    parse_share,
    parse_sizes,
    split_list,
)

Parser = Callable[[str, str], Any]
PARSERS = (
    parse_count,
    parse_number,
    parse_resolutions,
    parse_seconds,
    parse_share,
    parse_sizes,
    split_list,
)


@pytest.mark.parametrize(
    ("parser", "text", "value"),
    [
        (split_list, "relu", ("relu",)),
        (split_list, "relu, prelu ,relu", ("relu", "prelu", "relu")),
        (parse_count, "1", 1),
        (parse_count, "0012", 12),
        (parse_number, "3", 3.0),
        (parse_number, ".25", 0.25),
        (parse_number, "1.50", 1.5),
        (parse_share, "0.01", 0.01),
        (parse_share, "0.999", 0.999),
        (parse_sizes, "64", (64,)),
        (parse_sizes, "64, 8,64,16", (8, 16, 64)),
        (parse_resolutions, "56", ((56, 56),)),
        (parse_resolutions, "56x28,7,56,7x7", ((7, 7), (56, 28), (56, 56))),
        (parse_seconds, "90s", 90.0),
        (parse_seconds, "10m", 600.0),
        (parse_seconds, "1.5h", 5400.0),
        (parse_seconds, ".5m", 30.0),
    ],
)
def test_good(parser: Parser, text: str, value: object) -> None:
    assert parser(text, "--option") == value


@pytest.mark.parametrize(
    ("parser", "texts"),
    [
        (split_list, ("", " ", ",", "a,", ",a", "a,,b")),
        (parse_count, ("", "0", "00", "-1", "+1", "1.0", "1e3", "x", " 1", "1_000", "²", "٣")),
        (parse_number, ("", "0", "0.0", "-1", "1e3", "inf", "nan", "x", ".", "1,5", "9" * 400)),
        (parse_share, ("0", "1", "1.5", "-0.1", "1%", "nan")),
        (parse_sizes, ("", "0", "8,0", "8,-1", "8,x", "8,", "8.5")),
        (parse_resolutions, ("", "0", "56x", "x56", "56x0", "56x56x56", "56*28", "7,", "a")),
        (parse_seconds, ("", "10", "0s", "-5m", "m", "1d", "1m30s", "1 m", "5M", "nanm", "١s",
                         "9" * 400 + "s")),
    ],
)  # fmt: skip
def test_bad(parser: Parser, texts: tuple[str, ...]) -> None:
    for text in texts:
        with pytest.raises(ValueError, match=r"^--option takes ") as error:
            parser(text, "--option")
        # It names the value, or the part of the list that is wrong.
        message = str(error.value)
        parts = (text, *text.split(","), *text.split("x"))
        assert any(repr(word) in message for part in parts for word in (part, part.strip()))
        assert "\n" not in message


@pytest.mark.parametrize("parser", PARSERS)
@given(text=st.text("0123456789.,x-+emshn \n\t∞١", max_size=12))
@example(text="9" * 5000)
@example(text="1\n")
def test_any_word_is_a_value_or_one_line(parser: Parser, text: str) -> None:
    message = "--option takes "
    try:
        value = parser(text, "--option")
    except ValueError as error:
        message, value = str(error), "none"
    assert value
    assert message.startswith("--option takes ")
    assert "\n" not in message


@given(st.lists(st.integers(1, 10**6), min_size=1))
def test_sizes_are_sorted_and_unique(sizes: list[int]) -> None:
    assert list(parse_sizes(",".join(map(str, sizes)), "-")) == sorted(set(sizes))


@given(st.lists(st.tuples(st.integers(1, 999), st.integers(1, 999)), min_size=1))
def test_resolutions_are_sorted_and_unique(sides: list[tuple[int, int]]) -> None:
    text = ",".join(f"{height}x{width}" for height, width in sides)
    assert list(parse_resolutions(text, "-")) == sorted(set(sides))
