"""The figure of a comparison: each case where its ratio is, with the mark of its verdict."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dynact.report.comparison.comparison import compare_two_runs
from dynact.report.comparison.figure import comparison_figure
from dynact.report.comparison.subjects import subjects_in_order
from dynact.report.comparison.verdicts import VERDICTS
from tests.report.comparison.visits_sample import ROWS, run_of, visited, whole
from tests.report.figures.reading import beyond_the_axes, labels_of, marked, notes_of, panels


@pytest.fixture
def tables(environment: dict[str, Any]) -> dict[str, pd.DataFrame]:
    slow = whole("b", environment, 2, slower={"frelu": 1.3, "prelu": 0.7}, scatter=0.03)
    made = compare_two_runs(whole("a", environment, 1, scatter=0.03), slow)
    return {kind: pairs.cases for kind, pairs in made.tables.items()}


@pytest.mark.parametrize("kind", ["layers", "sites", "networks"])
def test_every_case_is_drawn_at_its_ratio_with_the_mark_of_its_verdict(
    tables: dict[str, pd.DataFrame], kind: str
) -> None:
    cases = tables[kind]
    figure = comparison_figure(cases, "overhead", 0.05, "title", "caption")
    assert set(panels(figure)) == {"inference", "training"}
    for phase, axes in panels(figure).items():
        of_phase = cases[cases["phase"] == phase]
        for verdict in VERDICTS:
            (line,) = marked(axes, verdict)
            expected = of_phase[of_phase["verdict"] == verdict]["ratio"]
            assert sorted(np.asarray(line.get_xdata())) == pytest.approx(sorted(expected))
        low, high = axes.get_xlim()
        assert low < of_phase["ratio"].min()
        assert of_phase["ratio"].max() < high
        assert low < 1 / 1.05 < 1.05 < high
    (first, second) = panels(figure).values()
    assert labels_of(first) == subjects_in_order(cases)
    assert set(labels_of(second)) == {""}


def test_cases_stand_in_their_activations_line(tables: dict[str, pd.DataFrame]) -> None:
    cases = tables["layers"]
    axes = panels(comparison_figure(cases, "overhead", 0.05, "title"))["inference"]
    drawn = {
        round(float(x), 12): float(y)
        for line in axes.lines
        if line.get_label() in VERDICTS
        for x, y in zip(*map(np.asarray, line.get_data()), strict=True)
    }
    for case in cases[cases["phase"] == "inference"].to_dict("records"):
        place = ["prelu", "silu", "frelu", "dyrelu_b"]
        lines = [a for a in place if a in set(cases["activation"])]
        assert abs(drawn[round(case["ratio"], 12)] - lines.index(case["activation"])) < 0.5


def test_counts_beside_the_lines_are_those_of_the_verdicts(tables: dict[str, pd.DataFrame]) -> None:
    cases = tables["layers"]
    for phase, axes in panels(comparison_figure(cases, "overhead", 0.05, "title")).items():
        numbers = [int(t.get_text()) for t in axes.texts if t.get_text().isdecimal()]
        counts = cases[cases["phase"] == phase].groupby(["activation", "verdict"]).size()
        assert sorted(numbers) == sorted(counts)


@pytest.mark.parametrize("spread", [0.01, 0.3, 3.0])
def test_one_is_marked_on_the_axis_however_far_ratios_go(
    environment: dict[str, Any], spread: float
) -> None:
    truth = ROWS.assign(overhead=ROWS["overhead"] * np.exp(np.linspace(-spread, spread, len(ROWS))))
    one, other = visited(ROWS, 1, scatter=0.01), visited(truth, 2, scatter=0.01)
    made = compare_two_runs(run_of("a", environment, one), run_of("b", environment, other))
    figure = comparison_figure(made.cases, "overhead", 0.05, "title")
    FigureCanvasAgg(figure).draw()
    for axes in panels(figure).values():
        marks = [t.get_text() for t in axes.get_xticklabels()]
        assert "1×" in marks
        assert 3 <= len(marks) <= 10
    assert not beyond_the_axes(figure)


def test_the_margin_and_the_words_are_on_the_page(tables: dict[str, pd.DataFrame]) -> None:
    figure = comparison_figure(
        tables["layers"], "overhead", 0.025, "who against whom", "when it was"
    )
    assert notes_of(figure).startswith("who against whom")
    assert "within 2.5 %" in notes_of(figure)
    assert notes_of(figure).endswith("when it was")


def test_a_case_without_interval_is_a_ring_alone(environment: dict[str, Any]) -> None:
    one = run_of("a", environment, visited(ROWS, 1, visits=1))
    made = compare_two_runs(one, run_of("b", environment, visited(ROWS, 2)))
    figure = comparison_figure(made.cases, "overhead", 0.05, "title")
    FigureCanvasAgg(figure).draw()
    drawn = sum(
        len(np.asarray(marked(axes, "not resolved")[0].get_xdata()))
        for axes in panels(figure).values()
    )
    assert drawn == len(ROWS)
    lines = [c for axes in panels(figure).values() for c in axes.collections]
    assert not any(len(getattr(c, "get_segments", list)()) for c in lines)


def test_the_interval_of_a_single_case_is_whole_on_the_axis(
    tables: dict[str, pd.DataFrame],
) -> None:
    case = tables["layers"].iloc[:1].assign(ratio=1.02, ratio_lo=0.6, ratio_hi=1.8)
    (axes,) = panels(comparison_figure(case, "overhead", 0.05, "title")).values()
    low, high = axes.get_xlim()
    assert low < 0.6 < 1.8 < high
    # Without an interval there is its ratio alone.
    alone = case.assign(ratio_lo=np.nan, ratio_hi=np.nan)
    (axes,) = panels(comparison_figure(alone, "overhead", 0.05, "title")).values()
    assert axes.get_xlim()[0] < 1 / 1.05


@pytest.mark.parametrize("factor", [1.01, 1.3, 1.8, 2.2])
def test_marks_on_the_axis_do_not_meet(tables: dict[str, pd.DataFrame], factor: float) -> None:
    case = tables["layers"].iloc[:1]
    wide = case.assign(ratio=1.0, ratio_lo=1 / factor, ratio_hi=factor)
    figure = comparison_figure(wide, "overhead", 0.05, "title")
    FigureCanvasAgg(figure).draw()
    (axes,) = panels(figure).values()
    boxes = [text.get_window_extent() for text in axes.get_xticklabels() if text.get_text()]
    assert len(boxes) >= 3
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
