import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from dynact.report.data.settings_groups import settings_groups
from dynact.report.figures.roofline import roofline
from tests.report.sample_run import phase_of
from tests.report.ways_sample import together, written

PEAK, SMALL, LARGE = 9e10, 6e10, 8e9


def measured_rates(rows):
    """Two shapes, the smaller of which is copied faster."""
    large = rows["height"] == rows["height"].max()
    return rows.assign(bandwidth_bytes_per_s=np.where(large, LARGE, SMALL), peak_flops_per_s=PEAK)


def points_of(axes):
    return {c.get_label().split(":")[0]: c for c in axes.collections if type(c) is PathCollection}


def test_points_lie_at_intensity_and_rate_and_grow_with_the_input(make_rows):
    rows = make_rows(("prelu", "frelu"), (32,), (7, 28), ("training",))
    points = points_of(roofline(phase_of(rows)).axes[0])
    assert set(points) == {"PReLU", "FReLU"}
    for name, activation in (("PReLU", "prelu"), ("FReLU", "frelu")):
        mine = rows[rows["activation"] == activation]
        x, y = np.array(points[name].get_offsets()).T
        assert x == pytest.approx(mine["flops"] / mine["traffic_floor_bytes"])
        assert y == pytest.approx(mine["flops"] / (mine["time_ns"] / 1e9))
        small, large = points[name].get_sizes()
        assert large > small


def test_roofs_are_the_measured_rates_of_the_smallest_and_the_largest_input(make_rows):
    rows = measured_rates(make_rows(("prelu", "frelu"), (32,), (7, 14, 28), ("inference",)))
    axes = roofline(phase_of(rows)).axes[0]
    flat, fast, slow = axes.lines
    assert list(flat.get_ydata()) == [PEAK, PEAK]
    for line, rate in ((fast, SMALL), (slow, LARGE)):
        assert line.get_ydata() == pytest.approx(line.get_xdata() * rate)
        # The ridge: where the bytes stop to matter.
        assert line.get_ydata()[-1] == pytest.approx(PEAK)
    # 8 · 32 · 7² · 4 B and 8 · 32 · 28² · 4 B
    assert {text.get_text() for text in axes.texts} == {
        "matrix product: 90 GFLOP/s",
        "inputs of 50 kB: 60 GB/s",
        "inputs of 803 kB: 8.0 GB/s",
    }


def test_one_rate_for_all_inputs_is_one_roof(make_rows):
    rows = measured_rates(make_rows(("prelu", "frelu"), (32,), (7, 28), ("inference",)))
    figure = roofline(phase_of(rows.assign(bandwidth_bytes_per_s=SMALL)))
    assert "all inputs: 60 GB/s" in {text.get_text() for text in figure.axes[0].texts}
    notes = " ".join(" ".join(t.get_text().split()) for t in figure.texts)
    assert "Slanted roof: the bytes" in notes
    assert "here the same for all." in notes
    assert "the lower one" not in notes


def corners_of(text, renderer):
    """The outline in pixels of a text's own box, turned as the text is."""
    angle = text.get_rotation()
    box = text.get_window_extent(renderer)
    x, y = text.get_transform().transform(text.get_position())
    text.set_rotation(0)
    box = text.get_window_extent(renderer)
    text.set_rotation(angle)
    return Affine2D().rotate_deg_around(x, y, angle).transform(box.corners()[[0, 1, 3, 2, 0]])


@pytest.mark.parametrize("bandwidths", [(6e10, 8e9), (6e10, 5.9e10), (3.3e12, 3.3e12)])
@pytest.mark.parametrize("peak", [PEAK, 9.9e14])
@pytest.mark.parametrize("distance", [1.0, 100.0])
def test_labels_of_roofs_run_neither_into_each_other_nor_over_points(
    make_rows, bandwidths, peak, distance
):
    rows = make_rows(("prelu", "frelu", "dyrelu_b"), (32,), (7, 28), ("inference",))
    rows["bandwidth_bytes_per_s"] = np.where(rows["height"] == 28, *reversed(bandwidths))
    rows["peak_flops_per_s"] = peak
    least = np.maximum(
        rows["traffic_floor_bytes"] / rows["bandwidth_bytes_per_s"], rows["flops"] / peak
    )
    figure = roofline(phase_of(rows.assign(time_ns=1e9 * least * distance)))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    labels = [Path(corners_of(text, canvas.get_renderer())) for text in axes.texts]
    assert len(labels) == 1 + len(set(bandwidths))
    points = np.concatenate([c.get_offsets() for c in points_of(axes).values()])
    lines = [line.get_path().transformed(line.get_transform()) for line in axes.lines]
    for i, label in enumerate(labels):
        assert not any(label.intersects_path(other) for other in [*labels[:i], *lines])
        assert not label.contains_points(axes.transData.transform(points)).any()


