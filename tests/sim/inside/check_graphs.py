"""Layers replayed as graphs: what they do, and how long that takes by their kernels."""

import gc

import pytest
import torch
from sim_backend import machine
from torch import Tensor, nn

from dynact import activations
from dynact.schema.cases import PHASES, Case
from dynact.timing.clock import Call
from dynact.worker.captured import NotCapturedError, Replay, verify_replay
from dynact.worker.device import Device, Graph, open_device
from dynact.worker.layer import draw_tensors, feed_of, prepared, ready_call
from dynact.worker.modes import grad_mode
from dynact.worker.profile import ready_step
from dynact.worker.verify import WrongError
from tests.measuring import Bench
from tests.sim.inside.check_clock import model
from tests.sweeping import case_of

LAUNCH_NS = 1e4


class Waits(nn.Module):
    """Its host reads a value."""

    def __init__(self, _channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.sum().item() > 0)


class Counts(Waits):
    """Does other kernels in each call."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + self.calls


class Triples(nn.Module):
    """Writes into its input."""

    def __init__(self, _channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(3)


@pytest.fixture
def device() -> Device:
    return open_device("sim:0")


def kernels_of(call: Call) -> list[tuple[str, float]]:
    machine.keep_diary(True)
    call()
    machine.keep_diary(False)
    return [(kernel.name, kernel.end_ns - kernel.start_ns) for kernel in machine.diary()]


def graph_case(name: str, phase: str = "inference") -> Case:
    return case_of(name, phase=phase, device="sim:0", channels=16, mode="graph")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", [name for name in activations.names() if name != "identity"])
def test_a_replay_is_one_launch_of_all_kernels(name: str, phase: str, device: Device) -> None:
    case = graph_case(name, phase)
    with model(launch_ns=LAUNCH_NS), grad_mode(case):
        call = ready_call(prepared(case, device), case, feed_of(case, device))
        replay = Replay(call, device)
        replay.capture()
        kernels = kernels_of(call)

        assert kernels_of(replay) == [(name, pytest.approx(ns)) for name, ns in kernels]
        expected_ns = max(LAUNCH_NS, sum(ns for _, ns in kernels))
        assert device.clock.call_ns(replay, 20) == pytest.approx(expected_ns, rel=1e-6)
        assert device.clock.queueing_ns(replay) == pytest.approx(LAUNCH_NS, abs=1)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", activations.names())
def test_a_replay_does_what_the_layer_does(name: str, phase: str, device: Device) -> None:
    case = graph_case(name, phase)
    with grad_mode(case):
        verify_replay(prepared(case, device), *draw_tensors(case, device), device)


@pytest.mark.parametrize("phase", PHASES)
def test_a_layer_that_writes_into_its_input_is_fed_anew(phase: str, device: Device) -> None:
    case = graph_case("relu", phase)
    with grad_mode(case):
        verify_replay(Triples(16), *draw_tensors(case, device), device)


def test_a_layer_that_does_something_else_each_time_is_wrong(device: Device) -> None:
    case = graph_case("relu")
    with grad_mode(case), pytest.raises(WrongError, match=r"output is off .* replayed as a graph$"):
        verify_replay(Counts(16), *draw_tensors(case, device), device)


def test_what_is_wrong_as_a_graph_has_no_time(device: Device) -> None:
    found = Bench(device).visit(graph_case(f"{__name__}:Counts"))

    assert found.status == "wrong"
    assert found.time_ns is None


def test_what_waits_cannot_be_captured_and_leaves_the_device_as_it_was(device: Device) -> None:
    bench = Bench(device)
    waits = bench.visit(graph_case(f"{__name__}:Waits"))
    after = bench.visit(graph_case("gelu"))

    assert waits.status == "unsupported"
    assert "it cannot be captured as a graph: RuntimeError: nobody may wait" in waits.message
    assert waits.overhead is None
    assert after.status == "ok", after.message


@pytest.fixture
def graph(device: Device, monkeypatch: pytest.MonkeyPatch) -> Graph:
    """Return the one that all capture, which outlives what has captured it."""
    graph = device.new_graph()
    monkeypatch.setattr(device, "new_graph", lambda: graph)
    return graph


@pytest.mark.usefixtures("graph")
def test_a_capture_that_fails_holds_no_memory(device: Device) -> None:
    x = torch.ones(10**6, device="sim:0")
    before = torch.accelerator.memory_allocated("sim:0")

    with pytest.raises(NotCapturedError):
        Replay(lambda: (x + 1).sum().item(), device).capture()

    assert torch.accelerator.memory_allocated("sim:0") == before


@pytest.mark.usefixtures("graph")
def test_a_replay_that_is_given_up_holds_no_memory(device: Device) -> None:
    x = torch.ones(10**6, device="sim:0")
    before = torch.accelerator.memory_allocated("sim:0")
    replay = Replay(lambda: x + 1, device)

    replay.capture()
    assert torch.accelerator.memory_allocated("sim:0") > before
    replay.release()

    assert torch.accelerator.memory_allocated("sim:0") == before


@pytest.mark.usefixtures("graph")
def test_what_is_profiled_holds_no_memory_after(device: Device) -> None:
    with ready_step(graph_case("gelu"), device) as step:
        step()
        held = torch.accelerator.memory_allocated("sim:0")
    assert torch.accelerator.memory_allocated("sim:0") < held


def test_a_visit_releases_memory_once(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(device)
    bench.visit(graph_case("gelu"))
    released: list[int] = []
    monkeypatch.setattr(device, "release_memory", lambda: released.append(1))

    assert bench.visit(graph_case("gelu")).status == "ok"

    assert len(released) == 1


@pytest.mark.parametrize("phase", PHASES)
def test_each_visit_replays_a_graph_of_its_own(phase: str, device: Device) -> None:
    case = graph_case("frelu", phase)
    bench = Bench(device)
    with model(launch_ns=LAUNCH_NS):
        for _ in range(3):
            found = bench.visit(case)
            assert found.status == "ok", found.message
            kernels = found.device_time_ns, found.baseline_device_time_ns
            assert None not in kernels
            expected = [max(LAUNCH_NS, ns) for ns in kernels]
            times_ns = found.time_ns, found.baseline_time_ns
            assert times_ns == pytest.approx(tuple(expected), rel=1e-3)
            # What it holds is given up.
            assert torch.accelerator.Graph not in map(type, gc.get_objects())
