"""Tables of traces against counts and, where the trace is made by hand, against what it says."""

import pandas as pd
import pytest
import torch

from dynact.activations.by_name import build
from dynact.cost import count_parameters
from dynact.schema.cases import PHASES, Case
from dynact.schema.limits import Ceilings
from dynact.schema.profile import OPERATOR_CATEGORIES
from dynact.sweep.presets import HEADLINE
from dynact.worker.device import Cpu
from dynact.worker.profile import OperatorTraffic, ready_step, record, steps_of, tables_of
from dynact.worker.profile.steps import Step
from tests.sweeping import case_of
from tests.worker.profile.profiling import counted, device_tables, event, launches, steps_in, tables

HEADLINE_CASES = [
    case_of(name, phase=phase, channels=16, height=14, width=14)
    for name in ("relu", *HEADLINE)
    for phase in PHASES
]


@pytest.mark.parametrize("case", HEADLINE_CASES, ids=lambda case: case.id)
def test_tables_agree_with_the_counts(case: Case) -> None:
    of_the_step = counted(case)

    found = tables(case)

    assert found.steps == 2
    assert found.operators == of_the_step["operator_calls"] == len(found.timeline)
    assert found.kernels["bytes"].sum() <= of_the_step["traffic_eager_bytes"]

    assert found.kernels["time_ns"].sum() == found.step_ns
    assert found.kernels["share"].sum() == pytest.approx(1)
    assert found.coverage >= 0.9
    parts = {"forward", "backward"} if case.phase == "training" else {"forward"}
    assert set(found.kernels["part"]) == set(found.timeline["part"]) == parts
    assert set(found.kernels["kind"]) <= set(OPERATOR_CATEGORIES)
    # What only an accelerator's profiler says, and what nobody gave.
    unknown = ["ceiling_bytes_per_s", "occupancy_percent", "registers_per_thread"]
    assert found.kernels[unknown].isna().all(axis=None)

    held = found.memory["allocated_bytes"]
    allocations = int((held.diff() > 0).sum())
    # A convolution sorts its weights into a workspace of their size.
    workspace = 4 * count_parameters(build(case.activation, case.channels)).learnable
    assert abs(held.max() - of_the_step["peak_bytes"]) <= 512 * allocations + workspace
    assert held.iloc[0] == held.iloc[-1] == 0
    assert found.memory["at_ns"].is_monotonic_increasing
    assert list(found.kernels["operator"]) == list(found.kernels["kernel"])


def test_an_operator_that_is_another_than_was_counted_has_no_bytes() -> None:
    with ready_step(case_of("silu", phase="training"), Cpu()) as step:
        trace = record(step, Cpu(), 1)
    traffic = [OperatorTraffic("aten::silu", 8), OperatorTraffic("aten::mul", 9)]

    kernels = tables_of(steps_of(trace.events), "cpu", traffic).kernels.set_index("kernel")

    assert kernels["bytes"]["aten::silu"] == 8
    assert pd.isna(kernels["bytes"]["aten::silu_backward"])


def test_work_beside_the_layer_is_not_the_layer_s() -> None:
    case = case_of("silu", phase="training")
    weight = torch.randn(64, 64, requires_grad=True)
    with ready_step(case, Cpu()) as step:

        def with_foreign_work() -> None:
            foreign = (weight @ weight).sum()
            step()
            foreign.backward()  # type: ignore[no-untyped-call]
            weight.grad = None

        found = tables_of(steps_of(record(with_foreign_work, Cpu(), 1).events), "cpu")

    parts = dict(zip(found.timeline["kernel"], found.timeline["part"], strict=True))
    assert parts.pop("aten::silu") == "forward"
    assert parts.pop("aten::silu_backward") == "backward"
    assert {"aten::mm", "aten::sum"} <= set(parts)
    assert set(parts.values()) == {"other"}
    known = found.kernels[found.kernels["part"] != "other"]
    assert 0 < found.coverage == known["time_ns"].sum() / found.step_ns < 1


@pytest.mark.parametrize("activation", ["silu", "frelu", "dyrelu_b"])
def test_memory_is_told_apart_by_where_the_host_was(activation: str) -> None:
    case = case_of(activation, phase="training", channels=64, height=28, width=28)

    memory = tables(case).memory

    assert list(memory.iloc[0]) == [0, 0, "forward"]
    parts = memory["part"]
    # One stretch each; what the layer gave is let go of after the step.
    assert list(parts[parts != parts.shift()]) == ["forward", "backward", "other"]
    # Output and what is kept: the input itself was there before.
    held = memory.loc[parts == "forward", "allocated_bytes"].iloc[-1]
    of_the_step = counted(case)
    kept = of_the_step["saved_for_backward_bytes"] - of_the_step["saved_input_bytes"]
    expected = kept - of_the_step["saved_output_bytes"] + case.input_bytes
    assert held == pytest.approx(expected, rel=0.02)


