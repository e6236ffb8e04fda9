import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection

from dynact.report.data.settings_groups import SettingsGroup, settings_groups
from dynact.report.figures.promise import promise
from tests.report.ways_sample import together, written

COUNTS = {
    "FLOPs, fvcore's default": ("flops_fvcore_default", "baseline_flops"),
    "FLOPs, all": ("flops", "baseline_flops"),
    "bytes moved": ("traffic_eager_bytes", "baseline_traffic_eager_bytes"),
}


def within(rows, factor):
    """The same rows with intervals of so much to either side."""
    return rows.assign(overhead_lo=rows["overhead"] / factor, overhead_hi=rows["overhead"] * factor)


def marks_of(figure):
    """What is drawn as {kind: x of each line}."""
    lines = figure.axes[0].lines
    return {line.get_label(): line.get_xdata() for line in lines if line.get_marker() != "None"}


def columns_of(figure):
    """The texts beside the plot, by line, from left to right."""
    heads_aside = [t for t in figure.axes[0].texts if "\n" not in t.get_text()]
    numbers = [t for t in heads_aside if not hasattr(t, "xy")]
    lines = {line: [] for line in range(len(figure.axes[0].get_yticks()))}
    for text in sorted(numbers, key=lambda t: t.get_position()[0]):
        lines[text.get_position()[1]].append(text.get_text())
    return lines


def pinned_of(figure):
    """The texts beside marks that are too small for the axis."""
    texts = [t.get_text() for t in figure.axes[0].texts if hasattr(t, "xy")]
    return [text for text in texts if text and not text.startswith("<")]


def heads_of(figure):
    return [" ".join(t.get_text().split()) for t in figure.axes[0].texts if "\n" in t.get_text()]


def notes_of(figure):
    return " ".join(figure.texts[1].get_text().split())


def title_of(figure):
    return " ".join(figure.texts[0].get_text().split())


def test_marks_are_geometric_means_over_shapes(make_rows):
    rows = make_rows()
    rows["flops"] *= np.where(rows["channels"] == 128, 4.0, 1.0)
    rows["flops_fvcore_default"] += 10**6
    figure = promise(SettingsGroup(rows))
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
    figure = promise(SettingsGroup(rows))
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
    figure = promise(SettingsGroup(rows))
    axes = figure.axes[0]
    assert 0.1 < axes.get_xlim()[0] < marks_of(figure)["FLOPs, fvcore's default"].min() < 0.3
    assert pinned_of(figure) == ["0"]
    zero = [label.get_text() for label in axes.get_yticklabels()].index("SiLU")
    assert columns_of(figure)[zero][0] == "0"


def test_title_states_the_widest_gap_between_arithmetic_and_time(make_rows):
    rows = make_rows()
    rows["flops"] = rows["baseline_flops"] * rows["activation"].map(
        {"prelu": 2, "frelu": 20, "dyrelu_b": 6}
    )
    rows["overhead"] = rows["activation"].map({"prelu": 1.0, "frelu": 30.0, "dyrelu_b": 80.0})
    figure = promise(SettingsGroup(within(rows, 1.1)))
    title = title_of(figure)
    assert title == (
        "DY-ReLU-B: 6.0× the arithmetic of ReLU, 80× the time (mean of 4 shapes, inference, "
        "batch 8, float32)"
    )
    assert [numbers[-1] for numbers in columns_of(figure).values()] == ["0.50×", "1.50×", "13.3×"]
    bands = [(bar.get_x(), bar.get_width()) for bar in figure.axes[0].containers[0]]
    assert np.array(bands) == pytest.approx(np.array([(20, 10), (6, 74)]))


def test_without_a_gap_the_title_claims_none(make_rows):
    rows = make_rows()
    rows["flops"] = rows["baseline_flops"] * rows["overhead"] / 1.9
    assert title_of(promise(SettingsGroup(rows))).startswith(
        "What counting promises and what the clock says"
    )
    rows["flops"] = rows["baseline_flops"] * rows["overhead"] / 2.1
    assert "the arithmetic of ReLU" in title_of(promise(SettingsGroup(rows)))


def test_training_alone_stands_against_its_own_counts(make_rows):
    rows = make_rows(phases=("training",))
    rows["overhead"] = 50.0 * rows["flops"] / rows["baseline_flops"]
    figure = promise(SettingsGroup(rows))
    assert "the forward arithmetic of ReLU" in title_of(figure)
    assert "(mean of 4 shapes, training, batch 8, float32)" in title_of(figure)
    assert "time, inference" not in marks_of(figure)
    assert heads_of(figure)[-1] == "training / FLOPs"
    assert "operator calls" in heads_of(figure)


