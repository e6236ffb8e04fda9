"""Presets, which of their sizes come first, and the networks of a preset."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.networks import shapes_in
from dynact.networks.architectures import architecture
from dynact.schema.cases import Case
from dynact.schema.placement import PLACEMENTS
from dynact.sweep.presets import (
    HEADLINE,
    PRESETS,
    Grid,
    NetworkGrid,
    fits,
    growth,
    network_preset,
    preset,
    unique_cases,
)
from tests.sweeping import CASES

SIZE_AXES = ("batches", "channels", "resolutions")
SIZE_LISTS = st.integers(1, 7).map(lambda count: tuple(range(1, count + 1)))
GRIDS = st.builds(
    Grid,
    activations=st.sampled_from((("prelu",), ("prelu", "silu", "a.b:Own"))),
    phases=st.sampled_from((("inference",), ("inference", "training"))),
    batches=SIZE_LISTS,
    channels=SIZE_LISTS,
    resolutions=SIZE_LISTS.map(lambda sides: tuple((side, side) for side in sides)),
)
WAYS = ("reference", "lines", "fused")
ALL = ("relu", "prelu", "frelu", "dyrelu_a")


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
    # Of those that are most asked for, how much is the way they are written.
    impls = Counter((case.activation, case.impl) for case in cases)
    references = dict.fromkeys(((name, "reference") for name in HEADLINE), 2 * (9 + 2))
    assert impls == references | {
        ("dyrelu_b", "lines"): 2 * 9,
        ("dyrelu_b", "fused"): 2 * 9,
        ("frelu", "fused"): 2 * 3,
    }
    # Each height and width is a graph to compile: one shows enough.
    assert {(c.height, c.width) for c in cases if (c.activation, c.impl) == ("frelu", "fused")} == {
        (28, 28)
    }


def test_quick_on_an_accelerator_has_the_same_layers_at_sizes_that_keep_it_busy() -> None:
    small, large = (
        unique_cases(preset("quick", ALL, on_accelerator), "cuda", "relu")
        for on_accelerator in (False, True)
    )
    assert len(small) == len(large)
    assert Counter((c.activation, c.impl, c.phase) for c in small) == Counter(
        (c.activation, c.impl, c.phase) for c in large
    )
    grid = {(c.channels, c.height, c.width) for c in large if c.batch == 32}
    assert grid == {(c, s, s) for c in (64, 256, 512) for s in (56, 28, 14)}
    along = {c.batch for c in large if (c.channels, c.height) == (256, 28)}
    assert along == {8, 32, 128}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, {("relu", "reference"), *(("dyrelu_b", impl) for impl in WAYS)}),
        (("reference",), {("relu", "reference"), ("dyrelu_b", "reference")}),
        (("fused", "lines"), {("dyrelu_b", "fused"), ("dyrelu_b", "lines")}),
    ],
)
def test_a_grid_has_the_implementations_that_its_activations_have(
    asked: tuple[str, ...] | None, found: set[tuple[str, str]]
) -> None:
    grid = Grid(activations=("relu", "dyrelu_b"), impls=asked, batches=(1, 2))
    own = ("a.b:Own", "reference")
    with_own = replace(
        grid, activations=(*grid.activations, "a.b:Own"), own_impls=(("se", "a.b:Fast"),)
    )

    assert {(c.activation, c.impl) for c in grid.cases("cpu", "relu")} == found
    cases = list(with_own.cases("cpu", "relu"))
    assert {(c.activation, c.impl) for c in cases} == found | {
        own,
        ("se", "reference"),
        ("se", "a.b:Fast"),
    }
    assert len(with_own) == len(cases)


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


@given(st.lists(GRIDS, min_size=1, max_size=2))
def test_steps_have_each_case_of_a_grid_once(grids: list[Grid]) -> None:
    steps = growth(grids).steps

    found = [case for step in steps for grid in step for case in grid.cases("cpu", "relu")]
    wanted = [case for grid in grids for case in grid.cases("cpu", "relu")]
    assert Counter(found) == Counter(wanted)
    assert len(steps[0]) == len(grids)
    assert all(len(step) == 1 for step in steps[1:])


@given(GRIDS)
def test_the_ends_of_all_axes_come_first_then_the_middle_of_what_lacks(grid: Grid) -> None:
    growing = growth([grid])

    seen: dict[str, set[object]] = {axis: set() for axis in SIZE_AXES}
    for number, (added,) in enumerate(growing.steps, start=1):
        for axis in SIZE_AXES:
            seen[axis] |= set(getattr(added, axis))
        for axis in SIZE_AXES:
            values = getattr(grid, axis)
            positions = sorted(values.index(value) for value in seen[axis])
            gaps = [late - early for early, late in pairwise(positions)]
            if number >= growing.ends:
                assert {positions[0], positions[-1]} == {0, len(values) - 1}
            assert max(gaps, default=0) <= 2 * min(gaps, default=0) + 1
        if number == growing.ends:
            assert all(len(values) <= 2 for values in seen.values())
        counts = [len(seen[axis]) for axis in SIZE_AXES if seen[axis] < {*getattr(grid, axis)}]
        # None that lacks some has two fewer than another.
        assert not counts or max(counts) - min(counts) <= 1
    assert all(
        replace(added, **{axis: getattr(grid, axis) for axis in SIZE_AXES}) == grid
        for (added,) in growing.steps
    )


def test_small_layers_of_a_large_batch_are_the_first() -> None:
    (standard,) = preset("standard", ALL, False)

    (first,) = growth([standard]).steps[0]

    assert (first.batches, first.channels, first.resolutions) == ((32,), (16,), ((7, 7),))


@pytest.fixture(scope="module")
def shapes() -> set[tuple[int, int, int]]:
    """Return those at which activations occur in the networks that the presets have in mind."""
    networks = ("mobilenet_v2", "mobilenet_v3_large", "resnet50")
    return {shape for network in networks for shape in shapes_in(network, 224)}


@pytest.mark.parametrize("name", PRESETS)
def test_channels_and_resolutions_are_those_of_networks(
    name: str, shapes: set[tuple[int, int, int]]
) -> None:
    for grid in preset(name, ("frelu",), on_accelerator=True):
        assert {*grid.channels} <= {channels for channels, _, _ in shapes}
        assert {*grid.resolutions} <= {(height, width) for _, height, width in shapes}


def test_a_grid_of_networks_is_all_combinations_and_none_gets_more_than_its_own_size() -> None:
    grid = NetworkGrid(
        ("lenet", "resnet18"), placements=("all", "paper"), batches=(1, 8), image_size=64
    )

    cases = list(grid.cases("cpu"))

    assert len(cases) == len(set(cases)) == 2 * 2 * 2 * 2 * 2
    assert {(case.network, case.image_size) for case in cases} == {("lenet", 32), ("resnet18", 64)}
    assert {case.placement for case in cases} == {"all", "paper"} < set(PLACEMENTS)


def test_a_network_s_cases_are_together() -> None:
    networks = [case.network for case in NetworkGrid(("lenet", "resnet18")).cases("cpu")]

    assert networks == sorted(networks)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("on_accelerator", [False, True])
def test_presets_have_networks_at_sizes_they_take(name: str, on_accelerator: bool) -> None:
    cases = list(network_preset(name, on_accelerator).cases("cpu"))

    assert cases
    for case in cases:
        architecture(case.network).check_image_size(case.image_size)
        assert case.image_size <= architecture(case.network).image_size


def test_quick_networks_are_small_on_a_cpu_and_full_on_an_accelerator() -> None:
    small, full = (network_preset("quick", on_accelerator) for on_accelerator in (False, True))

    assert small.networks == full.networks == ("lenet", "mobilenet_v2", "resnet18")
    assert (small.image_size, full.image_size) == (48, 224)
    assert small.batches < full.batches
