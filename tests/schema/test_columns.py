"""Columns are declared once: the documents hold what the declarations say."""

import re
from pathlib import Path

import pytest

from dynact.schema.cases import CASE_TYPES, Case, KnownPair, NetworkCase, SiteCase
from dynact.schema.rows import columns_markdown, columns_of, new_row

ROOT = Path(__file__).parents[2]
CASE = {
    "activation": "frelu", "impl": "reference", "phase": "training", "mode": "eager",
    "dtype": "float32", "memory_format": "contiguous", "batch": 8, "channels": 32, "height": 7,
    "width": 7, "device": "cpu", "baseline": "relu",
}  # fmt: skip
CASES = {
    KnownPair.table: KnownPair(**CASE, more_rows=1),
    Case.table: Case(**CASE),
    SiteCase.table: SiteCase(**CASE),
    NetworkCase.table: NetworkCase(
        "lenet", "frelu", "all", "training", "float32", batch=8, image_size=32, device="cpu"
    ),
}


@pytest.mark.parametrize("table", CASE_TYPES)
def test_every_column_that_is_stored_is_declared_and_no_other(table: str) -> None:
    stored = new_row(CASES[table], "ok").record()

    assert [column.name for column in columns_of(table)] == list(stored)


@pytest.mark.parametrize("table", CASE_TYPES)
def test_every_column_says_in_a_sentence_what_it_is(table: str) -> None:
    for column in columns_of(table):
        assert column.label, column
        assert re.fullmatch(r"[A-Z0-9].*\.", column.help), column
        # It has to fit in a cell of a table.
        assert not set("|\n") & set(column.help), column


def test_the_name_of_a_column_ends_with_its_unit() -> None:
    units = {
        "_ns": "ns", "_s": "s", "_bytes": "bytes", "_bytes_per_s": "bytes/s",
        "_flops_per_s": "FLOP/s",
    }  # fmt: skip
    for table in CASE_TYPES:
        for column in columns_of(table):
            for ending in sorted(units, key=len, reverse=True):
                if column.name.endswith(ending):
                    assert column.unit == units[ending], column
                    break


def test_docs_list_every_column_as_it_is_declared() -> None:
    written = (ROOT / "docs/columns.md").read_text(encoding="utf-8")

    assert written == columns_markdown(), "run python -m dynact.schema.rows > docs/columns.md"


def test_the_readme_names_only_columns_that_there_are() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## What it counts")[2].partition("\n## ")[0]
    table = "\n".join(line for line in section.splitlines() if line.startswith("|"))

    named = set(re.findall(r"`([^`]+)`", table))

    assert "flops" in named
    assert named <= {column.name for column in columns_of(Case.table)}
