"""A swapped network is the given one but for its activations, and works wherever that one does."""

import copy
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import keypointrcnn_resnet50_fpn, retinanet_resnet50_fpn
from torchvision.models.resnet import Bottleneck

from dynact.activations import create as create_activation
from dynact.activations.dynamic import DyReLUB
from dynact.activations.funnel import FReLU
from dynact.cost import count_parameters
from dynact.networks import (
    GATE,
    Site,
    swap_activations,
    training_loss,
)
from dynact.networks.lenet import LeNet
from tests.networks.samples import (
    HOSTS,
    EveryWay,
    meta_image,
    network,
    smallest_input,
    without_values,
)

# All parameters with DY-ReLU-A, B, C, FReLU with and without bias, and ACON-C at every call.
GOLDEN = {
    "mobilenet_v2": (4847596, 10233344, 10248931, 3691496, 3675944, 3551528),
    "resnet18": (11866612, 12578576, 12582497, 11736360, 11732456, 11701224),
    "resnet50": (28401252, 39799872, 39822641, 25829672, 25806952, 25625192),
}
LAYERS: tuple[tuple[str, dict[str, object]], ...] = (
    ("dyrelu_a", {}), ("dyrelu_b", {}), ("dyrelu_c", {}),
    ("frelu", {}), ("frelu", {"bias": False}), ("acon_c", {}),
)  # fmt: skip

# Of a whole detector's images.
SIDE = 64

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_parameters(name: str) -> None:
    for (activation, options), total in zip(LAYERS, GOLDEN[name], strict=True):
        swapped, swaps = swap_activations(
            network(name), activation, example_input=smallest_input(name), **options
        )
        assert count_parameters(swapped).learnable == total
        assert not any(swap.kept_because for swap in swaps)


@pytest.fixture(params=[retinanet_resnet50_fpn, keypointrcnn_resnet50_fpn])
def detector(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    # No larger than the images, which are then not resized.
    detector: nn.Module = request.param(
        weights=None, weights_backbone=None, min_size=SIDE, max_size=SIDE
    )
    return detector


def test_a_whole_detector_with_its_own_activation_has_the_same_losses(detector: nn.Module) -> None:
    images = list(torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    itself, swaps = swap_activations(detector, "relu", example_input=images)
    other, _ = swap_activations(detector, "silu", example_input=images)

    expected = losses(detector, images)
    assert all(loss > 0 for loss in expected.values())
    assert losses(itself, images) == expected
    # Not because nothing was replaced.
    assert sum(not swap.kept_because for swap in swaps) >= 49
    found = losses(other, images)
    assert all(found[name] != expected[name] for name in expected)


def losses(model: nn.Module, images: list[Tensor]) -> dict[str, float]:
    target = {
        "boxes": torch.tensor([[16.0, 16.0, 48.0, 48.0]]),
        "labels": torch.tensor([1]),
        "keypoints": torch.tensor([[[32.0, 32.0, 1.0]] * 17]),
    }
    torch.manual_seed(0)  # of the proposals that it samples
    found = copy.deepcopy(model).train()(images, [target, target])
    return {name: loss.item() for name, loss in found.items()}


@pytest.mark.parametrize("name", HOSTS)
def test_a_swapped_network_trains_a_step(name: str) -> None:
    model, images = network(name), smallest_input(name)
    torch.manual_seed(0)
    swapped, swaps = swap_activations(model, "dyrelu_b", example_input=images)
    swapped.train()

    loss = training_loss(name, swapped, images)
    torch.autograd.backward(loss)

    assert loss.isfinite()
    new = [module for module in swapped.modules() if isinstance(module, DyReLUB)]
    assert len(new) == sum(not swap.kept_because for swap in swaps)
    for parameter in swapped.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("resnet18", "frelu"),
        ("resnet18", "dyrelu_c"),
        ("resnet18", "maxout"),
        ("mobilenet_v3_small", "acon_c"),
        ("shufflenet_v2_x0_5", "frelu_light"),
    ],
)
def test_new_and_old_activations_train_side_by_side(name: str, activation: str) -> None:
    model, images = network(name), smallest_input(name)
    selected = slice(1, None, 2)
    swapped, swaps = swap_activations(model, activation, selected, example_input=images)
    swapped.train()
    assert {activation, "relu"} <= {swap.activation for swap in swaps}

    torch.autograd.backward(training_loss(name, swapped, images))

    assert all(p.grad is not None and p.grad.isfinite().all() for p in swapped.parameters())


