"""A comparison in a run's folder: whole, the same each time, and read back as it was."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dynact.report.comparison.comparison import Comparison, compare_two_runs
from dynact.report.comparison.section import section_markdown, section_of
from dynact.report.comparison.store import COMPARISONS, stored_sections, write_comparison
from dynact.report.figures.provenance import origin_of
from tests.report.comparison.visits_sample import NETWORKS, ROWS, run_of, visited


@pytest.fixture
def compared(environment: dict[str, Any]) -> Comparison:
    one = run_of("a", environment, visited(ROWS.iloc[1:], 1), visited(NETWORKS, 1))
    later = visited(ROWS.iloc[:-2], 2, slower={"frelu": 1.3})
    return compare_two_runs(one, run_of("b", environment, later, visited(NETWORKS, 2)))


def test_each_table_has_its_files(compared: Comparison, tmp_path: Path) -> None:
    written = write_comparison(tmp_path, compared)
    folder = tmp_path / COMPARISONS / "against-a"
    names = [f"{kind}.{end}" for kind in ("layers", "networks") for end in ("csv", "png", "svg")]
    assert written == [folder / name for name in ("comparison.md", *names)]
    assert all(path.stat().st_size > 0 for path in written)
    assert origin_of(folder / "layers.png") == compared.origin
    assert (folder / "comparison.md").read_text("utf-8") == section_markdown(section_of(compared))


def test_the_csv_has_every_case_in_full(compared: Comparison, tmp_path: Path) -> None:
    write_comparison(tmp_path, compared)
    stored = pd.read_csv(tmp_path / COMPARISONS / "against-a/layers.csv").set_index("case_id")
    pairs = compared.tables["layers"]
    for case in pairs.cases.to_dict("records"):
        line = stored.loc[case["case_id"]]
        for name in ("ratio", "ratio_lo", "ratio_hi", "p", "p_adjusted", "reference_overhead"):
            assert line[name] == pytest.approx(case[name], rel=1e-12)
        assert line["verdict"] == case["verdict"]
    assert list(stored.index[stored["verdict"] == "measured in b alone"]) == pairs.only_later
    assert list(stored.index[stored["verdict"] == "measured in a alone"]) == pairs.only_reference
    assert len(stored) == len(ROWS)
    text = (tmp_path / COMPARISONS / "against-a/layers.csv").read_text("utf-8")
    # A count is a whole number.
    assert ",8,32,7,7,cpu," in text


def test_the_same_rows_give_the_same_bytes(compared: Comparison, tmp_path: Path) -> None:
    for folder in ("one", "other"):
        write_comparison(tmp_path / folder, compared)
    one, other = (sorted((tmp_path / f).rglob("*.*")) for f in ("one", "other"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_what_was_stored_is_read_back(compared: Comparison, tmp_path: Path) -> None:
    assert stored_sections(tmp_path) == {}
    write_comparison(tmp_path, compared)
    assert stored_sections(tmp_path) == {"against-a": section_of(compared)}


@pytest.mark.parametrize("content", ["", '{"title": "x', "[]", "{}", '{"differences": null}'])
def test_what_another_version_wrote_is_known_to_be_there(
    compared: Comparison, tmp_path: Path, content: str
) -> None:
    write_comparison(tmp_path, compared)
    (tmp_path / COMPARISONS / "against-a/section.json").write_text(content)
    assert stored_sections(tmp_path) == {"against-a": None}
