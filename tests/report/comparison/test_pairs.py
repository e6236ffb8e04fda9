"""Which cases are compared: equal ones, and ones that differ as a whole run does."""

import pandas as pd
import pytest

from dynact.report.comparison.pairs import pairs_between_runs, pairs_within_run
from tests.report.comparison.visits_sample import visited
from tests.report.conftest import build_rows, fail_rows
from tests.report.networks_sample import build_networks

ROWS = build_rows()
A, B = visited(ROWS, 1), visited(ROWS, 2)


def test_each_case_is_beside_itself_whatever_the_order() -> None:
    pairs = pairs_between_runs(A, B.sample(frac=1, random_state=0))
    assert sorted(pairs.cases["case_id"]) == sorted(A["case_id"])
    assert list(pairs.cases["case_id"]) == list(pairs.cases["reference_case_id"])
    for line in pairs.cases.to_dict("records"):
        for side, rows in (("reference_", A), ("", B)):
            row = rows.set_index("case_id").loc[line["case_id"]]
            for figure in (
                "overhead",
                "overhead_lo",
                "overhead_hi",
                "visits",
                "observations",
                "time_ns",
            ):
                assert line[f"{side}{figure}"] == row[figure]
    assert (pairs.only_reference, pairs.only_later, pairs.differing) == ([], [], {})


def test_cases_of_one_run_alone_are_named() -> None:
    pairs = pairs_between_runs(A.iloc[2:], B.iloc[:-1])
    assert pairs.only_reference == [A["case_id"].iloc[-1]]
    assert pairs.only_later == list(A["case_id"].iloc[:2])
    assert len(pairs.cases) == len(A) - 3


def test_a_case_that_failed_is_not_compared() -> None:
    pairs = pairs_between_runs(fail_rows(A, [3], "oom", "no memory"), fail_rows(B, [4], "oom", ""))
    assert pairs.only_reference == [A["case_id"].iloc[4]]
    assert pairs.only_later == [A["case_id"].iloc[3]]


@pytest.mark.parametrize(
    ("field", "here", "there"),
    [("device", "cpu", "cuda"), ("impl", "reference", "fused"), ("mode", "eager", "compile")],
)
def test_a_field_that_sets_the_whole_runs_apart_is_what_is_compared(
    field: str, here: str, there: str
) -> None:
    pairs = pairs_between_runs(A, B.assign(**{field: there}))
    assert len(pairs.cases) == len(A)
    assert pairs.differing == {field: (here, there)}


def test_a_field_with_several_values_keeps_cases_apart() -> None:
    both = pd.concat([B.assign(impl="fused", case_id=B["case_id"] + "-fused"), B])
    pairs = pairs_between_runs(A, both)
    assert pairs.differing == {}
    assert set(pairs.cases["case_id"]) == set(A["case_id"])
    assert pairs.only_later == list(B["case_id"] + "-fused")


@pytest.mark.parametrize(
    "change", [{"activation": "mish"}, {"baseline": "relu6"}, {"batch": 1}, {"phase": "other"}]
)
def test_other_cases_are_no_pair(change: dict[str, object]) -> None:
    pairs = pairs_between_runs(A, B.assign(**change))
    assert pairs.cases.empty
    assert len(pairs.only_reference) == len(A)
    assert pairs.differing == {}


def test_networks_are_told_apart_by_their_own_fields() -> None:
    networks, _ = build_networks(placements=("all", "paper"))
    one, other = visited(networks, 1), visited(networks, 2)
    pairs = pairs_between_runs(one, other)
    assert list(pairs.cases["case_id"]) == list(pairs.cases["reference_case_id"])
    assert len(pairs.cases) == len(networks)


def test_a_table_that_one_run_lacks_gives_no_pair() -> None:
    # As read of no file: columns without a type.
    empty = pd.DataFrame(columns=list(A))
    assert pairs_between_runs(A, empty).only_reference == list(A["case_id"])
    assert pairs_between_runs(empty, A).only_later == list(A["case_id"])
    assert pairs_between_runs(empty, empty).cases.empty


def test_within_a_run_pairs_differ_in_one_field_alone() -> None:
    compiled = B.assign(mode="compile", case_id=B["case_id"] + "-compile")
    fused = compiled.assign(impl="fused", case_id=B["case_id"] + "-compile-fused")
    pairs = pairs_within_run(pd.concat([compiled.iloc[1:], fused, A]), "mode", "eager", "compile")
    assert list(pairs.cases["case_id"]) == list(compiled["case_id"].iloc[1:])
    assert list(pairs.cases["reference_case_id"] + "-compile") == list(pairs.cases["case_id"])
    assert pairs.only_reference == [A["case_id"].iloc[0]]
    assert pairs.only_later == list(fused["case_id"])
    assert pairs.differing == {"mode": ("eager", "compile")}
