"""A network against itself, measured and counted."""

import functools
import gc
import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import ResNet, get_model_weights
from torchvision.models.resnet import Bottleneck

from dynact.activations.funnel import FReLU
from dynact.cost import MemoryTracker
from dynact.networks import architectures
from dynact.networks.lenet import LeNet
from dynact.schema.cases import Case, NetworkCase, SiteCase
from dynact.schema.visits import Visit
from dynact.worker import network as network_module
from dynact.worker.counter_cache import Counter
from dynact.worker.counts import CACHE, count_workload
from dynact.worker.device import Cpu
from dynact.worker.kept import Kept
from dynact.worker.network import (
    NetworkWorkload,
    call_of_network,
    check_network,
    draw_images,
    pair_of,
)
from tests.fake_device import Kernels, LazyLibrary, VirtualDevice
from tests.measuring import Bench, count, visit, workload_of

CASE = NetworkCase("lenet", "frelu", "all", "training", "float32", 4, 32, "cpu")


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 1:
            raise RuntimeError("no batch of mine")
        return x


class OwnFReLU(FReLU):
    """Does what the reference does."""


class Halved(FReLU):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


class TiresOfIt(FReLU):
    """Right where it is tried alone, and not any more where it is timed in a network."""

    def forward(self, x: Tensor) -> Tensor:
        self.__dict__["calls"] = self.__dict__.get("calls", 0) + 1
        return super().forward(x) if self.__dict__["calls"] < 6 else x * 1


class Thrice(nn.Module):
    """Three times ReLU's kernels, forward and backward."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu().relu().relu()


def counted(
    name: str,
    case: NetworkCase,
    of: Callable[[NetworkWorkload], list[Counter]] = NetworkWorkload.target_counters,
) -> dict[str, Any]:
    """Count one thing alone: all of a ResNet takes seconds."""
    workload = NetworkWorkload(case, Cpu(), Kept(2**30))
    [counter] = [each for each in of(workload) if each.name == name]
    return counter.count()


def relu_takes_10_us(name: str, _result: Tensor) -> float:
    return 10e3 if name in ("relu", "threshold_backward") else 0.0


def visited_in_virtual_time(case: NetworkCase, device: VirtualDevice) -> Visit:
    """Visit LeNet with `Thrice` where nothing but ReLU takes the device any time."""
    with Kernels(device.accelerator, relu_takes_10_us):
        return visit(replace(case, activation=f"{__name__}:Thrice"), device)


@dataclass
class Pass:
    """What a network noted of one of its forward passes."""

    swapped: bool
    images: Tensor
    inference: bool
    with_grad: bool
    parameters: tuple[nn.Parameter, ...]
    gradients: tuple[Tensor | None, ...]
    """Of the parameters, before the pass."""
    training: list[bool] = field(default_factory=list)
    """Of each module, in the order called."""
    inputs: list[Tensor] = field(default_factory=list)
    """Of each module."""

    @property
    def is_a_look(self) -> bool:
        """Whether a network's activations are looked for: in one image, and in two."""
        return len(self.images) < CASE.batch


@contextmanager
def noted_passes() -> Iterator[list[Pass]]:
    """Note all passes of LeNet and what its modules meet in them."""
    passes: list[Pass] = []

    def note(module: nn.Module, args: tuple[Any, ...]) -> None:
        if isinstance(module, LeNet):
            parameters = tuple(module.parameters())
            passes.append(
                Pass(
                    any(isinstance(part, Thrice) for part in module.modules()),
                    args[0],
                    torch.is_inference_mode_enabled(),
                    torch.is_grad_enabled(),
                    parameters,
                    tuple(parameter.grad for parameter in parameters),
                )
            )
        if passes:
            passes[-1].training.append(module.training)
            passes[-1].inputs.append(args[0])

    handle = register_module_forward_pre_hook(note)
    try:
        yield passes
    finally:
        handle.remove()


