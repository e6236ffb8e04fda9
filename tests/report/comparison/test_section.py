"""A comparison in words: every number in them follows from the rows."""

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dynact.report.comparison.comparison import Comparison, compare_two_runs, compare_within
from dynact.report.comparison.section import (
    NOTHING_DIFFERS,
    Section,
    section_markdown,
    section_of,
    section_of_record,
    section_text,
)
from dynact.report.comparison.verdicts import VERDICTS
from tests.report.comparison.visits_sample import GATE, ROWS, run_of, visited, whole

SLOW = {"frelu": 1.3, "silu": 0.7}


@pytest.fixture
def compared(environment: dict[str, Any]) -> Comparison:
    later = environment | {"threads": 2}
    slow = whole("tuesday", later, 2, slower=SLOW, scatter=0.05)
    return compare_two_runs(whole("monday", environment, 1, scatter=0.05), slow)


def words(section: Section) -> str:
    return " ".join([section.finding, *section.caveats, *section.reading])


def test_the_finding_counts_every_verdict(compared: Comparison) -> None:
    counts = compared.cases["verdict"].value_counts().reindex(VERDICTS, fill_value=0)
    assert section_of(compared).finding.startswith(
        f"Of {len(compared.cases)} cases, tuesday compared with monday: {counts['slower']} slower, "
        f"{counts['faster']} faster, {counts['same']} same within 5 %, "
        f"{counts['not resolved']} not resolved."
    )
    assert counts.min() > 0


def test_differences_too_small_to_matter_are_counted_apart(environment: dict[str, Any]) -> None:
    one = run_of("a", environment, visited(ROWS, 1, scatter=0.001))
    slow = visited(ROWS, 2, scatter=0.001, slower=dict.fromkeys(ROWS["activation"], 1.02))
    section = section_of(compare_two_runs(one, run_of("b", environment, slow)))
    assert f"0 slower, 0 faster, {len(ROWS)} same within 5 %" in section.finding
    assert f"Of the same, {len(ROWS)} can be told apart" in section.finding
    again = section_of(compare_two_runs(one, run_of("b", environment, slow), margin=0.01))
    assert f"{len(ROWS)} slower, 0 faster, 0 same within 1 %" in again.finding
    assert "can be told apart" not in again.finding


def test_what_differs_is_a_table_on_top(compared: Comparison) -> None:
    section = section_of(compared)
    assert section.differences is not None
    assert section.differences.header == ["what differs", "monday", "tuesday"]
    assert section.differences.lines == [["threads", "1", "2"]]
    text = section_markdown(section)
    assert text.index("| threads | 1 | 2 |") < text.index("## ")
    assert "differs: threads, 1 and 2" in section_text(section)


def test_where_nothing_differs_it_says_so(environment: dict[str, Any]) -> None:
    same = compare_two_runs(whole("a", environment, 1), whole("b", environment, 2))
    section = section_of(same)
    assert NOTHING_DIFFERS in section_markdown(section)
    assert NOTHING_DIFFERS in section_text(section)


def test_tables_agree_with_the_cases(compared: Comparison) -> None:
    by_heading = {titled.heading: titled.table for titled in section_of(compared).tables}
    cases = compared.tables["layers"].cases
    names = {"PReLU": "prelu", "FReLU": "frelu", "DY-ReLU-B": "dyrelu_b"}
    lines = by_heading["Single layers"].lines
    assert [line[0] for line in lines] == [name for name in names for _ in range(2)]
    for name, phase, *counts, span in lines:
        part = cases[(cases["activation"] == names[name]) & (cases["phase"] == phase)]
        told = [(part["verdict"] == v).sum() for v in ("slower", "faster", "same", "not resolved")]
        assert counts == list(map(str, told))
        mean, low, high = map(float, re.findall(r"[\d.]+", span))
        assert mean == pytest.approx(np.exp(np.log(part["ratio"]).mean()), rel=6e-3)
        assert (low, high) == pytest.approx((part["ratio"].min(), part["ratio"].max()), rel=6e-3)
    called = by_heading["Single layers called slower or faster"]
    expected = cases[cases["verdict"].isin(["slower", "faster"])].set_index("case_id")
    assert {line[0] for line in called.lines} == set(expected.index)
    far = [abs(np.log(expected.loc[line[0], "ratio"])) for line in called.lines]
    assert far == sorted(far, reverse=True)
    for case_id, verdict, ratio, time, _, before, after in called.lines:
        row = expected.loc[case_id]
        assert verdict == row["verdict"]
        for text, figure in (
            (ratio, "ratio"), (before, "reference_overhead"), (after, "overhead"),
            (time, "time_ratio"),
        ):  # fmt: skip
            assert float(text.split("×")[0]) == pytest.approx(row[figure], rel=6e-3)
    networks = [line[0] for line in by_heading["Whole networks"].lines]
    assert networks[0] == "LeNet, PReLU"
    assert networks[-1] == "ResNet-18, DY-ReLU-B"


