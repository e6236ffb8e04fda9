"""What a run's page shows of comparisons: what is stored, if it is of these rows."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from dynact.report.comparison.comparison import compare_two_runs
from dynact.report.comparison.store import COMPARISONS, write_comparison
from dynact.report.page.comparisons import page_comparisons
from dynact.report.page.page import write_page
from dynact.report.render import render
from dynact.report.run import Run
from tests.report.comparison.visits_sample import ROWS, visited
from tests.report.test_render import write_run

EVIL = "a<img src=x onerror=alert(1)>"


@pytest.fixture
def later(environment: dict[str, Any], tmp_path: Path) -> Path:
    write_run(tmp_path / EVIL, visited(ROWS, 1), environment | {"threads": 2})
    folder = write_run(tmp_path / "b", visited(ROWS, 2, slower={"frelu": 1.4}), environment)
    write_comparison(folder, compare_two_runs(Run(tmp_path / EVIL), Run(folder)))
    return folder


def section(folder: Path) -> str:
    page = (folder / "index.html").read_text("utf-8")
    found = re.search(r'<section id="comparisons">(.*?)</section>', page, re.DOTALL)
    assert ('href="#comparisons"' in page) == bool(found)
    return found[1] if found else ""


def test_the_page_has_finding_differences_figure_and_tables(later: Path) -> None:
    write_page(Run(later))
    shown = section(later)
    (comparison,) = page_comparisons(Run(later))
    assert comparison.section is not None
    assert "b compared with a&lt;img" in shown
    assert "<img src=x" not in shown
    assert re.search(r'threads</th><td class="text">2</td><td class="text">1</td>', shown)
    (picture,) = re.findall(r"data:image/png;base64,([^\"]+)", shown)
    folder = later / comparison.folder
    assert base64.b64decode(picture) == (folder / "layers.png").read_bytes()
    frelu = ROWS[ROWS["activation"] == "frelu"]["case_id"]
    assert sum(case_id in shown for case_id in frelu) >= 0.9 * len(frelu)
    assert re.search(r'href="comparisons/against-[\w.-]+/comparison\.md"', shown)


def test_it_survives_another_rendering(later: Path) -> None:
    write_page(Run(later))
    before = section(later)
    render(Run(later), ["overhead_ranking"], ["png"])
    assert section(later) == before != ""


def test_a_run_that_was_never_compared_has_no_such_section(
    environment: dict[str, Any], tmp_path: Path
) -> None:
    folder = write_run(tmp_path / "c", visited(ROWS, 1), environment)
    write_page(Run(folder))
    assert section(folder) == ""


def test_of_other_rows_it_says_only_that_it_is_there(
    later: Path, environment: dict[str, Any]
) -> None:
    more = write_run(later.parent / "more", visited(ROWS, 2, visits=20), environment)
    (more / "rows.jsonl").replace(later / "rows.jsonl")
    write_page(Run(later))
    assert "is of other rows than this run’s" in section(later)
    assert "FReLU" not in section(later)


def test_what_cannot_be_read_costs_no_page(later: Path) -> None:
    (stored,) = (later / COMPARISONS).glob("*/section.json")
    stored.write_text('{"title": "of another version"}')
    write_page(Run(later))
    assert "another version" in section(later)


def test_without_its_picture_the_words_stay(later: Path) -> None:
    (picture,) = (later / COMPARISONS).glob("*/layers.png")
    picture.unlink()
    write_page(Run(later))
    assert "slower" in section(later)
    assert "<img" not in section(later)


def test_several_comparisons_stand_one_after_the_other(
    later: Path, environment: dict[str, Any]
) -> None:
    other = write_run(later.parent / "z", visited(ROWS, 5), environment)
    write_comparison(later, compare_two_runs(Run(other), Run(later)))
    write_page(Run(later))
    titles = re.findall(r"<h3>(.*?)</h3>", section(later))
    assert [title.split(" against ")[1][0] for title in titles] == ["a", "z"]
