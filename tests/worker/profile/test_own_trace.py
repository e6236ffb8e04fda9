"""Traces of any training: forward, backward and the rest by what torch writes of every step."""

import gzip
import json
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.profiler import ProfilerActivity, profile

from dynact.worker.profile import OwnTrace, own_trace
from dynact.worker.profile.steps import STEP
from tests.worker.profile.kineto import AUTOGRAD, HOST, LOADER, NODE, Kineto


def launched(trace: Kineto, name: str, ts: float, dur: float, tid: int = HOST) -> None:
    """Add an operator with its kernel, which is called after it and takes as long as given."""
    by = trace.operator(f"aten::{name}", ts, 8, tid)
    trace.launch(ts + 2, (f"{name}_kernel", 10 * ts, dur), by=by, tid=tid)


def node(trace: Kineto, name: str, ts: float, dur: float, tid: int = AUTOGRAD) -> None:
    trace.operator(NODE + name, ts - 1, 20, tid)
    launched(trace, name, ts, dur, tid)


def training_step(trace: Kineto, begin: float, backward: int = AUTOGRAD) -> None:
    trace.step(int(begin / 1000), begin, 1000)
    trace.span("enumerate(DataLoader)#_Iter.__next__", "user_annotation", begin, 50)
    launched(trace, "pin", begin + 10, 1)
    trace.span("Optimizer.zero_grad#SGD.zero_grad", "user_annotation", begin + 60, 30)
    launched(trace, "zero", begin + 70, 2)
    launched(trace, "conv", begin + 100, 30)
    trace.launch(begin + 130, ("my_triton", begin + 300, 40), call="cuLaunchKernel")
    node(trace, "conv_backward", begin + 200, 60, backward)
    # Gradients are accumulated over two passes.
    launched(trace, "conv", begin + 300, 31)
    node(trace, "conv_backward", begin + 400, 61, backward)
    launched(trace, "clip", begin + 500, 4)
    trace.span("Optimizer.step#SGD.step", "user_annotation", begin + 600, 50)
    launched(trace, "foreach_add", begin + 610, 8)
    # By a thread that is none of the training's.
    launched(trace, "prefetch", begin + 120, 16, LOADER)


FORWARD = {"conv_kernel": 61, "my_triton": 40}
BACKWARD = {"conv_backward_kernel": 121}
OTHER = {
    "pin_kernel": 1, "zero_kernel": 2, "clip_kernel": 4, "foreach_add_kernel": 8,
    "prefetch_kernel": 16,
}  # fmt: skip
TOTAL = sum(sum(part.values()) for part in (FORWARD, BACKWARD, OTHER))


def by_part(found: OwnTrace) -> dict[str, dict[str, float]]:
    parts: dict[str, dict[str, float]] = {}
    for line in found.tables.kernels.to_dict("records"):
        of_part: dict[str, float] = parts.setdefault(line["part"], {})
        of_part[line["kernel"]] = of_part.get(line["kernel"], 0) + line["time_ns"] / 1000
    return parts


@pytest.mark.parametrize("backward", [AUTOGRAD, HOST], ids=["GPU", "one thread"])
def test_parts_of_a_training_step(tmp_path: Path, backward: int) -> None:
    trace = Kineto()
    for begin in (1000, 2000):
        training_step(trace, begin, backward)

    found = own_trace(trace.write(tmp_path / "trace.json"))

    assert by_part(found) == {"forward": FORWARD, "backward": BACKWARD, "other": OTHER}
    assert (found.on_accelerator, found.is_marked, found.tables.steps) == (True, True, 2)
    assert found.tables.step_ns == 1000 * TOTAL
    assert found.tables.coverage == pytest.approx(1 - sum(OTHER.values()) / TOTAL)


def test_without_marks_the_whole_trace_is_one_step(tmp_path: Path) -> None:
    trace = Kineto()
    for begin in (1000, 2000):
        training_step(trace, begin)
    trace.events = [one for one in trace.events if not one["name"].startswith(STEP)]

    found = own_trace(trace.write(tmp_path / "trace.json.gz"))

    assert (found.is_marked, found.tables.steps) == (False, 1)
    assert found.tables.step_ns == 2 * 1000 * TOTAL
    parts = by_part(found)
    assert parts["backward"] == {"conv_backward_kernel": 242}
    # Whatever comes before the trace's last node: nobody marks that clipping is no pass.
    assert parts["forward"] == {"conv_kernel": 122, "my_triton": 80, "clip_kernel": 4}


