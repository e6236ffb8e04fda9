"""Several activations of a network replaced, each by one of its own."""

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dynact.activations.dynamic import DyReLUB
from dynact.networks import find_sites
from dynact.networks.swap import swap_activations, swap_to_compare
from tests.networks.samples import EveryWay

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class AsModules(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu, self.silu = nn.ReLU(), nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x - 1) + 3 * self.silu(x)


class AsFunctions(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x - 1) + 3 * functional.silu(x)


@pytest.mark.parametrize("network", [AsModules(), AsFunctions()], ids=("modules", "functions"))
def test_two_that_change_places_do_so_once(network: nn.Module) -> None:
    swapped, swaps = swap_activations(
        network, {"relu": "silu", "silu": "relu"}, example_input=IMAGES
    )

    assert [(swap.site.original, swap.activation) for swap in swaps] == [
        ("relu", "silu"), ("silu", "relu"),
    ]  # fmt: skip
    exchanged = functional.silu(IMAGES - 1) + 3 * functional.relu(IMAGES)
    torch.testing.assert_close(swapped(IMAGES), exchanged)
    torch.testing.assert_close(network(IMAGES), AsFunctions()(IMAGES))


def test_new_layers_call_their_own_activations_beside_functions_that_are_replaced() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.silu = nn.SiLU()

        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(x) + self.silu(x)

    network = nn.Sequential(Both())

    swapped, baseline, swaps = swap_to_compare(
        network, {"relu": "mish", "silu": "dyrelu_b"}, example_input=IMAGES
    )

    # A ReLU is within DY-ReLU-B.
    (dyrelu_b,) = (swap.layer for swap in swaps if swap.activation == "dyrelu_b")
    assert dyrelu_b is not None
    torch.testing.assert_close(swapped(IMAGES), functional.mish(IMAGES) + dyrelu_b(IMAGES))
    assert torch.equal(baseline(IMAGES), network(IMAGES))


def test_where_selects_among_those_that_are_named() -> None:
    names = {"relu": "silu", "silu": "relu"}

    _, swaps = swap_activations(AsModules(), names, slice(1), example_input=IMAGES)

    assert [swap.kept_because for swap in swaps] == ["", "not selected"]
    with pytest.raises(ValueError, match=r"^where selects no call of silu$"):
        swap_activations(AsModules(), {"silu": "relu"}, slice(1), example_input=IMAGES)


def test_each_goes_where_the_one_is_that_it_replaces() -> None:
    network = EveryWay()
    sites = find_sites(network, IMAGES)

    _, swaps = swap_activations(network, {"relu": "prelu", "elu": "mish"}, example_input=IMAGES)

    assert [swap.site for swap in swaps] == sites
    new = {"relu": "prelu", "elu": "mish"}
    for swap in swaps:
        original = swap.site.original
        assert swap.activation == new.get(original, original)
        assert swap.kept_because == ("" if original in new else "not selected")


def test_a_name_alone_replaces_all_and_in_the_implementation_asked_for() -> None:
    swapped, swaps = swap_activations(EveryWay(), "dyrelu_b", example_input=IMAGES, impl="lines")

    assert {swap.activation for swap in swaps} == {"dyrelu_b"}
    new = [layer for layer in swapped.modules() if isinstance(layer, DyReLUB)]
    assert len(new) == len(swaps)
    assert {type(layer).__name__ for layer in new} == {"LinesDyReLUB"}


@pytest.mark.parametrize(
    ("swaps", "message"),
    [
        ({}, "no activation is named to take the place of another"),
        ({"mish": "frelu"}, "the network calls no 'mish'; it calls relu, silu"),
        ({"reLU": "frelu"}, "the network calls no 'reLU'; it calls relu, silu"),
        ({"relu": "frellu"}, "unknown activation 'frellu'; did you mean frelu"),
        ({"relu": "silu", "silu": "frellu"}, "unknown activation 'frellu'"),
        ("frellu", "unknown activation 'frellu'"),
    ],
)
def test_a_mistake_is_told_in_one_line(swaps: "str | dict[str, str]", message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        swap_activations(AsModules(), swaps, example_input=IMAGES)

    assert "\n" not in str(caught.value)


def test_calls_are_selected_by_their_numbers() -> None:
    sites = find_sites(EveryWay(), IMAGES)

    _, swaps = swap_activations(EveryWay(), "prelu", "sites:1+3", example_input=IMAGES)

    assert [swap.site for swap in swaps if not swap.kept_because] == [sites[0], sites[2]]
    too_far = f"sites:2-99 names call 99, and the network makes {len(sites)} of activations"
    with pytest.raises(ValueError, match=f"^{too_far}$"):
        swap_activations(EveryWay(), "prelu", "sites:2-99", example_input=IMAGES)
