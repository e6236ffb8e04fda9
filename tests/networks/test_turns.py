"""What Python and torch let one do to a block, they let one do to a block that takes turns."""

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from dynact.networks import swap_activations
from tests.networks.test_idioms import IMAGES
from tests.networks.test_pitfalls import TEN_TIMES, ten_times


class Scaled(nn.Module):
    """Calls an activation as a function, and one module twice."""

    def __init__(self, scale: float = 0.5) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((3, 1, 1), scale))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(functional.relu(x * self.scale) - self.relu(x))

    def another(self) -> nn.Module:
        return type(self)(2.0)

    def forward_fused(self, x: Tensor) -> Tensor:
        return 3 * self.relu(functional.relu(x) - self.relu(x))

    def fuse(self) -> None:
        self.forward = self.forward_fused  # type: ignore[method-assign]


def by(activation: Callable[[Tensor], Tensor], x: Tensor, scale: float = 0.5) -> Tensor:
    return activation(activation(x * scale) - activation(x))


def swapped(model: nn.Module, name: str = TEN_TIMES) -> Any:
    network, swaps = swap_activations(model, name, example_input=IMAGES)
    assert [swap.kept_because for swap in swaps] == 3 * [""]
    return network


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


@pytest.mark.parametrize("first", ["parametrised", "swapped"])
def test_a_parametrisation_comes_and_goes(first: str) -> None:
    model: Any = nn.Sequential(Scaled())
    if first == "parametrised":
        parametrize.register_parametrization(model[0], "scale", Doubled())
    block = swapped(model, "silu")[0]
    if first == "swapped":
        parametrize.register_parametrization(block, "scale", Doubled())
    assert torch.equal(block(IMAGES), by(functional.silu, IMAGES, 1))
    assert torch.equal(copy.deepcopy(block)(IMAGES), by(functional.silu, IMAGES, 1))

    block.parametrizations.scale.original.data.fill_(4)
    again = swapped(nn.Sequential(block))[0]
    assert torch.equal(again(IMAGES), by(ten_times, IMAGES, 8))

    for each, activation in ((block, functional.silu), (again, ten_times)):
        parametrize.remove_parametrizations(each, "scale")
        assert isinstance(each.scale, nn.Parameter)
        assert torch.equal(each(IMAGES), by(activation, IMAGES, 8))
    # And of the block that was given, nothing.
    assert parametrize.is_parametrized(model[0]) == (first == "parametrised")
    scale = 1 if first == "parametrised" else 0.5
    assert torch.equal(model(IMAGES), by(functional.relu, IMAGES, scale))


def test_a_parametrisation_that_goes_from_a_swapped_network_stays_in_the_given_one() -> None:
    model: Any = nn.Sequential(spectral_norm(nn.Conv2d(3, 3, 1)), nn.ReLU()).eval()
    expected = model(IMAGES)
    network, _ = swap_activations(model, "relu", example_input=IMAGES)

    parametrize.remove_parametrizations(network.get_submodule("0"), "weight")

    assert torch.equal(model(IMAGES), expected)
    torch.testing.assert_close(network(IMAGES), expected)


