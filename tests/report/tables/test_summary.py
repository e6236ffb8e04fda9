import csv
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.report.data.efficiency import efficiency
from dynact.report.tables.markdown import escaped, table
from dynact.report.tables.summary import summary_markdown, write_csv
from tests.report.conftest import visit, visit_once
from tests.report.sample_run import run_of

RATES = {
    "session": "2026-03-01T10:00:00+00:00",
    "copies": [
        {"bytes": 2**power, "bytes_per_s": rate}
        for power, rate in ((14, 5e10), (15, 4e10), (16, 3e10), (17, 2e10), (18, 1e10))
    ],
    "flops_per_s": {"float32": 1.1e11},
    "case_s": 1.0,
}
PASSED = {
    "session": "s", "trustworthy": True, "self_overhead": 1.0003, "self_overhead_lo": 0.9991,
    "self_overhead_hi": 1.0012, "more_overhead": 1.0181, "more_overhead_lo": 1.0101,
    "more_overhead_hi": 1.0262, "more_elements": 57 / 56, "timing_s": 3.0, "case_s": 4.0,
    "message": "",
}  # fmt: skip


def summary_of(rows, environment, gates, limits=None):
    none = pd.DataFrame()
    run = run_of(rows=rows, environment=environment, gates=gates, limits=limits, networks=none)
    return summary_markdown(run)


def cells_of(summary, heading):
    """The first table below a heading as lists of cells, without header and rule."""
    body = summary.split(heading, 1)[1].split("\n## ", 1)[0]
    lines = [line for line in body.splitlines() if line.startswith("|")]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[2:]]


def test_csv_holds_every_row_and_column_in_one_order(make_rows, tmp_path):
    rows = make_rows()
    rows.loc[3, "message"] = 'quotes ", commas,\nand a new line'
    write_csv(rows, tmp_path / "a.csv")
    write_csv(rows.sample(frac=1, random_state=3), tmp_path / "b.csv")
    text = (tmp_path / "a.csv").read_bytes()
    assert text == (tmp_path / "b.csv").read_bytes()
    back = pd.read_csv(io.BytesIO(text), keep_default_na=False)
    assert list(back.columns) == list(rows.columns)
    merged = rows.set_index("case_id").loc[back["case_id"]].reset_index()
    merged["occurrences"] = ""  # an empty cell: these shapes are of no network
    empty = ["host_share", "baseline_host_share", "visits", "processes", "observations"]
    empty += ["device_time_ns", "baseline_device_time_ns", "device_overhead"]
    empty += ["device_overhead_lo", "device_overhead_hi"]
    merged[[*empty, "disturbed_visits"]] = ""
    plain = rows.columns.drop(["flops_by_operator", "uncounted_ops"])
    pd.testing.assert_frame_equal(back[plain], merged[plain], check_dtype=False)


def test_lists_and_mappings_read_back_from_the_csv_as_json(
    make_rows: Callable[..., pd.DataFrame],
    lack: Callable[..., pd.DataFrame],
    fail: Callable[..., pd.DataFrame],
    tmp_path: Path,
) -> None:
    rows = lack(make_rows(), frelu=["aten::fft", 'my "op", λ'])
    rows = fail(rows, [3], "oom", "")

    write_csv(rows, tmp_path / "table.csv")

    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        stored = {record["case_id"]: record for record in csv.DictReader(file)}
    assert len(stored) == len(rows)
    for row in rows.to_dict("records"):
        for name in ("flops_by_operator", "uncounted_ops"):
            cell = stored[row["case_id"]][name]
            # An empty cell is what there is not.
            assert (json.loads(cell) if cell else None) == row[name]


def test_summary_ranks_each_phase(make_rows, environment):
    rows = make_rows()
    rows["overhead"] = rows["activation"].map({"prelu": 4.0, "frelu": 2.0, "dyrelu_b": 64.0})
    rows.loc[rows["channels"] == 128, "overhead"] *= 4
    rows["overhead_lo"], rows["overhead_hi"] = rows["overhead"] * 0.98, rows["overhead"] / 0.98
    rows["time_ns"] = 1.5e6
    summary = summary_of(rows, environment, [])
    for heading in ("## Inference", "## Training"):
        assert [[c.strip() for c in line] for line in cells_of(summary, heading)] == [
            ["FReLU", "4.00× (3.96–4.04)", "2.0–8.0×", "1.5 ms", "4/4"],
            ["PReLU", "8.00× (7.92–8.08)", "4.0–16×", "1.5 ms", "4/4"],
            ["DY-ReLU-B", "128× (127–129)", "64–260×", "1.5 ms", "4/4"],
        ]


