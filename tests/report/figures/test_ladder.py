"""The ladder shows each way to write an activation where the rows have it, down to the floor."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dynact.report.figures.ladder import has_rungs, ladder, rungs
from dynact.report.run import Run
from tests.report.conftest import build_rows, fail_rows
from tests.report.figures.reading import panels
from tests.report.test_render import write_run


def written(rows: pd.DataFrame, of: str, impl: str, times: float, **changes: Any) -> pd.DataFrame:
    """Rows of another way to write an activation, so many times as slow."""
    new = rows[rows["activation"] == of].assign(impl=impl, **changes)
    for name in ("overhead", "overhead_lo", "overhead_hi", "time_ns"):
        new[name] = new[name] * times
    return new.assign(case_id=new["case_id"] + f"-{impl}-{changes.get('mode', '')}")


def all_ways() -> pd.DataFrame:
    rows = build_rows()
    ways = [
        written(rows, "dyrelu_b", "lines", 0.3),
        written(rows, "dyrelu_b", "fused", 0.1),
        written(rows, "dyrelu_b", "reference", 0.2, mode="compile"),
        written(rows, "frelu", "fused", 0.5),
    ]
    return pd.concat([rows, *ways], ignore_index=True)


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, Any]) -> Run:
    return Run(write_run(tmp_path / "run", all_ways(), environment))


def test_rungs_are_the_means_of_what_was_measured_dearest_first(run: Run) -> None:
    rows = build_rows()
    found = rungs(run)

    assert list(found) == ["inference", "training"]
    for phase, of_phase in found.items():
        assert set(of_phase) == {"frelu", "dyrelu_b"}
        mine = rows[(rows["phase"] == phase) & (rows["activation"] == "dyrelu_b")]
        mean = float(np.exp(np.log(mine["overhead"]).mean()))
        floor = float(np.exp(np.log(mine["floor_time_ns"] / mine["baseline_time_ns"]).mean()))
        ways = of_phase["dyrelu_b"]
        assert [way.name for way in ways] == ["reference", "lines", "compiled", "fused", "floor"]
        assert [way.ratio for way in ways] == pytest.approx(
            [mean, 0.3 * mean, 0.2 * mean, 0.1 * mean, floor]
        )


def test_it_draws_every_rung_and_says_the_longest_way_in_the_title(run: Run) -> None:
    figure = ladder(run, "the caption")
    found = rungs(run)

    for phase, axes in panels(figure).items():
        marks = sorted(
            float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() in ("o", "|")
        )
        assert marks == pytest.approx(
            sorted(way.ratio for ways in found[phase].values() for way in ways)
        )
        texts = " ".join(text.get_text() for text in axes.texts)
        assert all(way.text in texts for ways in found[phase].values() for way in ways)
    title = " ".join(figure.texts[0].get_text().split())
    assert title.startswith("DY-ReLU-B, inference: ")
    assert all(
        words in title
        for words in ("as the reference", "as elementwise lines", "fused", "floor is")
    )


def test_labels_of_wide_intervals_do_not_meet_and_stay_in_the_plot(
    tmp_path: Path, environment: dict[str, Any]
) -> None:
    rows = build_rows(("prelu", "dyrelu_b"))
    close = [
        written(rows, "dyrelu_b", impl, times)
        for impl, times in (("lines", 1.01), ("fused", 1.02), ("own:ALongerName", 1.03))
    ]
    every = pd.concat([rows, *close], ignore_index=True)
    wide = every.assign(overhead_lo=every["overhead"] / 4, overhead_hi=every["overhead"] * 4)

    for axes in panels(ladder(Run(write_run(tmp_path / "run", wide, environment)))).values():
        inside = axes.get_window_extent()
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == 5
        assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_a_run_of_references_alone_has_none(tmp_path: Path, environment: dict[str, Any]) -> None:
    assert not has_rungs(Run(write_run(tmp_path / "run", build_rows(), environment)))


def test_what_failed_is_no_rung(tmp_path: Path, environment: dict[str, Any]) -> None:
    rows = all_ways()
    fused = rows.index[(rows["impl"] == "fused") & (rows["activation"] == "frelu")]
    failed = fail_rows(rows, list(fused), "wrong", "output is off")

    found = rungs(Run(write_run(tmp_path / "run", failed, environment)))

    assert all(set(of_phase) == {"dyrelu_b"} for of_phase in found.values())


def test_shapes_that_not_all_have_are_left_out_and_said(
    tmp_path: Path, environment: dict[str, Any]
) -> None:
    rows = all_ways()
    fused = rows.index[(rows["impl"] == "fused") & (rows["activation"] == "frelu")]
    run = Run(write_run(tmp_path / "run", fail_rows(rows, list(fused[:1]), "oom", ""), environment))

    small_print = " ".join(ladder(run).texts[1].get_text().split())

    assert "Not over all shapes: FReLU in inference 3 of 4 shapes" in small_print
