"""What people write in a forward pass still happens in a swapped network, and nothing else does."""

import copy
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.profiler import profile, record_function
from torch.utils.checkpoint import checkpoint
from torchvision.models.feature_extraction import create_feature_extractor

from dynact.activations.dynamic import DyReLUB
from dynact.cost import saved_for_backward
from dynact.networks import GATE, find_sites, swap_activations
from dynact.networks.swap import swap_to_compare
from dynact.networks.turns import Turns

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """What the blocks here are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.second = nn.Conv2d(3, 3, 1)
        self.relu = nn.ReLU()


class FrozenStem(Block):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = functional.relu(self.first(x))
        return self.relu(self.relu(self.second(x)))


class FrozenBySwitch(Block):
    def forward(self, x: Tensor) -> Tensor:
        torch.set_grad_enabled(False)
        x = functional.relu(self.first(x))
        torch.set_grad_enabled(True)
        return self.second(x)


class FrozenByDecorator(Block):
    @torch.no_grad()
    def stem(self, x: Tensor) -> Tensor:
        return self.relu(self.first(self.relu(x)))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(self.stem(x)))


class Autocast(Block):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return functional.relu(self.first(self.relu(self.second(self.relu(x)))))


class OptionalArgument(nn.Module):
    class Part(Block):
        def forward(self, x: Tensor, skip: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
            if skip is None:
                skip = x
            return self.relu(self.second(self.relu(self.first(x))) + skip) * scale

    def __init__(self) -> None:
        super().__init__()
        self.part = self.Part()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.part(x, scale=2.0)
        z: Tensor = y + 1
        return z


class LayerDrop(Block):
    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.rand(()).item() < 0.5:
            return x
        return x + self.relu(functional.relu(self.first(x)) + self.relu(x))


class LayerDropByHost(Block):
    def forward(self, x: Tensor) -> Tensor:
        if self.training and random.random() < 0.5:
            return x
        return x + functional.relu(functional.relu(self.first(x)) - 1)


class Counts(Block):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))
        self.seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        self.seen = functional.relu(self.first(x))
        return functional.dropout(self.seen, 0.5, self.training) + torch.rand(1)


class Annotated(Block):
    def forward(self, x: Tensor) -> Tensor:
        with record_function("stem"):
            x = functional.relu(self.first(x))
        with record_function("head"):
            return self.relu(self.relu(self.second(x)))


class DependsOnValues(Block):
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x) if x.sum() > 0 else functional.relu(self.first(-x))


class InPlace(Block):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x), inplace=True)
        return self.relu(self.second(self.relu(self.first(x)))) + x


class InPlaceShortcut(Block):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(functional.relu(self.first(functional.relu(x, inplace=True)))) + x


class AsStatement(Block):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x.relu_()
        return self.relu(self.second(x))


class InPlaceView(Block):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        functional.relu(x[:, :2], inplace=True)
        return self.relu(self.second(x))


class InPlaceAndPutIn(Block):
    def forward(self, x: Tensor) -> Tensor:
        both = torch.zeros(2, 6, 8, 8)
        x = self.first(x)
        both[:, 3:] = self.second(functional.relu(x, inplace=True))
        both[:, :3] = x
        return self.relu(both)


@dataclass
class Features:
    before: Tensor
    after: Tensor


class InPlaceAndInAClass(Block):
    def forward(self, x: Tensor) -> Features:
        x = self.first(x)
        return Features(x, self.relu(self.second(functional.relu(x, inplace=True))))


class InPlaceAndKept(Block):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        self.seen = [x]
        return self.relu(self.second(functional.relu(x, inplace=True)))


class InPlaceAndReturned(Block):
    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.first(x)
        return [x, self.second(functional.relu(x, inplace=True))]


class Helpers(Block):
    """Activations by a function of the module, by a stored function, and within a lambda."""

    def __init__(self) -> None:
        super().__init__()
        self.act = functional.relu

    def forward(self, x: Tensor) -> Tensor:
        def head(x: Tensor) -> Tensor:
            return torch.relu(self.second(x))

        return head(self.act(by_module(self.first(x))))


def by_module(x: Tensor) -> Tensor:
    return functional.relu(x - 0.5)


class Mixed(Block):
    """Functions of its own among activations of its children, at all depths."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), Helpers(), nn.BatchNorm2d(3))
        self.listed = nn.ModuleList([nn.ReLU(), LayerDrop()])

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.deep(x)) - self.listed[0](x)
        return functional.relu(self.listed[1](x))


