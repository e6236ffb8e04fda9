"""Where a swapped network could be wrong in silence: it is right, or says so."""

import copy
import functools
import re
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from dynact.networks import GATE, find_sites, swap_activations
from dynact.networks.passes import copy_what_it_writes_into
from tests.networks.test_idioms import IMAGES, Block


class TenTimes(nn.Module):
    """An activation that cannot be mistaken for another."""

    def __init__(self, _channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return 10 * x.tanh()


TEN_TIMES = f"{__name__}:TenTimes"


def ten_times(x: Tensor) -> Tensor:
    return 10 * x.tanh()


class ByFunction(Block):
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.first(x))


class Interrupted(Block):
    interrupt = True

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.relu(self.second(self.relu(self.first(x)))))
        if self.interrupt:
            raise KeyboardInterrupt
        return functional.relu(x)


def test_an_interrupt_leaves_nothing_behind() -> None:
    swapped: Any
    Interrupted.interrupt = False
    swapped, _ = swap_activations(Interrupted(), TEN_TIMES, example_input=IMAGES)
    expected = swapped(IMAGES)
    swapped.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        swapped(IMAGES)
    assert torch.equal(functional.relu(-torch.ones(2)), torch.zeros(2))
    swapped.interrupt = False
    assert torch.equal(swapped(IMAGES), expected)


def test_whoever_calls_forward_itself_comes_by_the_new_layers() -> None:
    swapped, _ = swap_activations(ByFunction(), TEN_TIMES, example_input=IMAGES)
    expected = ten_times(swapped.get_submodule("first")(IMAGES))
    assert torch.equal(swapped(IMAGES), expected)
    assert torch.equal(swapped.forward(IMAGES), expected)
    assert torch.equal(fx.symbolic_trace(swapped)(IMAGES), expected)


class Mixed(Block):
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.relu(self.first(x)) - 0.1)


def test_layers_of_a_later_swap_keep_their_own_functions() -> None:
    first, _ = swap_activations(Mixed(), TEN_TIMES, slice(1, 2), example_input=IMAGES)
    second, _ = swap_activations(
        first, "relu", lambda site: site.original == "relu", example_input=IMAGES
    )
    expected = ten_times(functional.relu(second.get_submodule("first")(IMAGES)) - 0.1)
    assert torch.equal(second(IMAGES), expected)


def test_so_does_what_a_user_puts_into_a_block() -> None:
    swapped, _ = swap_activations(Mixed(), TEN_TIMES, example_input=IMAGES)
    swapped.add_module("first", nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)))
    expected = ten_times(ten_times(swapped.get_submodule("first")(IMAGES)) - 0.1)
    assert torch.equal(swapped(IMAGES), expected)


class UnderAMode(Block):
    def __init__(self) -> None:
        super().__init__()
        self.within = Mixed()

    def forward(self, x: Tensor) -> Tensor:
        with torch.device("cpu"):
            x = self.within(functional.relu(x))
        return functional.relu(x)


@pytest.mark.parametrize("where", ["all", slice(0, None, 2)])
def test_a_mode_of_the_users_between_two_blocks(where: Any) -> None:
    model = UnderAMode()
    swapped, _ = swap_activations(model, "relu", where, example_input=IMAGES)
    assert torch.equal(swapped(IMAGES), model(IMAGES))


class CallsItself(Block):
    def forward(self, x: Tensor, times: int = 2) -> Tensor:
        x = self.relu(self.first(x))
        return self(x, times - 1) if times else x


class BesideOneThatCallsItself(Block):
    def __init__(self) -> None:
        super().__init__()
        self.repeated = CallsItself()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.repeated(functional.relu(x)) - 0.1)


def test_a_module_that_calls_itself() -> None:
    model = BesideOneThatCallsItself()
    swapped, swaps = swap_activations(model, "relu", example_input=IMAGES)
    assert torch.equal(swapped(IMAGES), model(IMAGES))
    assert {s.kept_because for s in swaps if "repeated" in s.site.name} == {
        "repeated runs 3 times in one pass"
    }