def test_forward_and_backward_are_told_apart_by_number() -> None:
    timeline = tables(case_of("silu", phase="training")).timeline

    parts = dict(zip(timeline["kernel"], timeline["part"], strict=True))
    assert parts == {"aten::silu": "forward", "aten::silu_backward": "backward"}


def test_a_timeline_is_of_one_step_without_overlaps() -> None:
    line = tables(case_of("dyrelu_b", phase="training")).timeline

    assert (line["start_ns"] >= 0).all()
    ends = line["start_ns"] + line["duration_ns"]
    assert (line["start_ns"].iloc[1:].to_numpy() >= ends.iloc[:-1].to_numpy()).all()


def test_shapes_and_bandwidth_of_a_kernel() -> None:
    case = case_of("silu")

    kernels = tables(case).kernels

    [kernel] = kernels[kernels["kernel"] == "aten::silu"].to_dict("records")
    moved_bytes = 2 * case.input_bytes
    assert (kernel["calls"], kernel["input_shapes"], kernel["bytes"]) == (1, "2x8x7x7", moved_bytes)
    assert kernel["bandwidth_bytes_per_s"] == pytest.approx(moved_bytes / kernel["time_ns"] * 1e9)


def test_a_trace_cut_short_is_named() -> None:
    with pytest.raises(ValueError, match="cut short"):
        tables_of(steps_in([]), "cpu")


# What an accelerator's trace looks like, made by hand: a CPU launches, a device works later.


def test_kernels_of_an_accelerator_belong_to_what_launched_them() -> None:
    shape = {"Input Dims": [[2, 8]]}
    events = [
            event("ProfilerStep#2", "user_annotation", 0, 100),
            event("nn.Module: SiLU_0", "python_function", 5, 15),
            event(
                "aten::silu", "cpu_op", 10, 5,
                **{"External id": 1, "Sequence number": 7} | shape,
            ),
            event("launch", "cuda_runtime", 12, 1, **{"External id": 1, "correlation": 50}),
            event(
                "autograd::engine::evaluate_function: SiluBackward0", "cpu_op", 30, 9, tid=2,
                **{"External id": 2, "Sequence number": 7},
            ),
            event("aten::silu_backward", "cpu_op", 31, 5, tid=2, **{"External id": 3} | shape),
            event("launch", "cuda_runtime", 32, 1, tid=2, **{"External id": 3, "correlation": 51}),
            event("silu_kernel", "kernel", 60, 20, tid=9, correlation=50),
            event("silu_backward_kernel", "kernel", 110, 30, tid=9, correlation=51),
            event("[memory]", "cpu_instant_event", 11, 0, **{"Device Type": 1, "Bytes": 512}),
            event("[memory]", "cpu_instant_event", 12, 0, **{"Device Type": 0, "Bytes": 4}),
            event("[memory]", "cpu_instant_event", 33, 0, **{"Device Type": 1, "Bytes": 256}),
            event("[memory]", "cpu_instant_event", 50, 0, **{"Device Type": 1, "Bytes": -768}),
    ]  # fmt: skip
    traffic = [OperatorTraffic("aten::silu", 128), OperatorTraffic("aten::silu_backward", 192)]

    found = device_tables(events, traffic)

    assert (found.step_ns, found.coverage, found.operators) == (50_000, 1.0, 2)
    assert found.timeline.to_dict("list") == {
        "start_ns": [0, 50_000],
        "duration_ns": [20_000, 30_000],
        "kernel": ["silu_kernel", "silu_backward_kernel"],
        "kind": ["pointwise", "pointwise"],
        "part": ["forward", "backward"],
    }
    assert dict(zip(found.kernels["kernel"], found.kernels["bytes"], strict=True)) == {
        "silu_kernel": 128, "silu_backward_kernel": 192,
    }  # fmt: skip
    assert list(found.kernels["operator"]) == ["aten::silu_backward", "aten::silu"]
    # By the host's clock, which was done before the first kernel began.
    assert found.memory.to_dict("list") == {
        "at_ns": [0, 11_000, 33_000, 50_000],
        "allocated_bytes": [0, 512, 768, 0],
        "part": ["forward", "forward", "backward", "other"],
    }


