"""What is the maths and what the way it is written, against means worked out by hand."""

import math

import pandas as pd
import pytest
from scipy.stats import t

from dynact.report.data.settings_groups import settings_groups
from dynact.report.data.ways import Ways, ways_of
from tests.report.conftest import fail_rows, visit, visit_once
from tests.report.ways_sample import WITHIN, together, written

# Geometric means 72, 13 and 2.4.
REFERENCE, LINES, FUSED = (60.0, 86.4), (10.0, 16.9), (2.0, 2.88)


def three() -> pd.DataFrame:
    return together(
        written("reference", REFERENCE), written("lines", LINES), written("fused", FUSED)
    )


def ways(rows: pd.DataFrame, phase: str = "inference") -> dict[str, Ways]:
    return ways_of(settings_groups(rows)[0], rows)[phase]


def test_ways_are_means_dearest_first_and_writing_is_the_reference_over_the_cheapest() -> None:
    for phase in ("inference", "training"):
        found = ways(three(), phase)["dyrelu_b"]
        assert [way.name for way in found.dearest_first] == ["reference", "lines", "fused"]
        assert [way.ratio for way in found.dearest_first] == pytest.approx([72, 13, 2.4])
        assert [way.text for way in found.dearest_first] == ["72×", "13.0×", "2.40×"]
        assert found.shapes == 2
        assert found.floor == pytest.approx(1.5)
        # Over two shapes of two ways, each within 2 %: sqrt(4 · 2 %²) / 2.
        assert found.writing == pytest.approx((30, 30 / WITHIN, 30 * WITHIN))


def test_its_interval_has_the_freedom_of_all_rows_that_went_in() -> None:
    rows = visit(three(), 8)  # of four observations, and so of three degrees of freedom
    ratio, low, high = ways(rows)["dyrelu_b"].writing
    half = math.log(WITHIN) * t.ppf(0.975, 12) / t.ppf(0.975, 3)
    assert math.log(high / ratio) == pytest.approx(half)
    assert math.log(ratio / low) == pytest.approx(half)


def test_all_are_over_the_shapes_that_all_have() -> None:
    rows = three()
    first = rows.index[(rows["impl"] == "fused") & (rows["channels"] == 64)]
    found = ways(fail_rows(rows, list(first), "oom", ""))["dyrelu_b"]
    assert [way.ratio for way in found.dearest_first] == pytest.approx([60, 10, 2])
    assert found.shapes == 1
    assert found.writing[0] == pytest.approx(30)


def test_without_an_interval_there_is_none_of_the_factor() -> None:
    rows = visit_once(three())
    ratio, low, high = ways(rows)["dyrelu_b"].writing
    assert ratio == pytest.approx(30)
    assert math.isnan(low)
    assert math.isnan(high)


def test_the_compiled_reference_is_a_way_over_the_eager_baseline_where_it_has_all_shapes() -> None:
    eager = together(written("reference", REFERENCE), written("fused", FUSED))
    slow = eager["baseline_time_ns"][:4] * 20
    compiled = written("reference", (1.0, 1.44), mode="compile").assign(
        case_id=["a", "b", "c", "d"], baseline_time_ns=slow
    )
    compiled["time_ns"] = eager["baseline_time_ns"][:4] * compiled["overhead"]
    found = ways(together(eager, compiled))["dyrelu_b"]
    assert [way.name for way in found.dearest_first] == ["reference", "fused", "compiled"]
    assert found.dearest_first[-1].ratio == pytest.approx(1.2)
    # It was not measured in turns with the eager baseline.
    assert found.dearest_first[-1].text == "1.2×"
    assert found.writing == pytest.approx((60, math.nan, math.nan), nan_ok=True)
    assert [w.name for w in ways(together(eager, compiled[1:]))["dyrelu_b"].dearest_first] == [
        *("reference", "fused"),
    ]


def test_one_implementation_alone_is_no_choice_and_without_a_reference_nothing_is_split() -> None:
    lines, fused = written("lines", LINES), written("fused", FUSED)
    assert ways(written("reference", REFERENCE)) == {}
    assert ways(fused) == {}
    found = ways(together(lines, fused))["dyrelu_b"]
    assert [way.name for way in found.dearest_first] == ["lines", "fused"]
    assert math.isnan(found.writing[0])


def test_a_floor_that_is_not_known_at_any_shape_is_none() -> None:
    assert math.isnan(ways(three().assign(floor_time_ns=None))["dyrelu_b"].floor)


def test_the_floor_is_weighed_as_the_ratios_are() -> None:
    rows = three()
    often = rows["channels"] == 64
    rows = rows.assign(occurrences=often.map({True: 3, False: 1}))
    rows["floor_time_ns"] = rows["baseline_time_ns"] * often.map({True: 2.0, False: 1.0})
    found = ways(rows)["dyrelu_b"]
    assert found.floor == pytest.approx(2 ** (3 / 4))
    # Of 2 and 2.88, the first thrice.
    assert found.dearest_first[-1].ratio in (
        pytest.approx((2**3 * 2.88) ** (1 / 4)),
        pytest.approx((2 * 2.88**3) ** (1 / 4)),
    )
    rows.loc[often, "floor_time_ns"] = math.nan
    assert math.isnan(ways(rows)["dyrelu_b"].floor)


def test_without_a_shape_in_common_there_is_nothing_to_compare() -> None:
    reference, fused = written("reference", REFERENCE), written("fused", FUSED)
    rows = together(
        reference[reference["channels"] == 32],
        fused[fused["channels"] == 64],
    )
    assert ways(rows) == {}
