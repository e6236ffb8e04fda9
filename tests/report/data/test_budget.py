import re

import pytest

from dynact.report.data.budget import DEFAULT, budget_of


@pytest.mark.parametrize(
    ("text", "nbytes", "name"),
    [
        ("24GiB", 24 * 2**30, "24 GiB"),
        ("16 GB", 16 * 10**9, "16 GB"),
        (" 80G ", 80 * 10**9, "80 GB"),
        ("1.5tib", 3 * 2**39, "1.5 TiB"),
        ("512mib", 2**29, "512 MiB"),
        ("100kB", 100_000, "100 kB"),
    ],
)
def test_a_size_is_read(text: str, nbytes: int, name: str) -> None:
    budget = budget_of(text)

    assert (budget.nbytes, budget.name) == (nbytes, name)


def test_the_default_is_what_its_name_says() -> None:
    assert budget_of(DEFAULT.name) == DEFAULT


@pytest.mark.parametrize(
    "text", ["", "24", "GiB", "-1GiB", "0GiB", "0.0GB", "1e3GB", "24 gigs", "1GiB 2"]
)
def test_what_is_no_size_is_told_in_one_line(text: str) -> None:
    said = f"no memory {text!r}; give a number and a unit, as in 24GiB or 16GB"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        budget_of(text)