def test_summary_says_whose_time_it_speaks_of(make_rows, environment):
    rows = make_rows(channels=(32,))
    assert "Times are" not in summary_of(rows, environment, [])

    shares = rows.assign(host_share=0.4, baseline_host_share=0.89)
    summary = summary_of(shares, environment, [])
    assert "in none of 12 measured cases did it wait for its host" in summary
    assert "§" not in summary

    waits = (shares["activation"] == "frelu") & (shares["height"] == 7)
    shares.loc[waits & (shares["phase"] == "inference"), "baseline_host_share"] = 0.91
    shares.loc[waits & (shares["phase"] == "training"), "host_share"] = 1.2
    summary = summary_of(shares, environment, [])
    assert "in 2 of 12 measured cases, marked §, the device waited for it" in summary
    for heading in ("## Inference", "## Training"):
        marked = [line[0].strip() for line in cells_of(summary, heading) if "§" in line[1]]
        assert marked == ["FReLU"]
    assert summary.count("§: at some of the shapes") == 2
    assert "device alone" not in summary

    told = shares.assign(device_overhead=4.0, device_overhead_lo=3.99, device_overhead_hi=4.01)
    summary = summary_of(told, environment, [])
    for heading in ("## Inference", "## Training"):
        said = [line[1] for line in cells_of(summary, heading) if "device alone" in line[1]]
        assert len(said) == 1
        assert said[0].strip().endswith("§ device alone 4.000×")


def test_summary_sets_other_slices_beside_the_main_one_at_shared_shapes(make_rows, environment):
    rows = make_rows(("prelu",), (32, 128), (7,), ("inference",), batches=(8, 32))
    rows = rows[(rows["batch"] == 8) | (rows["channels"] == 32)]
    rows["overhead"] = [2.0, 50.0, 3.0]
    rows[["overhead_lo", "overhead_hi"]] = None
    other = rows.iloc[:1].assign(dtype="bfloat16", overhead=7.0)
    summary = summary_of(pd.concat([rows, other]), environment, [])
    (line,) = cells_of(summary, "## Other batch sizes")
    assert line[1].strip() == "3.0× (2.0×)"
    assert "batch 32 (1 shape)" in summary
    (line,) = cells_of(summary, "## Other settings")
    assert line[1].strip() == "7.0× (2.0×)"


@pytest.mark.parametrize(
    ("change", "interval", "note"),
    [
        (lambda rows: rows, "within this run", True),
        (lambda rows: visit(rows, 7), "between runs", False),
    ],
    ids=["former", "now"],
)
def test_summary_says_what_its_intervals_hold(make_rows, environment, change, interval, note):
    summary = summary_of(change(make_rows()), environment, [])
    assert f"overhead (95 % interval {interval})" in summary
    assert ("Another run, at another time, can lie outside" in summary) == note
    assert ("Each case was visited 7 times." in summary) == (interval == "between runs")


def test_summary_of_cases_that_were_visited_once(make_rows, environment):
    rows = visit_once(make_rows(), [0, 1])  # of PReLU in inference
    summary = summary_of(rows, environment, [])
    cells = {line[0].strip(): line[1].strip() for line in cells_of(summary, "## Inference")}
    assert re.fullmatch(r"[\d.]+×", cells["PReLU"])
    assert re.fullmatch(r"[\d.]+× \([\d.]+–[\d.]+\)", cells["FReLU"])
    inference, training = (
        summary.split(f"## {phase}\n")[1].split("|")[0] for phase in ("Inference", "Training")
    )
    assert "A mean without an interval" in inference
    assert "A mean without an interval" not in training
    assert summary.count("been visited once") == 2
    assert "2 of 24 measured cases have been visited once" in summary
    everywhere = summary_of(visit_once(make_rows()), environment, [])
    assert "24 of 24 measured cases have been visited once" in everywhere
    assert "nan" not in everywhere


def test_summary_lists_failures_and_counts_the_unconverged(make_rows, environment, fail):
    message = "a | b\n`c` <script>alert(1)</script> *d* \\| [e](f)"
    rows = make_rows()
    rows = fail(rows, [0, 1], "error", message)
    rows = fail(rows, [10], "oom", "no memory")
    rows.loc[[5, 6, 7], "converged"] = False
    summary = summary_of(rows, environment, [])
    assert "3 of 21 measured cases did not converge" in summary
    assert "3 of 24 cases failed" in summary
    lines = [[c.strip() for c in line] for line in cells_of(summary, "## Not converged")]
    assert [line[:4] for line in lines] == [
        ["DY-ReLU-B", "inference", "oom", "1"],
        ["PReLU", "inference", "error", "2"],
    ]
    assert shown(lines[1][5]) == "a | b `c` <script>alert(1)</script> *d* \\| [e](f)"
    assert "<script>" not in summary


def test_summary_of_a_run_without_an_ok_row(make_rows, environment, fail):
    rows = make_rows()
    summary = summary_of(fail(rows, range(len(rows)), "oom", "no memory"), environment, [])
    assert "24 of 24 cases failed" in summary
    assert "nan" not in summary
    assert [line[1].strip() for line in cells_of(summary, "## Inference")] == ["–"] * 3