def test_one_of_several_parametrisations_goes() -> None:
    class Linear(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(super().forward(functional.relu(x)))

    model = nn.Sequential(weight_norm(Linear(8, 8)))
    parametrize.register_parametrization(model[0], "bias", Doubled())
    network, _ = swap_activations(model, TEN_TIMES, example_input=IMAGES)
    expected = network(IMAGES)

    for name in ("bias", "weight"):
        parametrize.remove_parametrizations(network.get_submodule("0"), name)
        torch.testing.assert_close(network(IMAGES), expected)


def test_a_block_that_makes_another_of_its_class_makes_one_as_it_was_written() -> None:
    block = swapped(nn.Sequential(Scaled()))[0]

    for another in (block.another(), swapped(nn.Sequential(block.another()))[0].another()):
        assert type(another) is Scaled
        assert torch.equal(another(IMAGES), by(functional.relu, IMAGES, 2))
    assert torch.equal(block(IMAGES), by(ten_times, IMAGES))


def test_a_class_derived_from_a_swapped_blocks_keeps_what_it_adds() -> None:
    model = nn.Sequential(Scaled())
    block: Any = swap_activations(model, "silu", slice(1), example_input=IMAGES)[0][0]

    class Halved(type(block)):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Any:
            return super().forward(x) / 2

    block.__class__ = Halved
    model = nn.Sequential(copy.deepcopy(block))
    network: Any = swap_activations(model, {"relu": "silu"}, example_input=IMAGES)[0]
    assert torch.equal(network(IMAGES), by(functional.silu, IMAGES) / 2)
    network[0].forward = lambda x: -network[0].forward_fused(x)
    assert torch.equal(network(IMAGES), -3 * by(functional.silu, IMAGES, 1))


def replaced_by_itself(block: Any) -> float:
    block.fuse()
    return 1


def wrapped(block: Any) -> float:
    """Wrap it twice, as libraries do that come one after the other."""
    for _ in range(2):
        before = block.forward
        block.forward = lambda x, before=before: 2 * before(x)
    return 0.5


def patched(block: Any) -> float:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block, "forward", lambda x: x)
        assert torch.equal(block(IMAGES), IMAGES)
    return 0.5


def deleted(block: Any) -> float:
    block.fuse()
    del block.forward
    return 0.5


@pytest.mark.parametrize(
    ("change", "times"),
    [(replaced_by_itself, 3), (wrapped, 4), (patched, 1), (deleted, 1)],
)
@pytest.mark.parametrize("when", ["before", "after", "between"])
def test_a_forward_that_is_replaced_runs_and_takes_its_turns(
    change: Callable[[Any], float], times: int, when: str
) -> None:
    model: Any = nn.Sequential(Scaled())
    if when == "between":
        model = swapped(model, "silu")
    if when != "after":
        scale = change(model[0])
        if change is wrapped:
            with pytest.raises(ValueError, match=r"of the network itself, as a lambda does"):
                swapped(model)
            return
    network = swapped(model)
    if when == "after":
        scale = change(network[0])

    expected = times * by(ten_times, IMAGES, scale)
    for _ in range(2):
        assert torch.equal(network(IMAGES), expected)
    if change is not wrapped:
        for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
            assert torch.equal(copied(IMAGES), expected)
    if when == "after":
        torch.compiler.reset()
        compiled: Any = torch.compile(network, backend="eager", fullgraph=True)
        assert torch.equal(compiled(IMAGES), expected)
        assert torch.equal(torch.export.export(network, (IMAGES,)).module()(IMAGES), expected)


def test_a_replaced_forward_may_be_a_compiled_one() -> None:
    network = swapped(nn.Sequential(Scaled()))
    expected = network(IMAGES)

    network[0].forward = torch.compile(network[0].forward, backend="eager", fullgraph=True)

    for _ in range(2):
        assert torch.equal(network(IMAGES), expected)
    with pytest.raises(ValueError, match=r"'0', a part of the network, is compiled; swap before"):
        swapped(network)


def test_a_replaced_forward_is_refused_in_two_threads_at_once() -> None:
    network = swapped(nn.Sequential(Scaled()))
    network[0].fuse()
    expected = network(IMAGES)

    def attempt(_number: int) -> str:
        try:
            return "right" if torch.equal(network(IMAGES), expected) else "wrong"
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(attempt, range(100)))
    assert found <= {
        "right", "a swapped network runs in two threads at once; give each a copy of it",
    }  # fmt: skip
    assert torch.equal(network(IMAGES), expected)


def test_a_replaced_forward_that_fails_leaves_nothing_behind() -> None:
    network = swapped(nn.Sequential(Scaled()))
    expected = network(IMAGES)

    def fails(x: Tensor) -> Tensor:
        functional.relu(x)
        raise KeyboardInterrupt

    network[0].forward = fails
    with pytest.raises(KeyboardInterrupt):
        network(IMAGES)
    del network[0].forward

    assert torch.equal(network(IMAGES), expected)
    assert torch.equal(functional.relu(-torch.ones(2)), torch.zeros(2))
