"""Modes beside each other."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from dynact.report.data.baseline_mode import BaselineMode
from dynact.report.run import Run
from dynact.report.tables.modes import beside_eager, modes
from dynact.report.tables.summary import summary_markdown
from tests.report.modes_sample import with_compiled
from tests.report.sample_run import run_of

SLOWER = "In this mode ReLU itself takes 20× its eager time in training."


@pytest.fixture
def make_run(environment: dict[str, Any]) -> Callable[[pd.DataFrame], Run]:
    none = pd.DataFrame()

    def make_run(rows: pd.DataFrame) -> Run:
        return run_of(
            rows=rows, environment=environment, gates=[], limits=None, networks=none, sites=none
        )

    return make_run


@pytest.fixture
def rows(make_rows: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """Return PReLU at two shapes, 3 and 12 times as slow as ReLU, and the same compiled."""
    rows = make_rows(("prelu",), (32, 128), (7,))
    rows["overhead"] = [3.0, 12.0, 3.0, 12.0]
    rows["baseline_time_ns"] = [1e3, 1e4, 1e3, 1e4]
    rows["time_ns"] = rows["overhead"] * rows["baseline_time_ns"]
    return with_compiled(rows)


def lines_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


@pytest.mark.parametrize(
    ("baseline_mode", "over", "ratio"), [("eager", "eager", "6.0×"), ("same", "compile", "0.30×")]
)
def test_a_compiled_layer_is_beside_the_eager_one(
    make_run: Callable[[pd.DataFrame], Run],
    rows: pd.DataFrame,
    baseline_mode: BaselineMode,
    over: str,
    ratio: str,
) -> None:
    text = modes(make_run(rows), baseline_mode)

    header, _, *lines = lines_of(text)
    assert header == [
        "activation", "eager, × eager ReLU", "eager time", f"compile, × {over} ReLU",
        "compile time", "shapes",
    ]  # fmt: skip
    # √(3 · 12), and half way between 3 and 120 µs.
    assert lines == [
        ["PReLU, inference", "6.0×", "61.5 µs", "6.0×", "61.5 µs", "2"],
        ["PReLU, training", "6.0×", "61.5 µs", ratio, "61.5 µs", "2"],
    ]
    assert SLOWER in text


@pytest.mark.parametrize("failed", ["eager", "compile"])
def test_only_shapes_that_both_modes_measured_go_in(
    make_run: Callable[[pd.DataFrame], Run],
    rows: pd.DataFrame,
    fail: Callable[..., pd.DataFrame],
    failed: str,
) -> None:
    (place,) = [
        i
        for i, row in enumerate(rows.to_dict("records"))
        if (row["mode"], row["phase"], row["channels"]) == (failed, "training", 128)
    ]

    _, _, inference, training = lines_of(modes(make_run(fail(rows, [place], "error", "")), "eager"))

    assert inference[-1] == "2"
    assert training == ["PReLU, training", "3.0×", "3 µs", "3.0×", "3 µs", "1"]


def test_a_layer_that_one_mode_did_not_measure_has_no_figure(
    make_run: Callable[[pd.DataFrame], Run],
    rows: pd.DataFrame,
    fail: Callable[..., pd.DataFrame],
) -> None:
    training = [
        i
        for i, row in enumerate(rows.to_dict("records"))
        if (row["mode"], row["phase"]) == ("compile", "training")
    ]

    lines = lines_of(modes(make_run(fail(rows, training, "error", "")), "eager"))

    assert lines[-1] == ["PReLU, training", "–", "–", "–", "–", "0"]


def test_where_there_is_one_mode_nothing_is_said(
    make_run: Callable[[pd.DataFrame], Run], rows: pd.DataFrame
) -> None:
    assert modes(make_run(rows[rows["mode"] == "eager"]), "eager") == ""


def test_compiled_rows_alone_say_what_they_are_over(
    make_run: Callable[[pd.DataFrame], Run], rows: pd.DataFrame
) -> None:
    text = modes(make_run(rows[rows["mode"] == "compile"]), "eager")

    assert "this run has no eager times beside these" in text
    assert "`--modes eager,compile` measures both" in text
    assert lines_of(text) == []


def test_groups_are_beside_those_that_agree_in_all_but_the_mode(
    make_run: Callable[[pd.DataFrame], Run], rows: pd.DataFrame
) -> None:
    compiled = rows[rows["mode"] == "compile"].assign(dtype="bfloat16")
    run = make_run(pd.concat([rows, compiled], ignore_index=True))

    found = beside_eager(run.groups)

    assert {(g.rows["mode"].iloc[0], g.rows["dtype"].iloc[0]) for g in found} == {
        ("eager", "float32"), ("compile", "float32"),
    }  # fmt: skip


@pytest.mark.parametrize("main", ["eager", "compile"])
def test_the_summary_mixes_modes_in_no_other_table(
    make_run: Callable[[pd.DataFrame], Run], rows: pd.DataFrame, main: str
) -> None:
    # The main group is the one with most shapes.
    run = make_run(rows[(rows["mode"] == main) | (rows["channels"] == 32)])
    assert run.main.rows["mode"].iloc[0] == main

    summary = summary_markdown(run)

    assert "## Other settings" not in summary
    assert summary.count("compile, × eager ReLU") == 1
    assert summary_markdown(run, "same").count("compile, × compile ReLU") == 1


def test_figures_of_a_mode_say_that_it_made_their_baseline_slower(
    make_run: Callable[[pd.DataFrame], Run], rows: pd.DataFrame
) -> None:
    run = make_run(rows)

    eager, compiled = run.groups
    assert run.caption(compiled).endswith(SLOWER)
    assert run.caption(compiled.of_phase("training")).endswith(SLOWER)
    assert SLOWER not in run.caption(compiled.of_phase("inference"))
    assert SLOWER not in run.caption(eager)
