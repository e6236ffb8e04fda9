"""Rows by their tables, columns that say what they are, and rows of former versions."""

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.cases import CASE_FIELDS, CASE_TYPES, NETWORK_FIELDS, AnyCase, Case, NetworkCase
from dynact.schema.rows import (
    STATUSES,
    NetworkRow,
    Row,
    columns_of,
    figures_of,
    new_row,
    upgraded,
)
from tests.sweeping import ROWS, case_of, network_case_of, site_of

UNITS = {"", "ns", "s", "bytes", "bytes/s", "FLOP/s", "×", "count", "pixels"}
TABLES = pytest.mark.parametrize("table", CASE_TYPES)


class TestNewRow:
    @pytest.mark.parametrize(
        ("case", "kind"),
        [(case_of(), Row), (site_of(), Row), (network_case_of(), NetworkRow)],
        ids=["layer", "site", "network"],
    )
    def test_a_case_gets_the_row_of_its_table(self, case: AnyCase, kind: type) -> None:
        row = new_row(case, "ok", "all well", flops=7, overhead=2.0)

        assert type(row) is kind
        assert (row.case, row.status, row.message) == (case, "ok", "all well")
        assert row.record()["flops"] == 7
        assert row.overhead == 2.0

    @pytest.mark.parametrize(
        ("case", "foreign"), [(case_of(), "macs"), (network_case_of(), "occurrences")]
    )
    def test_a_figure_of_another_table_is_refused(self, case: AnyCase, foreign: str) -> None:
        figures: dict[str, Any] = {foreign: 1}

        with pytest.raises(TypeError, match=foreign):
            new_row(case, "ok", **figures)

    @pytest.mark.parametrize("status", STATUSES[1:])
    def test_what_failed_has_no_figures(self, status: str) -> None:
        record = new_row(case_of(), status, "why").record()

        given_of_it = {name for name, value in record.items() if value is not None}
        assert given_of_it == {"case_id", *CASE_FIELDS, "status", "message"}


class TestRecord:
    @pytest.mark.parametrize(
        ("case", "own"),
        [(case_of(), CASE_FIELDS), (site_of(), CASE_FIELDS), (network_case_of(), NETWORK_FIELDS)],
    )
    def test_it_is_the_id_the_case_and_the_figures_in_that_order(
        self, case: AnyCase, own: tuple[str, ...]
    ) -> None:
        record = new_row(case, "ok").record()

        assert tuple(record) == ("case_id", *own, *figures_of(case.table))
        assert record["case_id"] == case.id

    @given(ROWS)
    def test_its_values_are_those_that_json_has(self, row: Row) -> None:
        assert json.loads(json.dumps(row.record())) == row.record()


class TestColumns:
    @TABLES
    def test_each_column_has_a_label_a_unit_and_a_meaning(self, table: str) -> None:
        of_case = [field.name for field in fields(CASE_TYPES[table])]
        names = ["case_id", *of_case, *figures_of(table)]
        assert [column.name for column in columns_of(table)] == names
        for column in columns_of(table):
            assert column.label
            assert column.unit in UNITS
            # A sentence, so that it can stand on a page as it is.
            assert column.help[0].isupper() or column.help[0] == '"'
            assert column.help.endswith(".")

    @TABLES
    def test_no_two_figures_have_one_label(self, table: str) -> None:
        labels = [column.label for column in columns_of(table)]

        assert len(labels) == len(set(labels))

    @TABLES
    def test_a_unit_in_a_name_is_the_unit(self, table: str) -> None:
        units = {"_ns": "ns", "_s": "s", "_bytes": "bytes", "_bytes_per_s": "bytes/s",
                 "_flops_per_s": "FLOP/s"}  # fmt: skip
        for column in columns_of(table):
            # The longest ending is the one meant.
            ending = max((end for end in units if column.name.endswith(end)), key=len, default="")
            if ending:
                assert column.unit == units[ending], column.name

    def test_of_the_baseline_there_is_only_what_the_target_has_too(self) -> None:
        for table in CASE_TYPES:
            names = set(figures_of(table))
            of_baseline = {name for name in names if name.startswith("baseline_")}
            assert {name.removeprefix("baseline_") for name in of_baseline} <= names

    def test_sites_have_the_figures_of_layers(self) -> None:
        _, layers, sites, networks = CASE_TYPES

        assert figures_of(sites) == figures_of(layers) != figures_of(networks)

    @pytest.mark.parametrize(
        ("kind", "table"), [(Row, Case.table), (NetworkRow, NetworkCase.table)]
    )
    def test_they_are_all_that_a_row_holds_beside_its_case(self, kind: type, table: str) -> None:
        assert [field.name for field in fields(kind)] == ["case", *figures_of(table)]
        assert figures_of(table)[:2] == ("status", "message")