def test_the_values_names_and_classes_of_the_network_stay() -> None:
    model, images = network("resnet50"), smallest_input("resnet50")
    swapped, _ = swap_activations(model, "frelu", example_input=images)

    before, after = model.state_dict(), swapped.state_dict()
    assert [key for key in after if key in before] == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert after["layer1.0.relu.3.conv.weight"].shape == (256, 1, 3, 3)
    for path, module in model.named_modules():
        if not isinstance(module, nn.ReLU):
            assert isinstance(swapped.get_submodule(path), type(module))
    assert not any(isinstance(module, nn.ReLU) for module in swapped.modules())


def test_each_call_has_a_layer_of_its_own() -> None:
    swapped, swaps = swap_activations(
        without_values("resnet50"), "dyrelu_b", example_input=meta_image()
    )
    layers = [module for module in swapped.modules() if isinstance(module, DyReLUB)]
    assert len(layers) == len(swaps) == 49
    assert sorted(layer.channels for layer in layers) == sorted(s.site.channels for s in swaps)


def test_fully_connected_sites_keep_their_activation() -> None:
    swapped, swaps = swap_activations(LeNet(), "frelu", example_input=smallest_input("lenet"))
    # Convolution, its bias and BN, after both convolutions.
    assert count_parameters(swapped).learnable == 62_006 + 12 * 6 + 12 * 16 == 62_270
    assert [(swap.site.name, swap.activation) for swap in swaps] == [
        ("relu1", "frelu"), ("relu2", "frelu"), ("relu3", "relu"), ("relu4", "relu"),
    ]  # fmt: skip
    reason = "the new layer takes maps (N, C, H, W), its input is (N, C)"
    assert [swap.kept_because for swap in swaps[2:]] == [reason, reason]

    _, swaps = swap_activations(LeNet(), "dyrelu_a", example_input=smallest_input("lenet"))
    assert {swap.activation for swap in swaps} == {"dyrelu_a"}


class OfMapsAlone(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4:
            raise IndexError("unreadable")
        y: Tensor = self.conv(x)
        return y


class OfNothing(OfMapsAlone):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[0])


class BySize(nn.Module):
    """Calls an activation on vectors, tokens and clips, and on maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 1), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        vectors = self.fc(x.mean((2, 3))).relu()
        tokens = self.fc(x.flatten(2).transpose(1, 2)).relu()
        clips = x.unflatten(2, (2, -1)).relu()
        return vectors + tokens.sum(1) + clips.sum()


def test_a_layer_of_maps_says_so_where_there_are_none() -> None:
    for name in ("frelu", f"{__name__}:OfMapsAlone"):
        _, swaps = swap_activations(BySize(), name, example_input=torch.randn(2, 3, 8, 4))

        takes = "the new layer takes maps (N, C, H, W), its input is"
        assert [swap.kept_because for swap in swaps] == [
            "", f"{takes} (N, C)", f"{takes} (N, L, C)", f"{takes} (N, C, T, H, W)",
        ]  # fmt: skip

    with pytest.raises(ValueError, match=r"cannot be placed anywhere; .*: IndexError: unreadable"):
        swap_activations(BySize(), f"{__name__}:OfNothing", example_input=torch.randn(2, 3, 8, 4))


def test_the_new_layers_do_what_they_do_alone() -> None:
    model = LeNet()
    images = smallest_input("lenet")
    swapped, _ = swap_activations(model, "frelu", example_input=images)

    layers = [module for module in swapped.modules() if isinstance(module, FReLU)]
    with torch.no_grad():
        x = model.pool(layers[0].train()(model.conv1(images)))
        x = model.pool(layers[1].train()(model.conv2(x)))
        x = functional.relu(model.fc2(functional.relu(model.fc1(x.flatten(1)))))
        expected = model.fc3(x)
        torch.testing.assert_close(swapped.train()(images), expected, rtol=0, atol=0)


def test_activations_are_replaced_however_they_are_called() -> None:
    model = EveryWay().eval()
    swapped, swaps = swap_activations(model, "silu", example_input=IMAGES)
    assert {swap.activation for swap in swaps} == {"silu"}

    x = model.wider(functional.silu(IMAGES))
    for _ in range(7):
        x = functional.silu(x)
    expected = functional.silu(model.fc(x.mean(dim=(2, 3))))
    assert torch.equal(swapped(IMAGES.clone()), expected)


def test_the_same_seed_makes_the_same_network() -> None:
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        swapped, _ = swap_activations(
            network("resnet18"), "dyrelu_b", example_input=smallest_input("resnet18")
        )
        made.append(swapped.state_dict()["layer1.0.relu.1.fc1.weight"])
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_a_copy_and_a_loaded_state_give_the_same_output() -> None:
    images = smallest_input("resnet18")
    swapped, _ = swap_activations(network("resnet18"), "frelu", example_input=images)
    loaded, _ = swap_activations(network("resnet18"), "frelu", example_input=images)
    loaded.load_state_dict(swapped.state_dict())
    copied = copy.deepcopy(swapped)
    with torch.no_grad():
        expected = swapped(images)
        assert torch.equal(copied(images), expected)
        assert torch.equal(loaded(images), expected)
        # Its own layers: a copy that called the first one's would follow its mode.
        swapped.train()
        assert torch.equal(copied(images), expected)
        assert not torch.equal(swapped(images), expected)


@pytest.mark.parametrize(
    ("model", "x"),
    [(LeNet(), smallest_input("lenet")), (Bottleneck(16, 4), torch.randn(2, 16, 8, 8))],
    ids=["lenet", "bottleneck"],
)
def test_it_compiles_as_one_graph(model: nn.Module, x: Tensor) -> None:
    torch.manual_seed(0)
    swapped, _ = swap_activations(model, "dyrelu_b", example_input=x)
    torch.compiler.reset()
    compiled = torch.compile(swapped, backend="aot_eager", fullgraph=True)
    for training in (False, True):
        swapped.train(training)
        expected = copy.deepcopy(swapped)(x)
        torch.testing.assert_close(compiled(x), expected)
    torch.compiler.reset()


def test_what_stays_still_writes_in_place() -> None:
    swapped, _ = swap_activations(
        network("resnet50"), "frelu", "paper", example_input=smallest_input("resnet50")
    )
    kept = [module for module in swapped.modules() if isinstance(module, nn.ReLU)]
    # Calls 1 and 3 of each block share a module still.
    assert len(kept) == 17
    assert all(module.inplace for module in kept)


class Twice(nn.Module):
    """Two activations of one tensor, of which the second writes into it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.first = nn.ReLU()
        self.second = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.first(x) + self.second(x)


