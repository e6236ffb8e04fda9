import math

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import FillBetweenPolyCollection, LineCollection, QuadMesh
from matplotlib.colors import to_rgb

from dynact.report.data.aggregate import geometric_means
from dynact.report.data.names import cell_ratio, display_names, ratio_digits, shortened, with_prefix
from dynact.report.data.settings_groups import slices
from dynact.report.figures.of_layers import (
    FIGURES,
    overhead_heatmap,
    overhead_ranking,
    time_scaling,
)

LONG = "some.package:AnActivationWhoseAuthorLikedVeryLongClassNamesIndeed"
DOLLAR = r"some.package:$\frac{Cost$"


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def mesh_of(axes):
    (mesh,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    return mesh


def failed_of(axes):
    """The hatched cells as {(column, line)}."""
    return {
        (int(path.vertices[:, 0].min()), int(path.vertices[:, 1].min()))
        for collection in axes.collections
        if collection.get_hatch()
        for path in collection.get_paths()
    }


def text_at(axes, column, line):
    (text,) = [t.get_text() for t in axes.texts if t.get_position() == (column + 0.5, line + 0.5)]
    return text


def printed(ratio):
    """The ratio as a cell should show it, by the standard library's rounding."""
    return (
        f"{ratio:.2f}×" if ratio < 1.995 else f"{ratio:.1f}×" if ratio < 9.95 else f"{ratio:.0f}×"
    )


def test_heatmap_shows_each_rows_overhead_where_it_belongs(make_rows):
    rows = make_rows(channels=(32, 128, 512), resolutions=(7, 28), phases=("inference",))
    axes = panels(overhead_heatmap(rows))
    titles = {"prelu": "PReLU", "frelu": "FReLU", "dyrelu_b": "DY-ReLU-B"}
    assert set(axes) == set(titles.values())
    for row in rows.itertuples():
        panel = axes[titles[row.activation]]
        column, line = (32, 128, 512).index(row.channels), (28, 7).index(row.height)
        assert mesh_of(panel).get_array()[line, column] == row.overhead
        assert text_at(panel, column, line) == printed(row.overhead)
    assert sum(len(panel.texts) for panel in axes.values()) == len(rows)


def test_heatmap_hatches_and_names_failures_and_leaves_the_unmeasured_blank(make_rows, fail):
    rows = make_rows(("prelu",), (32, 128), (7, 28), ("inference",))
    rows = fail(rows, [0], "oom", "no memory")
    rows.loc[2, "converged"] = False
    rows = rows.drop(index=3)  # 128 channels at 28²
    figure = overhead_heatmap(rows)
    panel = panels(figure)["PReLU"]
    assert failed_of(panel) == {(0, 1)}
    assert text_at(panel, 0, 1) == "oom"
    assert text_at(panel, 1, 1) == printed(rows.loc[2, "overhead"]) + "~"
    mask = np.ma.getmaskarray(mesh_of(panel).get_array())
    assert mask.tolist() == [[False, True], [True, False]]
    assert len(panel.texts) == 3
    notes = " ".join(t.get_text() for t in figure.texts)
    assert "~" in notes
    assert "Hatched" in notes
    assert "Grey" in notes


@pytest.mark.parametrize(
    ("marks", "change"),
    [
        ([], lambda rows, _: rows),
        (["~"], lambda rows, _: rows.assign(converged=rows.index != 2)),
        (["Hatched"], lambda rows, fail: fail(rows, [2], "oom", "")),
        (["Grey"], lambda rows, _: rows.drop(index=2)),
    ],
)
def test_heatmap_explains_only_marks_that_occur(make_rows, fail, marks, change):
    rows = change(make_rows(phases=("inference",)), fail)
    notes = " ".join(t.get_text() for t in overhead_heatmap(rows).texts)
    assert [mark for mark in ("~", "Hatched", "Grey") if mark in notes] == marks


@pytest.mark.parametrize("scale", [0.001, 0.5, 1.0, 3.0, 5000.0])
def test_1x_has_the_maps_middle_colour_whatever_the_range(make_rows, scale):
    rows = make_rows(phases=("inference",))
    rows["overhead"] *= scale
    mesh = mesh_of(overhead_heatmap(rows).axes[0])
    assert mesh.norm(1.0) == pytest.approx(0.5)
    neutral = np.array(mesh.to_rgba(1.0)[:3])
    assert neutral == pytest.approx(np.array(to_rgb("#f7f7f4")), abs=0.01)
    slower, faster = mesh.to_rgba(3.9), mesh.to_rgba(1 / 3.9)
    assert slower[0] > slower[2]
    assert faster[2] > faster[0]


def test_cells_keep_a_readable_contrast(make_rows):
    rows = make_rows(phases=("inference",), channels=range(1, 30))
    rows["overhead"] = np.geomspace(0.01, 150, len(rows))

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    seen = 0
    for panel in panels(overhead_heatmap(rows)).values():
        mesh = mesh_of(panel)
        for text in panel.texts:
            x, y = text.get_position()
            cell = luminance(mesh.to_rgba(mesh.get_array()[int(y), int(x)]))
            ink = luminance(to_rgb(text.get_color()))
            assert (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05) > 4
            seen += 1
    assert seen == len(rows)


def test_panels_are_ordered_by_overhead(make_rows):
    rows = make_rows(phases=("inference",))
    rows["overhead"] = rows["activation"].map({"prelu": 9.0, "frelu": 2.0, "dyrelu_b": 5.0})
    assert list(panels(overhead_heatmap(rows))) == ["FReLU", "DY-ReLU-B", "PReLU"]


def test_scaling_draws_medians_bands_and_the_baseline_in_milliseconds(make_rows):
    rows = make_rows(("prelu", "frelu"), (32, 128), (7, 14, 28), ("training",))
    axes = panels(time_scaling(rows))
    assert set(axes) == {"32 channels", "128 channels"}
    for channels in (32, 128):
        panel = axes[f"{channels} channels"]
        lines = {line.get_label(): line for line in panel.lines}
        bands = [c for c in panel.collections if isinstance(c, FillBetweenPolyCollection)]
        assert len(bands) == 2
        for name, activation in (("PReLU", "prelu"), ("FReLU", "frelu")):
            mine = rows[(rows["channels"] == channels) & (rows["activation"] == activation)]
            x, y = lines[name].get_data()
            assert list(x) == [49, 196, 784]
            assert y == pytest.approx(mine["time_ns"].to_numpy() / 1e6)
            colour = to_rgb(lines[name].get_color())
            (band,) = [b for b in bands if tuple(b.get_facecolor()[0][:3]) == colour]
            corners = {(x, round(y, 9)) for x, y in band.get_paths()[0].vertices}
            for column in ("time_p20_ns", "time_p80_ns"):
                for side, time in zip(mine["height"], mine[column], strict=True):
                    assert (side**2, round(time / 1e6, 9)) in corners
        baseline = rows[(rows["channels"] == channels) & (rows["activation"] == "prelu")]
        assert lines["ReLU (baseline)"].get_ydata() == pytest.approx(
            baseline["baseline_time_ns"].to_numpy() / 1e6
        )


def test_scaling_leaves_a_gap_at_a_failure(make_rows, fail):
    rows = fail(make_rows(("prelu",), (32,), (7, 14, 28), ("training",)), [1], "timeout", "")
    line = time_scaling(rows).axes[0].lines[0]
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False]