def test_missing_counts_and_failures_are_said(make_rows, fail):
    rows = make_rows(("prelu", "frelu", "dyrelu_b", "se"), (32,), (7,))
    rows.loc[rows["activation"] == "prelu", ["flops", "flops_fvcore_default"]] = None
    rows = fail(rows, rows.index[rows["activation"] == "se"], "oom", "")
    figure = promise(SettingsGroup(rows))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    numbers = columns_of(figure)
    assert numbers[names.index("SE")] == ["–"] * 7
    assert [numbers[names.index("PReLU")][i] for i in (0, 1, 6)] == ["–"] * 3
    assert "–" not in numbers[names.index("PReLU")][2:6]
    assert (
        "Left out: 2 of 8 cases that failed (SE); 2 of 8 cases without all counts, but for their "
        "times (PReLU)." in notes_of(figure)
    )


def test_the_gap_is_over_the_shapes_that_have_both(make_rows):
    rows = make_rows(("frelu",), (32, 64, 128), (7,), ("inference",))
    rows["overhead"] = [30.0, 40.0, 1000.0]
    rows["flops"] = [2 * rows["baseline_flops"][0], 6 * rows["baseline_flops"][1], None]
    figure = promise(SettingsGroup(within(rows, 1.1)))
    flops, time = math.sqrt(2 * 6), math.sqrt(30 * 40)
    assert title_of(figure) == (
        f"FReLU: {flops:.1f}× the arithmetic of ReLU, {time:.0f}× the time (mean of 2 shapes, "
        "inference, batch 8, float32)"
    )
    assert columns_of(figure)[0][-1] == "10.0×"
    (band,) = figure.axes[0].containers[0]
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((flops, time))
    assert "1 of 3 cases without all counts, but for their times (FReLU)" in notes_of(figure)


def test_operator_calls_stand_beside_as_a_range_over_the_shapes(make_rows):
    rows = make_rows(("prelu", "frelu"))
    inference = rows["phase"] == "inference"
    rows.loc[inference & (rows["activation"] == "frelu"), "operator_calls"] = [3, 12, 1200, 12]
    figure = promise(SettingsGroup(rows))
    column = heads_of(figure).index("operator calls")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    texts = {name: columns_of(figure)[line][column] for line, name in enumerate(names)}
    assert texts == {"PReLU": "1", "FReLU": "3–1,200"}


def test_the_axis_reaches_the_least_time_and_only_counts_are_pinned(make_rows):
    rows = make_rows()
    rows["overhead"] *= 0.02
    rows["flops"] = rows["baseline_flops"] * 1e-3
    rows["flops_fvcore_default"] = rows["baseline_flops"] * 0.08
    rows["traffic_eager_bytes"] = 0
    figure = promise(SettingsGroup(rows))
    axes = figure.axes[0]
    marks, least = marks_of(figure), rows["overhead"].min()
    assert pinned_of(figure) == ["0.001, 0"] * 3
    assert marks["FLOPs, fvcore's default"] == pytest.approx([0.08] * 3)
    pinned = [marks["FLOPs, all"], marks["bytes moved"]]
    assert axes.get_xlim()[0] < pinned[0].max() < pinned[1].min()
    assert pinned[1].max() < least
    for bar in axes.containers[0]:
        assert pinned[1].max() < bar.get_x() < bar.get_x() + bar.get_width() < 1


def test_pinned_numbers_cover_no_marks(make_rows):
    rows = make_rows(("prelu", "frelu"), (32,), (7,), ("inference",))
    rows["flops"] = rows["baseline_flops"] * 0.082
    rows["traffic_eager_bytes"] = rows["baseline_traffic_eager_bytes"] * 0.31
    rows["overhead"] = 0.3
    figure = promise(SettingsGroup(rows))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    boxes = [t.get_window_extent() for t in axes.texts if t.get_text() in pinned_of(figure)]
    assert pinned_of(figure) == ["0.08", "0, 0.08"]
    for x in marks_of(figure).values():
        for line, at in enumerate(x):
            shown = axes.transData.transform((at, line))[0]
            assert not boxes[line].x0 - 3 < shown < boxes[line].x1 + 3