def test_two_threads_at_once_are_refused() -> None:
    class Slow(Block):
        def forward(self, x: Tensor) -> Tensor:
            x = self.relu(self.first(x))
            for _ in range(200):
                x = x + 0
            return self.relu(x)

    swapped, _ = swap_activations(Slow(), "silu", example_input=IMAGES)
    expected = swapped(IMAGES)

    def attempt(_number: int) -> str:
        try:
            return "right" if torch.equal(swapped(IMAGES), expected) else "wrong"
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(attempt, range(40)))
    assert found <= {
        "right", "a swapped network runs in two threads at once; give each a copy of it",
    }  # fmt: skip
    # And no longer once they are done.
    assert torch.equal(swapped(IMAGES), expected)


@pytest.mark.parametrize("activation", ["gelu", nn.GELU()], ids=["name", "module"])
def test_fast_paths_of_torch_are_off(activation: Any) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=activation, batch_first=True).eval()
    x = torch.randn(2, 5, 8)
    swapped, _ = swap_activations(nn.Sequential(layer), TEN_TIMES, example_input=x)
    with_grad = swapped(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(swapped(x), with_grad)
        assert not torch.allclose(layer(x), with_grad, atol=1e-2)


class AuxiliaryInTheMiddle(Block):
    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        y = self.relu(self.second(x)) if self.training else 0
        return functional.silu(self.relu(self.second(x)) + y)


def test_calls_that_differ_between_training_and_evaluation_stay() -> None:
    _, swaps = swap_activations(AuxiliaryInTheMiddle(), TEN_TIMES, example_input=IMAGES)
    reason = "its block calls it 2 times in eval mode, 3 times in train"
    assert [swap.kept_because for swap in swaps] == [reason, reason, "", reason]


class CheckpointWhere(Block):
    condition: Callable[[Any, Tensor], bool]

    def body(self, x: Tensor) -> Tensor:
        return self.second(functional.relu(self.first(x) - 0.5)).square()

    def forward(self, x: Tensor) -> Tensor:
        if self.condition(x):
            y: Tensor = checkpoint(self.body, x, use_reentrant=False)
            return y
        return self.body(x)


@pytest.mark.parametrize(
    "condition",
    [
        lambda model, _x: model.training,
        lambda _model, _x: torch.is_grad_enabled(),
        lambda model, _x: model.training and torch.is_grad_enabled(),
    ],
)
def test_a_checkpoint_is_found_whatever_it_depends_on(condition: Any) -> None:
    block = type("CheckpointWhere", (CheckpointWhere,), {"condition": condition})()
    with pytest.raises(ValueError, match=r"torch.utils.checkpoint calls it again"):
        swap_activations(nn.Sequential(block), TEN_TIMES, example_input=IMAGES)


class Shared(Block):
    """A kept call counts on what it writes, another would write into a new layer's output."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        self.act(x)
        return self.act(functional.relu(self.second(x))).mul(2) + x


def test_a_shared_original_still_writes_where_it_is_counted_on() -> None:
    model = Shared().eval()
    swapped, _ = swap_activations(
        model, "relu", lambda site: "act" not in site.name, example_input=IMAGES
    )
    with torch.no_grad():
        assert torch.equal(swapped(IMAGES), model(IMAGES))


class SharedParameters(Block):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.PReLU(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.act(self.second(self.act(self.first(x)))))


def test_parameters_of_a_call_that_stays_keep_their_name() -> None:
    model = SharedParameters()
    swapped, swaps = swap_activations(model, "silu", slice(1, None), example_input=IMAGES)
    assert swaps[1].kept_because == "its parameters are also those of a call that stays"
    swapped.load_state_dict(model.state_dict())
    whole, _ = swap_activations(model, "silu", example_input=IMAGES)
    assert "act.weight" not in whole.state_dict()


class WritesItsOutput(Block):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("y", torch.zeros(2, 3, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        torch.tanh(x[:2], out=self.y)
        return self.relu(self.y.clone())


class Positive(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return functional.relu(weight)


def of_parameters() -> nn.Module:
    conv = nn.Conv2d(3, 3, 1)
    parametrize.register_parametrization(conv, "weight", Positive())
    return nn.Sequential(conv, nn.ReLU())


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (WritesItsOutput, "it writes its output into a tensor that it is given"),
        (of_parameters, "it is called in the making of a parameter"),
    ],
)
def test_what_has_no_place_for_another_is_named(
    build: Callable[[], nn.Module], reason: str
) -> None:
    _, swaps = swap_activations(build(), "silu", example_input=IMAGES)
    assert [swap.kept_because for swap in swaps[:2]] == [reason, ""]


def test_one_compiled_by_its_forward_is_refused() -> None:
    model: Any = ByFunction()
    model.forward = torch.compile(model.forward, backend="eager")
    with pytest.raises(ValueError, match=r"the network is compiled; swap before torch.compile"):
        swap_activations(model, "silu", example_input=IMAGES)


SEEN: dict[int, Tensor] = {}


class Caches(Block):
    def forward(self, x: Tensor) -> Tensor:
        scale = SEEN.setdefault(x.shape[-1], torch.full((x.shape[-1],), 2.0, device=x.device))
        return self.relu(self.first(x) * scale)


def test_what_code_keeps_of_a_look_is_of_use_later() -> None:
    SEEN.clear()
    model = Caches()
    swap_activations(model, "silu", example_input=IMAGES)
    assert model(IMAGES).isfinite().all()


class Fallback(Block):
    def forward(self, x: Tensor) -> Tensor:
        try:
            x = self.second(x[:, :2])
        except RuntimeError:
            x = self.first(x)
        return functional.relu(self.relu(x))


def test_a_child_that_raises_and_is_caught() -> None:
    model = Fallback()
    assert [site.name for site in find_sites(model, IMAGES)] == ["relu#1", "relu#2"]
    swapped, _ = swap_activations(model, "relu", example_input=IMAGES)
    assert torch.equal(swapped(IMAGES), model(IMAGES))


class SetsUp(nn.Module):
    """Scales by what its first input is, once."""

    def __init__(self, _channels: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.scale == 0:
            self.scale.fill_(1 / x.abs().mean().clamp(min=1e-6).item())
        return x * self.scale


def test_what_a_layer_sets_up_is_of_the_networks_first_call() -> None:
    swapped, _ = swap_activations(ByFunction(), f"{__name__}:SetsUp", example_input=IMAGES)
    assert swapped.get_buffer("relu_.1.scale") == 0


@pytest.mark.parametrize(
    "squeeze",
    [
        lambda x: functional.avg_pool2d(x, x.shape[2:]).flatten(1),
        lambda x: functional.adaptive_max_pool2d(x, 1).flatten(1),
        lambda x: x.view(*x.shape[:2], -1).mean(-1),
        lambda x: x.mean(3).mean(2),
        lambda x: x.flatten(2).amax(2),
    ],
)
@pytest.mark.parametrize("side", [8, 1])
def test_attention_is_a_gate_however_it_is_squeezed(
    squeeze: Callable[[Tensor], Tensor], side: int
) -> None:
    class Attention(Block):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            gate = self.fc(functional.gelu(self.fc(squeeze(x))))
            return self.relu(x * gate[:, :, None, None])

    sites = find_sites(Attention(), IMAGES[:, :, :side, :side])
    assert [(site.original, site.obstacle) for site in sites] == [("gelu", GATE), ("relu", "")]


def twice_as_large(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
    return output * 2


def noted(_module: nn.Module, _args: object) -> None:
    pass


@pytest.mark.parametrize(
    ("register", "hook"),
    [
        (nn.Module.register_forward_hook, twice_as_large),
        (nn.Module.register_forward_pre_hook, noted),
        (nn.Module.register_full_backward_hook, lambda *_: None),
    ],
)
def test_an_activation_with_hooks_of_its_own_stays_and_is_named(
    register: Callable[..., object], hook: Callable[..., object]
) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    register(model[1], hook)

    swapped, (hooked, other) = swap_activations(model, "relu", example_input=IMAGES)

    assert (hooked.kept_because, other.kept_because) == ("it has hooks of its own", "")
    assert torch.equal(swapped(IMAGES), model(IMAGES))


class LooksAtTypes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = ByFunction()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return 2 * y if type(self.block) is ByFunction else y


def test_code_that_looks_at_the_type_of_a_block_is_not_misled() -> None:
    with pytest.raises(ValueError, match=r"^the network makes another output where its own act"):
        swap_activations(LooksAtTypes(), "relu", example_input=IMAGES)


class Listed(Block):
    known: ClassVar[dict[str, type[nn.Module]]] = {}

    def __init_subclass__(cls, *, called: str) -> None:
        Listed.known[called] = cls


class One(Listed, called="one"):
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.first(x))


def test_a_class_that_lists_its_subclasses_does_not_list_ours() -> None:
    swapped, _ = swap_activations(One(), "relu", example_input=IMAGES)

    assert isinstance(swapped, One)
    assert Listed.known == {"one": One}


@pytest.mark.parametrize(
    ("swaps", "impl", "line"),
    [
        (
            {"relu": "not_there:Layer"},
            "reference",
            "not_there:Layer: there is no module",
        ),
        ({"relu": f"{__name__}:Not"}, "reference", f"{__name__}:Not: there is no 'Not'"),
        ({"relu": "frelu", "silu": "dyrelu_b"}, "lines", "unknown implementation of frelu 'lines'"),
    ],
)
def test_of_several_each_is_known_or_refused(swaps: dict[str, str], impl: str, line: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.SiLU())
    with pytest.raises(ValueError, match=f"^{re.escape(line)}"):
        swap_activations(model, swaps, example_input=IMAGES, impl=impl)


class WithMore(Block):
    """Takes a tensor that is no batch, and calls an activation in training alone."""

    def forward(self, x: Tensor, more: Tensor) -> Tensor:
        x = self.relu(self.first(self.combined(x, more)))
        return functional.silu(x) if self.training else x

    def combined(self, x: Tensor, grid: Tensor) -> Tensor:
        return x + grid


class Mixing(WithMore):
    def combined(self, x: Tensor, matrix: Tensor) -> Tensor:
        return torch.einsum("n...,nm->m...", x, matrix + torch.eye(len(x)))


class MixingTokens(Mixing):
    def forward(self, x: Tensor, more: Tensor) -> Tensor:
        return functional.relu(nn.functional.linear(self.combined(x, more), torch.eye(8)))


@pytest.mark.parametrize(
    ("network", "more"),
    [
        (WithMore(), torch.rand(1, *IMAGES.shape[1:])),
        (WithMore(), torch.rand(IMAGES.shape[1:])),
        # Of twice as many samples it would have to be of another size.
        (Mixing(), torch.rand(len(IMAGES), len(IMAGES))),
    ],
    ids=["grid of one", "grid of none", "matrix"],
)
def test_training_is_looked_at_though_not_all_is_batched(network: nn.Module, more: Tensor) -> None:
    for example in ((IMAGES, more), {"more": more, "x": IMAGES}):
        swapped, swaps = swap_activations(network, "frelu", example_input=example)

        became = [(swap.site.name, swap.activation) for swap in swaps]
        assert became == [("relu", "frelu"), ("silu", "frelu")]
        assert swapped.train()(IMAGES, more).shape == IMAGES.shape


def test_where_the_samples_are_is_not_claimed_unless_seen() -> None:
    tokens = torch.rand(4, 5, 8)

    with pytest.raises(ValueError, match="unknown which dimension its samples are"):
        swap_activations(
            MixingTokens(), "dyrelu_b", example_input=(tokens, torch.rand(4, 4)), reduction=1
        )
    # What does the same to each element may stand anywhere.
    swap_activations(MixingTokens(), "silu", example_input=(tokens, torch.rand(4, 4)))


class KeepsFeatures(nn.Module):
    """As losses of perception do with VGG."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(x)
        return found


def test_code_that_looks_at_the_type_of_an_activation_is_not_misled() -> None:
    with pytest.raises(ValueError, match=r"looks at the type of a block or an activation"):
        swap_activations(KeepsFeatures(), "relu", example_input=IMAGES)


class Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return functional.relu(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] * (x > 0)


class ByItsOwnFunction(Block):
    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(Rectify.apply(self.first(x)))


def test_what_goes_back_in_a_way_of_its_own_stays() -> None:
    _, (own, other, *_) = swap_activations(ByItsOwnFunction(), TEN_TIMES, example_input=IMAGES)

    assert own.kept_because.startswith("an autograd.Function calls it")
    assert other.kept_because == ""


class HoldsItself(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.block = lambda x: functional.relu(self.first(x))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return y


def scaled_by_a_lambda(block: Any) -> None:
    block.act = lambda x: functional.relu(x) * block.second.bias[0]


def scaled_by_a_default(block: Any) -> None:
    block.acts = [lambda x, bias=block.second.bias: functional.relu(x) * bias[0]]


def kept_by_a_hook(block: Any) -> None:
    block.features = {}
    block.first.register_forward_hook(
        lambda _module, _args, output: block.features.update(first=output)
    )


def kept_by_a_child(block: Any) -> None:
    block.first.parent = weakref.ref(block)


@pytest.mark.parametrize(
    "change", [scaled_by_a_lambda, scaled_by_a_default, kept_by_a_hook, kept_by_a_child]
)
def test_what_a_copy_would_share_with_the_network_is_refused(change: Callable[[Any], None]) -> None:
    block: Any = ByFunction()
    change(block)
    before = {*vars(block)}
    with pytest.raises(ValueError, match=r"holds the \w+ of the network itself, as a lambda does"):
        swap_activations(nn.Sequential(block), "relu", example_input=IMAGES)
    assert not getattr(block, "features", {})
    assert {*vars(block)} == before


def test_a_lambda_that_holds_the_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"holds the HoldsItself of the network itself, as a"):
        swap_activations(HoldsItself(), "relu", example_input=IMAGES)


def test_what_calls_a_part_of_the_network_by_any_other_way_is_refused() -> None:
    class Calls:
        def __init__(self, part: nn.Module) -> None:
            self.part = part

        def __deepcopy__(self, _memo: object) -> "Calls":
            return self

    block: Any = HoldsItself()
    calls = Calls(block.first)
    block.block = lambda x: functional.relu(calls.part(x))
    with pytest.raises(ValueError, match=r"calls the Conv2d of the network itself, as a lambda"):
        swap_activations(block, "relu", example_input=IMAGES)


def test_hooks_and_functions_that_a_copy_has_its_own_of_are_not_refused() -> None:
    class KeepsFeaturesByMethod(Block):
        def __init__(self) -> None:
            super().__init__()
            self.features: dict[str, Tensor] = {}
            self.recurrent = nn.LSTM(3, 3)
            self.first.register_forward_hook(self.keep)
            self.act = functools.partial(self.scaled, scale=2)

        def keep(self, _module: object, _args: object, output: Tensor) -> None:
            self.features["first"] = output

        def scaled(self, x: Tensor, scale: float) -> Tensor:
            return scale * functional.relu(x)

        def forward(self, x: Tensor) -> Tensor:
            self.act(self.first(x))
            return self.act(self.features.pop("first"))

    model = KeepsFeaturesByMethod()
    swapped, swaps = swap_activations(model, TEN_TIMES, slice(0, 2), example_input=IMAGES)
    assert [swap.kept_because for swap in swaps[:2]] == ["", ""]
    first = swapped.get_submodule("first")
    assert torch.equal(swapped(IMAGES), 2 * ten_times(first(IMAGES)))
    assert not model.features


@pytest.mark.parametrize("kind", ["network", "lazy network", "block"])
def test_a_train_of_its_own_may_return_nothing(kind: str) -> None:
    class Frozen(ByFunction):
        def train(self, mode: bool = True) -> None:  # type: ignore[override]
            super().train(mode)
            self.second.eval()

    block: nn.Module = Frozen()
    if kind == "lazy network":
        block.first = nn.LazyConv2d(3, 1)
    model = nn.Sequential(block) if kind == "block" else block
    swapped, swaps = swap_activations(model, TEN_TIMES, example_input=IMAGES)
    assert swaps[0].kept_because == ""
    first = swapped.get_submodule("0.first" if kind == "block" else "first")
    assert torch.equal(swapped(IMAGES), ten_times(first(IMAGES)))


def test_a_class_that_no_other_can_be_derived_from_is_named() -> None:
    class Slotted(ByFunction):
        __slots__ = ("more",)

    with pytest.raises(ValueError, match=r"^no class can be derived from Slotted as it is"):
        swap_activations(Slotted(), "silu", example_input=IMAGES)


@dataclass
class Batch:
    images: Tensor


def test_samples_in_a_class_of_ones_own_are_not_taken_for_none() -> None:
    class Unpacks(ByFunction):
        def forward(self, batch: Batch) -> Batch:  # type: ignore[override]
            return Batch(super().forward(batch.images))

    _, swaps = swap_activations(Unpacks(), "frelu", example_input=(Batch(IMAGES),))
    assert [swap.kept_because for swap in swaps if swap.site.channels] == [""]


@pytest.mark.parametrize("batch", [2, 3])
def test_what_is_called_by_the_sample_is_said_to_be(batch: int) -> None:
    class BySample(Block):
        def forward(self, x: Tensor) -> Tensor:
            return self.relu(torch.cat([functional.relu(self.first(each)) for each in x.split(1)]))

    _, swaps = swap_activations(BySample(), "silu", example_input=IMAGES[:1].repeat(batch, 1, 1, 1))
    by_sample = {swap.kept_because for swap in swaps if swap.kept_because}
    assert by_sample == {"its block calls it for each sample by itself"}


def test_a_norm_of_whole_maps_tells_nothing_of_channels() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.LayerNorm([8, 8, 8]), nn.ReLU())

    _, (swap,) = swap_activations(model, "prelu", example_input=torch.randn(2, 3, 8, 8))

    assert swap.site.channels == 8
    _, (swap,) = swap_activations(
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.LayerNorm([8, 9, 7]), nn.ReLU()),
        "frelu",
        example_input=torch.randn(2, 3, 9, 7),
    )
    assert (swap.site.channels, swap.site.height, swap.site.width) == (8, 9, 7)