def test_without_marks_an_operator_is_counted_once(tmp_path: Path) -> None:
    """As another reader of the same trace does: torch's own sums."""
    model = nn.Sequential(nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 1))
    x = torch.randn(8, 16)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(3):
            model(x).sum().backward()
    path = tmp_path / "trace.json"
    profiler.export_chrome_trace(str(path))

    tables = own_trace(path).tables

    averages = profiler.key_averages()
    total_us = sum(one.self_cpu_time_total for one in averages)
    assert tables.step_ns / 1000 == pytest.approx(total_us, rel=1e-4)
    calls = {one.key: one.count for one in averages}
    found = tables.kernels.groupby("kernel")["calls"].sum()
    assert found["aten::addmm"] == calls["aten::addmm"] == 6
    assert found["aten::mm"] == calls["aten::mm"]
    assert found["aten::silu_backward"] == calls["aten::silu_backward"] == 3


def test_an_optimizer_within_another_is_of_no_pass(tmp_path: Path) -> None:
    trace = Kineto()
    trace.step(1, 0, 1000)
    trace.span("Optimizer.step#Outer.step", "user_annotation", 100, 100)
    trace.span("Optimizer.step#SGD.step", "user_annotation", 110, 20)
    launched(trace, "within_both", 115, 1)
    launched(trace, "within_outer", 150, 2)
    launched(trace, "conv", 300, 4)
    node(trace, "conv_backward", 400, 8)

    found = own_trace(trace.write(tmp_path / "trace.json"))

    assert by_part(found) == {
        "forward": {"conv_kernel": 4},
        "backward": {"conv_backward_kernel": 8},
        "other": {"within_both_kernel": 1, "within_outer_kernel": 2},
    }


def test_passes_in_an_optimizer_s_closure_are_passes(tmp_path: Path) -> None:
    trace = Kineto()
    trace.step(1, 0, 1000)
    trace.span("Optimizer.step#LBFGS.step", "user_annotation", 100, 800)
    for begin in (100, 400):
        trace.span("Optimizer.zero_grad#LBFGS.zero_grad", "user_annotation", begin + 10, 10)
        launched(trace, "zero", begin + 12, 1)
        # The operator that has a node is called by one that has none.
        launched(trace, "linear", begin + 30, 2)
        trace.differentiated(begin + 33)
        launched(trace, "argmax", begin + 40, 4)
        node(trace, "linear_backward", begin + 60, 8)
        launched(trace, "direction", begin + 100, 16)
    launched(trace, "last", 950, 32)

    found = own_trace(trace.write(tmp_path / "trace.json"))

    assert by_part(found) == {
        "forward": {"linear_kernel": 4, "argmax_kernel": 8},
        "backward": {"linear_backward_kernel": 16},
        "other": {"zero_kernel": 2, "direction_kernel": 32, "last_kernel": 32},
    }


def test_passes_of_several_threads_are_passes(tmp_path: Path) -> None:
    replicas = 201, 202
    trace = Kineto()
    trace.step(1, 0, 1000)
    for replica in replicas:
        launched(trace, "conv", 100, 1, replica)
        trace.differentiated(100, replica)
    launched(trace, "prefetch", 150, 2, LOADER)
    launched(trace, "gather", 200, 4)
    for replica in replicas:
        # One has its own backward thread, as of a second device, the other goes back itself.
        node(trace, "conv_backward", 300, 8, replica if replica == 201 else AUTOGRAD)
        launched(trace, "after", 500, 16, replica)

    found = own_trace(trace.write(tmp_path / "trace.json"))

    assert by_part(found) == {
        "forward": {"conv_kernel": 2, "gather_kernel": 4},
        "backward": {"conv_backward_kernel": 16, "after_kernel": 16},
        "other": {"prefetch_kernel": 2, "after_kernel": 16},
    }


