"""Network cases, and the presets they come from."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.cases import PRESETS
from dynact.schema.network_cases import PLACEMENTS, NetworkCase, NetworkGrid, network_preset

CASE = NetworkCase("resnet18", "frelu", "all", "training", "float32", 2, 64, "cpu")
SIZES = {"lenet": 32, "mobilenet_v2": 224, "resnet18": 224, "resnet50": 224}


def test_an_id_says_what_was_measured() -> None:
    assert CASE.id == "resnet18-frelu-training-2x3x64x64-float32-cpu"
    assert replace(CASE, placement="paper").id.endswith("-cpu-paper")


@given(
    batch=st.integers(1, 64),
    image_size=st.integers(1, 512),
    placement=st.sampled_from(PLACEMENTS),
    phase=st.sampled_from(["inference", "training"]),
)
def test_ids_are_equal_only_for_equal_cases(
    batch: int, image_size: int, placement: str, phase: str
) -> None:
    other = replace(CASE, batch=batch, image_size=image_size, placement=placement, phase=phase)
    assert (other.id == CASE.id) == (other == CASE)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("placement", "papre", "unknown placement 'papre'; did you mean paper?"),
        ("phase", "test", "unknown phase 'test'"),
        ("dtype", "float23", "unknown dtype 'float23'; did you mean"),
        ("batch", 0, "batch must be at least 1, got 0"),
        ("image_size", -1, "image_size must be at least 1, got -1"),
    ],
)
def test_a_value_that_cannot_be(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=r"\A.*\Z") as raised:
        replace(CASE, **{field: value})
    assert message in str(raised.value)


def test_a_grid_is_all_combinations_and_no_network_gets_more_than_its_own_size() -> None:
    grid = NetworkGrid(
        ("lenet", "resnet18"), placements=("all", "paper"), batches=(1, 8), image_size=64
    )

    cases = list(grid.cases(SIZES, "cpu"))

    assert len(cases) == len(set(cases)) == 2 * 2 * 2 * 2 * 2
    assert {(case.network, case.image_size) for case in cases} == {("lenet", 32), ("resnet18", 64)}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("on_accelerator", [False, True])
def test_presets_have_networks_at_sizes_they_take(name: str, on_accelerator: bool) -> None:
    for case in network_preset(name, on_accelerator).cases(SIZES, "cpu"):
        assert 32 <= case.image_size <= SIZES[case.network]


def test_an_unknown_preset() -> None:
    with pytest.raises(ValueError, match="did you mean quick"):
        network_preset("qick", on_accelerator=False)
