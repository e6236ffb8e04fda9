import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.container import BarContainer

from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.figures.arithmetic import arithmetic


def bars_of(figure):
    containers = [c for c in figure.axes[0].containers if isinstance(c, BarContainer)]
    return {c.get_label(): [bar.get_width() for bar in c] for c in containers}


def names_of(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def texts_of(figure):
    texts = {t.xy[1]: t.get_text() for t in figure.axes[0].texts if t.get_text() != "≫"}
    return dict(zip(names_of(figure), (texts[line] for line in sorted(texts)), strict=True))


def counted(rows, **operators):
    """Give each activation the FLOPs per element named for it, at every shape."""
    for activation, per_element in operators.items():
        mine = rows["activation"] == activation
        for i in rows.index[mine]:
            row = rows.loc[i]
            elements = row["batch"] * row["channels"] * row["height"] * row["width"]
            parts = {name: round(flops * elements) for name, flops in per_element.items()}
            rows.loc[i, "flops"] = sum(parts.values())
            rows.at[i, "flops_by_operator"] = parts
    return rows


def test_bars_are_flops_per_element_by_operator_at_the_largest_input(make_rows):
    rows = counted(
        make_rows(("silu", "frelu", "dyrelu_b")),
        silu={"silu": 2},
        frelu={"conv": 18, "batch_norm": 2, "maximum": 1},
        dyrelu_b={"mul": 2, "add": 2, "max": 1, "mean": 1},
    )
    for i in rows.index[rows["channels"] < 128]:
        rows.at[i, "flops_by_operator"] = {"not": 1, "drawn": 1}
    figure = arithmetic(SettingsGroup(rows))
    assert names_of(figure) == ["SiLU", "DY-ReLU-B", "FReLU"]
    bars = bars_of(figure)
    assert bars["conv"] == pytest.approx([0, 0, 18])
    assert bars["batch_norm"] == pytest.approx([0, 0, 2])
    assert bars["mul"] == pytest.approx([0, 2, 0])
    assert bars["the layer's one operator"] == pytest.approx([2, 0, 0])
    assert np.sum(list(bars.values()), axis=0) == pytest.approx([2, 6, 21])
    assert "128 channels, 28²" in " ".join(figure.texts[0].get_text().split())


def test_the_legend_stays_short_and_nothing_is_lost(make_rows):
    many = {f"operator_{i}": 20 - i for i in range(12)}
    figure = arithmetic(
        SettingsGroup(counted(make_rows(("frelu", "silu")), frelu=many, silu={"silu": 2}))
    )
    entries = [t.get_text() for t in figure.axes[1].get_legend().get_texts()]
    assert len(entries) <= 9 + 1
    assert entries[-1] == "what fvcore reports\nby default"
    assert (
        " ".join(entries[-2].split())
        == "other: operator_7, operator_8, operator_9, operator_10, operator_11"
    )
    assert np.sum(list(bars_of(figure).values()), axis=0)[-1] == pytest.approx(sum(many.values()))
    looks = [
        (bar[0].get_facecolor(), bar[0].get_hatch())
        for bar in figure.axes[0].containers
        if isinstance(bar, BarContainer)
    ]
    assert len({colour for colour, _ in looks}) == len({hatch for _, hatch in looks}) == len(looks)


def test_what_fvcore_reports_is_marked_and_written(make_rows):
    rows = counted(make_rows(("frelu",)), frelu={"conv": 18, "batch_norm": 2, "maximum": 1})
    elements = rows["batch"] * rows["channels"] * rows["height"] * rows["width"]
    figure = arithmetic(SettingsGroup(rows.assign(flops_fvcore_default=11 * elements)))
    marks = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    assert marks
    for mark in marks:
        assert mark.get_segments()[0][:, 0] == pytest.approx([11, 11])
    assert texts_of(figure) == {"FReLU": "21 (fvcore: 11)"}


def test_a_bar_that_dwarfs_the_others_runs_off_the_axis(make_rows):
    rows = counted(
        make_rows(("silu", "frelu", "maxout")),
        silu={"silu": 2},
        frelu={"conv": 18, "maximum": 3},
        maxout={"conv": 2048, "max": 1},
    )
    figure = arithmetic(SettingsGroup(rows))
    assert 21 < figure.axes[0].get_xlim()[1] < 25
    breaks = [t.xy[1] for t in figure.axes[0].texts if t.get_text() == "≫"]
    assert breaks == [names_of(figure).index("Maxout")]
    assert texts_of(figure)["Maxout"].startswith("2,049 ")
    # A bar of more than one in twenty can still be read beside the largest.
    rows = counted(rows, maxout={"conv": 19 * 21})
    assert arithmetic(SettingsGroup(rows)).axes[0].get_xlim()[1] > 19 * 21
    rows = counted(rows, maxout={"conv": 21 * 21})
    assert arithmetic(SettingsGroup(rows)).axes[0].get_xlim()[1] < 25


def test_a_line_without_a_bar_says_why(make_rows, fail):
    rows = make_rows(("prelu", "frelu", "dyrelu_b", "se"), (32, 128), (7,), ("training",))
    rows = fail(rows, [3], "oom", "")
    rows.loc[5, "flops"] = None
    texts = texts_of(arithmetic(SettingsGroup(rows.drop(index=7))))
    assert texts["FReLU"] == "failed: oom"
    assert texts["DY-ReLU-B"] == "not counted"
    assert texts["SE"] == "not measured"


def test_uncounted_operators_are_said(make_rows, lack):
    rows = make_rows()
    assert "lack" not in arithmetic(SettingsGroup(rows)).texts[1].get_text()
    rows = lack(rows, frelu=["aten::fft", "aten::cumsum"])
    figure = arithmetic(SettingsGroup(rows))
    notes = " ".join(figure.texts[1].get_text().split())
    assert "FLOPs of FReLU lack aten::fft, aten::cumsum: there are more than shown." in notes
    at_least = {name: text.startswith("≥ ") for name, text in texts_of(figure).items()}
    assert at_least == {"PReLU": False, "FReLU": True, "DY-ReLU-B": False}


def test_kindred_operators_are_one(make_rows):
    rows = counted(
        make_rows(("frelu", "dyrelu_b", "funnel_maxpool", "funnel_avgpool")),
        frelu={"conv": 18, "maximum": 1},
        dyrelu_b={"mul": 2, "max": 1, "maximum": 3},
        funnel_maxpool={"max_pool2d": 8, "maximum": 1},
        funnel_avgpool={"avg_pool2d": 9, "maximum": 1},
    )
    figure = arithmetic(SettingsGroup(rows))
    assert names_of(figure) == ["DY-ReLU-B", "Funnel max-pool", "Funnel avg-pool", "FReLU"]
    bars = bars_of(figure)
    assert bars["max"] == pytest.approx([4, 1, 1, 1])
    assert bars["pooling"] == pytest.approx([0, 8, 9, 0])


def test_the_largest_part_of_a_bar_has_its_own_colour_however_rare(make_rows):
    common = {f"operator_{i}": 20 - i for i in range(9)}
    rows = counted(
        make_rows(("frelu", "dyrelu_b", "se")),
        frelu=common,
        dyrelu_b=common,
        se={"rare": 3, "operator_8": 2},
    )
    assert bars_of(arithmetic(SettingsGroup(rows)))["rare"] == pytest.approx([3, 0, 0])


def test_a_compiled_slice_says_what_was_counted(make_rows):
    rows = make_rows()
    for mode, said in (("eager", False), ("compile", True)):
        notes = arithmetic(SettingsGroup(rows.assign(mode=mode))).texts[1].get_text()
        assert ("Counted on the plain formulation, not the compiled one." in notes) == said


def test_a_layer_without_arithmetic_is_a_line(make_rows):
    rows = make_rows(("identity",))
    rows = rows.assign(flops=0, flops_by_operator=[{}] * len(rows))
    assert texts_of(arithmetic(SettingsGroup(rows))) == {"Identity": "0 (fvcore: 0)"}
