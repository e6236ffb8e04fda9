"""Ratios across modes are over one baseline."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from dynact.report.data.baseline_mode import (
    against_eager,
    baseline_slowdowns,
    eager_baseline_ns,
    slower_baseline,
)
from dynact.report.data.settings_groups import SettingsGroup
from tests.report.modes_sample import SLOWDOWN, with_compiled


@pytest.fixture
def rows(make_rows: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    return with_compiled(make_rows(batches=(2, 8)))


def test_the_eager_baseline_is_the_one_under_the_same_other_conditions(rows: pd.DataFrame) -> None:
    found = eager_baseline_ns(rows, rows)

    # As the rows are made: by batch, channels and resolution alone, and the same in both modes.
    elements = rows["batch"] * rows["channels"] * rows["height"] * rows["width"]
    assert found.to_numpy() == pytest.approx(0.2 * elements + 4e3)


def test_it_is_the_median_over_the_partners_it_was_measured_with(rows: pd.DataFrame) -> None:
    at_one = (rows["mode"] == "eager") & (rows["phase"] == "training") & (rows["batch"] == 2)
    at_one &= (rows["channels"] == 32) & (rows["height"] == 7)
    assert at_one.sum() == 3
    rows.loc[at_one, "baseline_time_ns"] = [5.0, 100.0, 7.0]

    assert set(eager_baseline_ns(rows[at_one], rows)) == {7.0}


def test_a_failed_row_gives_no_baseline(
    rows: pd.DataFrame, fail: Callable[..., pd.DataFrame]
) -> None:
    eager = [i for i, mode in enumerate(rows["mode"]) if mode == "eager"]

    assert eager_baseline_ns(rows, fail(rows, eager, "oom", "no memory")).isna().all()


def test_only_ratios_of_other_modes_change_and_lose_their_interval(rows: pd.DataFrame) -> None:
    changed = against_eager(rows, rows)

    eager, compiled = (rows["mode"] == mode for mode in ("eager", "compile"))
    pd.testing.assert_frame_equal(changed[eager], rows[eager])
    # Compiling changed nothing but the baseline's time: the ratios are those of the eager rows.
    assert changed["overhead"][compiled].to_numpy() == pytest.approx(
        rows["overhead"][eager].to_numpy()
    )
    assert changed.loc[compiled, ["overhead_lo", "overhead_hi"]].isna().all(axis=None)
    others = changed.columns.drop(["overhead", "overhead_lo", "overhead_hi"])
    pd.testing.assert_frame_equal(changed[others], rows[others])


def test_a_ratio_without_an_eager_baseline_is_missing(rows: pd.DataFrame) -> None:
    compiled = rows[rows["mode"] == "compile"]

    assert against_eager(compiled, compiled)["overhead"].isna().all()


def test_a_baseline_that_its_own_mode_made_slower_is_named(rows: pd.DataFrame) -> None:
    compiled = rows[rows["mode"] == "compile"]

    assert baseline_slowdowns(compiled, rows) == {"training": pytest.approx(SLOWDOWN)}
    said = slower_baseline(SettingsGroup(compiled), rows)
    assert said == "In this mode ReLU itself takes 20× its eager time in training."


@pytest.mark.parametrize(("times", "named"), [(0.5, False), (1.1, False), (1.2, True)])
def test_a_baseline_that_is_not_clearly_slower_is_not_named(
    rows: pd.DataFrame, times: float, named: bool
) -> None:
    compiled = rows["mode"] == "compile"
    training = compiled & (rows["phase"] == "training")
    rows.loc[training, "baseline_time_ns"] *= times / SLOWDOWN
    # A mean over shapes.
    rows.loc[training, "baseline_time_ns"] *= np.where(rows["channels"][training] == 32, 2, 0.5)

    assert bool(slower_baseline(SettingsGroup(rows[compiled]), rows)) == named


def test_where_all_is_eager_no_baseline_is_named(rows: pd.DataFrame) -> None:
    eager = rows[rows["mode"] == "eager"]

    assert slower_baseline(SettingsGroup(eager), rows) == ""
