"""Cases, presets, and thinning."""

from dataclasses import astuple, fields, replace
from itertools import pairwise
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.cases import (
    HEADLINE,
    Case,
    Grid,
    choice,
    fits,
    preset,
    thin,
    unique_cases,
)
from tests.sweeping import CASES, case_of

SIZE_AXES = ("batches", "channels", "resolutions")
SIZE_LISTS = st.integers(1, 7).map(lambda count: tuple(range(1, count + 1)))
GRIDS = st.builds(
    Grid,
    activations=st.sampled_from((("a",), ("a", "b", "c"))),
    phases=st.sampled_from((("inference",), ("inference", "training"))),
    batches=SIZE_LISTS,
    channels=SIZE_LISTS,
    resolutions=SIZE_LISTS.map(lambda sides: tuple((side, side) for side in sides)),
)
ALL = ("relu", "prelu", "frelu", "dyrelu_a")


@pytest.mark.parametrize(
    ("field", "value", "near"),
    [
        ("phase", "trainning", "training"),
        ("mode", "compiled", "compile"),
        ("dtype", "float23", "float32"),
        ("memory_format", "channel_last", "channels_last"),
    ],
)
def test_an_unknown_value_is_named_with_near_ones(field: str, value: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"^unknown {field} '{value}'; did you mean .*{near}") as e:
        case_of(**{field: value})
    assert "\n" not in str(e.value)


def test_without_a_near_name_all_are_listed() -> None:
    with pytest.raises(
        ValueError, match=r"^unknown phase 'zzz'; choose from: inference, training$"
    ):
        case_of(phase="zzz")


def test_a_known_value_is_returned() -> None:
    assert choice("colour", "red", ("green", "red")) == "red"


@pytest.mark.parametrize("size", ["batch", "channels", "height", "width"])
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_are_positive(size: str, value: int) -> None:
    changes: dict[str, Any] = {size: value}
    with pytest.raises(ValueError, match=f"^{size} must be at least 1, got {value}$"):
        case_of(**changes)


@given(CASES, st.data())
def test_ids_are_equal_only_for_equal_cases(case: Case, data: st.DataObject) -> None:
    other = data.draw(CASES)
    # One that shares most fields is the likeliest to be mixed up.
    taken = data.draw(st.sets(st.sampled_from([field.name for field in fields(Case)])))
    mixed = replace(case, **{name: getattr(other, name) for name in taken})
    assert (case.id == mixed.id) == (case == mixed)
    assert (case.id == other.id) == (case == other)


@given(CASES)
def test_an_id_is_one_readable_word_with_the_activation_first(case: Case) -> None:
    assert case.id.isprintable()
    assert " " not in case.id
    assert case.id.startswith(f"{case.activation}-{case.phase}-")
    assert f"-{case.batch}x{case.channels}x{case.height}x{case.width}-{case.dtype}-" in case.id


def test_ids_as_people_will_type_them() -> None:
    assert case_of("frelu").id == "frelu-inference-2x8x7x7-float32-cpu"
    unusual = case_of("m:F", mode="compile", memory_format="channels_last", baseline="silu")
    assert unusual.id == "m:F-inference-2x8x7x7-float32-cpu-compile-channels_last-vs_silu"


@pytest.mark.parametrize(
    ("dtype", "size"), [("float16", 2), ("bfloat16", 2), ("float32", 4), ("float64", 8)]
)
def test_input_bytes(dtype: str, size: int) -> None:
    case = case_of(dtype=dtype, batch=2, channels=3, height=5, width=7)
    assert case.input_bytes == 210 * size


def test_smoke_is_small() -> None:
    cases = unique_cases(preset("smoke", ALL, False), "cpu", "relu")
    assert len(cases) == 24
    assert {case.phase for case in cases} == {"inference", "training"}


def test_quick() -> None:
    cases = unique_cases(preset("quick", ALL, False), "cpu", "relu")
    assert {case.activation for case in cases} == set(HEADLINE)
    assert {case.phase for case in cases} == {"inference", "training"}
    assert {(case.dtype, case.mode, case.memory_format) for case in cases} == {
        ("float32", "eager", "contiguous")
    }
    grid = {(case.channels, case.height, case.width) for case in cases if case.batch == 2}
    assert grid == {(c, s, s) for c in (32, 128, 512) for s in (28, 14, 7)}
    # The batch axis: the other sizes held, one of them on the grid.
    along = {
        (case.batch, case.channels, case.height, case.width)
        for case in cases
        if (case.channels, case.height) == (128, 14)
    }
    assert along == {(n, 128, 14, 14) for n in (1, 2, 8)}
    assert len(cases) == len(HEADLINE) * 2 * (9 + 2)


