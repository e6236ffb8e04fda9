"""Two runs, or a run with itself: what is compared, and what is said of both."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from dynact.report.comparison.comparison import (
    ComparisonError,
    compare_two_runs,
    compare_within,
)
from dynact.report.comparison.verdicts import FASTER, NOT_RESOLVED, SLOWER, VERDICTS
from dynact.report.run import Run
from tests.report.comparison.visits_sample import (
    GATE,
    NETWORKS,
    ROWS,
    SITES,
    run_of,
    visited,
    visits_of,
    whole,
)
from tests.report.conftest import fail_rows


def test_layers_sites_and_networks_are_each_compared(environment: dict[str, Any]) -> None:
    made = compare_two_runs(whole("a", environment, 1), whole("b", environment, 2))
    assert {kind: len(pairs.cases) for kind, pairs in made.tables.items()} == {
        "layers": len(ROWS), "sites": len(SITES), "networks": len(NETWORKS),
    }  # fmt: skip
    assert (made.reference, made.later, made.folder) == ("a", "b", "against-a")
    assert set(made.cases["verdict"]) <= set(VERDICTS)
    assert made.differences == {}
    assert made.untrusted == []


def test_the_false_discovery_rate_is_over_all_tables(environment: dict[str, Any]) -> None:
    made = compare_two_runs(whole("a", environment, 1), whole("b", environment, 2))
    p = np.sort(made.cases["p"].to_numpy())
    # Of the adjusted the least is min p(k) m / k, m the cases of all tables.
    expected = (p * len(p) / np.arange(1, len(p) + 1)).min()
    assert made.cases["p_adjusted"].min() == pytest.approx(expected)
    assert len(p) == len(ROWS) + len(SITES) + len(NETWORKS)


def test_a_slower_layer_is_found_in_every_table(environment: dict[str, Any]) -> None:
    slow = whole("b", environment, 2, slower={"frelu": 1.3}, scatter=0.04)
    made = compare_two_runs(whole("a", environment, 1, scatter=0.04), slow)
    for pairs in made.tables.values():
        is_frelu = pairs.cases["activation"] == "frelu"
        assert (pairs.cases["verdict"][is_frelu] == SLOWER).all()
        assert not (pairs.cases["verdict"][~is_frelu] == SLOWER).any()
        assert np.allclose(pairs.cases["time_ratio"][is_frelu], 1.3)
        assert np.allclose(pairs.cases["baseline_time_ratio"], 1.0)


def test_times_of_another_device_are_refused_by_name(environment: dict[str, Any]) -> None:
    elsewhere = environment | {"device": {"type": "cuda", "name": "H200"}}
    tables = (visited(t, 2, device="cuda") for t in (ROWS, NETWORKS, SITES))
    made = compare_two_runs(whole("a", environment, 1), run_of("b", elsewhere, *tables))
    assert "'H200'" in made.times_refused
    assert made.cases[["time_ratio", "baseline_time_ratio"]].isna().all(axis=None)
    assert made.cases["ratio"].notna().all()
    assert made.differences["device"] == ("cpu", "cuda")
    assert made.differences["device.name"] == ("Some CPU @ 2.00GHz", "H200")


def test_a_table_that_one_run_lacks_is_left_out(environment: dict[str, Any]) -> None:
    made = compare_two_runs(whole("a", environment, 1), run_of("b", environment, visited(ROWS, 2)))
    assert len(made.tables["layers"].cases) == len(made.cases) == len(ROWS)


def test_runs_without_a_common_case_are_refused(environment: dict[str, Any]) -> None:
    one = run_of("a", environment, visited(ROWS[ROWS["activation"] == "prelu"], 1))
    other = run_of("b", environment, visited(ROWS[ROWS["activation"] == "frelu"], 2))
    with pytest.raises(
        ComparisonError, match=r"no case.*both runs: 'a' has 12 \(prelu-.*'b' has 12"
    ):
        compare_two_runs(one, other)
    failed = run_of("c", environment, fail_rows(ROWS, range(len(ROWS)), "oom", "no memory"))
    with pytest.raises(ComparisonError, match="'c' has none"):
        compare_two_runs(one, failed)


def test_a_doubtful_run_and_what_each_resolves_are_known(environment: dict[str, Any]) -> None:
    sessions = ({**GATE, "resolution": 0.5}, {**GATE, "resolution": 0.019})
    one = run_of("a", environment, visited(ROWS, 1), gates=sessions)
    doubt = {**GATE, "trustworthy": False, "resolution": None}
    other = run_of("b", environment, visited(ROWS, 2), gates=(doubt,))
    made = compare_two_runs(one, other)
    assert made.untrusted == ["b"]
    assert made.resolutions == {"a": 0.019}


def within(environment: dict[str, Any], field: str, values: dict[str, float]) -> Run:
    """Return a run of every value, whose cases are as many times slower as said."""
    parts = []
    for i, (value, factor) in enumerate(values.items()):
        # What a setting makes slower, as the mode, it may make slower for the baseline too.
        own = factor**2 if field != "impl" else 1.0
        rows = ROWS.assign(
            overhead=ROWS["overhead"] * factor / own,
            time_ns=ROWS["time_ns"] * factor,
            baseline_time_ns=ROWS["baseline_time_ns"] * own,
            case_id=ROWS["case_id"] + value,
        )
        parts.append(visited(rows, i, scatter=0.02, **{field: value}))
    rows = pd.concat(parts, ignore_index=True)
    return run_of("a", environment, rows, visits=visits_of(rows, 1))


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("impl", {"fused": 0.5, "lines": 2.0, "reference": 1.0}),
        ("mode", {"compile": 0.5, "eager": 1.0}),
        ("dtype", {"bfloat16": 0.5, "float32": 1.0}),
        ("memory_format", {"channels_last": 2.0, "contiguous": 1.0}),
    ],
)
def test_within_a_run_each_value_is_compared_with_the_usual(
    environment: dict[str, Any], field: str, values: dict[str, float]
) -> None:
    made = compare_within(within(environment, field, values), field)
    assert [comparison.later for comparison in made] == list(values)[:-1]
    for comparison in made:
        assert comparison.reference == list(values)[-1]
        assert comparison.folder == f"between-{field}-{comparison.later}"
        assert len(comparison.cases) == len(ROWS)
        # By times, where the baseline's changed too: its overheads say the opposite.
        factor = values[comparison.later]
        assert comparison.measure == ("overhead" if field == "impl" else "time")
        assert np.allclose(comparison.cases["ratio"], factor, rtol=0.1)
        assert np.allclose(comparison.cases["time_ratio"], factor, rtol=0.1)
        assert set(comparison.cases["verdict"]) == {SLOWER if factor > 1 else FASTER}
        if field != "impl":
            assert np.allclose(comparison.cases["overhead_ratio"], 1 / factor, rtol=0.1)
            assert np.allclose(comparison.cases["baseline_time_ratio"], factor**2)


def test_between_modes_nothing_is_told_of_times_that_were_taken_once(
    environment: dict[str, Any],
) -> None:
    run = within(environment, "mode", {"compile": 0.5, "eager": 1.0})
    run.visits = run.visits[:0]
    (made,) = compare_within(run, "mode")
    assert (made.cases["verdict"] == NOT_RESOLVED).all()
    assert np.allclose(made.cases["time_ratio"], 0.5)


def test_runs_of_another_mode_as_a_whole_are_compared_by_times(environment: dict[str, Any]) -> None:
    parts = within(environment, "mode", {"compile": 2.0, "eager": 1.0})
    eager, compiled = (
        run_of(name, environment, parts.rows[parts.rows["mode"] == mode], visits=parts.visits)
        for name, mode in (("a", "eager"), ("b", "compile"))
    )
    made = compare_two_runs(eager, compiled)
    assert made.measure == "time"
    assert set(made.cases["verdict"]) == {SLOWER}
    assert made.differences == {"mode": ("eager", "compile")}
    compiled.environment = environment | {"device": {"type": "cpu", "name": "Other"}}
    elsewhere = compare_two_runs(eager, compiled)
    assert elsewhere.measure == "overhead"
    assert set(elsewhere.cases["verdict"]) == {FASTER}


def test_without_the_usual_value_the_first_is_compared_with(environment: dict[str, Any]) -> None:
    (made,) = compare_within(
        within(environment, "dtype", {"float64": 1.0, "bfloat16": 1.0}), "dtype"
    )
    assert (made.reference, made.later) == ("bfloat16", "float64")


def test_within_a_run_networks_are_compared_by_what_they_have(environment: dict[str, Any]) -> None:
    half = NETWORKS.assign(dtype="bfloat16", case_id=NETWORKS["case_id"] + "-bfloat16")
    networks = pd.concat([visited(NETWORKS, 1), visited(half, 2)], ignore_index=True)
    rows = within(environment, "dtype", {"float32": 1.0, "bfloat16": 1.0}).rows
    (made,) = compare_within(run_of("a", environment, rows, networks), "dtype")
    assert len(made.tables["networks"].cases) == len(NETWORKS)
    # A network has no memory format: that is no error.
    formats = within(environment, "memory_format", {"channels_last": 1.0, "contiguous": 1.0})
    (made,) = compare_within(run_of("a", environment, formats.rows, networks), "memory_format")
    assert "networks" not in made.tables


def test_a_field_with_one_value_is_refused(environment: dict[str, Any]) -> None:
    run = run_of("a", environment, visited(ROWS, 1))
    with pytest.raises(ComparisonError, match=r"'a' has nothing.*between mode: .* have mode eager"):
        compare_within(run, "mode")
    failed = run_of("a", environment, fail_rows(ROWS, range(len(ROWS)), "oom", "no memory"))
    with pytest.raises(ComparisonError, match="no measured case"):
        compare_within(failed, "mode")


def test_values_of_other_cases_are_refused(environment: dict[str, Any]) -> None:
    compiled = visited(ROWS, 2, mode="compile", impl="fused", case_id=ROWS["case_id"] + "-c")
    run = run_of("a", environment, pd.concat([visited(ROWS, 1), compiled], ignore_index=True))
    with pytest.raises(ComparisonError, match=r"differ in mode alone \(mode: eager, compile\)"):
        compare_within(run, "mode")


def test_runs_of_one_name_are_told_apart_by_their_start(environment: dict[str, Any]) -> None:
    later = environment | {"started": "2026-03-02T08:30:00+00:00"}
    one, other = run_of("x/night", environment, visited(ROWS, 1)), visited(ROWS, 2)
    made = compare_two_runs(one, run_of("y/night", later, other))
    assert (made.reference, made.later) == (
        "night of 2026-03-01 10:00", "night of 2026-03-02 08:30",
    )  # fmt: skip
    assert made.folder == "against-night"
