import pytest

from dynact.schema.prefix import rate, with_prefix


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(0, "0 B"), (512, "512 B"), (50_176, "50 kB"), (3_211_264, "3.2 MB")],
        *[
            (9.96e6, "10 MB"),
            (999_400, "999 kB"),
            (999_600, "1.0 MB"),
            (1e9, "1.0 GB"),
            (2.3e13, "23 TB"),
            (4e16, "40000 TB"),
        ],
    ],
)
def test_quantities_read(value: float, text: str) -> None:
    assert with_prefix(value, "B") == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(0.0123, "0.0123"), (12.34, "12.3"), (999.4, "999"), (999.6, "1,000"), (1600, "1,600")],
)
def test_rates_read(per_second: float, text: str) -> None:
    assert rate(per_second) == text
