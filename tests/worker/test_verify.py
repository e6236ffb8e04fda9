"""An implementation that does not do what the reference does is called wrong, and has no time."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dynact.activations.acon import AconC
from dynact.activations.funnel import FReLU
from dynact.worker.device import Cpu
from tests.measuring import Bench, visit
from tests.sweeping import case_of


def case_with(layer: type[nn.Module], activation: str = "acon_c", **changes: Any) -> Any:
    """A case of a class of this file as an implementation of an activation."""
    values = {"phase": "training", "batch": 3, "channels": 5, "height": 6, "width": 7}
    return case_of(activation, impl=f"{__name__}:{layer.__name__}", **values | changes)


class Right(AconC):
    pass


class RightInAnotherOrder(AconC):
    """Rounds otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        p1, p2, beta = (p.to(x.dtype) for p in (self.p1, self.p2, self.beta))
        gate = torch.sigmoid((beta * (p1 - p2)) * x)
        return x * (gate * p1 + (1 - gate) * p2)


class OtherFormula(AconC):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-3 * x


class Rounded(AconC):
    """Computes at a lower precision than it was asked for."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).bfloat16().to(x.dtype)


class ReplaysAnOldOutput(AconC):
    def forward(self, x: Tensor) -> Tensor:
        key = x.dtype, self.training
        if key not in self.__dict__.setdefault("kept", {}):
            self.kept[key] = super().forward(x)
        y: Tensor = self.kept[key]
        return y


class OneBuffer(AconC):
    """Gives out the same memory each time."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        buffers = self.__dict__.setdefault("outputs", {})
        kept = buffers.setdefault((y.shape, y.dtype), torch.empty_like(y).detach())
        kept.copy_(y.detach())
        y.data = kept
        return y


class WritesIntoItsInput(AconC):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        with torch.no_grad():
            x.data.mul_(0.5)
        return y


class Widens(AconC):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


class SkipsAGradient(AconC):
    def forward(self, x: Tensor) -> Tensor:
        p1, self.p1 = self.p1, nn.Parameter(self.p1.detach())
        try:
            self.p1.requires_grad_(False)
            return super().forward(x)
        finally:
            self.p1 = p1


class HalvesAGradient(AconC):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if y.requires_grad:
            x.register_hook(lambda g: g / 2)
        return y


class WrongAtTheBorder(FReLU):
    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        t = functional.conv2d(padded, self.conv.weight, self.conv.bias, groups=self.channels)
        return torch.maximum(x, self.bn(t))


class ForgetsStatistics(FReLU):
    def forward(self, x: Tensor) -> Tensor:
        self.bn.momentum = 0.0
        return super().forward(x)


class WrongForOnePixel(AconC):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y * 2 if x.shape[2] == 1 else y


class WrongForLargeValues(AconC):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(max=500)


class WrongAtZero(AconC):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x == 0, x + 1, super().forward(x))


class TiresOfIt(AconC):
    """Right as long as it is looked at, and then the less work the better."""

    def forward(self, x: Tensor) -> Tensor:
        self.__dict__["calls"] = self.__dict__.get("calls", 0) + 1
        return super().forward(x) if self.__dict__["calls"] < 8 else x * 1


class WritesIntoTheGradient(AconC):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if y.requires_grad:
            y.register_hook(lambda g: g.mul_(1.5))
        return y


class ReplaysLater(AconC):
    """Right for a while, and then what it gave out before."""

    def forward(self, x: Tensor) -> Tensor:
        self.__dict__["calls"] = self.__dict__.get("calls", 0) + 1
        if self.__dict__["calls"] < 8:
            self.__dict__["kept"] = super().forward(x)
        y: Tensor = self.__dict__["kept"]
        return y


class SkipsGradientsLater(AconC):
    def forward(self, x: Tensor) -> Tensor:
        self.__dict__["calls"] = self.__dict__.get("calls", 0) + 1
        y = super().forward(x)
        return (
            y if self.__dict__["calls"] < 8 else y.detach() + 0 * self.p1.sum() + (x - x.detach())
        )


class NoGradient(AconC):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


class OtherLayout(AconC):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).contiguous()


