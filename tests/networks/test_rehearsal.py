"""Where a new layer cannot do what the original did, that one stays, and others are replaced."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dynact.networks import swap_activations
from dynact.networks.swap import Swap
from tests.networks.test_idioms import IMAGES, Block
from tests.networks.test_pitfalls import ten_times


def kept(swaps: list[Swap]) -> dict[str, str]:
    return {swap.site.name: swap.kept_because for swap in swaps if swap.kept_because}


class Sharing(Block):
    """Takes an activation from a dictionary that others have too."""

    def __init__(self, shared: nn.ModuleDict) -> None:
        super().__init__()
        self.shared = shared

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.second(self.shared["leaky"](self.first(x))))


def test_blocks_that_share_a_dictionary_of_activations() -> None:
    shared = nn.ModuleDict({"leaky": nn.LeakyReLU(0.2)})
    model = nn.Sequential(Sharing(shared), Sharing(shared), nn.SiLU())

    swapped, swaps = swap_activations(model, "relu6", example_input=IMAGES)

    assert kept(swaps) == {
        "0.shared.leaky": "another in its place is called 0 times in a pass, not once",
        "1.shared.leaky": "another in its place is called 2 times in a pass, not once",
    }
    x = IMAGES
    for block in (model.get_submodule("0"), model.get_submodule("1")):
        x = functional.leaky_relu(block.get_submodule("first")(x), 0.2)
        x = functional.relu6(block.get_submodule("second")(x))
    assert torch.equal(swapped(IMAGES), functional.relu6(x))


class InAHook(Block):
    """A hook calls the same function as the block, which is given turns for its own calls alone."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 3, 1), nn.SiLU())
        self.inner.register_forward_pre_hook(lambda _, args: (functional.relu(args[0]),))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.inner(self.first(x)))


def test_a_hook_that_calls_activations() -> None:
    model = InAHook()

    swapped, swaps = swap_activations(model, "relu6", example_input=IMAGES)

    assert kept(swaps) == {
        "relu#1": "it takes turns with relu#2, which stays",
        "relu#2": "another in its place is called 0 times in a pass, not once",
        "relu": "the example's pass does not call it",
    }
    conv = model.get_submodule("inner.0")
    x = functional.relu6(conv(functional.relu(model.first(IMAGES))))
    assert torch.equal(swapped(IMAGES), functional.relu(x))


class ByName(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.relu(input=self.first(x)))


class Looks(Block):
    """Reads what only its own activation has."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        return self.second(x) if self.relu.inplace else x


class ListThatWrites(nn.Sequential):
    """Writes into what the first of its children returned, by a function."""

    def __init__(self) -> None:
        super().__init__(nn.Tanh(), nn.Conv2d(3, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self[1](functional.hardtanh(self[0](x), 0.0, 0.5, inplace=True))
        return y


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (ByName, "its block names the argument in calling it"),
        (Looks, "with another in its place its block fails: AttributeError: "),
    ],
)
def test_a_block_that_no_other_fits(build: Callable[[], nn.Module], reason: str) -> None:
    model = nn.Sequential(build(), nn.ReLU(), nn.Sequential(nn.ReLU(), build()))

    swapped, swaps = swap_activations(
        model, "tests.networks.test_pitfalls:TenTimes", example_input=IMAGES
    )

    assert kept(swaps).keys() == {"0.relu", "2.1.relu"}
    assert all(each.startswith(reason) for each in kept(swaps).values())
    first, _, (_, last) = model.children()
    expected = last(ten_times(ten_times(first(IMAGES))))
    assert torch.equal(swapped(IMAGES), expected)
    with pytest.raises(ValueError, match=re.escape(f"cannot be placed anywhere; relu: {reason}")):
        swap_activations(build(), "silu", example_input=IMAGES)


def test_what_a_function_in_a_list_writes_into_is_left_to_it() -> None:
    model = nn.Sequential(ListThatWrites(), nn.ReLU())

    swapped, swaps = swap_activations(model, "silu", example_input=IMAGES)

    assert kept(swaps) == {
        "0.0": "a function in a list of layers writes into what it needs",
        "0.hardtanh": "a function in a list of layers, which can hold no other",
    }
    assert torch.equal(swapped(IMAGES), functional.silu(model[0](IMAGES)))


class ListThatWritesOnce(nn.Sequential):
    """Calls an activation that has parameters twice, and writes into what it returned last."""

    def __init__(self) -> None:
        super().__init__(nn.PReLU(3), nn.Conv2d(3, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = functional.hardtanh(self[0](self[1](self[0](x))), inplace=True)
        return y


def test_and_with_it_stay_the_other_calls_of_the_same_parameters() -> None:
    _, swaps = swap_activations(
        nn.Sequential(ListThatWritesOnce(), nn.ReLU()), "silu", example_input=IMAGES
    )

    assert [swap.kept_because for swap in swaps] == [
        "its parameters are also those of a call that stays",
        "a function in a list of layers writes into what it needs",
        "a function in a list of layers, which can hold no other",
        "",
    ]
