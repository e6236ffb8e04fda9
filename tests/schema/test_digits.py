"""A measured ratio is shown with the digits that its interval supports, and no others."""

import math
import re
from decimal import Decimal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dynact.schema.digits import measured_interval, measured_ratio, ratio_with_interval, two_digits

NAN = float("nan")
RATIOS = st.floats(1e-3, 1e4)


def significant(number: str) -> int:
    """How many digits a number shows, leading zeros aside."""
    return len(number.replace(".", "").lstrip("0"))


def unit_of(number: str) -> Decimal:
    """What one step in the last shown digit is worth."""
    return Decimal(1).scaleb(Decimal(number).as_tuple().exponent)


@pytest.mark.parametrize(
    ("ratio", "half", "shown"),
    [
        *[(31.2, 4, "31×"), (1.853, 0.004, "1.853×"), (1.8532, 0.011, "1.85×")],
        *[(107.4, 30, "110×"), (0.0972, 0.002, "0.097×"), (9.97, 0.2, "10.0×"), (9.97, 3, "10×")],
        *[(1234.5, 0.2, "1234×"), (1.0, 0.0, "1.000×"), (99996.0, 1.0, "100000×")],
    ],
)
def test_ratios_read(ratio: float, half: float, shown: str) -> None:
    assert measured_ratio(ratio, ratio - half, ratio + half) == shown


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        *[(0.9716, "0.97×"), (1.04, "1.0×"), (2.61, "2.6×"), (9.97, "10×"), (31.2, "31×")],
        *[(107.4, "110×"), (0.00234, "0.0023×"), (NAN, "–")],
    ],
)
def test_without_an_interval_two_digits_are_shown(ratio: float, shown: str) -> None:
    assert measured_ratio(ratio, NAN, NAN) == shown
    assert measured_interval(ratio, NAN, NAN) == ""
    assert ratio_with_interval(ratio, NAN, NAN) == shown


@given(RATIOS)
def test_without_an_interval_no_third_digit_is_shown(ratio: float) -> None:
    shown = Decimal(two_digits(ratio))

    # Zeros at its end only hold a place.
    assert len(shown.normalize().as_tuple().digits) <= 2
    assert float(shown) == pytest.approx(ratio, rel=0.051)


@given(RATIOS, st.floats(1e-6, 0.68), st.floats(1e-6, 0.68))
@example(31.2, math.log(35.2 / 31.2), math.log(31.2 / 27.2))
@example(9.96, 0.04, 0.04)
def test_the_last_digit_is_no_finer_than_the_intervals_first(
    ratio: float, below: float, above: float
) -> None:
    low, high = ratio * math.exp(-below), ratio * math.exp(above)
    assume(high < 1.999 * low)

    shown = measured_ratio(ratio, low, high)

    number = shown.removesuffix("×")
    half = max(ratio - low, high - ratio)
    # The place of the first digit, as the standard library writes it.
    first = Decimal(1).scaleb(int(f"{half:.17e}".split("e")[1]))
    if first > 1:
        # Its last digits are zeros that hold a place.
        assert Decimal(number) % first == 0
        assert abs(float(number) - ratio) <= float(first) * 0.5001
    else:
        assert unit_of(number) >= first
        # Nothing that the interval supports is left out, but beyond the fourth digit.
        assert unit_of(number) == first or significant(number) in (4, 5)
        assert abs(float(number) - ratio) <= float(unit_of(number)) * 0.5001
    assert Decimal(number) > 0
    # Another measurement within the interval reads within a few steps of the last digit.
    interval = measured_interval(ratio, low, high).split("–")
    assert [unit_of(end) for end in interval] == [unit_of(number)] * 2
    assert ratio_with_interval(ratio, low, high) == f"{shown} ({'–'.join(interval)})"


@given(RATIOS, st.floats(0.3466, 4), st.floats(0.3466, 4))
@example(3.0, math.log(2), math.log(2))
def test_where_no_digit_holds_the_interval_stands_in_the_ratios_place(
    ratio: float, below: float, above: float
) -> None:
    low, high = ratio * math.exp(-below), ratio * math.exp(above)

    shown = measured_ratio(ratio, low, high)

    found = re.fullmatch(r"([\d.]+)–([\d.]+)×", shown)
    assert found is not None
    for end, true in zip(found.groups(), (low, high), strict=True):
        assert float(end) == pytest.approx(float(f"{true:.0e}"))
        assert significant(end.rstrip("0") if "." not in end else end) == 1
    assert found[1] != found[2]
    assert ratio_with_interval(ratio, low, high) == shown