def test_summary_lists_what_was_not_counted(make_rows, environment, lack):
    rows = make_rows(("prelu", "frelu"), (32,), (7,))
    assert "not all of it counted" not in summary_of(rows, environment, [])
    rows = lack(rows, frelu=["fft", "my_op"])
    rows.loc[0, "message"] = "saved for backward not counted: a | b"
    summary = summary_of(rows, environment, [])
    lines = [[shown(c).strip() for c in line] for line in cells_of(summary, "## Not converged")]
    assert lines == [
        ["FReLU", "inference", "fft, my_op", "1", "–"],
        ["FReLU", "training", "fft, my_op", "1", "–"],
        ["PReLU", "inference", "–", "1", "saved for backward not counted: a | b"],
    ]


def test_summary_names_the_environment(make_rows, environment):
    lines = cells_of(summary_of(make_rows(), environment, []), "## Environment")
    found = {key.strip(): shown(value.strip()) for key, value in lines}
    assert found["device"].startswith("type cpu, name Some CPU @ 2.00GHz")
    assert "torch 2.14.1" in found["versions"]
    assert found["command"] == "pytest benches --benchmark-only"
    assert found["threads"] == "1"


def test_efficiency_by_hand(make_rows, environment):
    rows = make_rows(("prelu",), (1, 2, 3), (7,), ("inference",))
    rows["session"] = ["a", "a", "b"]
    rows["elapsed_s"] = [20.0, 30.0, 10.0]
    rows["case_s"] = [5.0, 6.0, 4.0]
    rows["timing_s"] = [3.0, None, 2.0]
    rows["counting_s"] = [0.5, 1.5, None]
    gates = [PASSED | {"session": "a", "case_s": 8.0, "timing_s": 6.0}]
    rates = RATES | {"session": "b", "case_s": 1.25}
    spent = efficiency(rows, pd.DataFrame(), gates, rates)
    assert spent.wall_s == 40.0  # 30 + 10
    assert spent.timing_s == 11.0  # 3 + 2 + 6
    assert spent.ceilings_s == 1.25
    assert spent.startup_s == 11.25  # (20 − 5 − 0.5 − 8) + (10 − 4 − 1.25)
    assert spent.counting_s == 2.0  # 0.5 + 1.5
    assert spent.setup_s == 12.0  # (5 + 6 + 4 + 8) − 11
    # 40 − 11 − 11.25 − 12 − 2 − 1.25: session a's second case took 10 s, of which 7.5 in it.
    assert spent.rest_s == 2.5
    summary = summary_of(rows, environment, gates, rates)
    assert "27.5% of the sweep's wall time" in summary
    assert ["counting", "2.0 s", "5.0%"] in [
        [cell.strip() for cell in line] for line in cells_of(summary, "## Efficiency")
    ]


def test_efficiency_of_visits_by_hand(make_rows):
    rows = make_rows(("prelu",), (1, 2), (7,), ("inference",)).assign(counting_s=[0.5, None])
    visits = pd.DataFrame(
        {
            "session": ["a", "a", "b", "a"],
            "elapsed_s": [20.0, 30.0, 10.0, 26.0],
            "visit_s": [5.0, 2.0, 4.0, 3.0],
            # The last failed before anything was timed.
            "timing_s": [1.0, 1.5, 2.0, None],
        }
    )
    spent = efficiency(rows, visits, [], RATES | {"session": "a", "case_s": 1.25})
    assert spent.wall_s == 40.0  # 30 + 10
    assert spent.timing_s == 4.5
    assert spent.startup_s == 21.0  # (20 − 5) + (10 − 4)
    assert spent.setup_s == 9.5  # (5 + 2 + 4 + 3) − 4.5
    assert spent.counting_s == 0.5
    assert spent.ceilings_s == 1.25
    assert spent.rest_s == pytest.approx(3.25)


def test_the_summary_says_what_the_device_can_do(make_rows, environment):
    lines = cells_of(summary_of(make_rows(), environment, [], RATES), "## What this device")
    found = {what.strip(): shown(rate.strip()) for what, rate in lines}
    assert found == {
        "moving 16 kB": "50 GB/s",
        "moving 131 kB": "20 GB/s",
        "matrix product, float32": "110 GFLOP/s",
    }
    assert "What this device can do" not in summary_of(make_rows(), environment, [])


@pytest.mark.parametrize("message", ["", "arithmetic not counted: why"])
def test_work_that_depends_on_the_data_is_named(make_rows, environment, message):
    rows = make_rows(("prelu", "frelu"))
    dependent = rows["activation"] == "frelu"
    rows["data_dependent"] = dependent
    rows.loc[dependent, "message"] = message
    said = "its work depends on the input's values: counted as for this input"
    summary = summary_of(rows, environment, [])
    (line, *_) = [line for line in summary.splitlines() if said in line]
    assert line.startswith("| FReLU |")
    assert message in line
    rows["data_dependent"] = None
    assert said not in summary_of(rows, environment, [])


def shown(markdown):
    """What a reader of the Markdown sees: escapes taken back by the rules of CommonMark."""
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown))


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=40))
def test_escaped_text_is_one_cell_that_reads_as_written(text):
    cell = escaped(text)
    assert shown(cell) == " ".join(text.split())
    assert re.split(r"(?<!\\)(?:\\\\)*\|", cell) == [cell]
    assert "<" not in cell


def test_table():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| :-- | --: |\n| 1 | 2 |"
