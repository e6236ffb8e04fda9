"""The lines that say what is the maths, and what the way it is written."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dynact.report.run import Run
from dynact.report.tables.summary import summary_markdown
from dynact.report.tables.ways import ways_sentences
from dynact.schema.digits import measured_ratio
from tests.report.conftest import build_rows, fail_rows, visit_once
from tests.report.sample_run import run_of
from tests.report.ways_sample import together, written

# Geometric means 72, 13 and 2.4; within 2 % at each of two shapes.
REFERENCE = written("reference", (60.0, 86.4))
LINES = written("lines", (10.0, 16.9))
FUSED = written("fused", (2.0, 2.88))


def said(*parts: pd.DataFrame) -> list[str]:
    return ways_sentences(run_of(rows=together(*parts)))


def test_one_line_says_it_for_every_phase() -> None:
    dearer = written("fused", (4.0, 9.0), phases=("training",))
    fused = together(FUSED[FUSED["phase"] == "inference"], dearer)
    assert said(REFERENCE, LINES, fused, written("reference", (1.0, 1.0), "silu")) == [
        "DY-ReLU-B costs 72× ReLU in inference as lines stacked and a max (reference), 13.0× as "
        "elementwise lines, 2.40× fused: of 72×, the way it is written is 30.0× (29.4–30.6), the "
        "maths at most 2.40×; the least bytes and arithmetic, in one short call, would take 1.50×. "
        "In training, 72× (reference), 13.0× (lines), 6.00× (fused): of 72×, the way it is written "
        "is 12.0× (11.8–12.2), the maths at most 6.00×; the least bytes and arithmetic, in one "
        "short call, would take 1.50×."
    ]


def test_implementations_of_the_users_take_part_by_their_names() -> None:
    mine = written("my.layers:FastSE", (2.0, 2.0), "se", ("inference",))
    (line,) = said(written("reference", (3.0, 3.0), "se", ("inference",)), mine)
    assert line.startswith(
        "SE costs 3.00× ReLU in inference as the reference, 2.00× as FastSE: of 3.00×, the way it "
        "is written is 1.50× (1.47–1.53), the maths at most 2.00×;"
    )


@pytest.mark.parametrize("other", [2.97, 3.0, 4.0])
def test_where_no_other_is_faster_nothing_is_split(other: float) -> None:
    fused = written("fused", (other, other), "se", ("inference",))
    (line,) = said(written("reference", (3.0, 3.0), "se", ("inference",)), fused)
    assert ": none of the others can be told to be faster than the reference; the least" in line
    assert "the maths" not in line


def test_without_intervals_ratios_have_two_digits_and_the_floor_may_be_unknown() -> None:
    rows = visit_once(together(REFERENCE, FUSED)).assign(floor_time_ns=None)
    (line,) = said(rows[rows["phase"] == "training"])
    assert line == (
        "DY-ReLU-B costs 72× ReLU in training as lines stacked and a max (reference), 2.4× fused: "
        "of 72×, the way it is written is 30×, the maths at most 2.4×."
    )


def test_fewer_shapes_than_the_run_has_are_said() -> None:
    rows = fail_rows(together(REFERENCE, FUSED), [0], "oom", "")
    (line,) = said(rows)
    assert line.startswith(
        "DY-ReLU-B costs 86× ReLU in inference as lines stacked and a max (reference), 2.88× fused "
        "(at 1 of 2 shapes, those where all were measured): of 86×, "
    )
    assert line.count("where all") == 1


def test_a_compiled_reference_alone_is_no_other_implementation() -> None:
    compiled = REFERENCE.assign(mode="compile", case_id=REFERENCE["case_id"] + "-compile")
    assert said(REFERENCE, compiled) == []


def test_the_summary_begins_with_them(environment: dict[str, Any]) -> None:
    rows, none = together(REFERENCE, FUSED), pd.DataFrame()

    def summary(of: pd.DataFrame) -> str:
        run = run_of(rows=of, environment=environment, gates=[], limits=None, networks=none)
        return summary_markdown(run)

    assert summary(rows).splitlines()[2] == said(rows)[0]
    assert "the maths" not in summary(build_rows())


def test_the_readme_says_of_the_example_what_it_measured() -> None:
    root = Path(__file__).parents[3]
    readme = (root / "README.md").read_text()
    section = readme.partition("## Use the fast ones")[2].partition("\n## ")[0]
    run = Run(root / "reports" / "example-cpu")
    for activation in ("dyrelu_b", "frelu"):
        for way in run.ways["inference"][activation].dearest_first:
            assert f" {way.text}" in section
    of_layer = (run.rows["activation"] == "dyrelu_b") & (run.rows["impl"] == "fused")
    rows = run.rows[of_layer & (run.rows["phase"] == "inference")]
    largest = rows.sort_values(["channels", "height"]).iloc[-1]
    ratio = measured_ratio(*largest[["overhead", "overhead_lo", "overhead_hi"]])
    shape = "×".join(str(largest[side]) for side in ("batch", "channels", "height"))
    assert f"{shape}², fused takes {ratio}" in section
