from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb

from dynact.report.figures.outlined import OutlinedTexts
from dynact.report.figures.overhead_heatmap import overhead_heatmap
from tests.report.conftest import build_rows, fail_rows, visit_once
from tests.report.figures.reading import panels
from tests.report.sample_run import phase_of


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


def cells_of(axes):
    """What stands in the cells as [(x, y, text, colour)]."""
    ratios = [(t.x, t.y, t.text, t.colour) for a in axes.findobj(OutlinedTexts) for t in a.labels]
    return ratios + [(*t.get_position(), t.get_text(), t.get_color()) for t in axes.texts]


def text_at(axes, column, line):
    (text,) = [t for x, y, t, _ in cells_of(axes) if (x, y) == (column + 0.5, line + 0.5)]
    return text


def printed(row):
    """The ratio as a cell should show it, by the standard library's rounding.

    To the place of the first digit of the half-width, as that reads in scientific notation.
    """
    half = max(row.overhead - row.overhead_lo, row.overhead_hi - row.overhead)
    decimals = -int(f"{half:.17e}".split("e")[1])
    return f"{row.overhead:.{decimals}f}×"


def test_heatmap_shows_each_rows_overhead_where_it_belongs(make_rows):
    rows = make_rows(channels=(32, 128, 512), resolutions=(7, 28), phases=("inference",))
    axes = panels(overhead_heatmap(phase_of(rows)))
    titles = {"prelu": "PReLU", "frelu": "FReLU", "dyrelu_b": "DY-ReLU-B"}
    assert set(axes) == set(titles.values())
    for row in rows.itertuples():
        panel = axes[titles[row.activation]]
        column, line = (32, 128, 512).index(row.channels), (28, 7).index(row.height)
        assert mesh_of(panel).get_array()[line, column] == row.overhead
        assert text_at(panel, column, line) == printed(row)
    assert sum(len(cells_of(panel)) for panel in axes.values()) == len(rows)


def test_heatmap_marks_where_the_host_decides(make_rows):
    rows = make_rows(channels=(32, 128), phases=("inference",))
    rows["host_share"] = rows["channels"].map({32: 0.95, 128: 0.85})
    for panel in panels(overhead_heatmap(phase_of(rows))).values():
        marked = {x: "§" in text for x, _, text, _ in cells_of(panel)}
        assert marked == {0.5: True, 1.5: False}


def test_heatmap_hatches_and_names_failures_and_leaves_the_unmeasured_blank(make_rows, fail):
    rows = make_rows(("prelu",), (32, 128), (7, 28), ("inference",))
    rows = fail(rows, [0], "oom", "no memory")
    rows.loc[2, ["overhead", "overhead_lo", "overhead_hi"]] = [3.1, 1.4, 6.9]
    rows = rows.drop(index=3)  # 128 channels at 28²
    figure = overhead_heatmap(phase_of(rows))
    panel = panels(figure)["PReLU"]
    assert failed_of(panel) == {(0, 1)}
    assert text_at(panel, 0, 1) == "oom"
    assert text_at(panel, 1, 1) == "1–7×"
    mask = np.ma.getmaskarray(mesh_of(panel).get_array())
    assert mask.tolist() == [[False, True], [True, False]]
    assert len(cells_of(panel)) == 3
    notes = " ".join(t.get_text() for t in figure.texts)
    assert "A range in place of a ratio" in notes
    assert "Hatched" in notes
    assert "Grey" in notes


@pytest.mark.parametrize(
    ("marks", "change"),
    [
        ([], lambda rows: rows),
        ([], lambda rows: rows.assign(converged=False)),
        (["A range in"], lambda rows: rows.assign(overhead_hi=rows["overhead"] * 2)),
        (["1 of 12 measured cases has been visited once"], lambda rows: visit_once(rows, [2])),
        (["12 of 12 measured cases have been visited once"], lambda rows: visit_once(rows)),
        (["Hatched"], lambda rows: fail_rows(rows, [2], "oom", "")),
        (["Grey"], lambda rows: rows.drop(index=2)),
        ([], lambda rows: rows.assign(host_share=0.9)),
        (["§"], lambda rows: rows.assign(host_share=0.95)),
    ],
)
def test_heatmap_explains_only_marks_that_occur(
    marks: list[str], change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    rows = change(build_rows(phases=("inference",)))

    notes = " ".join(text.get_text() for text in overhead_heatmap(phase_of(rows)).texts)

    every = ("A range in", "1 of 12 measured", "12 of 12 measured", "Hatched", "Grey", "§")
    assert [mark for mark in every if mark in notes] == [
        mark for mark in every if any(mark in said for said in marks)
    ]
    assert all(said in notes for said in marks)
    assert "~" not in notes


@pytest.mark.parametrize("scale", [0.001, 0.5, 1.0, 3.0, 5000.0])
def test_1x_has_the_maps_middle_colour_whatever_the_range(make_rows, scale):
    rows = make_rows(phases=("inference",))
    rows["overhead"] *= scale
    mesh = mesh_of(overhead_heatmap(phase_of(rows)).axes[0])
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
    for panel in panels(overhead_heatmap(phase_of(rows))).values():
        mesh = mesh_of(panel)
        for x, y, _, colour in cells_of(panel):
            cell = luminance(mesh.to_rgba(mesh.get_array()[int(y), int(x)]))
            ink = luminance(to_rgb(colour))
            assert (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05) > 4
            seen += 1
    assert seen == len(rows)


def test_panels_are_ordered_by_overhead(make_rows):
    rows = make_rows(phases=("inference",))
    rows["overhead"] = rows["activation"].map({"prelu": 9.0, "frelu": 2.0, "dyrelu_b": 5.0})
    assert list(panels(overhead_heatmap(phase_of(rows)))) == ["FReLU", "DY-ReLU-B", "PReLU"]
