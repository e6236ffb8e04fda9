"""What is said of the digits of rows that stand together."""

import pandas as pd

from dynact.report.data.digits import (
    last_places,
    means_note,
    measured_ratios,
    one_visit_note,
    range_note,
)


def lines(*figures: tuple[float | None, float | None, float | None]) -> pd.DataFrame:
    """Rows, or means, with these overheads and intervals."""
    table = pd.DataFrame(figures, columns=["overhead", "overhead_lo", "overhead_hi"], dtype=object)
    return table.assign(ok=1)


HELD, WIDE, ALONE, FAILED = (2.0, 1.9, 2.1), (2.0, 1.0, 4.0), (2.0, None, None), (None, None, None)


def test_a_table_reads_row_by_row() -> None:
    rows = lines(HELD, WIDE, ALONE, FAILED)

    assert measured_ratios(rows) == ["2.0×", "1–4×", "2.0×", "–"]
    # Where the interval has columns of its own, one digit stands at least.
    assert last_places(lines(HELD, WIDE, ALONE, FAILED, (3.0, 0.1, 40.0))) == [-1, 0, -1, None, 0]


def test_what_occurs_is_explained_and_nothing_else() -> None:
    assert range_note(lines(HELD, ALONE)) == ""
    assert range_note(lines(HELD, WIDE)).startswith("A range in place of a ratio")
    assert one_visit_note(lines(HELD, WIDE)) == ""
    assert one_visit_note(lines(HELD, ALONE)).startswith("1 of 2 measured cases has been visited")
    assert one_visit_note(lines(ALONE, ALONE), "network").startswith(
        "2 of 2 measured networks have"
    )
    assert means_note(lines(HELD)) == ""
    assert means_note(lines(HELD, ALONE)).startswith("A mean without an interval")
    # What was not measured has no mean, which needs no word.
    assert means_note(lines(HELD, FAILED).assign(ok=[1, 0])) == ""