@pytest.mark.parametrize(
    ("on_accelerator", "dtypes"), [(False, {"float32"}), (True, {"float32", "bfloat16"})]
)
def test_standard(on_accelerator: bool, dtypes: set[str]) -> None:
    cases = unique_cases(preset("standard", ALL, on_accelerator), "cpu", "relu")
    assert {case.activation for case in cases} == set(ALL)
    assert {case.channels for case in cases} == {16, 32, 64, 128, 256, 512, 1024}
    assert {(case.height, case.width) for case in cases} == {
        (side, side) for side in (112, 56, 28, 14, 7)
    }
    assert {case.batch for case in cases} == {1, 8, 32}
    assert {case.dtype for case in cases} == dtypes
    assert {case.mode for case in cases} == {"eager"}
    assert {case.memory_format for case in cases} == {"contiguous"}
    assert len(cases) == len(ALL) * 2 * 7 * 5 * 3 * len(dtypes)


@pytest.mark.parametrize("on_accelerator", [False, True])
def test_full_is_standard_and_more(on_accelerator: bool) -> None:
    full = set(unique_cases(preset("full", ALL, on_accelerator), "cpu", "relu"))
    assert full > set(unique_cases(preset("standard", ALL, on_accelerator), "cpu", "relu"))
    assert {case.memory_format for case in full} == {"contiguous", "channels_last"}
    assert {case.mode for case in full} == {"eager", "compile"}
    assert {case.dtype for case in full} == {"float32", "float16", "bfloat16"}
    assert len(full) == len(ALL) * 2 * 7 * 5 * 3 * 3 * 2 * 2


def test_an_unknown_preset_is_named_with_near_ones() -> None:
    with pytest.raises(ValueError, match=r"^unknown preset 'quik'; did you mean quick"):
        preset("quik", ALL, False)


@given(st.lists(GRIDS, min_size=1, max_size=2))
def test_unique_cases_has_each_combination_once(grids: list[Grid]) -> None:
    cases = unique_cases(grids, "cpu", "relu")
    wanted = {
        (name, phase, batch, channels, *sides)
        for grid in grids
        for name in grid.activations
        for phase in grid.phases
        for batch in grid.batches
        for channels in grid.channels
        for sides in grid.resolutions
    }
    found = [(c.activation, c.phase, c.batch, c.channels, c.height, c.width) for c in cases]
    assert len(found) == len(wanted)
    assert set(found) == wanted
    assert len(list(grids[0].cases("cpu", "relu"))) == len(grids[0])


@given(CASES, st.integers(1, 2**44))
def test_larger_tensors_never_fit_better(case: Case, memory_bytes: int) -> None:
    doubled = replace(case, batch=2 * case.batch)
    assert fits(case, memory_bytes) >= fits(doubled, memory_bytes)
    assert fits(case)
    # A training step keeps several tensors of the input's size.
    assert not fits(case, 8 * case.input_bytes)


@given(st.lists(GRIDS, min_size=1, max_size=2), st.integers(1, 600))
def test_thin(grids: list[Grid], most_cases: int) -> None:
    ends = sum(
        len(grid.activations)
        * len(grid.phases)
        * prod(min(2, len(getattr(grid, axis))) for axis in SIZE_AXES)
        for grid in grids
    )
    if ends > most_cases:
        with pytest.raises(ValueError, match=f"^budget for {most_cases} cases .* axis are {ends};"):
            thin(grids, most_cases)
        return
    thinned = thin(grids, most_cases)
    assert sum(map(len, thinned)) <= most_cases
    assert len(thinned) == len(grids)
    for before, after in zip(grids, thinned, strict=True):
        kept = {axis: getattr(after, axis) for axis in SIZE_AXES}
        assert astuple(replace(before, **kept)) == astuple(after)
        for axis in SIZE_AXES:
            _check_even(getattr(before, axis), getattr(after, axis))


def _check_even(before: tuple[object, ...], after: tuple[object, ...]) -> None:
    positions = [before.index(value) for value in after]
    assert positions[0] == 0
    assert positions[-1] == len(before) - 1
    gaps = [late - early for early, late in pairwise(positions)]
    assert all(gap > 0 for gap in gaps)
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


@given(GRIDS)
def test_a_large_enough_budget_changes_nothing(grid: Grid) -> None:
    assert thin([grid], len(grid)) == (grid,)


@given(st.integers(2, 40), st.integers(2, 60))
def test_thinning_gives_up_no_more_than_it_must(length: int, most_cases: int) -> None:
    grid = Grid(activations=("a",), phases=("inference",), channels=tuple(range(1, length + 1)))
    (thinned,) = thin([grid], most_cases)
    assert len(thinned) == min(length, most_cases)
