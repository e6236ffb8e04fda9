"""From case to counts, on reference activations and on layers that are hard to count."""

import gc
import weakref
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dynact import activations
from dynact.activations import names
from dynact.schema.cases import Case
from dynact.schema.rows import Row
from dynact.timing.clock import Call
from dynact.worker import layer as layer_module
from dynact.worker.counts import CACHE
from dynact.worker.device import Cpu
from dynact.worker.layer import draw_tensors
from tests.fake_device import LazyLibrary
from tests.measuring import count
from tests.sweeping import case_of

PHASES = ("inference", "training")
COUNTED = {
    "parameters", "parameters_normalisation", "buffers", "flops", "flops_fvcore_default",
    "flops_by_operator", "uncounted_ops", "baseline_flops", "traffic_floor_bytes",
    "traffic_eager_bytes", "operator_calls", "baseline_traffic_eager_bytes", "data_dependent",
    "saved_for_backward_bytes", "saved_input_bytes", "saved_output_bytes",
    "baseline_saved_for_backward_bytes", "peak_bytes", "peak_source", "baseline_peak_bytes",
}  # fmt: skip


def own(layer_class: type) -> str:
    """The name by which a case asks for a class of this file."""
    return f"{__name__}:{layer_class.__name__}"


class Layer(nn.Module):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        Layer.calls += 1
        return 2 * x


class Branching(nn.Module):
    """Work that depends on the data: one multiplication, or a multiplication and an addition."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if x.sum() > 1e9 else 2 * x + 1


class SetsItselfUp(nn.Module):
    """Scales by what it saw first in training, as layers that normalise by their data do."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.is_new = True

    def forward(self, x: Tensor) -> Tensor:
        if self.is_new and self.training:
            with torch.no_grad():
                self.scale.div_(x.std(dim=(0, 2, 3))[:, None, None].exp().add(1).sqrt())
            self.is_new = False
        return x * self.scale


class ScalesAnyway(SetsItselfUp):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.is_new = False


class NotOnMeta(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.detach().to("cpu").numpy().max())


class Unknown(nn.Module):
    """An operator that neither fvcore nor we know."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cummax(x, dim=1).values + x


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class OwnBackward(nn.Module):
    """Opaque to a tracer."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = Doubled.apply(x)
        return y


def kernel_of_its_own(x: Tensor) -> Tensor:
    """Return ReLU, by a write into memory that no operator sees."""
    y = torch.empty_like(x)
    np.maximum(x.detach().numpy(), 0, out=y.detach().numpy())
    return y


