"""What is whose in a GPU's trace: all device time is some step's, part's and launcher's."""

from typing import Any

import pandas as pd
import pytest

from dynact.worker.profile.tables import NothingOnDeviceError, Tables
from tests.worker.profile.kineto import AUTOGRAD, HOST, LOADER, NODE, Kineto
from tests.worker.profile.profiling import device_tables, steps_in

NOBODY = "(no operator)"


@pytest.fixture
def trace() -> Kineto:
    """A training step whose layer's SiLU takes 20 µs on the device and 30 µs back."""
    made = Kineto()
    made.step(4, 0, 1000)
    made.layer(10, 90)
    forward = made.operator("aten::silu", 20, 10, sequence=7, dims=[(2, 8)])
    made.launch(22, ("silu_kernel", 300, 20), by=forward)
    made.operator(NODE + "SiluBackward0", 200, 50, AUTOGRAD, sequence=7)
    backward = made.operator("aten::silu_backward", 205, 10, AUTOGRAD)
    made.launch(207, ("silu_backward_kernel", 400, 30), by=backward, tid=AUTOGRAD)
    made.operator(NODE + "ViewBackward0", 260, 5, AUTOGRAD, sequence=6)
    return made


def whose(found: Tables) -> dict[str, tuple[Any, ...]]:
    """Return of each kernel who launched it, in which part, and for how many µs."""
    return {
        line["kernel"]: (line["operator"], line["part"], line["time_ns"] / 1000)
        for line in found.kernels.to_dict("records")
    }


SILU = {
    "silu_kernel": ("aten::silu", "forward", 20),
    "silu_backward_kernel": ("aten::silu_backward", "backward", 30),
}


def test_what_operators_launch(trace: Kineto) -> None:
    found = device_tables(trace.events)

    assert whose(found) == SILU
    assert (found.step_ns, found.coverage) == (50_000, 1.0)


@pytest.mark.parametrize(
    ("at", "tid", "part"),
    [
        (50, HOST, "forward"),  # in the layer's call
        (255, AUTOGRAD, "backward"),  # between two nodes
        (230, HOST, "backward"),
        (500, HOST, "other"),
        (50, LOADER, "other"),  # a thread that has nothing to do with the layer
        (230, LOADER, "other"),
    ],
)
def test_what_no_operator_launched_is_of_the_part_in_whose_time_it_was_launched(
    trace: Kineto, at: float, tid: int, part: str
) -> None:
    trace.launch(at, ("my_triton_kernel", 600, 150), tid=tid, call="cuLaunchKernel")

    found = device_tables(trace.events)

    assert whose(found) == SILU | {"my_triton_kernel": (NOBODY, part, 150)}
    assert found.step_ns == 200_000
    assert found.coverage == (0.25 if part == "other" else 1.0)
    [line] = found.kernels[found.kernels["kernel"] == "my_triton_kernel"].to_dict("records")
    assert line["input_shapes"] == ""
    assert pd.isna(line["bytes"])


def test_all_kernels_of_a_graph_s_replay_are_of_its_one_launch(trace: Kineto) -> None:
    kernels = [(f"graph_kernel_{i}", 500 + 3 * i, 2.5) for i in range(100)]
    trace.launch(60, *kernels, call="cudaGraphLaunch")

    found = device_tables(trace.events)

    assert found.step_ns == 50_000 + 100 * 2500
    assert found.coverage == 1.0
    assert len(found.timeline) == 102
    of_graph = found.kernels[found.kernels["operator"] == NOBODY]
    assert of_graph["share"].sum() == pytest.approx(250 / 300)
    assert set(of_graph["part"]) == {"forward"}


def test_work_that_runs_after_its_step_is_of_the_step_that_launched_it(trace: Kineto) -> None:
    trace.step(5, 1000, 1000)
    trace.launch(60, ("late", 1500, 7), call="cuLaunchKernel")
    trace.launch(1100, ("next", 1600, 3), call="cuLaunchKernel")

    first, second = steps_in(trace.events)

    assert [one.work.name for one in first.launched][-1] == "late"
    assert [one.work.name for one in second.launched] == ["next"]