def test_of_many_called_the_page_has_the_most_different(environment: dict[str, Any]) -> None:
    many = pd.concat(
        [ROWS.assign(batch=b, case_id=ROWS["case_id"] + f"-{b}") for b in range(1, 4)],
        ignore_index=True,
    )
    slow = visited(many, 2, scatter=0.01, slower=dict.fromkeys(ROWS["activation"], 1.3))
    one = run_of("a", environment, visited(many, 1, scatter=0.01))
    section = section_of(compare_two_runs(one, run_of("b", environment, slow)))
    (called,) = [t for t in section.tables if "called" in t.heading]
    assert called.heading.endswith(f"the 40 most different of {len(many)}")
    assert len(called.table.lines) == 40


def test_caveats_are_said_where_they_hold(environment: dict[str, Any]) -> None:
    rows, old = visited(ROWS, 1), visited(ROWS, 2, visits=9).assign(visits=None, observations=None)
    single, doubt = visited(ROWS, 3, visits=1), {**GATE, "trustworthy": False}
    monday = run_of("monday", environment, rows)
    n = len(ROWS)

    def said(other: pd.DataFrame, gate: dict[str, Any] = GATE, **changes: Any) -> str:
        tuesday = run_of("tuesday", environment | changes, other, gates=(gate,))
        return words(section_of(compare_two_runs(monday, tuesday)))

    plain = said(visited(ROWS, 4))
    marks = {
        "TOO NARROW": said(old),
        f"{n} cases with an interval of a single visit": said(old),
        f"{n} cases with one visit": said(single),
        "RATIOS NOT TRUSTWORTHY in tuesday": said(visited(ROWS, 4), doubt),
        "Times are not compared: another device": said(
            visited(ROWS, 4), device={"type": "cpu", "name": "Other"}
        ),
        "The baseline is of another mode too": said(
            visited(ROWS, 4, mode="compile"), device={"type": "cpu", "name": "Other"}
        ),
        f"1 case measured in monday alone, and not compared: {ROWS['case_id'].iloc[0]}.": said(
            visited(ROWS.iloc[1:], 4)
        ),
        "and 13 more, in the CSV files": said(visited(ROWS.iloc[18:], 4)),
        "The least difference that a run says it tells: tuesday 1.9 %.": said(
            visited(ROWS, 4), {**GATE, "resolution": 0.019}
        ),
        "THE MACHINE WAS NOT IN THE SAME STATE: the baseline itself took 1.3×": said(
            visited(ROWS, 4, baseline_time_ns=1.3 * ROWS["baseline_time_ns"])
        ),
        "The margin is finer": said(visited(ROWS, 4), {**GATE, "resolution": 0.1}),
    }
    for mark, text in marks.items():
        assert mark in text
        assert mark not in plain
    slower = visited(ROWS, 4, baseline_time_ns=1.3 * ROWS["baseline_time_ns"])
    assert "THE MACHINE" not in said(slower, device={"type": "cpu", "name": "Other"})
    assert "the baseline itself took" in plain
    assert "the baseline itself took" not in marks["Times are not compared: another device"]


def test_within_a_run_the_baseline_is_named_that_changed_too(environment: dict[str, Any]) -> None:
    compiled = visited(ROWS, 2, mode="compile", case_id=ROWS["case_id"] + "-compile")
    compiled = compiled.assign(
        time_ns=ROWS["time_ns"] * 2, baseline_time_ns=ROWS["baseline_time_ns"] * 27
    )
    rows = pd.concat([visited(ROWS, 1), compiled], ignore_index=True)
    (made,) = compare_within(run_of("a", environment, rows), "mode")
    section = section_of(made)
    assert section.title == "mode: compile against eager"
    assert "baseline itself took 27× its time in eager" in words(section)
    assert "the layer or network 2.0×" in words(section)


def test_a_stored_section_is_what_it_was(compared: Comparison) -> None:
    section = section_of(compared)
    assert section_of_record(json.loads(json.dumps(section.record()))) == section
    with pytest.raises((KeyError, TypeError)):
        section_of_record({"title": "of another version"})


def test_text_of_others_stays_text(environment: dict[str, Any]) -> None:
    evil = "a|b*c`d"
    one = run_of(evil, environment, visited(ROWS, 1))
    text = section_markdown(
        section_of(compare_two_runs(one, run_of("b", environment, visited(ROWS, 2))))
    )
    assert evil not in text
    assert "a\\|b\\*c\\`d" in text