def test_a_new_layer_has_the_type_of_what_it_gets_in_a_network_of_several() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3).bfloat16(), nn.Sequential(nn.GroupNorm(1, 4), nn.ReLU())
    )
    model[1][0].register_forward_pre_hook(lambda _module, args: (args[0].float(),))
    model[1][0].register_forward_hook(lambda _module, _args, output: output.bfloat16())

    swapped, _ = swap_activations(model, "frelu", example_input=IMAGES.bfloat16())

    assert swapped(IMAGES.bfloat16()).dtype == torch.bfloat16


def test_an_encoder_of_torch_takes_a_mask() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    tokens, mask = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    example = {"src": tokens, "src_key_padding_mask": mask}

    swapped, swaps = swap_activations(model, "relu", example_input=example)

    assert [swap.kept_because for swap in swaps] == ["", ""]
    with torch.no_grad():
        expected, found = model(**example), swapped(**example)
    torch.testing.assert_close(found[~mask], expected[~mask])


class WithALock(ByFunction):
    def __init__(self) -> None:
        super().__init__()
        self.lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "lock"}


def test_a_block_is_copied_as_it_says_itself() -> None:
    swapped, _ = swap_activations(WithALock(), TEN_TIMES, example_input=IMAGES)

    assert torch.equal(copy.deepcopy(swapped)(IMAGES), swapped(IMAGES))