def silus(*bytes_of_each: int) -> list[OperatorTraffic]:
    return [OperatorTraffic("aten::silu", of_one) for of_one in bytes_of_each]


CUDAS = "est. achieved occupancy %"


def test_occupancy_is_the_mean_over_time_and_registers_are_the_most() -> None:
    events = launches(
        ("one", 30, {CUDAS: 100, "registers per thread": 16}),
        ("one", 10, {CUDAS: 50, "registers per thread": 40}),
        ("unable", 5, {CUDAS: -99, "registers per thread": 8}),
        ("untold", 1, {}),
    )

    kernels = device_tables(events).kernels.set_index("kernel")

    assert list(kernels["calls"]) == [2, 1, 1]
    assert kernels["occupancy_percent"]["one"] == (30 * 100 + 10 * 50) / 40
    assert kernels["occupancy_percent"].drop("one").isna().all()
    assert kernels["registers_per_thread"].drop("untold").to_dict() == {"one": 40, "unable": 8}
    assert pd.isna(kernels["registers_per_thread"]["untold"])


def test_a_kernel_s_ceiling_is_the_copy_that_moves_as_much_as_a_call_of_it() -> None:
    ceilings = Ceilings(((16, 7e9), (64, 3e9), (128, 2e9)), {})
    events = launches(("twice", 9, {}), ("twice", 8, {}), ("large", 7, {}), ("small", 6, {}))
    # Two tensors of 64 bytes, of 128, and of 8, which is less than any that was copied.
    traffic = silus(128, 128, 256, 16)

    kernels = device_tables(events, traffic, ceilings).kernels
    unknown_bytes = device_tables(events, (), ceilings).kernels
    no_copies = device_tables(events, traffic, Ceilings((), {})).kernels

    ceiling = kernels.set_index("kernel")["ceiling_bytes_per_s"].to_dict()
    assert ceiling == {"twice": 3e9, "large": 2e9, "small": 7e9}
    for kernels in (unknown_bytes, no_copies):
        assert kernels["ceiling_bytes_per_s"].isna().all()


def mul_and_max(*steps: tuple[float, float, float]) -> list[Step]:
    """Steps on a CPU of a multiplication, a pause and a max, of so many µs."""
    events, begin = [], 0.0
    for mul, pause, largest in steps:
        wall = mul + pause + largest
        events += [
            event("ProfilerStep#1", "user_annotation", begin, wall),
            event("aten::mul", "cpu_op", begin, mul),
            event("aten::max", "cpu_op", begin + mul + pause, largest),
        ]
        begin += wall + 5
    return steps_in(events)


def test_times_are_medians_over_the_undisturbed_steps_and_of_one_step_where_they_cannot() -> None:
    cold = [(900, 9, 900)] * 7
    # Of the last half one is preempted within the max, and one between the two.
    warm = [(10, 1, 20), (14, 1, 24), (11, 1, 400), (12, 1, 25), (18, 1, 21), (13, 90, 22),
            (11, 1, 29)]  # fmt: skip

    found = tables_of(mul_and_max(*cold, *warm), "cpu")

    assert (found.steps, found.steps_taken, found.steps_disturbed) == (14, 5, 2)
    # mul 10 11 12 14 18, max 20 21 24 25 29, both 30 37 38 39 40; the percentiles between two.
    columns = ["kernel", "calls", "time_ns", "time_p20_ns", "time_p80_ns", "share"]
    assert found.kernels[columns].to_dict("split")["data"] == [
        ["aten::max", 1, 24_000, 20_800, pytest.approx(25_800), 24 / 36],
        ["aten::mul", 1, 12_000, 10_800, pytest.approx(14_800), 12 / 36],
    ]
    assert found.step_ns == 36_000
    assert (found.step_p20_ns, found.step_p80_ns) == pytest.approx((35_600, 39_200))
    # The one of median length.
    assert list(found.timeline["duration_ns"]) == [14_000, 24_000]


def test_a_preemption_in_each_step_is_in_no_median() -> None:
    """As beside a busy program: no step is whole, and each kernel is in most of them."""
    found = tables_of(mul_and_max(*[(10, 1, 20)] * 4, (10, 1, 29), (15, 1, 20), (10, 1, 20),
                                  (17, 1, 20)), "cpu")  # fmt: skip

    assert dict(zip(found.kernels["kernel"], found.kernels["time_ns"], strict=True)) == {
        "aten::max": 20_000, "aten::mul": 12_500,
    }  # fmt: skip