def test_counts_stand_against_the_first_phase_that_has_any(make_rows, fail):
    rows = make_rows()
    inference = rows.index[rows["phase"] == "inference"]
    for without in (
        fail(rows, inference, "oom", ""),
        rows.assign(
            flops=rows["flops"].where(rows["phase"] == "training"),
            flops_fvcore_default=None,
            traffic_eager_bytes=rows["traffic_eager_bytes"].where(rows["phase"] == "training"),
        ),
    ):
        figure = promise(SettingsGroup(without))
        assert heads_of(figure)[-1] == "training / FLOPs"
        assert not np.isnan(marks_of(figure)["FLOPs, all"]).any()
        times = marks_of(figure)["time, training"]
        assert list(times) == sorted(times)


def test_arithmetic_that_is_not_all_counted_promises_nothing(make_rows, lack):
    rows = make_rows(("prelu", "frelu"))
    rows["overhead"] = 50.0
    rows["flops"] = rows["baseline_flops"] * rows["activation"].map({"prelu": 5.0, "frelu": 0.0})
    rows = lack(rows, frelu=["aten::cumsum"])
    figure = promise(SettingsGroup(rows))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    numbers = columns_of(figure)[names.index("FReLU")]
    assert (numbers[1], numbers[-1]) == ("≥ 0", "–")
    assert title_of(figure).startswith("PReLU: 5.0× the arithmetic")
    assert "FLOPs of FReLU lack aten::cumsum: there are more than shown." in notes_of(figure)


def test_a_compiled_slice_says_what_was_counted(make_rows):
    rows = make_rows()
    for mode, said in (("eager", False), ("compile", True)):
        notes = notes_of(promise(SettingsGroup(rows.assign(mode=mode))))
        assert ("Counted on the plain formulation, not the compiled one." in notes) == said


def test_a_baseline_without_arithmetic_gives_no_ratio(make_rows):
    rows = make_rows().assign(baseline="identity", baseline_flops=0)
    marks = marks_of(promise(SettingsGroup(rows)))
    assert np.isnan(marks["FLOPs, all"]).all()
    assert not np.isnan(marks["bytes moved"]).any()


def test_what_a_fused_implementation_does_not_show_is_a_dash_and_nothing_left_out():
    fused = written("fused", (2.0, 2.88)).assign(traffic_eager_bytes=None, operator_calls=None)
    (group,) = settings_groups(together(written("reference", (60.0, 86.4)), fused))
    figure = promise(group)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["DY-ReLU-B fused", "DY-ReLU-B reference"]
    columns = columns_of(figure)
    assert [columns[0][i] for i in (2, 3)] == ["–"] * 2
    assert columns[0][4] == columns[0][5] == "2.40×"
    assert "–" not in columns[1]
    assert "DY-ReLU-B fused: FLOPs are the reference's; generated" in notes_of(figure)
    assert "Left out" not in notes_of(figure)
    lacking = group.rows.assign(flops=None)
    assert "4 of 8 cases without" not in notes_of(promise(SettingsGroup(lacking)))
    assert "8 of 8 cases without all counts" in notes_of(promise(SettingsGroup(lacking)))


def test_a_plain_implementation_without_its_counts_is_left_out():
    rows = together(written("reference", (9.0,)), written("lines", (3.0,), operator_calls=None))
    (group,) = settings_groups(rows)
    assert "2 of 4 cases without all counts, but for their times (DY-ReLU-B lines)" in notes_of(
        promise(group)
    )


def test_means_over_fewer_shapes_are_said(make_rows):
    rows = make_rows()
    fewer = rows[(rows["activation"] != "prelu") | (rows["height"] == 28)]

    for shown, said in ((rows, False), (fewer, True)):
        notes = " ".join(text.get_text() for text in promise(SettingsGroup(shown)).texts)
        assert ("Not over all 4 shapes: PReLU 2." in notes) == said


def test_what_hangs_on_the_clock_has_no_more_digits_than_its_interval(make_rows):
    rows = make_rows(("prelu", "dyrelu_b"), phases=("inference",))
    at_23 = rows.assign(overhead=23.4, flops=2.0, baseline_flops=1.0)
    # Of four shapes: half as wide.
    for factor, time, gap in (
        (1.001, "23.40×", "11.70×"),
        (1.2, "23×", "12×"),
        (9, "8–70×", "4–40×"),
    ):
        figure = promise(SettingsGroup(within(at_23, factor)))
        assert f"2.0× the arithmetic of ReLU, {time} the time" in title_of(figure)
        assert columns_of(figure)[0][-1] == gap