class OneReluTwice(nn.Sequential):
    def __init__(self) -> None:
        relu = nn.ReLU()
        super().__init__(nn.Conv2d(3, 4, 1), relu, nn.Conv2d(4, 3, 1), relu)


class Prefixed(nn.Sequential):
    """Goes through its children itself."""

    def __init__(self) -> None:
        relu = nn.ReLU()
        super().__init__(relu, nn.Conv2d(3, 3, 1), relu)

    def forward(self, x: Tensor) -> Tensor:
        for module in self:
            x = functional.relu(module(x)) + x
        return x


class HandWritten(Block):
    """Hard swish, Mish and the tanh form of GELU, as people write them."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x * (functional.relu6(x + 3) / 6)
        x = x * torch.tanh(functional.softplus(x))
        x = 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.044715 * x**3)))
        return self.relu(x)


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.flatten(1, 2))
        return y


def replaced_forward() -> nn.Module:
    parts: Any = Fused()
    parts.forward = parts.fused
    return parts


class Fused(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.fused(x) - 1

    def fused(self, x: Tensor) -> Tensor:
        return functional.relu(self.first(functional.relu(x)))


def traced() -> nn.Module:
    return fx.symbolic_trace(Mixable())


def extractor() -> nn.Module:
    return create_feature_extractor(Mixable(), ["second"])


class Mixable(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.second(self.relu(self.first(x).relu())))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    network.__name__: network
    for network in (
        FrozenStem, FrozenBySwitch, FrozenByDecorator, Autocast, OptionalArgument, LayerDrop,
        LayerDropByHost, Counts, Annotated, DependsOnValues, InPlace, InPlaceShortcut, AsStatement,
        InPlaceView, InPlaceAndPutIn, Helpers, Mixed, OneReluTwice, Prefixed, HandWritten,
        Transformer, replaced_forward, traced, extractor,
    )
}  # fmt: skip


@pytest.fixture(params=NETWORKS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[request.param]()


def pass_of(model: nn.Module, training: bool) -> dict[str, Any]:
    """Return all that can be seen of a pass, forward and backward."""
    model = copy.deepcopy(model).train(training)
    x = IMAGES.clone().requires_grad_()
    torch.manual_seed(1)
    random.seed(1)
    with profile() as profiled:
        outputs = model(x + 0)
    leaves = torch.utils._pytree.tree_leaves(outputs)
    loss = sum(y.float().square().sum() for y in leaves)
    if loss.requires_grad:
        loss.backward()
    return {
        "outputs": leaves,
        "dtypes": [y.dtype for y in leaves],
        "gradients": {name: p.grad for name, p in model.named_parameters()} | {"x": x.grad},
        "buffers": dict(model.named_buffers()),
        "random": (torch.get_rng_state(), str(random.getstate())),
        "ranges": [event.name for event in profiled.events() if event.name in ("stem", "head")],
    }


@pytest.mark.parametrize("training", [False, True])
def test_relu_for_relu_changes_nothing(model: nn.Module, training: bool) -> None:
    swapped, _ = swap_activations(model, "relu", example_input=IMAGES)

    expected, found = pass_of(model, training), pass_of(swapped, training)

    for what in expected:
        alike = torch.utils._pytree.tree_map(same, expected[what], found[what])
        assert all(torch.utils._pytree.tree_leaves(alike)), what


def test_what_is_timed_beside_it_does_nothing_new_either(model: nn.Module) -> None:
    swapped, baseline, _ = swap_to_compare(model, "silu", example_input=IMAGES)

    expected, found = pass_of(model, True), pass_of(baseline, True)

    for what in expected:
        alike = torch.utils._pytree.tree_map(same, expected[what], found[what])
        assert all(torch.utils._pytree.tree_leaves(alike)), what
    # The same is done about a call on both sides.
    for network in (swapped, baseline):
        hooks = [len(module._forward_hooks) for module in network.modules()]
        turns = [module._calls for module in network.modules() if isinstance(module, Turns)]
        found[id(network)] = sorted(hooks), turns
    assert found[id(swapped)][1] == found[id(baseline)][1]
    assert sum(found[id(swapped)][0]) == sum(found[id(baseline)][0])


def same(expected: object, found: object) -> bool:
    if isinstance(expected, Tensor):
        return isinstance(found, Tensor) and torch.equal(found, expected)
    return found == expected


def test_nor_the_network_nor_a_random_number(model: nn.Module) -> None:
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    python = random.getstate()

    swapped, _ = swap_activations(model, "relu", example_input=IMAGES)

    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python
    for network in (model, swapped):
        after = network.state_dict()
        assert all(torch.equal(after[key], before[key]) for key in before)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("name", ["InPlace", "Mixed", "OneReluTwice", "Helpers"])
def test_nor_what_is_kept_for_backward(name: str) -> None:
    original = NETWORKS[name]()
    swapped, _ = swap_activations(original, "relu", example_input=IMAGES)
    expected = saved_for_backward(original, IMAGES)
    assert saved_for_backward(swapped, IMAGES) == expected


@pytest.mark.parametrize("name", ["FrozenStem", "Mixed", "OptionalArgument", "traced", "extractor"])
def test_a_second_swap_finds_what_the_first_left(name: str) -> None:
    original = NETWORKS[name]()
    sites = [site.name for site in find_sites(original, IMAGES)]
    half, _ = swap_activations(original, "silu", slice(0, None, 2), example_input=IMAGES)
    whole, _ = swap_activations(
        half, "silu", lambda site: site.original == "relu", example_input=IMAGES
    )
    at_once, _ = swap_activations(original, "silu", example_input=IMAGES)
    assert len(sites) == len(find_sites(whole, IMAGES))
    for training in (False, True):
        expected, found = pass_of(at_once, training), pass_of(whole, training)
        assert all(map(torch.equal, found["outputs"], expected["outputs"]))


def test_what_is_set_later_counts() -> None:
    class Scaled(Block):
        temperature = 31.0

        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(self.first(self.relu(self.relu(x)))) / self.temperature

    swapped: Any
    swapped, _ = swap_activations(Scaled().eval(), "silu", example_input=IMAGES)
    before = swapped(IMAGES)
    swapped.temperature = 1.0
    torch.testing.assert_close(swapped(IMAGES), before * 31)


def test_new_layers_learn_where_a_forward_was_replaced() -> None:
    swapped, swaps = swap_activations(NETWORKS["replaced_forward"](), "frelu", example_input=IMAGES)
    torch.autograd.backward(swapped.train()(IMAGES).sum())
    new = [p for name, p in swapped.named_parameters() if name.startswith("relu")]
    assert [swap.activation for swap in swaps if swap.site.height] == ["frelu"] * 2
    assert len(new) == 8
    assert all(parameter.grad is not None for parameter in new)


@pytest.mark.parametrize(
    "build",
    [
        InPlaceShortcut, AsStatement, InPlaceView, InPlaceAndPutIn, InPlaceAndInAClass,
        InPlaceAndKept,
    ],
)  # fmt: skip
def test_an_input_that_is_read_again_after_it_was_written_into_is_named(
    build: Callable[[], nn.Module],
) -> None:
    _, swaps = swap_activations(build(), "silu", example_input=IMAGES)
    reasons = [swap.kept_because for swap in swaps]
    assert reasons[0] == "its input, into which it writes, is read again"
    assert reasons[1] == ""


def test_what_torch_compile_hides_is_named() -> None:
    block = nn.Sequential(nn.ReLU(), HiddenInPlace())
    _, swaps = swap_activations(block, "silu", example_input=IMAGES)
    assert [swap.kept_because for swap in swaps] == [
        "", "torch.compile hides that it is called in place, as elu_()",
    ]  # fmt: skip


class HiddenInPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.elu_(x + 0)


class CheckpointWithin(Block):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = checkpoint(lambda x: functional.relu(self.first(x)), x, use_reentrant=False)
        return self.relu(self.second(y))


def test_a_checkpoint_within_a_block_is_named() -> None:
    swapped, swaps = swap_activations(
        nn.Sequential(CheckpointWithin()), "silu", example_input=IMAGES
    )
    assert [swap.kept_because for swap in swaps] == [
        "torch.utils.checkpoint calls it again apart from its block", "",
    ]  # fmt: skip
    torch.autograd.backward(swapped(IMAGES).sum())


def test_what_is_returned_is_read_again() -> None:
    with pytest.raises(ValueError, match="its input, into which it writes, is read again"):
        swap_activations(InPlaceAndReturned(), "silu", example_input=IMAGES)


def test_hand_written_activations_are_gates() -> None:
    sites = find_sites(HandWritten(), IMAGES)
    assert [(site.original, site.obstacle) for site in sites] == [
        ("relu6", GATE), ("softplus", GATE), ("tanh", GATE), ("tanh", GATE), ("relu", ""),
    ]  # fmt: skip


class Attention(Block):
    """Squeeze-and-excitation, and its hard sigmoid written by hand."""

    def __init__(self, expand: bool) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, 5), nn.Linear(5, 3)
        self.expand = expand

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        gate = self.fc2(functional.silu(self.fc1(x.mean((2, 3)))))
        gate = (functional.relu6(gate + 3) / 6)[:, :, None, None]
        return functional.gelu(x * (gate.expand_as(x) if self.expand else gate))


@pytest.mark.parametrize("expand", [False, True])
def test_attention_is_a_gate(expand: bool) -> None:
    sites = find_sites(Attention(expand), IMAGES)
    assert [(site.original, site.obstacle) for site in sites] == [
        ("relu", ""), ("silu", GATE), ("relu6", GATE), ("gelu", ""),
    ]  # fmt: skip


def test_each_index_of_a_sequential_holds_its_layer() -> None:
    swapped, _ = swap_activations(OneReluTwice().eval(), "dyrelu_b", example_input=IMAGES)
    children: Any = dict(swapped.named_children())
    assert list(children) == ["0", "1", "2", "3"]
    assert (children["1"].channels, children["3"].channels) == (4, 3)
    assert torch.equal(nn.Sequential(*children.values())(IMAGES), swapped(IMAGES))


class Heads(Block):
    """One that runs in training alone, and one that nothing calls."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
        self.unused = nn.Sequential(nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        return x + functional.relu(self.auxiliary(x)) if self.training else x


def test_heads_that_run_in_training_only_are_found() -> None:
    swapped, swaps = swap_activations(Heads(), "dyrelu_b", example_input=IMAGES[:1])
    assert [(swap.site.name, swap.kept_because) for swap in swaps] == [
        ("relu#1", ""), ("auxiliary.1", ""), ("relu#2", ""),
        ("unused.0", "the example's pass does not call it"),
    ]  # fmt: skip
    torch.autograd.backward(swapped.train()(IMAGES).sum())
    assert sum(isinstance(module, DyReLUB) for module in swapped.modules()) == 3
    assert all(parameter.grad is not None for name, parameter in swapped.named_parameters()
               if not name.startswith("second"))  # fmt: skip


def test_a_call_that_the_example_did_not_make_is_not_missed() -> None:
    class Loop(Block):
        times = 2

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(self.times):
                x = self.relu(self.first(x))
            return x

    swapped: Any
    swapped, _ = swap_activations(Loop(), "silu", example_input=IMAGES)
    swapped.times = 3
    with pytest.raises(RuntimeError, match="more often in it than the 2 times"):
        swapped(IMAGES)
    # It starts again after that.
    swapped.times = 2
    assert swapped(IMAGES).shape == IMAGES.shape


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (lambda: nn.Sequential(nn.ReLU(), torch.jit.script(nn.Conv2d(3, 3, 1))),
         "'1', a part of the network, is compiled by torch.jit; swap before that"),
        (lambda: torch.compile(nn.Sequential(nn.ReLU()), backend="eager"),
         "the network is compiled; swap before torch.compile"),
        (lambda: nn.Sequential(torch.compile(nn.ReLU(), backend="eager")),
         "'0', a part of the network, is compiled; swap before torch.compile"),
    ],
)  # fmt: skip
def test_what_is_compiled_is_refused(build: Callable[[], nn.Module], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        swap_activations(build(), "silu", example_input=IMAGES)


def test_what_cannot_be_copied_is_refused() -> None:
    network = nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(3, 4, 1)), nn.ReLU())
    torch.autograd.backward(network(IMAGES).sum())
    with pytest.raises(ValueError, match="cannot be copied; swap before its first step") as caught:
        swap_activations(network, "silu", example_input=IMAGES)
    assert "\n" not in str(caught.value)