def test_a_real_closure_and_real_threads_are_told_apart(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 1))
    x = torch.randn(8, 16)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    losses: list[torch.Tensor] = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        return loss.item()

    every_thread = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
    found = []
    for work in ("closure", "threads"):
        with profile(
            activities=[ProfilerActivity.CPU], experimental_config=every_thread
        ) as profiler:
            if work == "closure":
                optimizer.step(closure)
            else:
                for _ in range(2):
                    thread = Thread(target=lambda: losses.append(model(x).sum()))
                    thread.start()
                    thread.join()
                (losses[0] + losses[1]).backward()  # type: ignore[no-untyped-call]
        path = tmp_path / f"{work}.json"
        profiler.export_chrome_trace(str(path))
        kernels = own_trace(path).tables.kernels
        found.append(kernels.groupby(["kernel", "part"])["calls"].sum())

    for calls in found:
        passes = calls["aten::addmm"].to_dict()
        assert list(passes) == ["forward"]
        assert calls["aten::silu"].to_dict() == {"forward": passes["forward"] / 2}
        assert calls["aten::silu_backward"].to_dict() == {"backward": passes["forward"] / 2}
    assert found[1]["aten::addmm", "forward"] == 4
    assert set(found[0]["aten::dot"].to_dict()) == {"other"}


def test_inference_is_forward(tmp_path: Path) -> None:
    trace = Kineto()
    trace.step(1, 0, 1000)
    launched(trace, "conv", 100, 30)
    trace.launch(200, ("a", 300, 5), ("b", 310, 6), call="cudaGraphLaunch")

    found = own_trace(trace.write(tmp_path / "trace.json"))

    assert by_part(found) == {"forward": {"conv_kernel": 30, "a": 5, "b": 6}}


def test_memory_is_told_apart_by_the_same_rule(tmp_path: Path) -> None:
    trace = Kineto()
    training_step(trace, 0, HOST)
    for ts, size in ((110, 512), (205, 256), (305, 128), (405, -512), (620, -384)):
        trace.memory(ts, size)

    memory = own_trace(trace.write(tmp_path / "trace.json")).tables.memory

    assert list(memory["part"])[1:] == ["forward", "backward", "forward", "backward", "other"]
    assert list(memory["allocated_bytes"]) == [0, 512, 768, 896, 384, 0]


def test_a_trace_of_a_host_alone_is_of_its_operators(tmp_path: Path) -> None:
    trace = Kineto()
    trace.step(1, 0, 100)
    trace.operator("aten::linear", 10, 30)
    trace.operator("aten::addmm", 15, 20)

    found = own_trace(trace.write(tmp_path / "trace.json"))

    assert not found.on_accelerator
    assert by_part(found) == {"forward": {"aten::linear": 10, "aten::addmm": 20}}


def launches_alone() -> dict[str, Any]:
    trace = Kineto()
    by = trace.operator("aten::add", 10, 8)
    trace.launch(12, by=by)
    line = "ERROR:2026-01-08 08:51:59 865:3386 Api.cpp:47] it may not look on"
    return {"trace": trace, "ERROR": [line]}