def test_lines_differ_in_colour_marker_or_dashes_at_least_twice(make_rows):
    rows = make_rows([f"m:Layer{i:02}" for i in range(23)], (32,), (7,), ("inference",))
    lines = time_scaling(rows).axes[0].lines[:23]
    looks = [(x.get_color(), x.get_marker(), str(x._unscaled_dash_pattern)) for x in lines]
    for i, one in enumerate(looks):
        for other in looks[:i]:
            assert sum(a != b for a, b in zip(one, other, strict=True)) >= 2


def test_ranking_draws_the_mean_its_interval_and_every_shape(make_rows):
    rows = make_rows()
    axes = panels(overhead_ranking(rows))
    assert list(axes) == ["inference", "training"]
    for phase, panel in axes.items():
        mine = rows[rows["phase"] == phase]
        dots, means = (line for line in panel.lines if line.get_marker() in ("o", "D"))
        assert sorted(dots.get_xdata()) == sorted(mine["overhead"])
        logs = np.log(mine["overhead"]).groupby(mine["activation"]).mean()
        assert sorted(means.get_xdata()) == pytest.approx(sorted(np.exp(logs)))
        ranges, intervals = (c for c in panel.collections if isinstance(c, LineCollection))
        by = mine.groupby("activation")["overhead"]
        assert sorted(s[:, 0].tolist() for s in ranges.get_segments()) == pytest.approx(
            np.array(sorted(zip(by.min(), by.max(), strict=True)))
        )
        for segment, mean in zip(intervals.get_segments(), means.get_xdata(), strict=True):
            assert segment[0, 0] < mean < segment[1, 0]
        numbers = [t.get_text().split("×")[0] for t in panel.texts]
        assert [float(n) for n in numbers] == pytest.approx(list(means.get_xdata()), rel=0.005)


