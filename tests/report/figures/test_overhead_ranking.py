import numpy as np
import pytest
from matplotlib.collections import LineCollection

from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.figures.overhead_ranking import overhead_ranking
from tests.report.conftest import build_rows, fail_rows
from tests.report.figures.reading import panels


def test_ranking_draws_the_mean_its_interval_and_every_shape(make_rows):
    rows = make_rows()
    axes = panels(overhead_ranking(SettingsGroup(rows)))
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
    texts = [t.get_text() for t in panels(overhead_ranking(SettingsGroup(rows)))["inference"].texts]
    assert texts[-1] == "failed: crashed"
    assert sum(text.endswith(", 3/4") for text in texts) == 1


def test_ranking_explains_counts_of_shapes_only_where_there_are_any() -> None:
    rows = build_rows(phases=("inference",))
    for shown, said in ((rows, False), (fail_rows(rows, [5], "oom", ""), True)):
        figure = overhead_ranking(SettingsGroup(shown))

        notes = " ".join(text.get_text() for text in figure.texts)
        numbers = [text.get_text() for text in panels(figure)["inference"].texts]
        assert ("Behind a number: of how many shapes it is." in notes) == said
        assert any(number.endswith("/4") for number in numbers) == said


def test_an_interval_beyond_all_shapes_is_whole_on_the_axis() -> None:
    rows = build_rows(("dyrelu_b",), (32,), (7,))
    wide = rows.assign(overhead_lo=rows["overhead"] / 9, overhead_hi=rows["overhead"] * 9)

    for axes in panels(overhead_ranking(SettingsGroup(wide))).values():
        low, high = axes.get_xlim()
        assert low < wide["overhead_lo"].min()
        assert wide["overhead_hi"].max() < high