class TestUpgraded:
    @given(ROWS)
    def test_a_row_of_this_version_stays_as_it_is(self, row: Row) -> None:
        assert upgraded(row.record()) == row.record()

    def test_kernels_are_operator_calls(self) -> None:
        assert upgraded({"case_id": "a", "kernels": 7}) == {"case_id": "a", "operator_calls": 7}

    def test_what_it_was_made_of_stays(self) -> None:
        record: dict[str, Any] = {"kernels": 7, "uncounted_ops": "aten::sort"}

        upgraded(record)

        assert record == {"kernels": 7, "uncounted_ops": "aten::sort"}

    @pytest.mark.parametrize("name", ["flops_by_operator", "uncounted_ops", "sites", "kept_sites"])
    def test_what_a_row_has_not_it_is_not_given(self, name: str) -> None:
        assert upgraded({}) == {}
        assert upgraded({name: None}) == {name: None}

    @pytest.mark.parametrize(
        ("text", "counts"),
        [
            ("", {}),
            ("conv:3612672", {"conv": 3612672}),
            (
                "conv:3612672 batch_norm:401408 maximum:200704",
                {"conv": 3612672, "batch_norm": 401408, "maximum": 200704},
            ),
            # The count is what comes after the last colon.
            ("aten::cumsum:12 maximum:0", {"aten::cumsum": 12, "maximum": 0}),
        ],
    )
    def test_flops_by_operator(self, text: str, counts: dict[str, int]) -> None:
        found = upgraded({"flops_by_operator": text})["flops_by_operator"]

        assert found == counts
        # The largest came first, and stays so.
        assert list(found) == list(counts)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", []),
            ("aten::sort", ["aten::sort"]),
            ("aten::cumsum, aten::sort", ["aten::cumsum", "aten::sort"]),
        ],
    )
    def test_uncounted_ops(self, text: str, words: list[str]) -> None:
        assert upgraded({"uncounted_ops": text}) == {"uncounted_ops": words}

    @pytest.mark.parametrize(
        ("text", "sites"),
        [
            ("", []),
            ("features.0.2=relu6:32x112x112", [("features.0.2", "relu6", 32, 112, 112)]),
            (
                "layer1.0.relu#2=relu:64x56x28 fc1.relu=relu:120",
                [("layer1.0.relu#2", "relu", 64, 56, 28), ("fc1.relu", "relu", 120, None, None)],
            ),
        ],
    )
    def test_sites(self, text: str, sites: list[tuple[Any, ...]]) -> None:
        assert upgraded({"sites": text}) == {"sites": [placed(*site) for site in sites]}

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("", []),
            (
                "fc1.relu=relu:120 – no height and width; fc2.relu=relu:84 – why",
                [
                    (("fc1.relu", "relu", 120, None, None), "no height and width"),
                    (("fc2.relu", "relu", 84, None, None), "why"),
                ],
            ),
            # Several with one reason were told together.
            (
                "a=relu:8x7x5 b.c#2=hardsigmoid:16x1x1 – a gate",
                [
                    (("a", "relu", 8, 7, 5), "a gate"),
                    (("b.c#2", "hardsigmoid", 16, 1, 1), "a gate"),
                ],
            ),
            # A reason is a library's message, and may hold what parts others.
            (
                "a=relu:8x7x5 – ValueError: k=3; got 4; see above; b=relu:16 – no – never; really",
                [
                    (("a", "relu", 8, 7, 5), "ValueError: k=3; got 4; see above"),
                    (("b", "relu", 16, None, None), "no – never; really"),
                ],
            ),
        ],
    )
    def test_kept_sites(self, text: str, kept: list[tuple[tuple[Any, ...], str]]) -> None:
        assert upgraded({"kept_sites": text}) == {
            "kept_sites": [placed(*site) | {"reason": reason} for site, reason in kept]
        }

    @given(
        st.lists(
            st.tuples(
                st.from_regex(r"[a-z][\w.]{0,9}(#\d)?", fullmatch=True),
                st.sampled_from(("relu", "relu6", "hardswish")),
                st.integers(1, 2048),
                st.none() | st.tuples(st.integers(1, 256), st.integers(1, 256)),
            ),
            max_size=5,
        )
    )
    def test_any_sites_are_found_again(self, sites: list[tuple[Any, ...]]) -> None:
        text = " ".join(
            f"{name}={original}:" + "x".join(map(str, (channels, *(sides or ()))))
            for name, original, channels, sides in sites
        )

        found = upgraded({"sites": text})["sites"]

        assert found == [
            placed(name, original, channels, *(sides or (None, None)))
            for name, original, channels, sides in sites
        ]


def placed(
    name: str, original: str, channels: int, height: int | None, width: int | None
) -> dict[str, Any]:
    return {
        "name": name, "original": original, "channels": channels, "height": height, "width": width
    }  # fmt: skip