def test_the_flat_roof_is_on_the_page_where_all_points_are_far_below(make_rows):
    rows = measured_rates(make_rows(("prelu",), (32,), (7,), ("inference",)))
    for unmeasured in ({}, {"bandwidth_bytes_per_s": None}):
        axes = roofline(phase_of(rows.assign(time_ns=rows["time_ns"] * 1e4, **unmeasured))).axes[0]
        assert axes.get_ylim()[0] < PEAK < axes.get_ylim()[1]


def test_operators_that_flops_lack_are_said(make_rows, lack):
    rows = make_rows(phases=("inference",))
    rows = lack(rows, frelu=["aten::cumsum"])
    notes = " ".join(roofline(phase_of(rows)).texts[1].get_text().split())
    assert "FLOPs of FReLU lack aten::cumsum: there are more than shown." in notes


def test_a_point_at_its_floor_touches_its_roof(make_rows):
    rows = measured_rates(make_rows(("prelu",), (32,), (7,), ("training",)))
    rows = rows.assign(bandwidth_bytes_per_s=LARGE)
    rows["time_ns"] = rows["traffic_floor_bytes"] / LARGE * 1e9
    (point,) = points_of(roofline(phase_of(rows)).axes[0])["PReLU"].get_offsets()
    assert point[1] == pytest.approx(point[0] * LARGE)


def test_legend_has_the_median_distance_farthest_on_top(make_rows):
    rows = make_rows(("prelu", "frelu", "se"), (32,), (7, 14, 28), ("inference",))
    rows["floor_time_ns"] = 100.0
    rows["time_ns"] = [200.0, 250.0, 900.0, 1000.0, 4000.0, 1200.0, 100.0, 120.0, 150.0]
    labels = [t.get_text() for t in roofline(phase_of(rows)).axes[1].get_legend().get_texts()]
    assert labels == ["FReLU: 12×", "PReLU: 2.5×", "SE: 1.20×"]


def test_what_has_no_place_on_log_axes_or_failed_is_named(make_rows, fail):
    rows = make_rows(("identity", "frelu", "se"), (32,), (7, 28), ("inference",))
    rows = fail(rows, [2], "oom", "no memory")
    rows.loc[rows["activation"] == "identity", ["flops", "floor_time_ns"]] = 0
    rows.loc[5, "flops"] = None
    figure = roofline(phase_of(rows))
    assert {name: len(c.get_offsets()) for name, c in points_of(figure.axes[0]).items()} == {
        "FReLU": 1,
        "SE": 1,
    }
    notes = " ".join(" ".join(t.get_text().split()) for t in figure.texts)
    assert (
        "Left out: 1 of 6 cases that failed (FReLU); 3 of 6 cases without counted arithmetic and "
        "bytes to draw (SE, Identity)." in notes
    )


def test_points_stand_without_roofs_where_no_rate_was_measured(make_rows):
    rates = ["bandwidth_bytes_per_s", "peak_flops_per_s", "floor_time_ns"]
    rows = make_rows(phases=("inference",)).assign(**dict.fromkeys(rates))
    figure = roofline(phase_of(rows))
    assert not figure.axes[0].lines
    assert len(points_of(figure.axes[0])) == 3
    labels = [t.get_text() for t in figure.axes[1].get_legend().get_texts()]
    assert set(labels) == {f"{n}: floor unknown" for n in ("PReLU", "FReLU", "DY-ReLU-B")}


def test_only_training_explains_that_flops_cancel(make_rows):
    for phase, expected in (("inference", False), ("training", True)):
        figure = roofline(phase_of(make_rows(phases=(phase,))))
        assert ("cancel" in " ".join(t.get_text() for t in figure.texts)) == expected


def test_implementations_have_points_and_distances_of_their_own():
    reference, fused = written("reference", (60.0,)), written("fused", (3.0,))
    (group,) = settings_groups(together(reference, fused))
    figure = roofline(group.of_phase("inference"))
    assert set(points_of(figure.axes[0])) == {"DY-ReLU-B reference", "DY-ReLU-B fused"}
    legend = figure.axes[1].get_legend().get_texts()
    # The floor is 1.5 times the baseline's time.
    assert [t.get_text() for t in legend] == ["DY-ReLU-B reference: 40×", "DY-ReLU-B fused: 2.0×"]
