import numpy as np
import pytest
from matplotlib.collections import PathCollection

from dynact.report.figures import roofline

PEAK, SMALL, LARGE = 9e10, 6e10, 8e9


def measured_rates(rows):
    """Two shapes, the smaller of which is copied faster."""
    large = rows["height"] == rows["height"].max()
    return rows.assign(bandwidth_bytes_per_s=np.where(large, LARGE, SMALL), peak_flops_per_s=PEAK)


def points_of(axes):
    return {c.get_label().split(":")[0]: c for c in axes.collections if type(c) is PathCollection}


def test_points_lie_at_intensity_and_rate_and_grow_with_the_input(make_rows):
    rows = make_rows(("prelu", "frelu"), (32,), (7, 28), ("training",))
    points = points_of(roofline(rows).axes[0])
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
    axes = roofline(rows).axes[0]
    flat, fast, slow = axes.lines
    assert list(flat.get_ydata()) == [PEAK, PEAK]
    for line, rate in ((fast, SMALL), (slow, LARGE)):
        assert line.get_ydata() == pytest.approx(line.get_xdata() * rate)
        # The ridge: where the bytes stop to matter.
        assert line.get_ydata()[-1] == pytest.approx(PEAK)
    # 8 · 32 · 7² · 4 B and 8 · 32 · 28² · 4 B
    assert {text.get_text() for text in axes.texts} == {
        "matrix product: 90 GFLOP/s",
        "copy of 50 kB: 60 GB/s",
        "copy of 803 kB: 8.0 GB/s",
    }


def test_a_point_at_its_floor_touches_its_roof(make_rows):
    rows = measured_rates(make_rows(("prelu",), (32,), (7,), ("training",)))
    rows = rows.assign(bandwidth_bytes_per_s=LARGE)
    rows["time_ns"] = rows["traffic_floor_bytes"] / LARGE * 1e9
    (point,) = points_of(roofline(rows).axes[0])["PReLU"].get_offsets()
    assert point[1] == pytest.approx(point[0] * LARGE)


def test_legend_has_the_median_distance_farthest_on_top(make_rows):
    rows = make_rows(("prelu", "frelu", "se"), (32,), (7, 14, 28), ("inference",))
    rows["floor_time_ns"] = 100.0
    rows["time_ns"] = [200.0, 250.0, 900.0, 1000.0, 4000.0, 1200.0, 100.0, 120.0, 150.0]
    labels = [t.get_text() for t in roofline(rows).axes[1].get_legend().get_texts()]
    assert labels == ["FReLU: 12×", "PReLU: 2.5×", "SE: 1.20×"]


def test_what_has_no_place_on_log_axes_or_failed_is_named(make_rows, fail):
    rows = make_rows(("identity", "frelu", "se"), (32,), (7, 28), ("inference",))
    rows = fail(rows, [2], "oom", "no memory")
    rows.loc[rows["activation"] == "identity", ["flops", "floor_time_ns"]] = 0
    rows.loc[5, "flops"] = None
    figure = roofline(rows)
    assert {name: len(c.get_offsets()) for name, c in points_of(figure.axes[0]).items()} == {
        "FReLU": 1,
        "SE": 1,
    }
    notes = " ".join(" ".join(t.get_text().split()) for t in figure.texts)
    assert (
        "Left out: 1 of 6 cases that failed (FReLU); 3 of 6 cases without arithmetic and bytes to "
        "draw (SE, Identity)." in notes
    )


def test_points_stand_without_roofs_where_no_rate_was_measured(make_rows):
    rates = ["bandwidth_bytes_per_s", "peak_flops_per_s", "floor_time_ns"]
    rows = make_rows(phases=("inference",)).assign(**dict.fromkeys(rates))
    figure = roofline(rows)
    assert not figure.axes[0].lines
    assert len(points_of(figure.axes[0])) == 3
    labels = [t.get_text() for t in figure.axes[1].get_legend().get_texts()]
    assert set(labels) == {f"{n}: floor unknown" for n in ("PReLU", "FReLU", "DY-ReLU-B")}


def test_only_training_explains_that_flops_cancel(make_rows):
    for phase, expected in (("inference", False), ("training", True)):
        figure = roofline(make_rows(phases=(phase,)))
        assert ("cancel" in " ".join(t.get_text() for t in figure.texts)) == expected