@pytest.mark.parametrize("torch_device", ["cpu", "meta"])
@pytest.mark.parametrize(("phase", "kernels"), [("inference", 4), ("training", 8)])
def test_a_visit_compares_the_swapped_network_with_the_original(
    phase: str, kernels: int, torch_device: str
) -> None:
    device = VirtualDevice(torch_device)

    found = visited_in_virtual_time(replace(CASE, phase=phase), device)

    assert (found.status, found.message, found.clock) == ("ok", "", "event")
    assert found.table == "network_rows.jsonl"
    assert found.overhead == pytest.approx(3, rel=1e-3)
    # LeNet has four activations.
    assert found.baseline_time_ns == pytest.approx(kernels * 10e3, rel=1e-3)
    assert found.time_ns == pytest.approx(3 * kernels * 10e3, rel=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_both_networks_are_called_in_the_mode_of_the_phase(phase: str, dtype: str) -> None:
    with noted_passes() as passes:
        visited_in_virtual_time(replace(CASE, phase=phase, dtype=dtype), VirtualDevice())

    measured = [one for one in passes if not one.is_a_look]
    assert {one.swapped for one in measured} == {True, False}
    for one in measured:
        assert one.images.shape == (CASE.batch, 3, CASE.image_size, CASE.image_size)
        assert one.inference is (phase == "inference")
        assert one.with_grad is (phase == "training")
        assert set(one.training) == {phase == "training"}
        assert {x.dtype for x in one.inputs} == {getattr(torch, dtype)}
        assert {parameter.dtype for parameter in one.parameters} == {getattr(torch, dtype)}
        assert not one.images.requires_grad
        assert set(one.gradients) == {None}
        assert {parameter.grad for parameter in one.parameters} == {None}
    assert len({id(one.images) for one in measured}) == 1


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_both_networks_are_warm_before_the_first_block(phase: str) -> None:
    case = replace(CASE, phase=phase, activation=f"{__name__}:Thrice")
    device, only_made = VirtualDevice(), VirtualDevice()

    visited_in_virtual_time(case, device)
    with Kernels(only_made.accelerator, relu_takes_10_us):
        pair_of(case, only_made)

    diary = device.accelerator.diary
    before = diary[: diary.index("record")].count("relu")
    # Three calls of either to warm up, two to settle the visit, and one of the swapped a block.
    assert before - only_made.accelerator.diary.count("relu") == (3 + 2) * (4 + 12) + 12


def test_a_network_that_fails_is_a_visit_that_says_why() -> None:
    bench = Bench(Cpu())

    for _ in range(2):
        found = bench.visit(replace(CASE, activation=f"{__name__}:Raises"))

        assert (found.status, found.message) == ("error", "RuntimeError: no batch of mine")
        assert found.overhead is None


def test_images_that_are_too_small_are_said_to_be() -> None:
    found = visit(replace(CASE, image_size=16), Cpu())

    assert found.status == "error"
    assert "lenet takes images of 32 × 32 pixels or more, got 16" in found.message


class TestOwnImplementation:
    @pytest.mark.parametrize("phase", ["inference", "training"])
    def test_what_is_right_is_timed_by_its_name(self, phase: str) -> None:
        bench = Bench(Cpu())
        case = replace(CASE, phase=phase, impl=f"{__name__}:OwnFReLU")

        found = [bench.visit(case) for _ in range(2)]

        assert [(each.status, each.message) for each in found] == [("ok", "")] * 2
        assert found[0].case_id.endswith(f"impl_{__name__}:OwnFReLU")
        swapped = pair_of(case, Cpu()).swapped
        assert sum(isinstance(layer, OwnFReLU) for layer in swapped.modules()) == 2
        counted = count(case, Cpu())
        assert counted["message"] == ""
        assert counted["parameters"] == count(CASE, Cpu())["parameters"]

    @pytest.mark.parametrize("phase", ["inference", "training"])
    @pytest.mark.parametrize(
        ("layer", "message"),
        [(Halved, "output is off by up to"), (TiresOfIt, "after it was timed")],
    )
    def test_what_is_wrong_has_a_message_and_no_time(
        self, layer: type[nn.Module], message: str, phase: str
    ) -> None:
        found = visit(replace(CASE, phase=phase, impl=f"{__name__}:{layer.__name__}"), Cpu())

        assert found.status == "wrong"
        assert message in found.message
        assert (found.overhead, found.time_ns) == (None, None)

    def test_each_shape_is_checked_once_whatever_is_timed_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shapes = []

        def noted(_found: nn.Module, _plain: nn.Module, case: Case, _device: object) -> None:
            shapes.append((case.batch, case.channels, case.height, case.width))

        monkeypatch.setattr("dynact.worker.layer.verify", noted)
        bench = Bench(Cpu())
        case = replace(CASE, impl=f"{__name__}:OwnFReLU")
        at_a_site = SiteCase(
            "frelu", case.impl, "training", "eager", "float32", "contiguous", 4, 6, 28, 28, "cpu",
            "relu",
        )  # fmt: skip

        for each in (at_a_site, case, case):
            assert bench.visit(each).status == "ok"

        assert shapes == [(4, 6, 28, 28), (4, 16, 10, 10)]


class TestKept:
    @pytest.fixture
    def made(self, monkeypatch: pytest.MonkeyPatch) -> list[NetworkCase]:
        """The cases of which networks were made."""
        made: list[NetworkCase] = []

        def noted(case: NetworkCase, device: Cpu) -> Any:
            made.append(case)
            return pair_of(case, device)

        monkeypatch.setattr(network_module, "pair_of", noted)
        return made

    @pytest.mark.parametrize("phase", ["inference", "training"])
    def test_networks_are_made_once_for_all_visits_and_counts(
        self, made: list[NetworkCase], phase: str
    ) -> None:
        CACHE.clear()
        bench = Bench(Cpu())
        case = replace(CASE, phase=phase)

        first = bench.visit(case)
        counted = count_workload(workload_of(case, bench.device, bench.kept), bench.device)
        second = bench.visit(case)

        assert (first.status, counted.status, second.status) == ("ok", "ok", "ok")
        assert counted.message == ""
        assert made == [case]

    def test_a_later_visit_times_at_once_and_on_the_same_images(self) -> None:
        device = VirtualDevice()
        bench = Bench(device)
        case = replace(CASE, activation=f"{__name__}:Thrice")
        with Kernels(device.accelerator, relu_takes_10_us), noted_passes() as passes:
            first = bench.visit(case, seconds=0)
            passes.clear()
            device.accelerator.diary.clear()
            second = bench.visit(case, seconds=0)

        assert second.overhead == pytest.approx(first.overhead, rel=1e-3)
        # Forward and backward of the one take 80 µs, of the other 240: three calls and one to each
        # of two blocks, and a call to settle each of four. Each call launches twice.
        # And two of either before all, and behind it a block of what the device alone takes, with
        # two calls before.
        assert [one.swapped for one in passes].count(True) == 2 + 2 * (1 + 1) + 2 + 1
        assert [one.swapped for one in passes].count(False) == 2 + 2 * (3 + 1) + 2 + 3
        assert device.accelerator.diary.count("record") == 6 * 2
        assert len({id(one.images) for one in passes}) == 1

    @pytest.mark.parametrize(("room", "left"), [(0, 2), (-1, 1)])
    def test_what_counts_is_parameters_and_buffers_of_all(self, room: int, left: int) -> None:
        case = replace(CASE, activation="relu")
        # 62,006 parameters of four bytes, thrice for each case: as it is, as timed, swapped.
        kept = Kept(2 * 3 * 62_006 * 4 + room)
        for each in (case, replace(case, phase="inference")):
            workload_of(each, Cpu(), kept)._networks()  # type: ignore[attr-defined]

        assert len(kept) == left

    def test_networks_beyond_the_limit_are_let_go_at_once(self, made: list[NetworkCase]) -> None:
        bench = Bench(Cpu(), Kept(0))
        with noted_passes() as passes:
            bench.visit(CASE)
        held = [
            weakref.ref(each.untyped_storage())
            for one in passes
            if not one.is_a_look
            for each in (one.images, *one.parameters)
        ]
        passes.clear()
        assert len(held) > 0
        gc.disable()
        try:
            bench.visit(replace(CASE, activation="relu"))
            assert {storage() is None for storage in held} == {True}
        finally:
            gc.enable()

        bench.visit(CASE)

        assert len(made) == 3


@pytest.mark.parametrize(("network", "size"), [("lenet", 32), ("resnet18", 32)])
def test_both_networks_share_all_but_the_activation(network: str, size: int) -> None:
    case = replace(CASE, network=network, image_size=size, activation="relu", phase="inference")
    pair = pair_of(case, Cpu())
    images = draw_images(case, 2, Cpu())

    with torch.inference_mode():
        assert torch.equal(pair.swapped(images), pair.original(images))


def test_a_step_leaves_no_gradient_and_all_parameters_get_one() -> None:
    pair = pair_of(CASE, Cpu())
    met = []
    for parameter in pair.swapped.parameters():
        parameter.register_post_accumulate_grad_hook(lambda p: met.append(p.grad))

    call_of_network(CASE, pair.swapped, draw_images(CASE, 2, Cpu()))()

    assert len(met) == len(list(pair.swapped.parameters()))
    assert all(gradient.isfinite().all() for gradient in met)
    assert all(parameter.grad is None for parameter in pair.swapped.parameters())


def test_counts_of_both_networks() -> None:
    figures = count(replace(CASE, phase="inference"), Cpu())

    # FACTS of the tutorial's network, and of FReLU after both of its convolutions.
    assert (figures["parameters"], figures["baseline_parameters"]) == (62_270, 62_006)
    pair = pair_of(replace(CASE, phase="inference"), Cpu())
    image = draw_images(CASE, 1, Cpu())
    for prefix, network in (("", pair.swapped), ("baseline_", pair.original)):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(image)
        # It counts convolutions and matrix products, a multiply-accumulate as two.
        assert 2 * figures[f"{prefix}macs"] == counter.get_total_flops()
        assert figures[f"{prefix}flops"] > 2 * figures[f"{prefix}macs"]
    assert [tuple(site.values())[:6] for site in figures["sites"]] == [
        (1, "relu1", "relu", 6, 28, 28),
        (2, "relu2", "relu", 16, 10, 10),
    ]
    kept = [(site["name"], site["channels"], site["height"]) for site in figures["kept_sites"]]
    assert kept == [("relu3", 120, None), ("relu4", 84, None)]
    assert all("its input is (N, C)" in site["reason"] for site in figures["kept_sites"])
    assert figures["counted_image_size"] == 32
    assert figures["message"] == ""
    assert figures["saved_for_backward_bytes"] == 0


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize(
    ("network", "activation", "batch"),
    [("lenet", "relu", 40), ("lenet", "frelu", 40), ("resnet18", "frelu", 500)],
)
def test_memory_grows_by_the_image_as_it_says(
    phase: str, network: str, activation: str, batch: int
) -> None:
    case = replace(CASE, network=network, activation=activation, phase=phase, batch=1)
    figures = counted("memory by the image", case)
    # At a batch that it has not looked at, with real tensors.
    model, images = pair_of(case, Cpu()).swapped, draw_images(case, batch, Cpu())
    there = [*model.parameters(), *model.buffers(), images]
    with torch.set_grad_enabled(phase == "training"), MemoryTracker(there) as tracker:
        call_of_network(case, model, images)()

    expected = tracker.peak_bytes + sum(tensor.nbytes for tensor in there)
    found = figures["memory_fixed_bytes"] + batch * figures["memory_per_image_bytes"]
    # It holds at large batches; before, gradients come on top, as many as there are at most.
    gradients = sum(parameter.nbytes for parameter in model.parameters())
    assert found <= expected * 1.001
    assert expected - found <= (gradients if phase == "training" else 0.001 * expected)


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_the_peak_is_that_of_real_tensors(phase: str) -> None:
    case = replace(CASE, network="resnet18", activation="dyrelu_b", phase=phase, batch=3)
    figures = counted("peak memory", case)
    model, images = pair_of(case, Cpu()).swapped, draw_images(case, 3, Cpu())
    there = [*model.parameters(), *model.buffers(), images]
    with torch.set_grad_enabled(phase == "training"), MemoryTracker(there) as tracker:
        call_of_network(case, model, images)()

    assert figures["peak_bytes"] == pytest.approx(tracker.peak_bytes, rel=0.01)


def test_what_autograd_keeps_of_a_network() -> None:
    figures = count(CASE, Cpu())

    # FReLU keeps its input, the convolution's output, BatchNorm's, and that layer's mean and
    # inverse deviation; its own output, as ReLU's, is kept by the pooling behind it.
    of_sites = 4 * CASE.batch * (6 * 28 * 28 + 16 * 10 * 10)
    of_statistics = 4 * 2 * (6 + 16)
    more = figures["saved_for_backward_bytes"] - figures["baseline_saved_for_backward_bytes"]
    assert more == 3 * of_sites + of_statistics


@pytest.mark.parametrize(
    ("network", "phase"), [("resnet18", "training"), ("mobilenet_v2", "inference")]
)
def test_arithmetic_is_stated_as_published_whatever_is_timed(network: str, phase: str) -> None:
    published = get_model_weights(network).DEFAULT.meta
    case = NetworkCase(network, "relu", "all", phase, "float32", 3, 64, "cpu")

    figures = count(case, Cpu())

    assert figures["message"] == ""
    assert figures["counted_image_size"] == 224
    for prefix in ("", "baseline_"):
        # torchvision publishes 10⁹ of them, of one image of 224 × 224, in three decimals.
        assert figures[f"{prefix}macs"] == pytest.approx(published["_ops"] * 1e9, abs=0.6e6)
        assert figures[f"{prefix}parameters"] == published["num_params"]
        # Two for each, and a few for normalisations, activations and sums.
        assert 2 < figures[f"{prefix}flops"] / figures[f"{prefix}macs"] < 2.2


def test_memory_is_of_the_size_and_the_batch_that_are_timed() -> None:
    case = NetworkCase("resnet18", "frelu", "all", "training", "float32", 3, 64, "cpu")
    sizes = (case, replace(case, batch=6, image_size=128))

    for of in (NetworkWorkload.target_counters, NetworkWorkload.baseline_counters):
        small, large = (counted("saved for backward", each, of) for each in sizes)
        # Twice the images of four times the pixels. Statistics of normalisations and the pooled
        # features grow otherwise, and are small.
        name = "saved_for_backward_bytes"
        assert large[name] == pytest.approx(8 * small[name], rel=0.02)


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_what_a_library_sets_up_at_its_first_call_is_not_of_the_peak(phase: str) -> None:
    device = LazyLibrary()

    with device.in_use():
        figures = count(replace(CASE, phase=phase), device)

    assert figures["peak_source"] == "allocator"
    assert figures["peak_bytes"] == figures["baseline_peak_bytes"] == device.needed_bytes
    # The case's own batch and mode.
    training = phase == "training"
    assert set(device.asked_in) == {(CASE.batch, training, training)}


def bottlenecks() -> nn.Module:
    """A ResNet of a block a stage."""
    return ResNet(Bottleneck, [1, 1, 1, 1], num_classes=9, width_per_group=8)


def test_what_was_counted_before_is_no_answer_for_another_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of those that a paper has its activation in at some places alone, ours take seconds to count.
    small = architectures.Architecture("small", "", "classification", bottlenecks, image_size=64)
    monkeypatch.setitem(architectures._ARCHITECTURES, small.name, small)
    cases = [
        CASE,
        replace(CASE, phase="inference"),
        replace(CASE, activation="prelu"),
        replace(CASE, batch=2 * CASE.batch),
        replace(CASE, dtype="bfloat16"),
        replace(CASE, network="small"),
        replace(CASE, network="small", image_size=64),
        replace(CASE, network="small", placement="paper"),
    ]
    device = Cpu()
    alone = []
    for each in cases:
        CACHE.clear()
        alone.append(count(each, device))

    CACHE.clear()
    there_and_back = [count(each, device) for each in (*cases, *reversed(cases))]

    for figures in (*alone, *there_and_back):
        del figures["counting_s"]
    assert there_and_back == [*alone, *reversed(alone)]
    assert len({str(figures) for figures in alone}) == len(cases)


@dataclass
class Answer:
    maps: Tensor
    score: list[Tensor]


class Masked(nn.Module):
    """Takes two inputs, answers with a dataclass, and calls SiLU and ELU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.SiLU()

    def forward(self, images: Tensor, lengths: Tensor) -> Answer:
        y = functional.elu(self.act(self.conv(images))) * lengths.reshape(-1, 1, 1, 1)
        return Answer(y, [y.mean()])


def masked_inputs(batch: int) -> dict[str, Tensor]:
    return {"images": torch.randn(batch, 3, 6, 5), "lengths": torch.arange(1, batch + 1)}


def squared(output: Answer) -> Tensor:
    return output.maps.square().mean()


OWN = NetworkCase(
    f"{__name__}:Masked", "acon_c", "all", "training", "float32", 3, 0, "cpu",
    sample=f"{__name__}:masked_inputs",
)  # fmt: skip


def test_those_alone_are_replaced_that_are_named_and_the_baseline_is_as_it_was() -> None:
    pair = pair_of(replace(OWN, replaced="elu"), Cpu())
    both = pair_of(replace(OWN, replaced="elu+silu"), Cpu())

    became = {swap.site.original: swap.activation for swap in pair.swaps}
    assert became == {"silu": "silu", "elu": "acon_c"}
    assert {swap.activation for swap in both.swaps} == {"acon_c"}
    images = masked_inputs(2)
    assert torch.equal(pair.original(**images).maps, pair_of(OWN, Cpu()).original(**images).maps)
    with pytest.raises(ValueError, match=r"^the network calls no 'relu'; it calls elu, silu$"):
        pair_of(replace(OWN, replaced="relu+silu"), Cpu())


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("loss", ["", f"{__name__}:squared"])
def test_the_users_own_of_several_inputs(phase: str, loss: str) -> None:
    case = replace(OWN, phase=phase, loss=loss)

    visited, figures = visit(case, Cpu()), count(case, Cpu())

    assert (visited.status, visited.message, figures["message"]) == ("ok", "", "")
    elements = 4 * 6 * 5
    # The convolution with its bias, and two lines of three more parameters a channel.
    assert figures["baseline_parameters"] == 3 * 4 * 9 + 4
    assert figures["parameters"] == figures["baseline_parameters"] + 2 * 3 * 4
    assert figures["macs"] == figures["baseline_macs"] == 27 * elements
    assert figures["counted_image_size"] == 0
    assert [site["original"] for site in figures["sites"]] == ["silu", "elu"]
    if phase == "inference":
        # Of one sample more: its images and length, and at most two maps at a time.
        grown = figures["baseline_memory_per_image_bytes"]
        assert grown == 3 * 6 * 5 * 4 + 8 + 2 * elements * 4
    else:
        # SiLU's input; ELU's output or input; what the length multiplies.
        assert figures["baseline_saved_for_backward_bytes"] >= 3 * elements * 4


def test_the_gradients_of_the_users_own_are_those_of_its_loss() -> None:
    device = Cpu()
    for loss in ("", f"{__name__}:squared"):
        case = replace(OWN, loss=loss)
        original = pair_of(case, device).original
        weight = original.conv.weight
        gradients: list[Tensor] = []
        weight.register_post_accumulate_grad_hook(lambda p, g=gradients: g.append(p.grad.clone()))
        call = call_of_network(case, original, draw_images(case, case.batch, device))

        call()
        call()

        assert torch.equal(*gradients)
        if loss:
            output = original(**draw_images(case, case.batch, device))
            expected = torch.autograd.grad(output.maps.square().mean(), weight)[0]
            torch.testing.assert_close(gradients[0], expected)


class Plain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Sometimes(nn.Sequential):
    """Fails in training."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise RuntimeError("not yet")
        return torch.relu(x)


class Particular(nn.Module):
    """Of a dtype of its own; takes three samples alone, and reads values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        assert len(x) == 3
        y = functional.silu(self.conv(x * torch.arange(1, x.shape[-1] + 1)))
        return y if y.abs().max().item() < 1e9 else -y


class Doubles(Particular):
    """Writes into what it gets."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x.mul_(2))
        return y


THREE = replace(OWN, network=f"{__name__}:Particular", batch=3, sample="3x4x5")


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_users_own_is_swapped_in_the_dtype_and_the_batch_it_is_timed_in(
    phase: str, dtype: str
) -> None:
    case = replace(THREE, activation="silu", phase=phase, dtype=dtype)

    check_network(case, Cpu())
    visited = visit(case, Cpu())

    assert (visited.status, visited.message) == ("ok", "")
    pair, images = pair_of(case, Cpu()), draw_images(case, 3, Cpu())
    assert [swap.kept_because for swap in pair.swaps] == [""]
    assert pair.swapped(images).dtype == getattr(torch, dtype)
    assert torch.equal(pair.swapped(images), pair.original(images))


def test_each_call_is_on_the_same_values_though_the_users_own_writes_into_them() -> None:
    case = replace(THREE, network=f"{__name__}:Doubles", activation="silu")
    pair, images = pair_of(case, Cpu()), draw_images(case, 3, Cpu())
    expected = draw_images(case, 3, Cpu())

    for network in (pair.original, pair.baseline, pair.swapped):
        call_of_network(case, network, images)()
        assert torch.equal(images, expected)


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_memory_of_what_needs_values_is_measured_with_them(phase: str) -> None:
    figures = count(replace(THREE, phase=phase), Cpu())

    reason = "memory by the image not counted: ValueError: it does not run on a batch of 2"
    assert reason in figures["message"]
    # The convolution's input and SiLU's, of four bytes an element: in training both are kept.
    least = 3 * (3 + 4) * 4 * 5 * 4
    for prefix in ("", "baseline_"):
        assert figures[f"{prefix}peak_bytes"] >= least
        kept = figures[f"{prefix}saved_for_backward_bytes"]
        assert kept >= least if phase == "training" else kept == 0


def of_classes(logits: Tensor) -> Tensor:
    return functional.cross_entropy(logits, torch.arange(len(logits)) % logits.shape[1])


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_memory_is_the_same_with_values_and_without(phase: str) -> None:
    case = replace(CASE, phase=phase)
    same = replace(
        case, network="dynact.networks.lenet:LeNet", image_size=0, sample="3x32x32",
        loss=f"{__name__}:of_classes",
    )  # fmt: skip

    without, with_values = count(case, Cpu()), count(same, Cpu())

    assert with_values["message"] == ""
    for prefix in ("", "baseline_"):
        for name in ("peak_bytes", "saved_for_backward_bytes", "memory_per_image_bytes"):
            expected = pytest.approx(without[prefix + name], rel=0.01)
            assert with_values[prefix + name] == expected, prefix + name


@functools.cache
def kept_grid(size: int) -> Tensor:
    return torch.ones(size)


class Keeps(nn.Module):
    """Keeps a tensor outside of itself, as it is made in its first pass."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(self.conv(x) * kept_grid(x.shape[-1]))


def test_what_a_network_keeps_of_a_trial_or_a_count_no_later_pass_is_harmed_by() -> None:
    case = replace(OWN, network=f"{__name__}:Keeps", phase="inference", sample="3x4x5")
    kept_grid.cache_clear()

    check_network(case, Cpu())

    assert visit(replace(case, phase="training"), Cpu()).message == ""
    kept_grid.cache_clear()
    assert (count(case, Cpu())["message"], visit(case, Cpu()).message) == ("", "")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, ""),
        (
            {"network": f"{__name__}:Plain", "phase": "inference", "sample": "3x4x5"},
            f"{__name__}:Plain calls no activation that could be replaced",
        ),
        (
            {"network": f"{__name__}:Sometimes", "sample": "3x4x5"},
            f"{__name__}:Sometimes fails in training on a batch of 3 × 3x4x5: RuntimeError: "
            "not yet; --loss-from takes a loss of your own",
        ),
        (
            {"sample": "3x4x5"},
            f"{__name__}:Masked fails in training on a batch of 3 × 3x4x5: TypeError: ",
        ),
    ],
)
def test_the_users_own_is_tried_before_it_is_measured(changes: dict[str, Any], line: str) -> None:
    case = replace(OWN, **changes)
    if not line:
        structure = check_network(case, Cpu())
        assert structure["activation act"] == "silu of 4 channels"
        return
    with pytest.raises(ValueError, match="^" + re.escape(line)) as caught:
        check_network(case, Cpu())
    assert "\n" not in str(caught.value)