class FromScratch(nn.Module):
    """Has what a state_dict has, and nothing else of the reference's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, max(1, channels // 8))
        self.fc2 = nn.Linear(max(1, channels // 8), 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        delta = 2 * torch.sigmoid(self.fc2(self.fc1(x.mean((2, 3))).relu())) - 1
        a1, a2, b1, b2 = (
            each.to(x.dtype)[:, :, None, None] for each in delta.reshape(*x.shape[:2], 4).unbind(2)
        )
        return torch.maximum((1 + a1) * x + b1 / 2, a2 * x + b2 / 2)


class OtherParameters(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.slope


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("layer", [Right, RightInAnotherOrder])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_what_is_right_is_timed(
    layer: type[nn.Module], phase: str, dtype: str, memory_format: str
) -> None:
    found = visit(case_with(layer, phase=phase, dtype=dtype, memory_format=memory_format), Cpu())

    assert (found.status, found.message) == ("ok", "")
    assert found.time_ns


WRONG = [
    (OtherFormula, "acon_c", {}, "output is off by up to"),
    (OtherFormula, "acon_c", {"phase": "inference"}, "output is off by up to"),
    (Rounded, "acon_c", {}, "output is off by up to"),
    (ReplaysAnOldOutput, "acon_c", {"phase": "inference"}, "output is off by up to"),
    (OneBuffer, "acon_c", {}, "writes into an output that it gave out before"),
    (WritesIntoItsInput, "acon_c", {}, "writes into its input"),
    (Widens, "acon_c", {"dtype": "bfloat16"}, "dtype float32, the reference's bfloat16"),
    (SkipsAGradient, "acon_c", {}, "no gradient of p1, unlike the reference"),
    (HalvesAGradient, "acon_c", {}, "gradient of the input is off by up to"),
    (WrongAtTheBorder, "frelu", {}, "output is off by up to"),
    (ForgetsStatistics, "frelu", {}, "bn.running_mean is off by up to"),
    (WrongForOnePixel, "acon_c", {"phase": "inference"}, "on one pixel"),
    (WrongForLargeValues, "acon_c", {}, "on ties, zeros and large values"),
    (WrongAtZero, "acon_c", {}, "on ties, zeros and large values"),
    (WritesIntoTheGradient, "acon_c", {}, "writes into the gradient that it starts back from"),
    (OtherLayout, "acon_c", {"memory_format": "channels_last"}, "output is of stride"),
    (NoGradient, "acon_c", {}, "its output has no gradient"),
    (
        OtherParameters,
        "acon_c",
        {},
        "its state is slope (5, 1, 1), the reference's p1 (1, 5, 1, 1)",
    ),
]


@pytest.mark.parametrize(
    ("layer", "activation", "changes", "message"),
    WRONG,
    ids=[f"{layer.__name__}-{i}" for i, (layer, *_) in enumerate(WRONG)],
)
def test_what_is_wrong_has_a_message_and_no_time(
    layer: type[nn.Module], activation: str, changes: dict[str, Any], message: str
) -> None:
    found = visit(case_with(layer, activation, **changes), Cpu())

    assert found.status == "wrong"
    assert message in found.message
    assert found.message.startswith("WrongError: ")
    assert (found.overhead, found.time_ns) == (None, None)


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_a_layer_that_shares_nothing_but_the_state_is_right(phase: str) -> None:
    found = visit(case_with(FromScratch, "dyrelu_b", channels=16, phase=phase), Cpu())

    assert (found.status, found.message) == ("ok", "")


@pytest.mark.parametrize("impl", ["lines", "fused"])
@pytest.mark.parametrize(("height", "channels"), [(1, 8), (112, 16)])
def test_ours_are_right_at_one_pixel_and_where_sums_cancel(
    impl: str, height: int, channels: int
) -> None:
    changes = {"batch": 3, "channels": channels, "height": height, "width": height}
    found = visit(case_of("dyrelu_c", impl=impl, phase="training", **changes), Cpu())

    assert (found.status, found.message) == ("ok", "")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("dyrelu_a", (8, 64, 56, 56)),
        ("dyrelu_a", (2, 512, 28, 28)),
        ("frelu", (2, 512, 28, 28)),
    ],
)
def test_ours_are_right_where_sums_are_long(name: str, shape: tuple[int, ...]) -> None:
    batch, channels, height, width = shape
    changes = {"batch": batch, "channels": channels, "height": height, "width": width}
    found = visit(case_of(name, impl="fused", phase="training", **changes), Cpu())

    assert (found.status, found.message) == ("ok", "")


@pytest.mark.parametrize(
    ("layer", "phase"),
    [
        (TiresOfIt, "inference"),
        (TiresOfIt, "training"),
        (ReplaysLater, "inference"),
        (SkipsGradientsLater, "training"),
    ],
)
def test_it_is_looked_at_again_after_it_was_timed(layer: type[nn.Module], phase: str) -> None:
    found = visit(case_with(layer, phase=phase), Cpu())

    assert found.status == "wrong"
    assert "after it was timed" in found.message
    assert (found.overhead, found.time_ns) == (None, None)


def test_later_visits_look_at_it_too() -> None:
    bench = Bench(Cpu())
    case = case_with(Right)

    assert [bench.visit(case).status for _ in range(3)] == ["ok"] * 3


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("impl", ["lines", "fused"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ours_are_right_where_they_are_timed(impl: str, phase: str, dtype: str) -> None:
    case = case_of("dyrelu_b", impl=impl, phase=phase, dtype=dtype, batch=2, channels=8)

    found = visit(replace(case, height=9, width=6), Cpu())

    assert (found.status, found.message) == ("ok", "")


@pytest.mark.parametrize("name", ["funnel_maxpool", "funnel_avgpool"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pools_are_right_where_many_values_of_a_window_are_equal(name: str, dtype: str) -> None:
    case = case_of(name, impl="fused", phase="training", dtype=dtype, batch=2, channels=8)

    found = visit(replace(case, height=28, width=28), Cpu())

    assert (found.status, found.message) == ("ok", "")


def test_two_branches_are_right_in_channels_last() -> None:
    changes = {"memory_format": "channels_last", "channels": 8}
    case = case_of("frelu_light", impl="fused", phase="training", **changes)

    found = visit(replace(case, batch=2, height=9, width=6), Cpu())

    assert (found.status, found.message) == ("ok", "")


def test_a_large_case_is_verified_on_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    from dynact.worker import layer as layer_module

    sizes = []
    verify = layer_module.verify

    def noted(found: nn.Module, plain: nn.Module, case: Any, device: Any) -> None:
        sizes.append((case.batch, case.channels, case.height, case.width))
        verify(found, plain, case, device)

    monkeypatch.setattr(layer_module, "verify", noted)
    monkeypatch.setattr(layer_module, "MOST_TO_VERIFY", 500)
    visit(case_with(Right, batch=4, channels=5, height=16, width=20), Cpu())

    assert sizes
    for size in sizes:
        assert size[1] == 5
        assert 250 < torch.Size(size).numel() <= 500