def still() -> dict[str, Any]:
    trace = Kineto()
    trace.step(1, 0, 100)
    trace.launch(12, call="cudaDeviceSynchronize")
    trace.operator("aten::view", 200, 8)
    return {"trace": trace}


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"trace": Kineto()}, "it holds no operators and no kernels"),
        (launches_alone(), "nothing of what the device did; the profiler says Api.cpp:47] it may"),
        (still(), "nothing ran in the steps"),
    ],
)
def test_a_trace_without_what_tables_are_made_of(
    tmp_path: Path, made: dict[str, Any], why: str
) -> None:
    trace = made.pop("trace")

    with pytest.raises(ValueError, match=why.replace("[", r"\[")):
        own_trace(trace.write(tmp_path / "trace.json", **made))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it ends before it is whole"),
        (b"\x00\x01binary", "it is no JSON"),
        (b'{"traceEvents": [{"ph": "X", "ts": 1', "it is no JSON|it ends before"),
        (b'{"traceEvents": [{"cat": "cpu_op", "ts": 1}]}', "not as torch's profiler writes it"),
        (b'{"traceEvents": [{"cat": "kernel", "ts": 1, "dur": "x", "name": 5}]}', "not as torch's"),
        (b'{"traceEvents": [{"cat": "kernel", "ts": 1e999, "dur": 1, "name": "", "tid": 5}]}',
         "not as torch's"),
        (b'{"traceEvents": [{"cat": "cpu_op", "ts": 1, "dur": 1, "name": "", "tid": [5]}]}',
         "not as torch's"),
        (b'{"traceEvents": [{"cat": "cpu_op", "ts": 1e20, "dur": 1, "name": "", "tid": 5}]}',
         "not as torch's"),
        (b'{"traceEvents": [{"cat": "cuda_runtime", "ts": 1, "dur": 1, "name": "", "tid": 5, '
         b'"args": {"correlation": {}}}]}', "not as torch's"),
        (b'{"traceEvents": 7}', "it holds no operators"),
        (b'{"other": []}', "it holds no operators"),
        (gzip.compress(1000 * b"[1, 2, 3]", mtime=0)[:30], "cut short, or damaged"),
        (gzip.compress(b"[1, 2, 3]", mtime=0)[:-9] + b"\x99" * 9, "cut short, or damaged"),
    ],
)  # fmt: skip
def test_what_is_no_trace_is_one_line(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=why) as caught:
        own_trace(path)
    assert len(str(caught.value).splitlines()) == 1


REGISTERS = "registers per thread"
COUNTS = st.integers(0, 100)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=3,
)
CATEGORIES = st.sampled_from(
    [
        *("cpu_op", "kernel", "gpu_memcpy", "cuda_runtime", "cuda_driver", "python_function"),
        *("user_annotation", "cpu_instant_event", "fwdbwd"),
    ]
)
NAMED = st.sampled_from(
    ["aten::add", STEP + "1", NODE + "A", "nn.Module: A_0", "cudaLaunchKernel", "[memory]"]
) | st.text(st.characters(), max_size=4)
ARGUMENTS = st.dictionaries(
    st.sampled_from(
        [
            *("External id", "correlation", "Sequence number", "Input Dims", "Bytes"),
            *("Device Type", "est. achieved occupancy %", REGISTERS),
        ]
    ),
    COUNTS | VALUES | st.just(2**70),
)
EVENTS = st.fixed_dictionaries(
    {
        "cat": CATEGORIES | VALUES,
        "name": NAMED | VALUES,
        "ts": COUNTS | VALUES,
        "dur": COUNTS | VALUES,
        "tid": COUNTS | VALUES,
        "args": ARGUMENTS | VALUES,
    },
    optional={"ph": st.just("s") | VALUES},
)


@given(st.lists(EVENTS, max_size=5) | VALUES, VALUES)
def test_whatever_values_an_event_has_it_is_a_step_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, events: Any, words: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps({"traceEvents": events, "ERROR": words}))
    said = ""
    try:
        own_trace(path)
    except ValueError as error:
        said = str(error)
    assert len(said.splitlines()) <= 1


@pytest.mark.parametrize("name", ["\ud800a", "a\x00b\x1b[31m", "a\nb"])
def test_what_cannot_be_shown_of_a_name_is_escaped(tmp_path: Path, name: str) -> None:
    operator = {"cat": "cpu_op", "name": name, "ts": 1, "dur": 5, "tid": 1, "args": {}}
    path = tmp_path / "any.json"
    path.write_text(json.dumps({"traceEvents": [operator]}))

    (shown,) = set(own_trace(path).tables.kernels["operator"])

    assert shown.isprintable()
    assert shown.encode().decode("unicode_escape") == name


@pytest.mark.parametrize("changed", [{"dur": -5}, {"ts": True}, {"args": {REGISTERS: 2**70}}])
def test_what_no_kernel_has_is_one_line(tmp_path: Path, changed: dict[str, Any]) -> None:
    kernel = {"cat": "kernel", "name": "k", "ts": 1, "dur": 5, "tid": 1, "args": {}}
    path = tmp_path / "any.json"
    path.write_text(json.dumps({"traceEvents": [kernel | changed]}))

    with pytest.raises(
        ValueError, match=r"^an event is not as torch's profiler writes it: 'kernel'"
    ):
        own_trace(path)