def test_what_a_new_layer_saved_is_not_overwritten() -> None:
    model = Twice()
    swapped, _ = swap_activations(model, "silu", slice(0, 1), example_input=IMAGES)
    torch.autograd.backward(swapped(IMAGES).sum())

    weight = model.conv.weight.detach().requires_grad_()
    x = functional.conv2d(IMAGES, weight, model.conv.bias)
    (functional.silu(x) + functional.relu(x)).sum().backward()
    torch.testing.assert_close(swapped.get_submodule("conv").weight.grad, weight.grad)
    assert model.second.inplace


class ByFunction(nn.Module):
    """As `Twice`, but by functions."""

    def __init__(self, write: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.write = write

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return functional.relu(x) + self.write(x)


@pytest.mark.parametrize(
    ("write", "slope"),
    [
        (lambda x: functional.relu(x, inplace=True), 0.0),
        (lambda x: functional.leaky_relu(x, 0.2, True), 0.2),
        (lambda x: functional.leaky_relu_(x, 0.2), 0.2),
        (lambda x: torch.relu_(x), 0.0),
        (lambda x: x.relu_(), 0.0),
    ],
    ids=["option", "positional", "leaky_relu_", "torch", "method"],
)
def test_nor_is_it_by_a_function(write: Callable[[Tensor], Tensor], slope: float) -> None:
    model = ByFunction(write)
    swapped, _ = swap_activations(model, "silu", slice(0, 1), example_input=IMAGES)
    torch.autograd.backward(swapped(IMAGES).sum())

    weight = model.conv.weight.detach().requires_grad_()
    x = functional.conv2d(IMAGES, weight, model.conv.bias)
    expected = functional.silu(x) + functional.leaky_relu(x, slope)
    expected.sum().backward()
    torch.testing.assert_close(swapped(IMAGES), expected)
    torch.testing.assert_close(swapped.get_submodule("conv").weight.grad, weight.grad)


class ByItsCaller(nn.Module):
    """A function writes into what the activation of a block returned, a module."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return functional.hardtanh(self.block(x), 0.0, 0.5, inplace=True)


@pytest.mark.parametrize(
    "block", [nn.ReLU(), nn.Sequential(nn.ReLU())], ids=["child", "grandchild"]
)
def test_nor_is_it_by_a_function_of_the_caller(block: nn.Module) -> None:
    # Sigmoid's backward pass needs its output.
    swapped, _ = swap_activations(ByItsCaller(block), "sigmoid", slice(0, 1), example_input=IMAGES)
    images = IMAGES.clone().requires_grad_()
    torch.autograd.backward(swapped(images).sum())

    alike = IMAGES.clone().requires_grad_()
    torch.sigmoid(alike).clamp(0.0, 0.5).sum().backward()
    torch.testing.assert_close(images.grad, alike.grad)


class Registered(nn.Module):
    """A block that stands in the network under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = nn.Sequential(LikeResNet())
        self.part = self.whole[0]

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x)


class LikeResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.relu = nn.ReLU(inplace=True)
        self.stride = 1

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(self.relu(x + 0)))


def test_a_block_of_two_names_is_swapped_under_both() -> None:
    swapped, swaps = swap_activations(Registered(), "frelu", example_input=IMAGES)
    assert [swap.site.name for swap in swaps] == ["whole.0.relu#1", "whole.0.relu#2"]
    part = swapped.get_submodule("part")
    assert part is swapped.get_submodule("whole.0")
    assert part.stride == 1
    assert not any(isinstance(module, nn.ReLU) for module in swapped.modules())
    assert swapped.train()(IMAGES).grad_fn is not None


class RunsTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.block(x))


class InAList(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        for module in self:
            x = functional.relu(module(x))
        return x


class TwoOwners(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = LikeResNet()
        self.conv = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner.relu(self.conv(self.inner(x)))
        return y


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (RunsTwice, "0.block runs 2 times in one pass"),
        (InAList, "a function in a list of layers, which can hold no other"),
        (TwoOwners, "several blocks call it where one of them keeps it"),
        (lambda: nn.Sequential(nn.Conv2d(3, 6, 1), nn.GLU(1)), "its output has half the channels"),
    ],
)
def test_what_cannot_be_placed_is_named(block: Callable[[], nn.Module], reason: str) -> None:
    model = nn.Sequential(block(), nn.ReLU6())
    swapped, swaps = swap_activations(model, "silu", example_input=IMAGES)

    assert all(swap.activation == swap.site.original for swap in swaps[:-1])
    assert all(reason in swap.kept_because for swap in swaps[:-1])
    assert (swaps[-1].site.name, swaps[-1].activation) == ("1", "silu")
    assert isinstance(swapped.get_submodule("1"), nn.SiLU)
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        swap_activations(nn.Sequential(block()), "silu", example_input=IMAGES)
    assert "\n" not in str(caught.value)


def test_a_network_that_cannot_be_traced_has_its_children_replaced() -> None:
    class Untraceable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.acts = nn.ModuleDict({"a": nn.ReLU(), "b": nn.ReLU()})

        def forward(self, x: Tensor) -> Tensor:
            return self.acts["b"](self.acts["a"](x) if x.sum() > -1e9 else x)

    swapped, swaps = swap_activations(Untraceable(), "prelu", example_input=IMAGES)
    assert not any(swap.kept_because for swap in swaps)
    assert [key for key, _ in swapped.named_parameters()] == ["acts.a.weight", "acts.b.weight"]


def test_swapped_layers_are_left_alone_by_another_swap() -> None:
    swapped, _ = swap_activations(LikeResNet(), "se", example_input=IMAGES)
    with pytest.raises(ValueError, match=GATE):
        swap_activations(swapped, "silu", example_input=IMAGES)


def test_a_layer_of_ones_own() -> None:
    swapped, swaps = swap_activations(LikeResNet(), "torch.nn:Softsign", example_input=IMAGES)
    assert isinstance(swapped.get_submodule("relu.1"), nn.Softsign)
    assert {swap.activation for swap in swaps} == {"torch.nn:Softsign"}


def of_resnet(site: Site) -> bool:
    return site.channels == 64


@pytest.mark.parametrize(
    ("where", "placed"),
    [(slice(0, 1), 1), (slice(-3, None), 3), (of_resnet, 5), ("all", 17)],
)
def test_where(where: str | slice | Callable[[Site], bool], placed: int) -> None:
    _, swaps = swap_activations(
        without_values("resnet18"), "relu6", where, example_input=meta_image()
    )
    assert sum(swap.activation == "relu6" for swap in swaps) == placed
    assert {s.kept_because for s in swaps if s.activation == "relu"} <= {"not selected"}