def test_ranking_says_where_an_activation_failed(make_rows, fail):
    rows = fail(make_rows(phases=("inference",)), range(4), "crashed", "")
    rows = fail(rows, [5], "oom", "")
    texts = [t.get_text() for t in panels(overhead_ranking(rows))["inference"].texts]
    assert texts[-1] == "failed: crashed"
    assert sum(text.endswith(", 3/4") for text in texts) == 1


def test_ranking_explains_counts_of_shapes_only_where_there_are_any(make_rows, fail):
    rows = make_rows(phases=("inference",))
    for shown, said in ((rows, False), (fail(rows, [5], "oom", ""), True)):
        figure = overhead_ranking(shown)
        notes = " ".join(t.get_text() for t in figure.texts)
        assert ("Behind a number: shapes measured / tried." in notes) == said
        numbers = [t.get_text() for t in panels(figure)["inference"].texts]
        assert any(number.endswith("/4") for number in numbers) == said


def test_geometric_mean_of_equal_intervals_has_the_closed_form(make_rows):
    rows = make_rows(("prelu",), (1, 2, 4, 8), (7,), ("inference",))
    rows["overhead"] = [1.0, 2.0, 4.0, 8.0]
    rows["overhead_lo"] = rows["overhead"] / math.e**0.1
    rows["overhead_hi"] = rows["overhead"] * math.e**0.1
    mean = geometric_means(rows).loc[("inference", "prelu")]
    # √(4 · 0.1²) / 4 = 0.05
    assert mean["overhead"] == pytest.approx(2**1.5)
    assert mean["overhead_lo"] == pytest.approx(2**1.5 * math.exp(-0.05))
    assert mean["overhead_hi"] == pytest.approx(2**1.5 * math.exp(0.05))
    assert (mean["smallest"], mean["largest"]) == pytest.approx((1.0, 8.0))


def test_geometric_mean_leaves_failures_out(make_rows, fail):
    rows = make_rows(("prelu",), (1, 2, 4), (7,), ("inference",))
    mean = geometric_means(fail(rows, [1], "oom", "")).loc[("inference", "prelu")]
    logs = [math.log(rows.loc[i, "overhead"]) for i in (0, 2)]
    halves = [math.log(rows.loc[i, "overhead_hi"] / rows.loc[i, "overhead_lo"]) / 2 for i in (0, 2)]
    half = math.sqrt(sum(h**2 for h in halves)) / 2
    assert mean["overhead"] == pytest.approx(math.exp(sum(logs) / 2))
    assert mean["overhead_hi"] == pytest.approx(math.exp(sum(logs) / 2 + half))
    assert (mean["ok"], mean["cases"]) == (2, 3)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_say_when_nothing_was_measured(make_rows, fail, name):
    rows = make_rows(phases=("inference",))
    figure = FIGURES[name].draw(fail(rows, range(len(rows)), "oom", "no memory"), "")
    texts = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert texts == ["Nothing to draw: none of the 12 cases was measured (12 oom)."]


