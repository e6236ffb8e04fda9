import numpy as np
import pytest

from dynact.report.data.aggregate import cost_ratios, times_over_floor
from dynact.report.data.caveats import gaps
from dynact.report.data.settings_groups import slices
from dynact.report.tables.costs import costs


def table_of(text, phase):
    """A phase's table as {activation: {column: cell}}."""
    body = text.split(f"### {phase}\n\n")[1].split("\n\n")[0]
    header, _, *lines = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in body.split("\n")
    )
    return {line[0]: dict(zip(header[1:], line[1:], strict=True)) for line in lines}


def test_table_has_the_counts_of_each_phase(make_rows):
    rows = make_rows(("prelu", "frelu"), (32, 128), (7, 28))
    frelu = rows["activation"] == "frelu"
    rows.loc[frelu, "parameters"] = 11 * rows["channels"]
    rows.loc[frelu, "flops"] = 21 * rows["baseline_flops"]
    rows.loc[frelu, "flops_fvcore_default"] = 0
    rows.loc[frelu, "traffic_eager_bytes"] = 3.5 * rows["baseline_traffic_eager_bytes"]
    rows.loc[frelu, "saved_for_backward_bytes"] = 3 * rows["baseline_saved_for_backward_bytes"]
    rows.loc[frelu, "peak_bytes"] = 2 * rows["baseline_peak_bytes"]
    rows.loc[frelu, "floor_time_ns"] = rows["time_ns"] / 23
    text = costs(slices(rows)[0])
    inference = {
        "parameters": "352–1,408",
        "FLOPs (× ReLU)": "21×",
        "fvcore (× ReLU)": "0",
        "bytes (× ReLU)": "3.5×",
        "kernels": "2",
        "peak (× ReLU)": "2.0×",
        "time ÷ floor": "23×",
    }
    assert table_of(text, "Inference")["FReLU"] == inference
    training = inference | {"kernels": "6", "kept (× ReLU)": "3.0×"}
    assert table_of(text, "Training")["FReLU"] == training
    for column in training:
        assert column.split(" (")[0].lower() in text.split("### ")[0].lower()


def test_an_old_run_has_no_such_section(make_rows, uncount):
    assert costs(slices(uncount(make_rows()))[0]) == ""


def test_what_is_missing_is_a_dash(make_rows, fail):
    rows = make_rows(("prelu", "frelu"), (32,), (7,), ("inference",))
    rows.loc[0, ["parameters", "flops", "floor_time_ns"]] = None
    cells = table_of(costs(slices(fail(rows, [1], "oom", ""))[0]), "Inference")
    assert set(cells["FReLU"].values()) == {"–"}
    assert [column for column, cell in cells["PReLU"].items() if cell == "–"] == [
        *("parameters", "FLOPs (× ReLU)", "time ÷ floor"),
    ]


def test_a_compiled_run_says_what_was_counted(make_rows):
    for mode, said in (("eager", False), ("compile", True)):
        text = costs(slices(make_rows().assign(mode=mode))[0])
        assert ("Counted on the plain formulation, not the compiled one." in text) == said


def test_arithmetic_that_is_not_all_counted_is_a_least(make_rows):
    rows = make_rows(("prelu", "frelu"), (32,), (7,), ("inference",))
    rows["flops"] = 0
    rows.loc[rows["activation"] == "frelu", "uncounted_ops"] = "aten::cumsum"
    cells = table_of(costs(slices(rows)[0]), "Inference")
    assert {a: c["FLOPs (× ReLU)"] for a, c in cells.items()} == {"PReLU": "0", "FReLU": "≥ 0"}


def test_counts_that_are_missing_without_a_word_are_listed(make_rows, uncount):
    rows = make_rows(("prelu", "frelu", "se"), phases=("inference",))
    assert gaps(rows).empty
    rows.loc[[4, 6], ["flops", "kernels"]] = None
    rows.loc[8, "flops"] = None
    rows.loc[8, "message"] = "arithmetic not counted: no way"
    assert gaps(rows).to_numpy().tolist() == [
        ["FReLU", "inference", "", 2, "not counted: flops, kernels"],
        ["SE", "inference", "", 1, "arithmetic not counted: no way"],
    ]
    assert gaps(uncount(rows).assign(message="")).empty


def test_ratios_are_geometric_means_and_0_or_nothing_where_they_must_be(make_rows):
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


def test_distance_from_the_floor_is_the_median_over_floors_there_are(make_rows):
    rows = make_rows(("prelu",), (1, 2, 4, 8), (7,), ("inference",))
    rows["time_ns"] = [100, 200, 300, 400]
    rows["floor_time_ns"] = [50, 10, 0, 40]
    assert times_over_floor(rows)[("inference", "prelu")] == 10
