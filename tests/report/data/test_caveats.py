"""What is to be said against a run's figures: said where it holds, and nowhere else."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dynact.report.data.caveats import doubts, failures, gaps, visited
from dynact.report.page.page import write_page
from dynact.report.render import render
from dynact.report.run import Run
from dynact.report.tables.summary import summary_markdown
from tests.report.conftest import build_rows, fail_rows, lacking_rows, visit_once
from tests.report.networks_sample import build_networks
from tests.report.profile_sample import build_profile, write_tables
from tests.report.test_render import write_run

PASSED = {
    "session": "a", "trustworthy": True, "message": "",
    "self_overhead": 1.0, "self_overhead_lo": 0.999, "self_overhead_hi": 1.001,
    "more_overhead": 1.02, "more_overhead_lo": 1.01, "more_overhead_hi": 1.03,
    "more_elements": 1.018, "timing_s": 1.0, "case_s": 2.0,
}  # fmt: skip
FAILED = PASSED | {"session": "b", "trustworthy": False, "message": "excludes 1"}


def texts_of(
    folder: Path,
    rows: pd.DataFrame,
    environment: dict[str, Any],
    gates: Sequence[dict[str, Any]] = (),
) -> tuple[str, str]:
    """Return the summary and the page of a run of layers alone that is stored in a new folder."""
    run = Run(write_run(folder, rows, environment, gates))
    return summary_markdown(run), write_page(run).read_text("utf-8")


@pytest.mark.parametrize("gate", [PASSED, FAILED], ids=["passed", "failed"])
def test_every_figure_that_is_written_says_so_if_and_only_if_known_ratios_were_not_found(
    environment: dict[str, Any], tmp_path: Path, gate: dict[str, Any]
) -> None:
    rows = build_rows(("prelu", "frelu"), (32,), (7, 28), ("training",), batches=(8, 32))
    run = write_run(tmp_path / "run", rows, environment, [gate])
    for kind, table in zip(("network", "site"), build_networks(("mobilenet_v2",)), strict=True):
        table.to_json(run / f"{kind}_rows.jsonl", orient="records", lines=True)
    case = "frelu-training-8x64x56x56-float32-cpu"
    call = (case, "frelu", "training", "aten::max", "other", "forward", 0, 1_000)
    write_tables(run, build_profile([call], [(case, 1, 4096, "forward")]))

    render(Run(run), formats=("svg",))

    # Seven figures of each batch size, four of networks, three of the profile.
    drawings = list((run / "figures").glob("*.svg"))
    assert len(drawings) == 2 * 7 + 4 + 3
    for drawing in drawings:
        # matplotlib draws text as outlines, and says in a comment what they spell.
        words = " ".join(" ".join(re.findall(r"<!--(.*?)-->", drawing.read_text("utf-8"))).split())
        assert "Measured on Some CPU" in words, drawing
        assert ("RATIOS NOT TRUSTWORTHY (known ratios were not found)." in words) == (
            gate is FAILED
        ), drawing


def test_doubts_are_counted_each_by_itself() -> None:
    rows = build_rows(("prelu",), (32, 128), (7, 28), ("training",))
    wide, unsteady = rows.copy(), rows.copy()
    wide.loc[[0, 2], "converged"] = False
    # Half as long at the end as at the start, and the reverse; within a few percent is steady.
    unsteady["speed_drift"] = [0.5, 2.0, 1.01, None]
    rows["speed_drift"] = [1.0, 1.01, 0.99, None]

    found = [
        [int(number) for number in re.findall(r"\b(\d+)\b(?! ?%)", doubts(case))]
        for case in (rows, wide.assign(speed_drift=1.0), unsteady, fail_rows(rows, [3], "oom", ""))
    ]

    # Not converged of measured; unsteady; failed of all.
    assert found == [[0, 4, 0, 0, 4], [2, 4, 0, 0, 4], [0, 4, 2, 0, 4], [0, 3, 0, 1, 4]]


def test_cases_of_one_visit_are_counted_where_there_are_any() -> None:
    rows = build_rows(("prelu",), (32, 128), (7, 28), ("training",))

    assert "visited once" not in doubts(rows)
    assert "1 of 4 measured cases has been visited once" in doubts(visit_once(rows, [2]))
    assert "3 of 3 measured cases have been" in doubts(fail_rows(visit_once(rows), [0], "oom", ""))


def counts(*visits: tuple[int | None, int | None]) -> pd.DataFrame:
    return pd.DataFrame(visits, columns=["visits", "disturbed_visits"], dtype=object)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ([counts((None, None)), counts()], ""),
        ([counts((14, 0)), counts((14, 0))], "Each case was visited 14 times. None of all 28"),
        ([counts((1, 0))], "Each case was visited once. None of all 1 visits"),
        # Of what failed, and of earlier versions' rows, there is no count.
        (
            [counts((7, 1), (None, None)), counts(), counts((9, 2), (14, 3))],
            "A case was visited 9 times (median; at least 7). Disturbed: 6 of all 30 visits (20 %)",
        ),
        ([counts((2, 0), (2, 0), (999, 1))], "A case was visited twice (median; at least 2). "),
        ([counts((999, 1), (2, 0), (2, 0))], "Disturbed: 1 of all 1,003 visits (0.1 %), by"),
    ],
)
def test_visits_of_layers_networks_and_sites_are_told_together(
    tables: list[pd.DataFrame], said: str
) -> None:
    assert said in visited(tables)
    assert bool(visited(tables)) == bool(said)


def test_without_a_failure_or_a_gap_there_are_no_lines_and_no_tables(
    environment: dict[str, Any], tmp_path: Path
) -> None:
    rows = build_rows()

    assert failures(rows).empty
    assert gaps(rows).empty
    summary, page = texts_of(tmp_path / "run", rows, environment)
    for text in (summary, page):
        assert "Measured, but not all of it counted" not in text
        assert "first at" not in text
        assert "operators that FLOPs lack" not in text
    assert "Nothing: every operator of every measured case was counted." in page


def test_a_failure_is_no_gap_and_a_gap_no_failure(
    environment: dict[str, Any], tmp_path: Path
) -> None:
    failed = fail_rows(build_rows(), [0], "oom", "no memory")
    lacking = build_rows()
    lacking.at[0, "uncounted_ops"] = ["aten::fft"]
    found = {
        name: texts_of(tmp_path / name, rows, environment)
        for name, rows in (("failed", failed), ("lacking", lacking))
    }

    for text in found["failed"]:
        assert "first at" in text
        assert "Measured, but not all of it counted" not in text
    for text in found["lacking"]:
        assert "first at" not in text
        assert "Measured, but not all of it counted" in text
        assert "operators that FLOPs lack" in text
    assert "every operator of every measured case" in found["failed"][1]
    assert "every operator of every measured case" not in found["lacking"][1]


def test_a_least_is_marked_in_summary_and_page_at_its_layer_alone(
    environment: dict[str, Any], tmp_path: Path
) -> None:
    def marked(name: str, rows: pd.DataFrame) -> list[list[str]]:
        summary, page = texts_of(tmp_path / name, rows, environment)
        lines = [line for line in summary.splitlines() if "| ≥ " in line]
        cells = re.findall(r"<tr>(?:(?!</tr>).)*?>≥ ", page, re.DOTALL)
        return [
            [line.split("|")[1].strip() for line in lines],
            [re.sub(r"<.*?>", " ", cell).split()[0] for cell in cells],
        ]

    rows = build_rows(("prelu", "frelu"))
    assert marked("counted", rows) == [[], []]
    rows = lacking_rows(rows, frelu=["aten::fft"])
    # In the summary a line each in inference and in training.
    assert marked("lacking", rows) == [["FReLU", "FReLU"], ["FReLU"]]
