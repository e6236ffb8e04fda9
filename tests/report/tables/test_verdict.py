"""What the known pairs say, in the page and the summary alike, whichever version stored it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dynact.report.page.page import write_page
from dynact.report.run import Run
from dynact.report.tables.summary import summary_markdown
from dynact.report.tables.verdict import verdict
from tests.report.data.test_trust import EARLY, FAILED, TOLD
from tests.report.test_render import write_run

FORMER = {
    "session": "b", "trustworthy": True, "self_overhead": 1.0003, "self_overhead_lo": 0.9991,
    "self_overhead_hi": 1.0012, "more_overhead": 1.0181, "more_overhead_lo": 1.0101,
    "more_overhead_hi": 1.0262, "more_elements": 57 / 56, "timing_s": 3.0, "case_s": 4.0,
    "message": "",
}  # fmt: skip
FORMER_FAILED = FORMER | {"trustworthy": False, "message": "ReLU against itself | excludes 1"}
FORMER_CRASHED = FORMER_FAILED | {f"self_overhead{end}": None for end in ("", "_lo", "_hi")}
LOUD = "⚠ RATIOS NOT TRUSTWORTHY HERE AND NOW."

SAID = pytest.mark.parametrize(
    ("gates", "kind", "headline"),
    [
        ([], "unknown", "Resolution: not known."),
        ([EARLY], "unknown", "Resolution: not known."),
        ([TOLD], "passed", "Differences of 1.9 % or more can be told here."),
        ([EARLY, TOLD], "passed", "Differences of 1.9 % or more can be told here."),
        ([FORMER], "passed", "Known ratios were found."),
        ([FORMER, EARLY], "unknown", "Resolution: not known."),
        ([FORMER, TOLD], "passed", "Differences of 1.9 % or more can be told here."),
        ([FAILED], "failed", LOUD),
        ([TOLD, FAILED], "failed", LOUD),
        ([FORMER_FAILED, TOLD], "failed", LOUD),
        ([FORMER_CRASHED], "failed", LOUD),
    ],
)


@SAID
def test_doubt_is_loud_if_and_only_if_a_session_has_cause(
    gates: list[dict[str, Any]], kind: str, headline: str
) -> None:
    said = verdict(gates)

    assert (said.kind, said.headline) == (kind, headline)
    assert said.messages == [g["message"] for g in gates if not g["trustworthy"]]


@pytest.mark.parametrize("proven", [True, False])
def test_what_shows_a_run_cold_is_said(proven: bool) -> None:
    cold = {"proven": proven, "message": "what was seen of the caches"}

    said = verdict([TOLD | {"coldness": cold}, TOLD | {"coldness": None}, TOLD])

    assert said.text.count("what was seen of the caches.") == 1


@SAID
def test_summary_and_page_open_with_it(
    make_rows: Callable[..., pd.DataFrame],
    environment: dict[str, Any],
    tmp_path: Path,
    gates: list[dict[str, Any]],
    kind: str,
    headline: str,
) -> None:
    # Each a session of its own: of one session the last line counts.
    gates = [gate | {"session": f"session {i}"} for i, gate in enumerate(gates)]
    run = Run(write_run(tmp_path / "run", make_rows(), environment, gates))

    opening = summary_markdown(run).split("## Inference")[0]
    page = write_page(run).read_text("utf-8").split("<nav")[0]

    assert f"**{headline}**" in opening
    assert f'<div class="gate {kind}"><p><strong>{headline}</strong>' in page
    for text in (opening, page):
        assert ("NOT TRUSTWORTHY" in text) == (kind == "failed")
        assert ("can be told" in text) == headline.startswith("Differences")
        # All that stands behind it, whatever it says.
        for gate in gates:
            assert gate["message"].replace("|", r"\|" if text is opening else "|") in text
        shown = text.replace("&amp;", "&")
        assert shown.count("8.2 kB") == 2 * sum(bool(gate.get("groups")) for gate in gates)
    assert opening.count("1.0181 (1.0101–1.0262)") == sum("groups" not in g for g in gates)


def test_each_size_and_phase_has_its_line() -> None:
    (table,) = verdict([TOLD]).tables

    lines = [dict(zip(table.header, line, strict=True)) for line in table.lines]
    assert [(line["size"], line["phase"]) for line in lines] == [
        ("launch-bound", "inference"), ("launch-bound", "training"),
        ("beyond the caches", "inference"), ("beyond the caches", "training"),
    ]  # fmt: skip
    assert [line["differences from"] for line in lines] == ["0.6 %", "1.2 %", "1.9 %", "1 %"]
    assert lines[0] == {
        "size": "launch-bound", "input": "8.2 kB", "phase": "inference", "visits": "14",
        "differences from": "0.6 %", "ReLU / itself": "1.001× (0.996–1.006)",
        "known differences, as read":
            "2 % more: 1.00× (0.99–1.01), missed; 10 % more: 1.10× (1.09–1.11), seen",
    }  # fmt: skip
    assert lines[1]["known differences, as read"] == "10 % more: 1.10× (1.09–1.11), seen"
    assert lines[2]["known differences, as read"] == "–"


def test_it_counts_false_alarms_and_what_was_detected() -> None:
    other = TOLD | {"session": "other", "self_pairs": 4, "false_alarms": 1}

    # Also, and all the more, where there is cause for doubt.
    for last in (other, other | {"trustworthy": False}):
        numbers = [int(n) for n in re.findall(r"\d+", verdict([TOLD, last]).text)]
        # False alarms of pairs; then by what they differ, seen and tried.
        assert numbers == [1, 8, 2, 0, 2, 10, 4, 4]


def test_sessions_are_told_apart_where_there_are_several() -> None:
    (one,) = verdict([TOLD]).tables
    (two,) = verdict([TOLD, TOLD | {"session": "other"}]).tables

    assert "session" not in one.header
    assert [line[-1] for line in two.lines] == ["a"] * 4 + ["other"] * 4


def test_after_few_visits_nothing_is_called_missed() -> None:
    early = verdict([EARLY])

    assert early.tables == []
    assert early.text == "The known pairs have been visited too few times to tell."


def test_a_session_without_groups_draws() -> None:
    bare = TOLD | {"groups": [], "detections": [], "self_pairs": 0}

    assert verdict([bare]).headline == "Differences of 1.9 % or more can be told here."
    assert verdict([bare]).tables == []