def test_an_operator_without_a_number_is_known_by_its_time_and_thread(trace: Kineto) -> None:
    trace.operator("outer", 40, 40, has_number=False)
    trace.operator("aten::mul", 50, 10, has_number=False, dims=[(3, 4)])
    trace.operator("aten::add", 50, 10, LOADER, has_number=False)
    trace.launch(55, ("mul_kernel", 600, 50))
    trace.launch(75, ("outer_kernel", 700, 60))
    # At the very end of an operator, as clocks of whole µs have it.
    trace.launch(80, ("outer_kernel", 800, 60))

    found = device_tables(trace.events)

    assert whose(found) == SILU | {
        "mul_kernel": ("aten::mul", "forward", 50),
        "outer_kernel": ("outer", "forward", 120),
    }
    [line] = found.kernels[found.kernels["kernel"] == "mul_kernel"].to_dict("records")
    assert line["input_shapes"] == "3x4"


def test_a_number_that_no_operator_has_is_none(trace: Kineto) -> None:
    trace.launch(60, ("foreign", 600, 50), by=999)

    assert whose(device_tables(trace.events)) == SILU | {"foreign": (NOBODY, "forward", 50)}


def test_a_launch_s_own_number_is_not_taken_for_an_operator_s(trace: Kineto) -> None:
    """As up to torch 2.0, where its External id is its correlation."""
    one = trace.operator("aten::mul", 50, 10)
    trace.operator("aten::add", 70, 10)
    trace.launch(75, ("add_kernel", 600, 50), by=one, correlation=one)

    assert whose(device_tables(trace.events))["add_kernel"] == ("aten::add", "forward", 50)


def test_what_the_trace_has_no_launch_of_is_of_the_step_in_whose_time_it_ran(
    trace: Kineto,
) -> None:
    trace.step(5, 1000, 1000)
    trace.work("earlier_kernel", 30, 150, correlation=1)
    trace.work("uncorrelated", 40, 50)
    known = trace.operator("aten::mul", 50, 10)
    trace.work("mul_kernel", 700, 50, correlation=2, **{"External id": known})

    first, second = steps_in(trace.events)
    found = device_tables(trace.events)

    assert second.launched == ()
    assert len(first.launched) == 5
    assert whose(found) == SILU | {
        "earlier_kernel": (NOBODY, "other", 150),
        "uncorrelated": (NOBODY, "other", 50),
        "mul_kernel": ("aten::mul", "forward", 50),
    }
    assert found.coverage == 100 / 300


def test_a_launch_by_an_operator_that_an_earlier_step_began(trace: Kineto) -> None:
    across = trace.operator("across", 990, 50)
    trace.step(5, 1000, 1000)
    trace.launch(1010, ("late", 1100, 40), by=across)

    found = device_tables(trace.events)

    # The last half is the second step.
    assert whose(found) == {"late": ("across", "other", 40)}


def test_transfers_are_memory_whoever_asks_for_them(trace: Kineto) -> None:
    by = trace.operator("aten::convolution", 50, 10)
    trace.launch(55, ("Memcpy HtoD (Pageable -> Device)", 600, 9), by=by, category="gpu_memcpy")
    trace.launch(90, ("Memset (Device)", 700, 1), category="gpu_memset", call="cudaMemsetAsync")

    kernels = device_tables(trace.events).kernels.set_index("kernel")

    assert kernels.loc["Memcpy HtoD (Pageable -> Device)", "kind"] == "memory"
    assert kernels.loc["Memset (Device)", ["kind", "operator"]].to_list() == ["memory", NOBODY]


def test_a_step_at_the_end_in_which_nothing_ran_is_not_taken(trace: Kineto) -> None:
    trace.step(5, 1000, 1)

    assert device_tables(trace.events).step_ns == 50_000


def test_a_device_of_which_a_trace_says_nothing_is_an_error() -> None:
    trace = Kineto()
    trace.step(4, 0, 100)
    by = trace.operator("aten::silu", 20, 10)
    trace.launch(22, by=by)

    with pytest.raises(NothingOnDeviceError, match="nothing of what the device did"):
        device_tables(trace.events)


def test_generated_code_of_which_a_trace_says_nothing_is_an_error() -> None:
    trace = Kineto()
    trace.step(4, 0, 100)
    trace.operator("Torch-Compiled Region: 0/0", 20, 10)

    with pytest.raises(NothingOnDeviceError):
        device_tables(trace.events)


def test_a_layer_that_launches_nothing_needs_no_device_events() -> None:
    trace = Kineto()
    trace.step(4, 0, 100)
    trace.operator("aten::view", 20, 10)

    found = device_tables(trace.events)

    assert (found.step_ns, found.coverage, len(found.kernels)) == (0, 0.0, 0)