class Recomputed(Block):
    """Wants targets in training, so that no look sees its checkpoint."""

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor:
        if not self.training:
            return self.relu(self.second(self.relu(self.first(x))))
        assert targets is not None
        y: Tensor = checkpoint(
            lambda x: self.relu(self.second(x)), self.relu(self.first(x)), use_reentrant=False
        )
        return y


def test_what_is_called_outside_of_a_pass_raises() -> None:
    swapped, _ = swap_activations(Recomputed(), "prelu", example_input=IMAGES)
    output = swapped.train()(IMAGES, IMAGES)
    with pytest.raises(RuntimeError, match=r"is called outside of its forward pass"):
        output.sum().backward()


class WritesIntoItsInput(Block):
    def forward(self, x: Tensor | list[Tensor], more: Tensor | None = None) -> Tensor:
        if isinstance(x, list):
            x = torch.stack([image.mul_(2) for image in x])
        if more is not None:
            # Of the same tensor twice it is the same.
            x = x.mul_(2) if more is x else more.sub_(x)
        return self.relu(self.first(x.add_(1)))


class WritesLazily(WritesIntoItsInput):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LazyConv2d(3, 1)


@pytest.mark.parametrize("build", [WritesIntoItsInput, WritesLazily])
@pytest.mark.parametrize(
    "given",
    [
        lambda x: x,
        lambda x: (x, x),
        lambda x: {"x": x, "more": x + 1},
        lambda x: [*x],
    ],
    ids=["tensor", "twice", "dict", "images"],
)
def test_an_example_stays_as_it_is(build: type[Block], given: Callable[[Tensor], Any]) -> None:
    images = IMAGES.clone()

    swapped, (swap,) = swap_activations(build(), TEN_TIMES, example_input=given(images))

    assert swap.kept_because == ""
    assert torch.equal(images, IMAGES)
    first = swapped.get_submodule("first")
    assert torch.equal(swapped(IMAGES.clone()), ten_times(first(IMAGES + 1)))