@pytest.mark.parametrize(
    ("activation", "where", "options", "line"),
    [
        ("frelo", "all", {}, "unknown activation 'frelo'; did you mean frelu"),
        ("frelu", "al", {}, "unknown where 'al'; did you mean all"),
        ("frelu", slice(99, None), {}, "where selects none of the 2 activation calls: relu#1 … "),
        ("frelu", lambda _: False, {}, "where selects none of the 2 activation calls: relu#1 … "),
        ("frelu", "all", {"size": 3}, "unknown option 'size' for frelu: it takes kernel_size, "),
        ("torch.nn:Flatten", "all", {}, "relu#1: the new layer does not keep the input's shape"),
    ],
)
def test_bad_input_is_one_clear_line(
    activation: str,
    where: str | slice | Callable[[Site], bool],
    options: dict[str, object],
    line: str,
) -> None:
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        swap_activations(LikeResNet(), activation, where, example_input=IMAGES, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("activation", "reason"),
    [
        ("swiglu", "its input has twice the channels of its output"),
        ("geglu", "its input has twice the channels of its output"),
        ("relu_inplace", "it writes into its input, which a network may use elsewhere"),
    ],
)
def test_some_have_no_place_in_a_network(activation: str, reason: str) -> None:
    line = f"{activation!r} cannot be placed anywhere; relu1: {reason}"
    with pytest.raises(ValueError, match=f"^{line}$"):
        swap_activations(LeNet(), activation, example_input=smallest_input("lenet"))


def test_a_network_without_activations_is_named() -> None:
    with pytest.raises(
        ValueError, match="the network calls none of the activations that torch knows: celu, "
    ):
        swap_activations(create_activation("maxout", 3), "relu", example_input=IMAGES)


class TooManyChannels(nn.Softsign):
    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels > 4:
            raise RuntimeError(f"{channels} are more\nthan four")


def test_a_layer_of_ones_own_that_cannot_be_made_is_one_clear_line() -> None:
    line = f"'{__name__}:TooManyChannels' cannot be placed anywhere; relu2: RuntimeError: 16 are"
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        swap_activations(
            LeNet(),
            f"{__name__}:TooManyChannels",
            slice(1, 2),
            example_input=smallest_input("lenet"),
        )
    assert "\n" not in str(caught.value)


def test_a_width_that_a_layer_cannot_have_costs_that_site_alone() -> None:
    _, swaps = swap_activations(
        LeNet(), f"{__name__}:SixChannels", example_input=smallest_input("lenet")
    )
    assert [bool(swap.kept_because) for swap in swaps] == [False, True, True, True]
    assert swaps[1].kept_because == "RuntimeError: 16 are not six"


class SixChannels(nn.Softsign):
    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels != 6:
            raise RuntimeError(f"{channels} are not six")


class Doubles(nn.Module):
    """Returns another type than it is given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = torch.ones(channels, 1, 1, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x * self.scale)


def test_a_layer_that_changes_the_type_is_refused() -> None:
    line = "the new layer makes torch.float64 of torch.float32"
    with pytest.raises(ValueError, match=line):
        swap_activations(LikeResNet(), f"{__name__}:Doubles", example_input=IMAGES)


class InAutocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            y: Tensor = self.body(x)
        return y


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_new_layers_have_the_type_of_the_parameters(dtype: torch.dtype) -> None:
    model, images = InAutocast().to(dtype), IMAGES.to(dtype)
    swapped, _ = swap_activations(model, "dyrelu_b", example_input=images)
    assert {parameter.dtype for parameter in swapped.parameters()} == {dtype}


def test_lazy_layers_are_made_by_one_call() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 1), nn.ReLU(), nn.LazyBatchNorm2d(), nn.ReLU())
    swapped, _ = swap_activations(model, "prelu", example_input=IMAGES)
    assert count_parameters(swapped).learnable == 4 * 3 + 4 + 4 + 8 + 4
    assert swapped.training


def test_several_arguments_and_arguments_by_name() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return functional.relu(x - y)

    for example in ((IMAGES, IMAGES / 2), {"x": IMAGES, "y": IMAGES / 2}):
        swapped, _ = swap_activations(Two(), "silu", example_input=example)
        assert torch.equal(swapped(IMAGES, IMAGES / 2), functional.silu(IMAGES / 2))


@pytest.mark.gpu
def test_new_layers_are_where_the_network_is() -> None:
    device = torch.accelerator.current_accelerator()
    assert device is not None
    model, images = copy.deepcopy(network("resnet18")).to(device), smallest_input("resnet18")
    swapped, _ = swap_activations(model, "dyrelu_c", example_input=images.to(device))
    swapped.train()

    torch.autograd.backward(training_loss("resnet18", swapped, images.to(device)))

    for parameter in swapped.parameters():
        assert parameter.device.type == device.type
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
