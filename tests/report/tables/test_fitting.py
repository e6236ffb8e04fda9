"""Which activations keep a limit, told by their intervals."""

import numpy as np
import pandas as pd
import pytest

from dynact.report.data.settings_groups import SettingsGroup, settings_groups
from dynact.report.tables.fitting import Fitting, fitting
from tests.report.conftest import fail_rows, visit_once
from tests.report.ways_sample import WITHIN, together, written

# Each row's interval is 2 % to either side; that of a mean over n shapes narrower, by √n.
SHAPES = 4
HALF = WITHIN ** (1 / np.sqrt(SHAPES))


def measured(**overheads: float) -> pd.DataFrame:
    return together(
        *(
            written("reference", (ratio,) * SHAPES, name, ("training",))
            for name, ratio in overheads.items()
        )
    )


def group_of(rows: pd.DataFrame) -> SettingsGroup:
    (group,) = settings_groups(rows)
    return group


def of_training(rows: pd.DataFrame, at_most: float) -> Fitting:
    (found,) = fitting(group_of(rows), at_most)
    return found


def verdicts(found: Fitting) -> list[tuple[str, str]]:
    return [(line[0], line[1]) for line in found.table.lines]


def test_they_are_sorted_by_cost_and_judged_by_their_intervals() -> None:
    rows = measured(mish=1.5, frelu=3.0, silu=1.2, elu=1.5 * HALF * 1.001, gelu=1.5 / HALF / 1.001)

    assert verdicts(of_training(rows, 1.5)) == [
        ("SiLU", "yes"),
        ("GELU", "yes"),
        ("Mish", "cannot be told"),
        ("ELU", "no"),
        ("FReLU", "no"),
    ]


@pytest.mark.parametrize("limit", [0.9, 1.25, 2.0, 10.0])
def test_a_higher_limit_fits_more(limit: float) -> None:
    ratios = {"relu6": 1.0, "silu": 1.5, "mish": 3.0}

    found = of_training(measured(**ratios), limit)

    fits = [line for line in found.table.lines if line[1] == "yes"]
    assert len(fits) == sum(ratio < limit for ratio in ratios.values())
    assert f"{len(fits)} take {limit:g}× or less" in found.text


def test_of_those_that_take_too_long_the_nearest_are_shown_and_the_others_counted() -> None:
    rows = measured(silu=1.0, mish=5.0, elu=4.0, gelu=3.0, frelu=9.0, prelu=2.0)

    found = of_training(rows, 1.5)

    assert verdicts(found) == [("SiLU", "yes"), ("PReLU", "no"), ("GELU", "no"), ("ELU", "no")]
    assert "5 take more" in found.text
    assert "2 that take still more are left out." in found.text


def test_without_an_interval_it_cannot_be_told() -> None:
    found = of_training(visit_once(measured(silu=1.0, mish=3.0)), 1.5)

    assert {verdict for _, verdict in verdicts(found)} == {"cannot be told"}


def test_one_that_failed_everywhere_is_named_and_no_line() -> None:
    rows = measured(silu=1.0, maxout=1.0)
    rows = fail_rows(rows, range(SHAPES, 2 * SHAPES), "error", "too few")

    found = of_training(rows, 1.5)

    assert verdicts(found) == [("SiLU", "yes")]
    assert "Not measured, see what failed: Maxout." in found.text


def test_each_phase_has_its_own() -> None:
    rows = written("reference", (2.0, 2.0), "silu")
    rows.loc[rows["phase"] == "training", ["overhead", "overhead_lo", "overhead_hi"]] = 1.0

    inference, training = fitting(group_of(rows), 1.5)

    assert inference.heading == "Inference: which take 1.5× ReLU's time or less?"
    assert (verdicts(inference), verdicts(training)) == ([("SiLU", "no")], [("SiLU", "yes")])


def test_the_range_over_shapes_and_the_time_stand_beside() -> None:
    rows = written("reference", (1.0, 4.0), "silu", ("training",))

    ((_, _, ratio, spread, *_),) = of_training(rows, 3).table.lines

    # The geometric mean of both, and its interval of 2 % over √2.
    assert ratio == "2.00× (1.97–2.03)"
    assert spread == "1.0–4.0×"


def test_what_papers_gained_stands_beside_with_its_sources() -> None:
    found = of_training(measured(frelu=1.0, dyrelu_b=1.1, mish=1.2), 1.5)

    # As in the README of FReLU's code: errors 24.0 and 22.4; DY-ReLU's abstract: 72.0 to 76.2.
    assert [line[-1] for line in found.table.lines] == ["ResNet-50 +1.6", "MobileNetV2 +4.2", "–"]
    assert "arXiv 2003.10027" in found.text
    assert "Published" not in of_training(measured(mish=1.2), 1.5).text
