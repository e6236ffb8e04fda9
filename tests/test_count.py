"""From case to counts, on reference activations and on layers that are hard to count."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dynact import activations, count
from dynact.activations import names
from dynact.cases import Case
from dynact.device import Cpu
from dynact.measure import measure
from dynact.results import Row
from dynact.timing.clock import Call

from .sweeping import case_of

PHASES = ("inference", "training")
COUNTED = {
    "parameters", "parameters_normalisation", "buffers", "flops", "flops_fvcore_default",
    "flops_by_operator", "uncounted_ops", "baseline_flops", "traffic_floor_bytes",
    "traffic_eager_bytes", "kernels", "baseline_traffic_eager_bytes", "data_dependent",
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


class Untraceable(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing():
            raise RuntimeError("no tracing\nplease")
        return 2 * x


@pytest.fixture(autouse=True)
def fresh() -> None:
    count._counted.cache_clear()
    count._forward_pass.cache_clear()
    Layer.calls = 0


def counted(case: Case) -> dict[str, Any]:
    figures, faults = count.count(case, Cpu())
    assert faults == ""
    return figures


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("activation", names())
def test_each_activation_has_every_count(activation: str, phase: str) -> None:
    figures = counted(case_of(activation, phase=phase))

    assert set(figures) == COUNTED
    assert None not in figures.values()
    assert figures["uncounted_ops"] == ""
    assert figures["peak_source"] == "tracker"
    assert figures["data_dependent"] is False
    parts = dict(part.rsplit(":") for part in figures["flops_by_operator"].split())
    assert sum(map(int, parts.values())) == figures["flops"]
    assert figures["traffic_floor_bytes"] <= figures["traffic_eager_bytes"]
    within = figures["saved_input_bytes"] + figures["saved_output_bytes"]
    assert within <= figures["saved_for_backward_bytes"]


def test_a_row_has_a_place_for_every_count() -> None:
    assert {field.name for field in fields(Row)} >= COUNTED


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
        "flops_by_operator": f"relu:{elements}",
        "uncounted_ops": "",
        "data_dependent": False,
        # Training: and back, the gradient and the output read, a gradient written.
        "traffic_eager_bytes": 4 * elements * (5 if training else 2),
        "baseline_traffic_eager_bytes": 4 * elements * (5 if training else 2),
        "traffic_floor_bytes": 4 * elements * (5 if training else 2),
        "kernels": 2 if training else 1,
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

    for name in count.OF_THE_BASELINE:
        assert beside[f"baseline_{name}"] == its_own[name]


def test_both_phases_count_one_forward_pass() -> None:
    inference, training = (counted(case_of("frelu", phase=phase)) for phase in PHASES)

    for name in ("flops", "flops_fvcore_default", "flops_by_operator", "parameters"):
        assert inference[name] == training[name]
    assert inference["traffic_eager_bytes"] < training["traffic_eager_bytes"]
    assert inference["kernels"] < training["kernels"]


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

    first = count.count(case, device)
    calls = Layer.calls
    again = count.count(replace(case, mode="compile"), device)

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
    figures, _ = count.count(case_of("silu"), Reporting())

    assert (figures["peak_bytes"], figures["peak_source"]) == (123, "allocator")
    assert figures["baseline_peak_bytes"] == 123


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
        # The product and the sum of the branch taken; what decides is counted too.
        assert figures["flops"] == pytest.approx(3 * elements, abs=2)

    @pytest.mark.parametrize(
        ("layer", "operator"), [(Unknown, "aten::cummax"), (OwnBackward, "Doubled")]
    )
    def test_an_operator_that_nobody_knows_is_named(self, layer: type, operator: str) -> None:
        assert operator in counted(case_of(own(layer)))["uncounted_ops"]

    def test_a_fault_costs_only_its_own_figures(self) -> None:
        figures, faults = count.count(case_of(own(Untraceable)), Cpu())

        assert faults == "arithmetic not counted: RuntimeError: no tracing"
        assert set(figures) == COUNTED - {
            "flops", "flops_fvcore_default", "flops_by_operator", "uncounted_ops"
        }  # fmt: skip
        assert figures["parameters"] == 0
        assert figures["traffic_eager_bytes"] == 2 * 4 * 2 * 8 * 7 * 7

    def test_a_baseline_s_fault_costs_only_what_is_said_of_it(self) -> None:
        figures, faults = count.count(case_of("prelu", baseline=own(Untraceable)), Cpu())

        assert faults == ""
        assert figures["baseline_flops"] is None
        assert {name for name, figure in figures.items() if figure is None} == {"baseline_flops"}

    @pytest.mark.parametrize("layer", [Untraceable, Unknown, OwnBackward, Branching, NotOnMeta])
    def test_its_row_is_ok_and_says_so(self, layer: type) -> None:
        row = measure(case_of(own(layer)), Cpu(), precision=0.05, max_seconds=0.02).row

        assert row.status == "ok"
        assert row.overhead is not None
        assert "\n" not in row.message
        assert ("not counted" in row.message) == (layer is Untraceable)


def test_counting_comes_after_timing_and_on_other_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    from dynact import measure as measuring

    order = []
    compare, count_case = measuring.compare, measuring.count

    def noted_compare(*args: Any, **settings: Any) -> Any:
        comparison = compare(*args, **settings)
        order.append(("timed", Layer.calls))
        return comparison

    def noted_count(case: Case, device: Cpu) -> Any:
        order.append(("counted", Layer.calls))
        return count_case(case, device)

    monkeypatch.setattr(measuring, "compare", noted_compare)
    monkeypatch.setattr(measuring, "count", noted_count)
    row = measure(case_of(own(Layer)), Cpu(), precision=0.05, max_seconds=0.02).row

    assert [what for what, _ in order] == ["timed", "counted"]
    assert order[0][1] == order[1][1]
    assert row.counting_s is not None
    assert row.case_s is not None
    assert row.timing_s is not None
    assert row.counting_s + row.timing_s <= row.case_s


def test_the_floor_follows_what_the_registry_says() -> None:
    case = case_of("dyrelu_b", phase="training")

    figures = counted(case)

    assert figures["traffic_floor_bytes"] == (
        activations.least_passes("dyrelu_b", True) * case.input_bytes
        + 2 * 4 * figures["parameters"]
    )
