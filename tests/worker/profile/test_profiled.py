"""A case's profile: how long its steps take otherwise, and what is shown of generated code."""

import importlib
import os
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from dynact.timing import WallClock
from dynact.timing.clock import Call
from dynact.worker.device import Cpu
from dynact.worker.profile import profile_case
from dynact.worker.profile import words as words_module
from dynact.worker.profile.chrome_trace import EVENTS
from dynact.worker.profile.events import events_of
from dynact.worker.profile.memory_page import CATEGORIES
from dynact.worker.profile.memory_timeline import MemoryTimeline
from dynact.worker.profile.record import Trace
from dynact.worker.profile.steps import STEP
from dynact.worker.profile.tables import NothingOnDeviceError
from tests.sweeping import case_of
from tests.worker.profile.profiling import event

# The package has functions of the same names as these modules.
profiled_module = importlib.import_module("dynact.worker.profile.profiled")
record_module = importlib.import_module("dynact.worker.profile.record")


class ListedClock(WallClock):
    """Runs what it is given, says times of its own, and notes whether a profiler looked on."""

    def __init__(self, *times_ns: float) -> None:
        super().__init__()
        self.times_ns = list(times_ns)
        self.under_a_profiler: list[bool] = []

    def _block_ns(self, call: Call, calls: int) -> float:
        self.under_a_profiler.append(torch.autograd._profiler_enabled())
        super()._block_ns(call, calls)
        return self.times_ns.pop(0)


def test_untraced_is_the_median_of_the_device_s_clock_without_a_profiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However far its times are from a trace's.
    monkeypatch.setattr(profiled_module, "_MOST_TRIES", 1)
    device = Cpu()
    device.clock = clock = ListedClock(40.0, 10.0, 30.0, 20.0, 90.0)

    found = profile_case(case_of("relu", phase="training"), device, steps=5)

    assert found.untraced_ns == 30.0
    assert found.tables.steps == 5
    assert clock.under_a_profiler == [False] * 5
    assert not found.on_accelerator


@pytest.mark.parametrize(
    ("untraced_ms", "traced_ms", "tries", "taken"),
    [
        ((2, 2, 2), (2.2, 90, 90), 1, 0),
        # Disturbed once in the trace, and once before it.
        ((2, 30, 3), (24, 2, 3), 3, 2),
        # In each: the nearest is taken, whether more or less.
        ((2, 2, 8), (24, 16, 2), 3, 2),
        # Of so short a step the profiler's own cost may be as much again.
        ((0.5, 0.5, 0.5), (0.9, 0.5, 0.5), 1, 0),
        ((0.5, 0.5, 0.5), (1.1, 0.6, 0.5), 2, 1),
    ],
)
def test_a_trace_that_was_disturbed_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
    untraced_ms: tuple[float, ...],
    traced_ms: tuple[float, ...],
    tries: int,
    taken: int,
) -> None:
    def made_up(ms: float) -> Trace:
        events = [
            event(f"{STEP}1", "user_annotation", 0, 1000 * ms + 10),
            event("aten::relu", "cpu_op", 1, 1000 * ms),
        ]
        no_memory = MemoryTimeline([0], [[0] * len(CATEGORIES)])
        return Trace(b"", events_of((EVENTS, one) for one in events), no_memory)

    traces = map(made_up, traced_ms)
    monkeypatch.setattr(profiled_module, "record", lambda *_: next(traces))
    device = Cpu()
    device.clock = ListedClock(*(1e6 * ms for ms in untraced_ms))

    found = profile_case(case_of("relu"), device, steps=1)

    assert found.tries == tries
    assert found.untraced_ns == 1e6 * untraced_ms[taken]
    assert found.tables.step_ns == 1e6 * traced_ms[taken]


def test_a_compiled_layer_is_one_call_of_generated_code_forward_and_one_backward() -> None:
    # Of several operators, in the eager formulation.
    case = case_of("acon_c", phase="training", mode="compile")

    try:
        found = profile_case(case, Cpu(), steps=2).tables
    finally:
        torch.compiler.reset()

    # After the colon, how many were compiled in this process before.
    kernels = found.timeline["kernel"].str.partition(":")[0]
    assert dict(zip(kernels, found.timeline["part"], strict=True)) == {
        "Torch-Compiled Region": "forward", "CompiledFunctionBackward": "backward",
    }  # fmt: skip
    assert found.operators == 2
    assert set(found.kernels["part"]) == {"forward", "backward"}
    assert found.kernels["time_ns"].sum() == found.step_ns
    assert found.coverage >= 0.9
    assert found.kernels["bytes"].isna().all()


@pytest.mark.parametrize("what", ["memory_page", "memory_snapshot"])
def test_what_fails_beside_the_trace_costs_itself_alone(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("no timeline of this")

    monkeypatch.setattr(profiled_module, what, fails)

    found = profile_case(case_of("relu"), Cpu(), steps=2)

    assert found.tables.steps == 2
    assert getattr(found, what) is None
    assert found.failures == (f"no {what.replace('_', ' ')}: RuntimeError: no timeline of this",)


def test_a_timeline_of_memory_that_fails_costs_itself_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr(record_module, "memory_timeline", fails)

    found = profile_case(case_of("relu"), Cpu(), steps=2)

    assert found.tables.steps == 2
    assert found.memory_page is None
    assert found.failures == ("no memory page: RuntimeError: no such device",)


@pytest.mark.parametrize(
    ("said", "in_words"),
    [
        (
            "WARNING:2026-03-01 10:00:00 7:9 CuptiActivityApi.cpp:99] CUPTI is not allowed\n",
            "; the profiler says CuptiActivityApi.cpp:99] CUPTI is not allowed$",
        ),
        ("INFO:2026-03-01 10:00:00 7:9 it begins\n", "; the profiler says nothing of why$"),
    ],
)
def test_without_device_events_the_profiler_s_own_words_are_the_error(
    monkeypatch: pytest.MonkeyPatch, said: str, in_words: str
) -> None:
    """As on a GPU whose counters are forbidden: operators run, and the trace has no kernel."""
    device = Cpu()
    # On which operators are called, and nothing is done.
    device.torch_device = torch.device("meta")
    x = torch.empty(2, 3, device="meta")

    def step() -> Any:
        os.write(2, said.encode())
        return torch.relu(x)

    monkeypatch.setattr(profiled_module, "ready_step", lambda *_: nullcontext(step))
    monkeypatch.setattr(words_module, "_said", {})
    monkeypatch.setattr(profiled_module, "traffic_of_operators", lambda *_: [])

    with pytest.raises(NothingOnDeviceError, match=in_words):
        profile_case(case_of("relu"), device, steps=1)