@pytest.mark.parametrize("name", ["roofline", "memory", "promise", "arithmetic"])
def test_figures_of_counts_say_when_a_run_has_none(make_rows, uncount, name):
    rows = make_rows(phases=("inference",))
    figure = FIGURES[name].draw(uncount(rows), "")
    (line,) = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert line.startswith("Nothing to draw: none of the 12 measured cases holds ")


@pytest.mark.parametrize("name", FIGURES)
def test_figures_leave_global_settings_alone_and_parse_no_names(make_rows, name):
    before = dict(matplotlib.rcParams)
    figure = FIGURES[name].draw(make_rows([LONG, DOLLAR], phases=("inference",)), "cost: $5$ {")
    assert dict(matplotlib.rcParams) == before
    FigureCanvasAgg(figure).draw()
    texts = [t for t in figure.findobj(matplotlib.text.Text) if "$" in t.get_text()]
    assert texts
    assert not any(t.get_parse_math() for t in texts)


def beyond_the_axes(figure):
    """The labels of marks outside an axis's limits, which are never drawn."""
    return {
        tick.label1
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("activations", [[LONG], [LONG, DOLLAR, "frelu", "prelu", "se"]])
def test_all_text_lies_on_the_page(make_rows, name, activations):
    figure = FIGURES[name].draw(make_rows(activations, phases=("inference",)), "where and when")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [t for t in figure.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]
    texts = [t for t in texts if t not in beyond_the_axes(figure)]
    assert len(texts) > 5
    for text in texts:
        box = text.get_window_extent(canvas.get_renderer())
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text


def test_two_classes_of_one_name_are_told_apart():
    names = display_names(["a.b:Swish", "c:Swish", "d:FReLU", "frelu", "silu", "e:Mine"])
    assert names == {
        "silu": "SiLU",
        "frelu": "frelu",
        "a.b:Swish": "a.b:Swish",
        "c:Swish": "c:Swish",
        "d:FReLU": "d:FReLU",
        "e:Mine": "Mine",
    }


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        *[(0.97, "0.97×"), (2.6, "2.6×"), (12.3, "12×"), (107.4, "107×"), (1.04, "1.04×")],
        *[(0.00234, "0.0023×"), (1.996, "2.0×"), (9.97, "10×"), (0.05, "0.05×")],
    ],
)
def test_cells_read(ratio, text):
    assert cell_ratio(ratio) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(1.0, "1.00"), (0.9716, "0.972"), (12.34, "12.3"), (1234.5, "1234")]
)
def test_three_digits(ratio, text):
    assert ratio_digits(ratio) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(0, "0 B"), (512, "512 B"), (50_176, "50 kB"), (3_211_264, "3.2 MB")],
        *[
            (9.96e6, "10 MB"),
            (999_400, "999 kB"),
            (999_600, "1.0 MB"),
            (1e9, "1.0 GB"),
            (2.3e13, "23 TB"),
            (4e16, "40000 TB"),
        ],
    ],
)
def test_quantities_read(value, text):
    assert with_prefix(value, "B") == text


def test_long_names_lose_their_middle():
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert shortened("abcde", 5) == "abcde"


def test_slices_put_most_shapes_first_and_name_the_others(make_rows):
    rows = make_rows(batches=(8, 32), dtypes=("bfloat16", "float32"))
    rows = rows[(rows["batch"] == 8) | (rows["channels"] == 32)]
    parts = slices(rows.sample(frac=1, random_state=1))
    assert [p.suffix for p in parts] == ["", "bfloat16", "n32", "n32_bfloat16"]
    assert [p.shapes for p in parts] == [4, 4, 2, 2]
    assert sum(len(p.rows) for p in parts) == len(rows)


def test_a_slices_suffix_is_a_file_name(make_rows):
    one = make_rows()
    other = make_rows(channels=(32,)).assign(device="cuda:0", baseline="a/b.c:D e")
    rows = pd.concat([one, other])
    assert [p.suffix for p in slices(rows)] == ["", "vs_a-b.c-D-e_cuda-0"]
