"""Which sites kept their activation, and why, in words."""

import math
from typing import Any

import pandas as pd
import pytest

from dynact.report.data.kept_sites import kept_sites_notes


def rows(**kept_by_variant: Any) -> pd.DataFrame:
    """Return ok rows of a network with two replaced sites, and those that each variant kept."""
    replaced = [{"name": "a", "original": "relu"}, {"name": "b", "original": "relu"}]
    return pd.DataFrame(
        [
            {"variant": variant, "status": "ok", "sites": replaced, "kept_sites": kept}
            for variant, kept in kept_by_variant.items()
        ]
    )


def site(name: str, reason: str, original: str = "relu") -> dict[str, Any]:
    return {"name": name, "original": original, "reason": reason}


def test_variants_that_keep_the_same_sites_share_a_line() -> None:
    kept = [site("c", "not 2D"), site("d", "in a gate", "hardsigmoid")]

    notes = kept_sites_notes(rows(FReLU=kept, PReLU=[], Mine=kept))

    assert notes == [
        "FReLU, Mine: 1 of 4 sites keeps ReLU: not 2D (c); "
        "1 of 4 sites keeps hardsigmoid: in a gate (d)."
    ]


def test_a_reason_that_is_not_known_is_left_out() -> None:
    notes = kept_sites_notes(rows(FReLU=[site("c", ""), site("d", "")]))

    assert notes == ["FReLU: 2 of 4 sites keep ReLU (c, d)."]


@pytest.mark.parametrize("nothing", [[], None, math.nan])
def test_nothing_is_said_where_nothing_was_kept(nothing: object) -> None:
    assert kept_sites_notes(rows(FReLU=nothing)) == []


def test_of_failed_rows_nothing_is_said() -> None:
    failed = rows(FReLU=[site("c", "not 2D")]).assign(status="oom")

    assert kept_sites_notes(failed) == []


def test_long_lists_are_shortened_with_counts() -> None:
    reasons = ["a"] * 9 + ["b"] * 5 + ["c"] * 4 + ["d", "e"]
    kept = [site(f"s.{i}", reason) for i, reason in enumerate(reasons)]

    (line,) = kept_sites_notes(rows(PReLU=kept))

    assert line == (
        "PReLU: 9 of 22 sites keep ReLU: a (s.0, s.1, s.2 and 6 more); "
        "5 of 22 sites keep ReLU: b (s.9, s.10, s.11 and 2 more); "
        "4 of 22 sites keep ReLU: c (s.14, s.15, s.16 and 1 more); 2 more, for other reasons."
    )