def test_what_a_hook_of_the_users_writes_into_is_a_copy_too() -> None:
    model = ByFunction()
    expected = model(2 * IMAGES)
    model.register_forward_pre_hook(lambda _module, args: (args[0].mul_(2),))
    copy_what_it_writes_into(model, IMAGES)
    images = IMAGES.clone()

    output = model(images)

    assert torch.equal(images, IMAGES)
    assert torch.equal(output, expected)


def test_a_block_has_attributes_by_names_of_its_own() -> None:
    class Tree(nn.Module):
        def __init__(self, *, is_leaf: bool) -> None:
            super().__init__()
            self._left, self._thread, self._passes = nn.Conv2d(3, 3, 1), 4, ()
            if not is_leaf:
                self._right = Tree(is_leaf=True)

        def forward(self, x: Tensor) -> Tensor:
            y = functional.relu(self._left(x))
            return functional.relu(self._right(y)) if hasattr(self, "_right") else y

    model = Tree(is_leaf=False)
    swapped, swaps = swap_activations(model, TEN_TIMES, example_input=IMAGES)

    assert [swap.kept_because for swap in swaps] == 3 * [""]
    left, right = model._left, model.get_submodule("_right._left")
    expected = ten_times(ten_times(right(ten_times(left(IMAGES)))))
    assert torch.equal(swapped(IMAGES), expected)


