import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.colors import to_rgb

from dynact.report.figures.time_scaling import time_scaling
from tests.report.figures.reading import notes_of, panels
from tests.report.sample_run import phase_of


def test_scaling_draws_medians_bands_and_the_baseline_in_milliseconds(make_rows):
    rows = make_rows(("prelu", "frelu"), (32, 128), (7, 14, 28), ("training",))
    axes = panels(time_scaling(phase_of(rows)))
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
    figure = time_scaling(phase_of(rows))
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).tolist() == [False, True, False]
    assert "gap: the case failed" in notes_of(figure)


def test_scaling_speaks_of_no_gap_where_nothing_failed(make_rows):
    rows = make_rows(("prelu",), (32,), (7, 14, 28), ("training",))
    assert "gap" not in notes_of(time_scaling(phase_of(rows)))


def test_lines_differ_in_colour_marker_or_dashes_at_least_twice(make_rows):
    rows = make_rows([f"m:Layer{i:02}" for i in range(23)], (32,), (7,), ("inference",))
    lines = time_scaling(phase_of(rows)).axes[0].lines[:23]
    looks = [(x.get_color(), x.get_marker(), str(x._unscaled_dash_pattern)) for x in lines]
    for i, one in enumerate(looks):
        for other in looks[:i]:
            assert sum(a != b for a, b in zip(one, other, strict=True)) >= 2