WORKING = ("FrozenStem", "OptionalArgument", "Mixed", "Helpers", "Annotated", "InPlace")


@pytest.fixture(params=WORKING)
def dynamic(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    swapped, _ = swap_activations(NETWORKS[request.param](), "dyrelu_b", example_input=IMAGES)
    return swapped.eval()


def test_it_compiles_whole(dynamic: nn.Module) -> None:
    torch.compiler.reset()
    compiled = torch.compile(dynamic, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(compiled(IMAGES), dynamic(IMAGES))


def test_it_exports(dynamic: nn.Module) -> None:
    exported = torch.export.export(dynamic, (IMAGES,)).module()
    torch.testing.assert_close(exported(IMAGES), dynamic(IMAGES))


def test_it_can_be_saved_whole_and_copied(dynamic: nn.Module, tmp_path: Any) -> None:
    torch.save(dynamic, tmp_path / "network.pt")
    loaded = torch.load(tmp_path / "network.pt", weights_only=False)
    expected = dynamic(IMAGES)
    assert torch.equal(loaded(IMAGES), expected)
    copied = copy.deepcopy(dynamic)
    for parameter in dynamic.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(copied(IMAGES), expected)


def test_it_can_be_checkpointed_by_the_block(dynamic: nn.Module) -> None:
    gradients = []
    for use in (False, True):
        x = IMAGES.clone().requires_grad_()
        y = checkpoint(dynamic, x, use_reentrant=False) if use else dynamic(x)
        y.sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


def test_replicas_in_threads_use_layers_of_their_own(dynamic: nn.Module) -> None:
    """As DataParallel makes them: they share the dictionaries of hooks."""
    replicas = [replica(dynamic) for _ in range(2)]
    inputs = [IMAGES, IMAGES.flip(0)]
    expected = [dynamic(x) for x in inputs]
    for _ in range(10):
        with ThreadPoolExecutor() as threads:
            found = threads.map(lambda made, x: made(x), replicas, inputs)
        assert all(map(torch.equal, found, expected))


def replica(module: Any) -> Any:
    made = module._replicate_for_data_parallel()
    for name, child in module._modules.items():
        made._modules[name] = None if child is None else replica(child)
    for kind in ("_parameters", "_buffers"):
        for name, tensor in getattr(module, kind).items():
            if tensor is not None:
                setattr(made, name, tensor.detach().clone())
    return made