def by_function(x: Tensor) -> Tensor:
    return functional.relu(x - 0.5)


@pytest.mark.parametrize("called_as", ["function", "module"])
@pytest.mark.parametrize(
    "transform",
    [
        torch.vmap,
        lambda call: torch.vmap(torch.vmap(call)),
        lambda call: torch.vmap(torch.func.grad(lambda x: call(x).square().sum())),
        lambda call: lambda x: torch.func.jvp(call, (x,), (x,))[1],
        # Of a tensor that is no argument of what is transformed.
        lambda call: lambda x: torch.vmap(lambda y: y + call(x))(x),
    ],
    ids=["vmap", "nested", "gradient", "tangent", "of another"],
)
def test_what_torch_func_transforms_stays(called_as: str, transform: Callable[..., Any]) -> None:
    class Transformed(Block):
        def forward(self, x: Tensor) -> Tensor:
            call = by_function if called_as == "function" else self.within
            x = functional.relu(self.first(x) - 0.1)
            x = transform(call)(x)
            return self.relu(functional.relu(x)) if called_as == "function" else functional.relu(x)

        def within(self, x: Tensor) -> Tensor:
            return self.relu(x - 0.5)

    model = Transformed()
    swapped, swaps = swap_activations(model, TEN_TIMES, example_input=IMAGES)

    reason = "a transform of torch.func, such as torch.vmap, calls it"
    stay = {swap.site.name: swap.kept_because for swap in swaps if swap.kept_because}
    assert stay == {"relu#2": reason}
    x = transform(by_function)(ten_times(model.first(IMAGES) - 0.1))
    expected = ten_times(ten_times(x)) if called_as == "function" else ten_times(x)
    torch.testing.assert_close(swapped(IMAGES), expected)