class HiddenForward(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        # A path of the gradient.
        return kernel_of_its_own(x) + 0 * x


class Doubling(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return kernel_of_its_own(gradient)


class HiddenBackward(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = Doubling.apply(x)
        return y


class MatrixVector(nn.Module):
    """x weighed by W·v of its means: fvcore's own handle fails on the product with a vector."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        weights = x.mean(dim=(2, 3)) @ self.v
        return x * weights[:, None, None, None]


class Moody(nn.Module):
    fails = False

    def forward(self, x: Tensor) -> Tensor:
        if Moody.fails:
            raise RuntimeError("no memory left")
        return 2 * x


class Itself(nn.Module):
    """A view of the input."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view_as(x)


class Idle(nn.Module):
    """Parameters that it never uses."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.ones(100_000))

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class Frozen(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Untraceable(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing():
            raise RuntimeError("no tracing\nplease")
        return 2 * x


@pytest.fixture(autouse=True)
def fresh() -> None:
    CACHE.clear()
    Layer.calls = 0


def counted(case: Case, device: Cpu | None = None, message: str = "") -> dict[str, Any]:
    figures = count(case, device or Cpu())
    assert figures.pop("message") == message
    assert figures.pop("counting_s") > 0
    return figures


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("activation", names())
def test_each_activation_has_every_count(activation: str, phase: str) -> None:
    figures = counted(case_of(activation, phase=phase))

    assert set(figures) == COUNTED
    assert None not in figures.values()
    assert figures["uncounted_ops"] == []
    assert figures["peak_source"] == "tracker"
    assert figures["data_dependent"] is False
    assert sum(figures["flops_by_operator"].values()) == figures["flops"]
    assert figures["traffic_floor_bytes"] <= figures["traffic_eager_bytes"]
    within = figures["saved_input_bytes"] + figures["saved_output_bytes"]
    assert within <= figures["saved_for_backward_bytes"]


def test_a_row_has_a_place_for_every_count() -> None:
    assert {field.name for field in fields(Row)} >= COUNTED


@pytest.mark.parametrize(
    ("activation", "phase", "expected"),
    [
        # In tensors of the output's size: the input is two, and read twice, as two operators are.
        ("swiglu", "inference", {"floor": 3, "eager": 2 + 3, "kept": 0, "peak": 2}),
        ("geglu", "inference", {"floor": 3, "eager": 2 + 3, "kept": 0, "peak": 2}),
        # Back: of the product two factors' gradients, 2 · 3, of the curve 3, into one tensor 4.
        ("swiglu", "training", {"floor": 8, "eager": 5 + 6 + 3 + 4, "kept": 3, "peak": 5}),
        ("geglu", "training", {"floor": 8, "eager": 5 + 6 + 3 + 4, "kept": 3, "peak": 5}),
        # The output is where the input was.
        ("relu_inplace", "inference", {"floor": 2, "eager": 2, "kept": 0, "peak": 0}),
        ("relu_inplace", "training", {"floor": 5, "eager": 5, "kept": 1, "peak": 1}),
    ],
)
def test_what_has_an_input_of_its_own_costs_in_tensors_of_the_outputs_size(
    activation: str, phase: str, expected: dict[str, int]
) -> None:
    figures = counted(case_of(activation, phase=phase))

    size = 4 * 2 * 8 * 7 * 7
    assert {
        "floor": figures["traffic_floor_bytes"] / size,
        "eager": figures["traffic_eager_bytes"] / size,
        "kept": figures["saved_for_backward_bytes"] / size,
        "peak": figures["peak_bytes"] / size,
    } == expected
    # ReLU beside it is that of the output's shape.
    assert figures["baseline_flops"] == size / 4
    assert figures["baseline_peak_bytes"] == size * (2 if phase == "training" else 1)


@pytest.mark.parametrize("phase", PHASES)
def test_relu_costs_what_it_must(phase: str) -> None:
    elements = 2 * 8 * 7 * 7
    training = phase == "training"

    assert counted(case_of("relu", phase=phase)) == {
        "parameters": 0,
        "parameters_normalisation": 0,
        "buffers": 0,
        "flops": elements,
        "baseline_flops": elements,
        "flops_fvcore_default": 0,
        "flops_by_operator": {"relu": elements},
        "uncounted_ops": [],
        "data_dependent": False,
        # Training: and back, the gradient and the output read, a gradient written.
        "traffic_eager_bytes": 4 * elements * (5 if training else 2),
        "baseline_traffic_eager_bytes": 4 * elements * (5 if training else 2),
        "traffic_floor_bytes": 4 * elements * (5 if training else 2),
        "operator_calls": 2 if training else 1,
        "saved_for_backward_bytes": 4 * elements * training,
        "baseline_saved_for_backward_bytes": 4 * elements * training,
        "saved_input_bytes": 0,
        "saved_output_bytes": 4 * elements * training,
        "peak_bytes": 4 * elements * (2 if training else 1),
        "baseline_peak_bytes": 4 * elements * (2 if training else 1),
        "peak_source": "tracker",
    }


@pytest.mark.parametrize("phase", PHASES)
def test_the_baseline_s_counts_are_those_of_its_own_row(phase: str) -> None:
    beside = counted(case_of("prelu", phase=phase, baseline="dyrelu_b"))
    its_own = counted(case_of("dyrelu_b", phase=phase))

    for name in ("flops", "traffic_eager_bytes", "saved_for_backward_bytes", "peak_bytes"):
        assert beside[f"baseline_{name}"] == its_own[name]


def test_both_phases_count_one_forward_pass() -> None:
    inference, training = (counted(case_of("frelu", phase=phase)) for phase in PHASES)

    for name in ("flops", "flops_fvcore_default", "flops_by_operator", "parameters"):
        assert inference[name] == training[name]
    assert inference["traffic_eager_bytes"] < training["traffic_eager_bytes"]
    assert inference["operator_calls"] < training["operator_calls"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_bytes_follow_the_dtype_and_arithmetic_does_not(dtype: str) -> None:
    wide, narrow = (counted(case_of("acon_c", dtype=d)) for d in ("float64", dtype))

    width = {"float64": 1, "float32": 2, "bfloat16": 4}[dtype]
    for name in ("traffic_eager_bytes", "traffic_floor_bytes", "peak_bytes"):
        assert wide[name] == width * narrow[name]
    assert wide["flops"] == narrow["flops"]


def test_a_compiled_case_has_the_counts_of_the_eager_formulation() -> None:
    assert counted(case_of("dyrelu_a", mode="compile")) == counted(case_of("dyrelu_a"))


def test_nothing_is_counted_twice() -> None:
    device = Cpu()
    case = case_of(own(Layer), baseline=own(Layer))

    first = counted(case, device)
    calls = Layer.calls
    again = counted(replace(case, mode="compile"), device)

    assert calls > 0
    assert Layer.calls == calls
    assert again == first


def test_another_shape_is_counted_anew() -> None:
    small, large = (counted(case_of("se", batch=batch)) for batch in (1, 3))

    assert large["flops"] == 3 * small["flops"]
    assert large["traffic_eager_bytes"] > small["traffic_eager_bytes"]


class Reporting(Cpu):
    """A device whose allocator keeps statistics."""

    def peak_bytes(self, call: Call) -> int | None:
        call()
        return 123


def test_the_allocator_s_own_peak_comes_first() -> None:
    figures = counted(case_of("silu"), Reporting())

    assert (figures["peak_bytes"], figures["peak_source"]) == (123, "allocator")
    assert figures["baseline_peak_bytes"] == 123


@pytest.mark.parametrize("phase", PHASES)
def test_what_a_library_sets_up_at_its_first_call_is_not_of_the_peak(phase: str) -> None:
    device = LazyLibrary()

    with device.in_use():
        figures = counted(case_of("frelu", phase=phase), device)

    assert figures["peak_source"] == "allocator"
    assert figures["peak_bytes"] == figures["baseline_peak_bytes"] == device.needed_bytes
    training = phase == "training"
    assert set(device.asked_in) == {(case_of().batch, training, training)}


class TestHardToCount:
    @pytest.mark.parametrize("phase", PHASES)
    @pytest.mark.parametrize("layer", [NotOnMeta, Branching, OwnBackward, Unknown])
    def test_it_has_every_count_all_the_same(self, layer: type, phase: str) -> None:
        figures = counted(case_of(own(layer), phase=phase))

        assert set(figures) == COUNTED
        assert None not in figures.values()

    def test_work_that_depends_on_the_data_is_counted_as_for_this_input(self) -> None:
        figures = counted(case_of(own(Branching)))

        elements = 2 * 8 * 7 * 7
        assert figures["data_dependent"] is True
        # The product and the sum of the branch taken, and the sum that decides.
        assert figures["flops"] == pytest.approx(3 * elements, abs=2)

    @pytest.mark.parametrize(
        ("layer", "operator"), [(Unknown, "aten::cummax"), (OwnBackward, "Doubled")]
    )
    def test_an_operator_that_nobody_knows_is_named(self, layer: type, operator: str) -> None:
        uncounted = counted(case_of(own(layer)))["uncounted_ops"]

        assert any(operator in name for name in uncounted)

    def test_a_fault_costs_only_its_own_figures(self) -> None:
        figures = counted(
            case_of(own(Untraceable)),
            message="arithmetic not counted: RuntimeError: no tracing; "
            "fvcore's default not counted: RuntimeError: no tracing",
        )

        assert set(figures) == COUNTED - {
            "flops", "flops_fvcore_default", "flops_by_operator", "uncounted_ops"
        }  # fmt: skip
        assert figures["parameters"] == 0
        assert figures["traffic_eager_bytes"] == 2 * 4 * 2 * 8 * 7 * 7

    @pytest.mark.parametrize(
        ("layer", "phase", "names"),
        [
            (HiddenForward, "inference", ("arithmetic", "traffic")),
            (HiddenForward, "training", ("arithmetic", "traffic")),
            (HiddenBackward, "inference", ()),
            (HiddenBackward, "training", ("traffic",)),
        ],
    )
    def test_what_operators_do_not_show_is_left_empty_and_said(
        self, layer: type, phase: str, names: tuple[str, ...]
    ) -> None:
        figures = counted(
            case_of(own(layer), phase=phase),
            message="; ".join(
                f"{name} not counted: it computes outside of torch's operators, as by a kernel of "
                "its own"
                for name in names
            ),
        )

        of = {
            "arithmetic": {"flops", "flops_by_operator", "uncounted_ops"},
            "traffic": {"traffic_eager_bytes", "operator_calls", "data_dependent"},
        }
        assert set(figures) == COUNTED - {figure for name in names for figure in of[name]}
        # What it reads and writes at the least is known all the same.
        size = 4 * 2 * 8 * 7 * 7
        assert figures["traffic_floor_bytes"] >= 2 * size
        assert figures["peak_bytes"] >= size

    def test_what_only_fvcore_cannot_count_is_counted(self) -> None:
        figures = count(case_of(own(MatrixVector)), Cpu())

        assert figures["message"].startswith("fvcore's default not counted: ")
        assert set(COUNTED) - set(figures) == {"flops_fvcore_default"}
        assert figures["flops"] == 2 * 8 * 7 * 7 + 2 * 2 * 8 + 2 * 8 * 7 * 7

    def test_a_baseline_s_fault_costs_only_what_is_said_of_it(self) -> None:
        figures = counted(
            case_of("prelu", baseline=own(Untraceable)),
            message="of the baseline: arithmetic not counted: RuntimeError: no tracing; of the "
            "baseline: fvcore's default not counted: RuntimeError: no tracing",
        )

        assert {name for name, figure in figures.items() if figure is None} == {"baseline_flops"}

    def test_what_failed_is_tried_again(self) -> None:
        device = Cpu()
        Moody.fails = True
        failed = count(case_of(own(Moody)), device)
        Moody.fails = False
        counted_again = counted(case_of(own(Moody)), device)

        assert "no memory left" in failed["message"]
        assert set(counted_again) == COUNTED


@pytest.mark.parametrize(
    ("layer", "phase"), [(Itself, "inference"), (Itself, "training"), (Idle, "inference")]
)
def test_a_floor_is_never_above_what_the_layer_itself_moves(layer: type, phase: str) -> None:
    figures = counted(case_of(own(layer), phase=phase))

    assert figures["traffic_floor_bytes"] == figures["traffic_eager_bytes"]


def test_frozen_parameters_have_no_gradient_to_write() -> None:
    figures = counted(case_of(own(Frozen), phase="training"))

    case = case_of(own(Frozen))
    assert figures["traffic_floor_bytes"] == 4 * case.input_bytes + 4 * figures["parameters"]


@pytest.mark.parametrize("activation", names())
def test_nothing_is_kept_alive(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = []

    def noted(case: Case, device: Cpu) -> tuple[Tensor, Tensor | None]:
        x, gradient = draw_tensors(case, device)
        inputs.append(weakref.ref(x.untyped_storage()))
        return x, gradient

    monkeypatch.setattr(layer_module, "draw_tensors", noted)
    counted(case_of(activation, phase="training"))
    gc.collect()

    assert len(inputs) == len({activation, "relu"})
    assert [x() for x in inputs] == [None] * len(inputs)


def test_the_floor_follows_what_the_registry_says() -> None:
    case = case_of("dyrelu_b", phase="training")

    figures = counted(case)

    assert figures["traffic_floor_bytes"] == (
        activations.least_passes("dyrelu_b", True) * case.input_bytes
        + 2 * 4 * figures["parameters"]
    )


def test_what_was_counted_before_is_no_answer_for_another_case() -> None:
    case = case_of("frelu", dtype="float32")
    cases = [
        case,
        replace(case, phase="training"),
        replace(case, activation="prelu"),
        replace(case, baseline="silu"),
        replace(case, batch=case.batch + 1),
        replace(case, channels=2 * case.channels),
        replace(case, height=case.height + 1),
        replace(case, width=case.width + 2),
        replace(case, dtype="bfloat16"),
        replace(case, memory_format="channels_last"),
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
    # Each but the memory format costs something else.
    assert len({str(figures) for figures in alone}) >= len(cases) - 1


def test_a_layer_that_sets_itself_up_is_counted_afterwards() -> None:
    figures, expected = (
        count(case_of(own(layer), phase="training"), Cpu())
        for layer in (SetsItselfUp, ScalesAnyway)
    )
    for name in ("operator_calls", "traffic_eager_bytes", "peak_bytes", "saved_for_backward_bytes"):
        assert figures[name] == expected[name], name
