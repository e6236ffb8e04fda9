"""Which layers explain a network, by a network that is known."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from dynact.networks import architectures
from dynact.schema.cases import NetworkCase, SiteCase
from dynact.sweep.networks import Shape, at_shapes, own_networks, plan_networks, shapes_of
from dynact.sweep.presets import Grid, NetworkGrid


def sites(case: NetworkCase) -> list[dict[str, Any]]:
    """Answer with two equal sites, another one and, but for FReLU, a fully connected one."""
    side = case.image_size // 2
    found = [
        {"name": name, "original": "relu6", "channels": 8, "height": side, "width": side}
        for name in ("a", "b")
    ]
    found.append({"name": "c", "original": "relu", "channels": 4, "height": 3, "width": 5})
    if case.activation != "frelu":
        head: dict[str, Any] = {"channels": 10, "height": None, "width": None}
        found.append({"name": "d", "original": "relu", **head})
    return found


def test_each_shape_is_measured_once_against_what_was_there() -> None:
    grid = NetworkGrid(("lenet",), ("frelu", "dyrelu_b"), phases=("training",), batches=(2,))

    plan = plan_networks(grid, "cpu", sites)

    assert [case.activation for case in plan.cases] == ["frelu", "dyrelu_b"]
    assert {case: len(there) for case, there in plan.everywhere.items()} == dict(
        zip(plan.cases, (3, 4), strict=True)
    )
    expected = [
        ("frelu", 8, 16, 16, "relu6"), ("frelu", 4, 3, 5, "relu"),
        ("dyrelu_b", 8, 16, 16, "relu6"), ("dyrelu_b", 4, 3, 5, "relu"),
        ("dyrelu_b", 10, 1, 1, "relu"),
    ]  # fmt: skip
    assert plan.sites == tuple(
        SiteCase(
            name, "reference", "training", "eager", "float32", "contiguous", 2,
            channels, height, width, "cpu", baseline,
        )
        for name, channels, height, width, baseline in expected
    )  # fmt: skip


def test_a_network_is_asked_once_for_all_phases_dtypes_and_batches() -> None:
    asked: list[NetworkCase] = []

    def ask(case: NetworkCase) -> list[dict[str, Any]]:
        asked.append(case)
        return sites(case)

    grid = NetworkGrid(("lenet",), ("frelu",), dtypes=("float32", "bfloat16"), batches=(1, 2, 4))
    plan = plan_networks(grid, "cpu", ask)

    assert len(asked) == 1
    assert len(plan.cases) == 12
    assert {(case.phase, case.dtype, case.batch) for case in plan.sites} == {
        (case.phase, case.dtype, case.batch) for case in plan.cases
    }


def test_the_users_own_is_asked_in_each_dtype_and_batch_it_is_timed_in() -> None:
    asked: list[NetworkCase] = []

    def ask(case: NetworkCase) -> list[dict[str, Any]]:
        asked.append(case)
        return []

    grid = NetworkGrid(("a:B",), ("frelu",), dtypes=("float32", "bfloat16"), batches=(2, 4))
    plan_networks(grid, "cpu", ask)

    assert [(case.dtype, case.batch) for case in asked] == [
        *(("float32", 2), ("float32", 4), ("bfloat16", 2), ("bfloat16", 4)),
    ]  # fmt: skip


def test_a_placement_that_a_network_has_not_costs_no_other() -> None:
    def ask(case: NetworkCase) -> list[dict[str, Any]]:
        if case.network == "lenet":
            raise ValueError("no 'paper' placement")
        return sites(case)

    grid = NetworkGrid(("lenet", "resnet18"), ("frelu",), placements=("paper",))
    plan = plan_networks(grid, "cpu", ask)

    assert {case.network for case in plan.cases} == {"resnet18"}
    assert plan.left_out == ("lenet, frelu: no 'paper' placement",)
    with pytest.raises(ValueError, match=r"^lenet, frelu: no 'paper' placement$"):
        plan_networks(NetworkGrid(("lenet",), ("frelu",), ("paper",)), "cpu", ask)


def test_what_has_no_place_in_networks_is_left_out_and_nobody_is_asked() -> None:
    grid = NetworkGrid(("lenet", "resnet18"), ("swiglu", "frelu", "relu_inplace"))

    plan = plan_networks(grid, "cpu", sites)

    assert {case.activation for case in (*plan.cases, *plan.sites)} == {"frelu"}
    wide, written = "its input has twice the channels of its output", "it writes into its input"
    assert [line.split(", which")[0] for line in plan.left_out] == [
        *(f"lenet, swiglu: {wide}", f"lenet, relu_inplace: {written}"),
        *(f"resnet18, swiglu: {wide}", f"resnet18, relu_inplace: {written}"),
    ]
    # Their layers alone can be measured all the same.
    nothing = plan_networks(NetworkGrid(("lenet",), ("swiglu",)), "cpu", sites)
    assert (nothing.cases, len(nothing.left_out)) == ((), 1)


@pytest.mark.parametrize("placement", ["all", "official"])
def test_what_has_no_place_in_a_network_is_left_out_with_its_name(placement: str) -> None:
    def ask(case: NetworkCase) -> list[dict[str, Any]]:
        if (case.network, case.activation) == ("vit_b_16", "frelu"):
            raise ValueError("'frelu' cannot be placed anywhere; gelu: no maps")
        return sites(case)

    grid = NetworkGrid(("lenet", "vit_b_16"), ("frelu", "relu"), (placement,), ("training",))
    plan = plan_networks(grid, "cpu", ask)

    line = "vit_b_16, frelu: 'frelu' cannot be placed anywhere; gelu: no maps"
    assert [(case.network, case.activation) for case in plan.cases] == [
        *(("lenet", "frelu"), ("lenet", "relu"), ("vit_b_16", "relu")),
    ]  # fmt: skip
    assert plan.left_out == (line,)
    with pytest.raises(ValueError, match=f"^{line}$"):
        plan_networks(replace(grid, networks=("vit_b_16",), activations=("frelu",)), "cpu", ask)


def test_a_phase_in_which_a_network_fails_costs_no_other() -> None:
    grid = NetworkGrid(("a:B", "lenet"), ("frelu", "acon_c"))
    failed = {("a:B", "training"): "a:B fails; --loss-from takes another"}

    plan = plan_networks(grid, "cpu", sites, failed)

    assert plan.left_out == ("a:B fails; --loss-from takes another; training is left out",)
    assert {(case.network, case.phase) for case in plan.cases} == {
        ("a:B", "inference"), ("lenet", "inference"), ("lenet", "training"),
    }  # fmt: skip
    nothing_else = replace(grid, networks=("a:B",), phases=("training",))
    with pytest.raises(ValueError, match=r"^a:B fails; --loss-from takes another$"):
        plan_networks(nothing_else, "cpu", sites, failed)


def test_shapes_are_counted_over_all_networks_at_no_more_than_their_own_size() -> None:
    asked = {}

    def shapes_in(network: str, image_size: int, sample: str) -> dict[Shape, int]:
        asked[network] = image_size
        assert not sample
        return {(8, image_size, image_size): 2, (4, 3, 5): 1}

    found = shapes_of(["lenet", "resnet18"], 224, shapes_in)

    assert asked == {"lenet": 32, "resnet18": 224}
    assert found == Counter({(8, 32, 32): 2, (8, 224, 224): 2, (4, 3, 5): 2})


def test_shapes_of_the_users_own_are_those_of_its_sample() -> None:
    found = shapes_of(["a:B"], 224, lambda *asked: {(8, 2, 3): len(asked[2])}, "3x48x64")

    assert found == Counter({(8, 2, 3): len("3x48x64")})


def test_a_network_without_maps_has_no_shapes() -> None:
    with pytest.raises(ValueError, match=r"^a:B calls no activation on maps \(N, C, H, W\)$"):
        shapes_of(["a:B"], 224, lambda *_: {})


def test_of_the_users_own_each_is_tried_once_a_phase_on_what_it_takes() -> None:
    grid = NetworkGrid(
        ("lenet", "a:B", "a:B(c=1)"), ("frelu", "acon_c"), batches=(2, 8),
        own_sample="3x48x64", own_loss="a:loss",
    )  # fmt: skip

    tried = own_networks(grid, "cpu")

    assert {(case.network, case.phase, case.batch) for case in tried} == {
        (name, phase, 2) for name in ("a:B", "a:B(c=1)") for phase in ("inference", "training")
    }
    assert {(case.image_size, case.sample, case.loss) for case in tried} == {
        (0, "3x48x64", "a:loss")
    }
    # What is declared takes what it always did.
    declared = [case for case in grid.cases("cpu") if case.network == "lenet"]
    assert {(case.image_size, case.sample, case.loss) for case in declared} == {(32, "", "")}


def test_networks_of_timm_take_their_own_size_and_nothing_of_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {"timm:conv": (288, False), "timm:vit": (384, True)}
    monkeypatch.setattr(architectures, "_timm_size", sizes.__getitem__)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: True)
    grid = NetworkGrid(
        (*sizes, "a:B"), ("frelu",), phases=("training",), own_sample="1x8x8", own_loss="a:loss"
    )

    taken = [
        [(case.image_size, case.sample, case.loss) for case in each.cases("cpu")]
        for each in (grid, replace(grid, timm_image_size=64))
    ]

    of_own = (0, "1x8x8", "a:loss")
    assert taken[0] == [(288, "", ""), (384, "", ""), of_own]
    assert taken[1] == [(64, "", ""), (384, "", ""), of_own]


def test_a_site_that_is_no_layer_by_itself_is_not_measured() -> None:
    found = [
        {"name": "a", "original": "tanh", "channels": 8, "height": 4, "width": 4},
        {"name": "b", "original": "silu", "channels": 0, "height": None, "width": None},
        {"name": "c", "original": "silu", "channels": 8, "height": 4, "width": 4},
    ]
    grid = NetworkGrid(("a:B",), ("acon_c",), phases=("training",))

    plan = plan_networks(grid, "cpu", lambda _: found)

    assert [(case.baseline, case.channels) for case in plan.sites] == [("silu", 8)]


def test_a_grid_at_shapes_has_these_alone() -> None:
    grid = Grid(activations=("frelu",), phases=("training",), channels=(1, 2, 3))
    shapes = [(8, 16, 16), (4, 3, 5)]

    cases = [case for at in at_shapes(grid, shapes) for case in at.cases("cpu", "relu")]

    assert [(case.channels, case.height, case.width) for case in cases] == shapes


def test_an_unknown_network_names_near_ones() -> None:
    with pytest.raises(ValueError, match="unknown network 'resnet81'; did you mean resnet18"):
        plan_networks(NetworkGrid(("resnet81",)), "cpu", sites)
    with pytest.raises(ValueError, match="unknown network 'lent'; did you mean lenet"):
        shapes_of(["lent"], 224, lambda _network, _size: {})


def test_what_a_network_does_not_call_is_told_with_its_name_and_the_option() -> None:
    def ask(case: NetworkCase) -> list[dict[str, Any]]:
        assert case.replaced == "relu+silu"
        raise ValueError("the network calls no 'silu'; it calls relu")

    message = r"^--replace: resnet18: the network calls no 'silu'; it calls relu$"
    with pytest.raises(ValueError, match=message):
        plan_networks(NetworkGrid(("resnet18",), replaced="relu+silu"), "cpu", ask)