class Conditional(Block):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y: Tensor = torch.cond(x.sum() > 0, lambda x: functional.relu(x) + 1, lambda x: x - 1, (x,))
        return y


@torch.compile(backend="eager", fullgraph=True)
def compiled_part(x: Tensor) -> Tensor:
    return functional.relu(x - 0.5)


class CallsACompiledPart(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.relu(compiled_part(self.first(x)))


@pytest.mark.parametrize("build", [Conditional, CallsACompiledPart])
def test_what_is_compiled_as_it_runs_is_said_to_be(build: Callable[[], nn.Module]) -> None:
    torch.compiler.reset()
    line = "activations cannot be looked for in what the network compiles as it runs, as torch.cond"
    with pytest.raises(ValueError, match=f"^{line}") as caught:
        swap_activations(build(), "silu", example_input=IMAGES)
    assert "\n" not in str(caught.value)


@torch.compile(backend="eager")
def compiled_in_parts(x: Tensor) -> Tensor:
    return functional.relu(x - 0.5)


class CallsCompiledParts(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.relu(compiled_in_parts(self.first(x)))


def test_what_is_compiled_in_parts_is_found_and_replaced() -> None:
    torch.compiler.reset()
    model = CallsCompiledParts()
    swapped, swaps = swap_activations(model, TEN_TIMES, example_input=IMAGES)

    assert [swap.kept_because for swap in swaps] == ["", ""]
    expected = ten_times(ten_times(model.first(IMAGES) - 0.5))
    torch.testing.assert_close(swapped(IMAGES), expected)
