"""A network against itself, measured and counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model_weights

from dynact.cost import MemoryTracker
from dynact.networks.lenet import LeNet
from dynact.schema.cases import NetworkCase
from dynact.schema.rows import NetworkRow
from dynact.worker.counts import CACHE
from dynact.worker.device import Cpu
from dynact.worker.network import call_of_network, draw_images, pair_of
from tests.fake_device import Kernels, LazyLibrary, VirtualDevice
from tests.measuring import Measurement, count, measure

pytestmark = pytest.mark.usefixtures("one_thread")

CASE = NetworkCase("lenet", "frelu", "all", "training", "float32", 4, 32, "cpu")
QUICK: dict[str, float] = {"precision": 0.05, "max_seconds": 0.05}


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 1:
            raise RuntimeError("no batch of mine")
        return x


class Thrice(nn.Module):
    """Three times ReLU's kernels, forward and backward."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu().relu().relu()


def relu_takes_10_us(name: str, _result: Tensor) -> float:
    return 10e3 if name in ("relu", "threshold_backward") else 0.0


def measured_in_virtual_time(case: NetworkCase, device: VirtualDevice) -> Measurement:
    """Measure LeNet with `Thrice` where nothing but ReLU takes the device any time."""
    with Kernels(device.accelerator, relu_takes_10_us):
        return measure(replace(case, activation=f"{__name__}:Thrice"), device, **QUICK)


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
def test_a_row_has_the_swapped_network_against_the_original(
    phase: str, kernels: int, torch_device: str
) -> None:
    device = VirtualDevice(torch_device)

    measurement = measured_in_virtual_time(replace(CASE, phase=phase), device)

    row = measurement.row
    assert isinstance(row, NetworkRow)
    assert (row.status, row.message, row.clock) == ("ok", "", "event")
    for overhead in (row.overhead, row.overhead_lo, row.overhead_hi):
        assert overhead == pytest.approx(3, rel=1e-3)
    # LeNet has four activations.
    assert row.baseline_time_ns == pytest.approx(kernels * 10e3, rel=1e-3)
    assert row.time_ns == pytest.approx(3 * kernels * 10e3, rel=1e-3)
    assert measurement.samples_ns == pytest.approx(
        [3 * kernels * 10e3] * len(measurement.samples_ns), rel=1e-3
    )
    assert device.released == 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_both_networks_are_called_in_the_mode_of_the_phase(phase: str, dtype: str) -> None:
    with noted_passes() as passes:
        measured_in_virtual_time(replace(CASE, phase=phase, dtype=dtype), VirtualDevice())

    # A single image is how a network's activations are looked for.
    measured = [one for one in passes if len(one.images) > 1]
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

    measured_in_virtual_time(case, device)
    with Kernels(only_made.accelerator, relu_takes_10_us):
        pair_of(case, only_made)

    diary = device.accelerator.diary
    before = diary[: diary.index("record")].count("relu")
    # Three calls of either, and one of the swapped to settle.
    assert before - only_made.accelerator.diary.count("relu") == 3 * (4 + 12) + 12


def test_a_network_that_fails_is_a_row() -> None:
    case = replace(CASE, activation=f"{__name__}:Raises")

    row = measure(case, Cpu(), **QUICK).row

    assert (row.status, row.message) == ("error", "RuntimeError: no batch of mine")
    assert row.overhead is None


def test_images_that_are_too_small_are_a_row() -> None:
    row = measure(replace(CASE, image_size=16), Cpu(), **QUICK).row

    assert row.status == "error"
    assert "lenet takes images of 32 × 32 pixels or more, got 16" in row.message


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
    assert [tuple(site.values()) for site in figures["sites"]] == [
        ("relu1", "relu", 6, 28, 28),
        ("relu2", "relu", 16, 10, 10),
    ]
    kept = [(site["name"], site["channels"], site["height"]) for site in figures["kept_sites"]]
    assert kept == [("relu3", 120, None), ("relu4", 84, None)]
    assert all("input must be of shape" in site["reason"] for site in figures["kept_sites"])
    assert figures["counted_image_size"] == 32
    assert figures["message"] == ""
    assert figures["saved_for_backward_bytes"] == 0


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize(
    ("network", "activation", "batch"),
    [("lenet", "frelu", 40), ("resnet18", "relu", 500), ("resnet18", "frelu", 500)],
)
def test_memory_grows_by_the_image_as_it_says(
    phase: str, network: str, activation: str, batch: int
) -> None:
    case = replace(CASE, network=network, activation=activation, phase=phase, batch=1)
    figures = count(case, Cpu())
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
    figures = count(case, Cpu())
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
    device = Cpu()
    case = NetworkCase("resnet18", "frelu", "all", "training", "float32", 3, 64, "cpu")

    small = count(case, device)
    large = count(replace(case, batch=6, image_size=128), device)

    # Twice the images of four times the pixels. Statistics of normalisations and the pooled
    # features grow otherwise, and are small.
    for name in ("saved_for_backward_bytes", "baseline_saved_for_backward_bytes"):
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


def test_what_was_counted_before_is_no_answer_for_another_case() -> None:
    cases = [
        CASE,
        replace(CASE, phase="inference"),
        replace(CASE, activation="prelu"),
        replace(CASE, batch=2 * CASE.batch),
        replace(CASE, dtype="bfloat16"),
        replace(CASE, network="mobilenet_v2_x0_35"),
        replace(CASE, network="mobilenet_v2_x0_35", image_size=64),
        replace(CASE, network="resnet50", batch=1),
        replace(CASE, network="resnet50", batch=1, placement="paper"),
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
