"""A network against itself, measured and counted."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dynact.cost import MemoryTracker
from dynact.device import Cpu
from dynact.network_cases import NetworkCase
from dynact.network_count import count_network
from dynact.network_measure import measure_network
from dynact.networks.prepared import call_of_network, draw_images, pair_of
from dynact.results import NetworkRow

CASE = NetworkCase("lenet", "frelu", "all", "training", "float32", 4, 32, "cpu")
QUICK = {"precision": 0.05, "max_seconds": 0.05}


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 1:
            raise RuntimeError("no batch of mine")
        return x


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_a_row_has_the_network_against_itself(phase: str) -> None:
    measurement = measure_network(replace(CASE, phase=phase), Cpu(), **QUICK)

    row = measurement.row
    assert isinstance(row, NetworkRow)
    assert (row.status, row.message) == ("ok", "")
    assert row.overhead is not None
    assert row.overhead_lo is not None
    assert row.overhead_hi is not None
    assert row.overhead_lo <= row.overhead <= row.overhead_hi
    assert measurement.samples_ns


def test_a_network_that_fails_is_a_row() -> None:
    case = replace(CASE, activation=f"{__name__}:Raises")

    row = measure_network(case, Cpu(), **QUICK).row

    assert (row.status, row.message) == ("error", "RuntimeError: no batch of mine")
    assert row.overhead is None


def test_images_that_are_too_small_are_a_row() -> None:
    row = measure_network(replace(CASE, image_size=16), Cpu(), **QUICK).row

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
    figures = count_network(replace(CASE, phase="inference"), Cpu())

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
    assert figures["sites"] == "relu1=relu:6x28x28 relu2=relu:16x10x10"
    assert figures["kept_sites"].startswith("relu3=relu:120 – ")
    assert "; relu4=relu:84 – " in figures["kept_sites"]
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
    figures = count_network(case, Cpu())
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
    figures = count_network(case, Cpu())
    model, images = pair_of(case, Cpu()).swapped, draw_images(case, 3, Cpu())
    there = [*model.parameters(), *model.buffers(), images]
    with torch.set_grad_enabled(phase == "training"), MemoryTracker(there) as tracker:
        call_of_network(case, model, images)()

    assert figures["peak_bytes"] == pytest.approx(tracker.peak_bytes, rel=0.01)


def test_what_autograd_keeps_of_a_network() -> None:
    figures = count_network(CASE, Cpu())

    # FReLU keeps its input, the convolution's output, BatchNorm's, and that layer's mean and
    # inverse deviation; its own output, as ReLU's, is kept by the pooling behind it.
    of_sites = 4 * CASE.batch * (6 * 28 * 28 + 16 * 10 * 10)
    of_statistics = 4 * 2 * (6 + 16)
    more = figures["saved_for_backward_bytes"] - figures["baseline_saved_for_backward_bytes"]
    assert more == 3 * of_sites + of_statistics
