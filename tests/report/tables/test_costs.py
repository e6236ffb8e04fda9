"""What layers cost without a clock, as tables."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from dynact.report.data.aggregate import cost_ratios, times_over_floor
from dynact.report.data.caveats import gaps
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.tables.costs import costs

Build = Callable[..., pd.DataFrame]


def table_of(text: str, phase: str) -> dict[str, dict[str, str]]:
    """A phase's table as {activation: {column: cell}}."""
    body = text.split(f"### {phase}\n\n")[1].split("\n\n")[0]
    header, _, *lines = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in body.split("\n")
    )
    return {line[0]: dict(zip(header[1:], line[1:], strict=True)) for line in lines}


def test_table_has_the_counts_of_each_phase(make_rows: Build) -> None:
    rows = make_rows(("prelu", "frelu"), (32, 128), (7, 28))
    frelu = rows["activation"] == "frelu"
    rows.loc[frelu, "parameters"] = 11 * rows["channels"]
    rows.loc[frelu, "flops"] = 21 * rows["baseline_flops"]
    rows.loc[frelu, "flops_fvcore_default"] = 0
    rows.loc[frelu, "traffic_eager_bytes"] = 3.5 * rows["baseline_traffic_eager_bytes"]
    rows.loc[frelu, "saved_for_backward_bytes"] = 3 * rows["baseline_saved_for_backward_bytes"]
    rows.loc[frelu, "peak_bytes"] = 2 * rows["baseline_peak_bytes"]
    rows.loc[frelu, "floor_time_ns"] = rows["time_ns"] / 23

    text = costs(SettingsGroup(rows))

    inference = {
        "parameters": "352–1,408",
        "FLOPs (× ReLU)": "21×",
        "FLOPs, fvcore’s default (× ReLU)": "0",
        "bytes moved (× ReLU)": "3.5×",
        "operator calls": "2",
        "peak memory (× ReLU)": "2.0×",
        "time ÷ floor": "23×",
    }
    assert table_of(text, "Inference")["FReLU"] == inference
    training = inference | {"operator calls": "6", "kept for backward (× ReLU)": "3.0×"}
    assert table_of(text, "Training")["FReLU"] == training
    for column in training:
        assert column.split(" (")[0].lower() in text.split("### ")[0].lower()


def test_an_old_run_has_no_such_section(make_rows: Build, uncount: Build) -> None:
    assert costs(SettingsGroup(uncount(make_rows()))) == ""


def test_what_is_missing_is_a_dash(make_rows: Build, fail: Build) -> None:
    rows = make_rows(("prelu", "frelu"), (32,), (7,), ("inference",))
    rows.loc[0, ["parameters", "flops", "floor_time_ns"]] = None

    cells = table_of(costs(SettingsGroup(fail(rows, [1], "oom", ""))), "Inference")

    assert set(cells["FReLU"].values()) == {"–"}
    assert [column for column, cell in cells["PReLU"].items() if cell == "–"] == [
        *("parameters", "FLOPs (× ReLU)", "time ÷ floor"),
    ]


@pytest.mark.parametrize(("mode", "said"), [("eager", False), ("compile", True)])
def test_a_compiled_run_says_what_was_counted(make_rows: Build, mode: str, said: bool) -> None:
    text = costs(SettingsGroup(make_rows().assign(mode=mode)))

    assert ("Counted on the plain formulation, not the compiled one." in text) == said


def test_arithmetic_that_is_not_all_counted_is_a_least(make_rows: Build, lack: Build) -> None:
    rows = make_rows(("prelu", "frelu"), (32,), (7,), ("inference",))
    rows["flops"] = 0
    rows = lack(rows, frelu=["aten::cumsum"])

    cells = table_of(costs(SettingsGroup(rows)), "Inference")

    assert {a: c["FLOPs (× ReLU)"] for a, c in cells.items()} == {"PReLU": "0", "FReLU": "≥ 0"}


def test_counts_that_are_missing_without_a_word_are_listed(make_rows: Build) -> None:
    rows = make_rows(("prelu", "frelu", "se"), phases=("inference",))
    rows.loc[[4, 6], ["flops", "operator_calls"]] = None
    rows.loc[8, "flops"] = None
    rows.loc[8, "message"] = "arithmetic not counted: no way"

    lines = gaps(rows)

    assert lines.to_numpy().tolist() == [
        ["FReLU", "inference", "", 2, "not counted: flops, operator_calls"],
        ["SE", "inference", "", 1, "arithmetic not counted: no way"],
    ]


def test_no_gap_is_said_where_all_was_counted_or_counting_was_not_tried(
    make_rows: Build, uncount: Build
) -> None:
    rows = make_rows()

    assert gaps(rows).empty
    assert gaps(uncount(rows)).empty


def test_ratios_are_geometric_means_and_0_or_nothing_where_they_must_be(make_rows: Build) -> None:
    rows = make_rows(("prelu",), (1, 2, 4), (7,), ("inference",))
    rows["baseline_flops"] = [10, 10, 10]
    rows["flops"] = [10, 20, 40]
    rows["flops_fvcore_default"] = [0, 10, 10]
    rows["traffic_eager_bytes"] = [8.0, None, 2.0]
    rows["baseline_traffic_eager_bytes"] = [1, 1, 1]
    rows["baseline_peak_bytes"] = 0

    ratios = cost_ratios(rows).loc[("inference", "prelu")]

    assert ratios["flops"] == pytest.approx(2)
    assert ratios["flops_fvcore_default"] == 0
    assert ratios["traffic_eager_bytes"] == pytest.approx(4)
    assert np.isnan(ratios["peak_bytes"])
    assert np.isnan(ratios["saved_for_backward_bytes"])  # 0 of 0 in inference


def test_distance_from_the_floor_is_the_median_over_floors_there_are(make_rows: Build) -> None:
    rows = make_rows(("prelu",), (1, 2, 4, 8), (7,), ("inference",))
    rows["time_ns"] = [100, 200, 300, 400]
    rows["floor_time_ns"] = [50, 10, 0, 40]

    found = times_over_floor(rows)

    assert found[("inference", "prelu")] == 10
