"""A network at hand against itself with other activations."""

import copy
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from dynact import measure_network
from dynact.activations.funnel import FReLU
from dynact.cost import count_flops
from dynact.networks.lenet import LeNet
from dynact.networks.swap import swap_activations
from dynact.schema.rows import NetworkRow
from dynact.schema.visits import Visit
from dynact.worker import own_network
from dynact.worker.network_measurement import NetworkMeasurement
from tests.fake_device import Kernels, VirtualDevice

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
THRICE = f"{__name__}:Thrice"
BRIEFLY_S = 0.01
# A convolution shows by the first name in inference mode, by the second elsewhere.
KERNELS_NS = {
    "conv2d": 30e3, "convolution": 30e3,
    "relu": 10e3, "threshold_backward": 10e3, "silu": 40e3, "silu_backward": 40e3,
}  # fmt: skip


class Thrice(nn.Module):
    """Three times ReLU's kernels, forward and backward."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu().relu().relu()


class OwnFReLU(FReLU):
    """With arithmetic of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * 1)


class TwoBranches(nn.Module):
    """One kernel of each kind, forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.conv(x)
        return {"relu": self.relu(x), "silu": functional.silu(x)}


class OfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor, more: Tensor) -> Tensor:
        return self.conv(x + more).relu()


class OfImages(OfTwo):
    def forward(self, images: list[Tensor]) -> Tensor:
        return self.conv(torch.stack(images)).relu()


class Mixed(OfTwo):
    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        return self.conv(torch.einsum("nchw,nm->mchw", x, mix)).relu()


class WritesIntoItsInput(OfTwo):
    seen: ClassVar[list[Tensor]] = []

    def forward(self, x: Tensor, more: Tensor) -> Tensor:
        if x.device.type != "meta":
            self.seen.extend((x.clone(), more.clone()))
        # In one mode alone.
        y = super().forward(x.mul_(2) if self.training else x, more)
        assert x is more
        return y


@pytest.fixture
def in_virtual_time(monkeypatch: pytest.MonkeyPatch) -> Callable[..., NetworkMeasurement]:
    """Measure where a device is busy for what `KERNELS_NS` says, and for nothing else."""
    device = VirtualDevice()
    monkeypatch.setattr(own_network, "open_device", lambda _name: device)

    def measure(*args: Any, **options: Any) -> NetworkMeasurement:
        with Kernels(device.accelerator, lambda name, _result: KERNELS_NS.get(name, 0.0)):
            return measure_network(*args, example_input=IMAGES, seconds=BRIEFLY_S, **options)

    return measure


def assert_takes(row: NetworkRow, original_us: float, swapped_us: float) -> None:
    assert (row.status, row.message) == ("ok", "")
    assert row.baseline_time_ns == pytest.approx(original_us * 1e3, rel=1e-3)
    assert row.time_ns == pytest.approx(swapped_us * 1e3, rel=1e-3)
    ratio = swapped_us / original_us
    assert row.overhead == pytest.approx(ratio, rel=1e-3)
    assert (row.overhead_lo, row.overhead_hi) == pytest.approx((ratio, ratio), rel=1e-3)


def test_both_networks_take_the_time_of_their_kernels(in_virtual_time: Any) -> None:
    found = in_virtual_time(TwoBranches(), {"relu": THRICE})

    assert_takes(found.inference, 30 + 10 + 40, 30 + 30 + 40)
    # A gradient goes back through either branch.
    assert_takes(found.training, 30 + 2 * 10 + 2 * 40, 30 + 2 * 30 + 2 * 40)
    assert found.training.converged
    assert [(s.site.original, s.activation) for s in found.swaps] == [
        ("relu", THRICE), ("silu", "silu"),
    ]  # fmt: skip
    assert [site["name"] for site in found.training.sites] == ["relu"]
    assert [site["reason"] for site in found.training.kept_sites] == ["not selected"]
    assert found.activation_shares == {}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_how_far_it_is(
    in_virtual_time: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_virtual_time(TwoBranches(), {"relu": THRICE})
    assert capsys.readouterr() == ("", "")

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    in_virtual_time(TwoBranches(), {"relu": THRICE})

    _, first, *visits, last, erased = terminal.getvalue().split("\r\x1b[K")
    assert (first, last, erased) == ("dynact: replacing activations", "dynact: counting", "")
    # By turns, until one of them is done.
    for phase in ("inference", "training"):
        of_phase = [line for line in visits if phase in line]
        assert len(of_phase) >= own_network.FEWEST_VISITS
        for number, line in enumerate(of_phase, start=1):
            assert re.fullmatch(
                rf"dynact: {phase}, visit {number} · \d+ s left, then counting", line
            )


@pytest.mark.parametrize(
    ("ratios", "timing_s", "left_s"),
    [
        ([], 0.0, 10.0),
        # Seven visits have ten seconds of timed calls.
        ([1.5, 3.0], 1.5, 5 * 2.0),
        # Three are made in any case, and twelve at most.
        ([1.5], 20.0, 2 * 2.0),
        ([1.5, 3.0, 1.5], 0.1, 9 * 2.0),
        ([1.5] * 6, 1.5, 0.0),
    ],
)
def test_the_time_left_is_that_of_visits_to_come(
    ratios: list[float], timing_s: float, left_s: float
) -> None:
    visits = [
        Visit(
            "", "", 1, "ok", "", 1.0, "", 1.0, overhead=ratio, time_ns=ratio, baseline_time_ns=1,
            visit_s=2.0, timing_s=timing_s,
        )
        for ratio in ratios
    ]  # fmt: skip

    assert own_network._left_s(visits, 10.0) == pytest.approx(left_s)


def test_a_loss_is_what_the_backward_pass_starts_from(in_virtual_time: Any) -> None:
    found = in_virtual_time(
        TwoBranches(), {"relu": THRICE}, loss=lambda output: output["silu"].mean()
    )

    assert_takes(found.training, 30 + 10 + 2 * 40, 30 + 30 + 2 * 40)


def test_the_share_of_activations_is_the_time_saved_without_them(in_virtual_time: Any) -> None:
    found = in_virtual_time(TwoBranches(), {"silu": "relu"}, activation_share=True)

    # The ReLU beside it stays.
    for phase, share in (("inference", 40 / 80), ("training", 80 / 130)):
        assert found.activation_shares[phase] == pytest.approx((share, share, share), rel=5e-3)
    assert_takes(found.training, 130, 30 + 4 * 10)
    # Of what is left of a step, 70 µs, 20 are the new one's.
    assert "about 29 % of the time" in str(found)


def test_the_range_of_a_share_is_that_of_the_ratio() -> None:
    ratios = [0.7, 0.75, 0.8]
    visits = [
        Visit("", "", 1, "ok", "", 1.0, "", 1.0, overhead=ratio, time_ns=ratio, baseline_time_ns=1)
        for ratio in ratios
    ]

    share = own_network._share(visits)

    # Student's for three: 4.303 standard errors of their logarithms.
    logs = np.log(ratios)
    half = 4.303 * logs.std(ddof=1) / 3**0.5
    ends = 1 - np.exp([logs.mean(), logs.mean() + half, logs.mean() - half])
    assert share == pytest.approx(tuple(ends), rel=1e-3)


def test_the_step_is_the_same_for_both_and_in_the_mode_of_the_phase(
    in_virtual_time: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: dict[str, set[tuple[bool, bool, bool]]] = {"relu": set(), "thrice": set()}

    def noted(name: str) -> Any:
        def forward(self: nn.Module, x: Tensor) -> Tensor:
            inference, with_grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
            if x.device.type != "meta" and len(x) == len(IMAGES) and inference | with_grad:
                met[name].add((self.training, inference, with_grad))
            return x.relu() if name == "relu" else x.relu().relu()

        return forward

    monkeypatch.setattr(nn.ReLU, "forward", noted("relu"))
    monkeypatch.setattr(Thrice, "forward", noted("thrice"))

    in_virtual_time(TwoBranches(), {"relu": THRICE})

    modes = {(False, True, False), (True, False, True)}
    assert met == {"relu": modes, "thrice": modes}


def test_counts_are_those_of_both_networks() -> None:
    torch.manual_seed(0)
    network = LeNet()

    found = measure_network(network, "frelu", example_input=IMAGES, seconds=BRIEFLY_S)

    swapped, _ = swap_activations(network, "frelu", example_input=IMAGES)
    for row in (found.inference, found.training):
        # Of FReLU after both convolutions, by its closed form.
        assert (row.baseline_parameters, row.parameters) == (62_006, 62_270)
        for counted, model in ((row.baseline_macs, network), (row.macs, swapped)):
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                model.eval()(IMAGES[:1])
            assert 2 * counted == counter.get_total_flops()


def test_memory_is_that_of_the_maps() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    one = IMAGES.nbytes

    found = measure_network(network, THRICE, example_input=IMAGES, seconds=BRIEFLY_S)

    # The convolution gives out maps as large as the images, and keeps these; ReLU keeps its output.
    training = found.training
    assert training.baseline_saved_for_backward_bytes == one + one
    assert training.saved_for_backward_bytes == one + 3 * one
    assert found.inference.saved_for_backward_bytes == 0
    # In inference the layer's input, which its caller holds, and what is made of it or of that.
    assert found.inference.baseline_peak_bytes == 2 * one
    assert found.inference.peak_bytes == 3 * one
    # In training the outputs and, of ReLU, the gradient of its input, later those of 12 parameters;
    # of three in a row the gradients of an output and an input. What all begins with was there.
    assert training.baseline_peak_bytes == one + one + 12 * 4
    assert training.peak_bytes == 3 * one + 2 * one
    assert found.inference.peak_source == training.peak_source == "tracker"


def test_of_an_implementation_the_arithmetic_is_the_references() -> None:
    options: dict[str, Any] = {"example_input": IMAGES, "seconds": BRIEFLY_S}
    network = LeNet()

    found = measure_network(network, "frelu", impl=f"{__name__}:OwnFReLU", **options)

    reference, _ = swap_activations(network, "frelu", example_input=IMAGES)
    assert found.inference.flops == count_flops(reference, IMAGES[:1]).total
    assert found.inference.case.impl == f"{__name__}:OwnFReLU"


@pytest.mark.parametrize(
    "example", [(IMAGES, IMAGES[:1]), {"more": IMAGES[:1], "x": IMAGES}], ids=["tuple", "dict"]
)
def test_a_network_may_have_several_arguments(example: Any) -> None:
    found = measure_network(OfTwo(), "silu", example_input=example, seconds=BRIEFLY_S)

    assert (found.inference.status, found.inference.message) == ("ok", "")
    assert (found.training.status, found.training.message) == ("ok", "")
    assert found.inference.macs == 3 * 8 * 32 * 32
    assert (found.inference.case.batch, found.inference.case.image_size) == (4, 32)
    assert found.shape == (4, 3, 32, 32)


@pytest.mark.parametrize(
    ("network", "example"),
    [
        (OfImages(), list(IMAGES[:2])),
        (OfImages(), {"images": list(IMAGES[:2])}),
        # Whatever is cut of a matrix that mixes all samples, all come out of it.
        (Mixed(), (IMAGES, torch.rand(4, 4))),
    ],
    ids=["list", "list by name", "mixed"],
)
def test_arithmetic_is_that_of_one_sample(network: nn.Module, example: Any) -> None:
    found = measure_network(network, "silu", example_input=example, seconds=BRIEFLY_S)

    assert (found.inference.status, found.training.message) == ("ok", "")
    mixing = 4 * 3 * 32 * 32 if isinstance(network, Mixed) else 0
    assert found.inference.macs == 3 * 8 * 32 * 32 + mixing
    assert found.inference.case.batch == (4 if mixing else 2)
    assert found.shape[1:] == (3, 32, 32)


def test_samples_that_are_no_square_images_are_told_by_their_sizes() -> None:
    images = IMAGES[..., :8, :12]

    found = measure_network(TwoBranches(), "silu", example_input=images, seconds=BRIEFLY_S)

    case = found.inference.case
    assert (case.image_size, case.sample) == (0, "3x8x12")
    assert "-4x3x8x12-" in case.id
    assert found.inference.counted_image_size == 0


def test_nothing_of_the_callers_is_changed() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout()).train()
    network[1].eval()
    network(IMAGES).sum().backward()
    before = copy.deepcopy(network.state_dict())
    gradient, state = network[0].weight.grad, torch.get_rng_state()
    images = IMAGES.clone().requires_grad_()

    found = measure_network(network, "prelu", example_input=images, seconds=BRIEFLY_S)

    assert found.training.status == "ok"
    assert all(torch.equal(network.state_dict()[key], before[key]) for key in before)
    assert network[0].weight.grad is gradient
    assert [layer.training for layer in network] == [True, False, True, True]
    assert torch.equal(torch.get_rng_state(), state)
    assert images.grad is None
    assert not network[2]._forward_hooks


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_has_training_measured(mode: Any) -> None:
    with mode():
        found = measure_network(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
            "prelu",
            example_input=IMAGES.clone(),
            seconds=BRIEFLY_S,
        )
        assert not torch.is_grad_enabled()

    assert (found.training.status, found.training.message) == ("ok", "")
    assert found.training.saved_for_backward_bytes > 0


def test_each_call_is_on_the_example_whatever_a_network_writes_into_it() -> None:
    WritesIntoItsInput.seen.clear()
    images = IMAGES.clone()

    found = measure_network(
        WritesIntoItsInput(), "prelu", example_input=(images, images), seconds=BRIEFLY_S
    )

    assert (found.training.message, found.inference.message) == ("", "")
    assert torch.equal(images, IMAGES)
    seen = {tuple(x.flatten().tolist()) for x in WritesIntoItsInput.seen if x.shape == IMAGES.shape}
    assert seen == {tuple(IMAGES.flatten().tolist())}


def test_what_fails_in_one_phase_is_told_and_the_other_measured() -> None:
    found = measure_network(
        nn.Sequential(nn.ReLU()), "silu", example_input=IMAGES, seconds=BRIEFLY_S
    )

    assert found.inference.status == "ok"
    assert (found.training.status, found.training.overhead) == ("error", None)
    assert found.training.message == (
        "ValueError: no tensor in the output, a Tensor, has a gradient in training; name a loss of "
        "your own"
    )
    assert "training: failed (error). ValueError: no tensor in the output" in str(found)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda _output: 3.0, "of type float"),
        (lambda output: {"silu": output["silu"].mean()}, "of type dict"),
        (lambda output: output["silu"].mean((1, 2, 3)), "a tensor of shape (4,)"),
    ],
)
def test_a_loss_that_is_no_scalar_is_told(loss: Any, said: str) -> None:
    found = measure_network(
        TwoBranches(), "silu", example_input=IMAGES, seconds=BRIEFLY_S, loss=loss
    )

    assert found.inference.status == "ok"
    assert found.training.message == f"ValueError: the loss is {said}, not a scalar tensor"


@dataclass
class Batch:
    images: Tensor


@pytest.mark.parametrize(
    ("swaps", "options", "message"),
    [
        ("frellu", {}, "unknown activation 'frellu'; did you mean frelu"),
        ({"silu": "frelu"}, {}, "the network calls no 'silu'; it calls relu"),
        ("silu", {"impl": "fused"}, "unknown implementation of silu 'fused'"),
        ("silu", {"example_input": torch.ones(4, 5, 32, 32)}, "the network fails on the example"),
        ("silu", {"example_input": torch.tensor(1.0)}, "holds no tensor with a batch"),
        ("silu", {"example_input": {}}, "holds no tensor with a batch"),
        ("silu", {"example_input": (Batch(IMAGES),)}, "batch, in tuples, lists or"),
        ("silu", {"seconds": 0}, "seconds must be positive, got 0"),
        ("silu", {"seconds": float("nan")}, "seconds must be positive, got nan"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    swaps: "str | dict[str, str]", options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        measure_network(LeNet(), swaps, **{"example_input": IMAGES} | options)

    assert "\n" not in str(caught.value)
