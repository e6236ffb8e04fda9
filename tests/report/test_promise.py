import math

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from dynact.report.figures import promise

COUNTS = {
    "FLOPs, fvcore's default": ("flops_fvcore_default", "baseline_flops"),
    "FLOPs, all": ("flops", "baseline_flops"),
    "bytes moved": ("traffic_eager_bytes", "baseline_traffic_eager_bytes"),
}


def marks_of(figure):
    """What is drawn as {kind: x of each line}."""
    lines = figure.axes[0].lines
    return {line.get_label(): line.get_xdata() for line in lines if line.get_marker() != "None"}


def columns_of(figure):
    """The numbers beside the plot, by line, from left to right."""
    heads_aside = [t for t in figure.axes[0].texts if "\n" not in t.get_text()]
    numbers = [t for t in heads_aside if not hasattr(t, "xy")]
    lines = {line: [] for line in range(len(figure.axes[0].get_yticks()))}
    for text in sorted(numbers, key=lambda t: t.get_position()[0]):
        lines[text.get_position()[1]].append(text.get_text())
    return lines


def title_of(figure):
    return " ".join(figure.texts[0].get_text().split())


def test_marks_are_geometric_means_over_shapes(make_rows):
    rows = make_rows()
    rows["flops"] *= np.where(rows["channels"] == 128, 4.0, 1.0)
    rows["flops_fvcore_default"] += 10**6
    figure = promise(rows)
    marks = marks_of(figure)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    activations = {"PReLU": "prelu", "FReLU": "frelu", "DY-ReLU-B": "dyrelu_b"}
    assert len(marks) == 5
    for line, name in enumerate(names):
        mine = rows[rows["activation"] == activations[name]]
        inference = mine[mine["phase"] == "inference"]
        for label, (cost, baseline) in COUNTS.items():
            mean = math.exp(np.log(inference[cost] / inference[baseline]).mean())
            assert marks[label][line] == pytest.approx(mean)
        for phase, times in mine.groupby("phase"):
            mean = math.exp(np.log(times["overhead"]).mean())
            assert marks[f"time, {phase}"][line] == pytest.approx(mean)


def test_lines_are_ordered_by_time_in_inference_with_the_range_of_the_shapes(make_rows):
    rows = make_rows()
    figure = promise(rows)
    times = marks_of(figure)["time, inference"]
    assert list(times) == sorted(times)
    ranges = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    for phase, collection in zip(("inference", "training"), ranges, strict=True):
        by = rows[rows["phase"] == phase].groupby("activation")["overhead"]
        drawn = sorted(segment[:, 0].tolist() for segment in collection.get_segments())
        assert np.array(drawn) == pytest.approx(
            np.array(sorted(zip(by.min(), by.max(), strict=True)))
        )


def test_zero_stands_at_the_left_edge_as_0(make_rows):
    rows = make_rows(("silu", "frelu"))
    figure = promise(rows)
    axes = figure.axes[0]
    assert marks_of(figure)["FLOPs, fvcore's default"].min() == axes.get_xlim()[0]
    assert [t.get_text() for t in axes.texts if hasattr(t, "xy") and t.get_text()] == ["0"]
    zero = [label.get_text() for label in axes.get_yticklabels()].index("SiLU")
    assert columns_of(figure)[zero][0] == "0"


def test_title_states_the_widest_gap_between_arithmetic_and_time(make_rows):
    rows = make_rows()
    rows["flops"] = rows["baseline_flops"] * rows["activation"].map(
        {"prelu": 2, "frelu": 20, "dyrelu_b": 6}
    )
    rows["overhead"] = rows["activation"].map({"prelu": 1.0, "frelu": 30.0, "dyrelu_b": 80.0})
    figure = promise(rows)
    title = title_of(figure)
    assert title == (
        "DY-ReLU-B: 6.0× the arithmetic of ReLU, 80× the time (inference, batch 8, float32)"
    )
    assert [numbers[-1] for numbers in columns_of(figure).values()] == ["0.50×", "1.50×", "13×"]
    bands = [(bar.get_x(), bar.get_width()) for bar in figure.axes[0].containers[0]]
    assert np.array(bands) == pytest.approx(np.array([(20, 10), (6, 74)]))


def test_without_a_gap_the_title_claims_none(make_rows):
    rows = make_rows()
    rows["flops"] = rows["baseline_flops"] * rows["overhead"]
    assert title_of(promise(rows)).startswith("What counting promises and what the clock says")


def test_training_alone_stands_against_its_own_counts(make_rows):
    rows = make_rows(phases=("training",))
    rows["overhead"] = 50.0 * rows["flops"] / rows["baseline_flops"]
    figure = promise(rows)
    assert "(training, batch 8, float32)" in title_of(figure)
    assert "time, inference" not in marks_of(figure)


def test_missing_counts_and_failures_are_said(make_rows, fail):
    rows = make_rows(("prelu", "frelu", "dyrelu_b", "se"), (32,), (7,))
    rows.loc[rows["activation"] == "prelu", ["flops", "flops_fvcore_default"]] = None
    rows = fail(rows, rows.index[rows["activation"] == "se"], "oom", "")
    figure = promise(rows)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    numbers = columns_of(figure)
    assert numbers[names.index("SE")] == ["–"] * 6
    assert [numbers[names.index("PReLU")][i] for i in (0, 1, 5)] == ["–"] * 3
    assert "–" not in numbers[names.index("PReLU")][2:5]
    notes = " ".join(figure.texts[1].get_text().split())
    assert "Not counted: PReLU." in notes
    assert "Left out: 2 of 8 cases that failed (SE)." in notes


def test_a_baseline_without_arithmetic_gives_no_ratio(make_rows):
    rows = make_rows().assign(baseline="identity", baseline_flops=0)
    marks = marks_of(promise(rows))
    assert np.isnan(marks["FLOPs, all"]).all()
    assert not np.isnan(marks["bytes moved"]).any()
