"""Traces against counts, against the clock, and against TensorBoard's plugin."""

import base64
import contextlib
import getpass
import gzip
import json
import re
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.profiler import _memory_profiler

from dynact import activations
from dynact.cost import count_parameters
from dynact.schema.cases import HEADLINE, PHASES, Case
from dynact.schema.limits import Ceilings
from dynact.schema.run_folder import RunError, folder_name
from dynact.timing import WallClock
from dynact.timing.clock import Call
from dynact.worker.counts import count
from dynact.worker.device import Cpu
from dynact.worker.profile import (
    Moved,
    Tables,
    Traced,
    memory_page,
    moved_bytes,
    ready_step,
    record,
    store,
    store_failure,
    tables_of,
    trace_case,
)
from dynact.worker.profile.memory_page import CATEGORIES
from dynact.worker.profile.operator_category import KINDS, is_composite, kind_of, moves_nothing
from dynact.worker.workload import build
from tests.sweeping import case_of

ROOT = Path(__file__).parents[3]
HEADLINE_CASES = [
    case_of(name, phase=phase, channels=16, height=14, width=14)
    for name in ("relu", *HEADLINE)
    for phase in PHASES
]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tables(case: Case, steps: int = 2) -> Tables:
    with ready_step(case, Cpu()) as step:
        trace = record(step, Cpu(), steps)
    return tables_of(trace, "cpu", moved_bytes(case, Cpu()))


def traced(case: Case, device: Cpu | None = None) -> Traced:
    return trace_case(case, device or Cpu(), steps=2)


@pytest.mark.parametrize("case", HEADLINE_CASES, ids=lambda case: case.id)
def test_a_trace_agrees_with_the_counts(case: Case) -> None:
    found = tables(case)
    counted = count(case, Cpu())
    assert found.steps == 2
    assert found.operators == counted["kernels"] == len(found.timeline)
    assert found.kernels["bytes"].sum() <= counted["traffic_eager_bytes"]

    assert found.kernels["time_ns"].sum() == found.step_ns
    assert found.kernels["share"].sum() == pytest.approx(1)
    assert found.coverage >= 0.9
    parts = {"forward", "backward"} if case.phase == "training" else {"forward"}
    assert set(found.kernels["part"]) == set(found.timeline["part"]) == parts
    assert set(found.kernels["kind"]) <= set(KINDS)
    # What only an accelerator's profiler says, and what nobody gave.
    unknown = ["ceiling_bytes_per_s", "occupancy_percent", "registers_per_thread"]
    assert found.kernels[unknown].isna().all(axis=None)

    held = found.memory["allocated_bytes"]
    allocations = int((held.diff() > 0).sum())
    # A convolution sorts its weights into a workspace of their size.
    workspace = 4 * count_parameters(build(case.activation, case.channels)).learnable
    assert abs(held.max() - counted["peak_bytes"]) <= 512 * allocations + workspace
    assert held.iloc[0] == held.iloc[-1] == 0
    assert found.memory["at_ns"].is_monotonic_increasing
    assert list(found.kernels["operator"]) == list(found.kernels["kernel"])


EVERY_CASE = [
    case_of(name, phase=phase, channels=8, height=6, width=6)
    for name in activations.names()
    for phase in PHASES
]


@pytest.mark.parametrize("case", EVERY_CASE, ids=lambda case: case.id)
def test_what_was_counted_is_what_was_traced_in_the_same_order(case: Case) -> None:
    found = tables(case, steps=1)
    counted = moved_bytes(case, Cpu())
    assert found.operators == len(counted) == count(case, Cpu())["kernels"]
    for traced_name, moved in zip(found.timeline["kernel"], counted, strict=True):
        assert moved.by(traced_name) is not None, (traced_name, moved.name)

    launches = found.kernels[found.kernels["bytes"].notna()]
    assert launches["calls"].sum() == found.operators
    assert launches["bytes"].sum() == count(case, Cpu())["traffic_eager_bytes"]


def test_a_scatter_in_place_moves_indices_values_and_as_many_elements() -> None:
    case = case_of("dyrelu_b", phase="training", channels=8, height=6, width=6)
    kernels = tables(case).kernels
    [moved] = kernels.loc[kernels["kernel"] == "aten::scatter_", "bytes"]
    elements = case.input_bytes // 4
    assert moved == elements * (8 + 4 + 4)


def test_bytes_are_of_the_operator_that_was_counted_or_of_its_form_in_place() -> None:
    add = Moved("aten::add", 12)
    assert (add.by("aten::add"), add.by("aten::add_"), add.by("aten::mul")) == (12, 12, None)
    zeros = Moved("aten::new_zeros", 4)
    assert (zeros.by("aten::zeros"), zeros.by("aten::ones")) == (4, None)


def test_an_operator_that_is_another_than_was_counted_has_no_bytes() -> None:
    with ready_step(case_of("silu", phase="training"), Cpu()) as step:
        trace = record(step, Cpu(), 1)
    moved = [Moved("aten::silu", 8), Moved("aten::mul", 9)]
    kernels = tables_of(trace, "cpu", moved).kernels.set_index("kernel")
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

        found = tables_of(record(with_foreign_work, Cpu(), 1), "cpu", [])
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
    counted = count(case, Cpu())
    kept = counted["saved_for_backward_bytes"] - counted["saved_input_bytes"]
    expected = kept - counted["saved_output_bytes"] + case.input_bytes
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
    kernels = tables(case_of("silu")).kernels
    [kernel] = kernels[kernels["kernel"] == "aten::silu"].to_dict("records")
    moved = 2 * case_of().input_bytes
    assert (kernel["calls"], kernel["input_shapes"], kernel["bytes"]) == (1, "2x8x7x7", moved)
    assert kernel["bandwidth_bytes_per_s"] == pytest.approx(moved / kernel["time_ns"] * 1e9)


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::mul", "pointwise"), ("aten::maximum", "pointwise"),
        ("aten::threshold_backward", "pointwise"), ("aten::_prelu_kernel", "pointwise"),
        ("aten::max", "reduction"), ("aten::mean", "reduction"), ("aten::_softmax", "reduction"),
        ("aten::addmm", "matmul"), ("aten::convolution_backward", "convolution"),
        ("aten::native_batch_norm", "normalisation"), ("aten::copy_", "memory"),
        ("aten::empty", "memory"), ("aten::view", "other"), ("MulBackward0", "other"),
        ("Torch-Compiled Region: 0/0", "other"), ("a_comm_of_no_operator", "other"),
    ],
)  # fmt: skip
def test_kinds(operator: str, kind: str) -> None:
    assert kind_of(operator) == kind


def test_an_operator_registered_after_a_trace_is_known() -> None:
    tables(case_of("relu"), steps=1)

    @torch.library.custom_op("dynact_tests::negated", mutates_args=())
    def negated(x: Tensor) -> Tensor:
        return -x

    case = case_of(f"{__name__}:Negating")
    found = tables(case, steps=1)
    assert list(found.timeline["kernel"]) == ["dynact_tests::negated"]
    assert not is_composite("dynact_tests::negated", "cpu")
    assert not moves_nothing("dynact_tests::negated")
    assert found.operators == count(case, Cpu())["kernels"] == 1
    assert found.kernels["bytes"].sum() == 2 * case.input_bytes


class Negating(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        negated: Tensor = torch.ops.dynact_tests.negated(x)
        return negated


def test_a_trace_cut_short_is_named() -> None:
    with pytest.raises(ValueError, match="cut short"):
        tables_of({"traceEvents": []}, "cpu", [])


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


def test_untraced_is_the_median_of_the_device_s_clock_without_a_profiler() -> None:
    device = Cpu()
    device.clock = clock = ListedClock(40.0, 10.0, 30.0, 20.0, 90.0)
    found = trace_case(case_of("relu", phase="training"), device, steps=5)
    assert found.untraced_ns == 30.0
    assert found.tables.steps == 5
    assert clock.under_a_profiler == [False] * 5


# Compiled: one graph, so one call of generated code forward and one backward.


def test_a_compiled_case() -> None:
    case = case_of("dyrelu_b", phase="training", mode="compile")
    try:
        found = traced(case).tables
    finally:
        torch.compiler.reset()
    parts = dict(zip(found.timeline["kernel"], found.timeline["part"], strict=True))
    assert parts == {
        "Torch-Compiled Region: 0/0": "forward", "CompiledFunctionBackward": "backward",
    }  # fmt: skip
    assert found.operators == 2
    assert set(found.kernels["part"]) == {"forward", "backward"}
    assert found.kernels["time_ns"].sum() == found.step_ns
    assert found.coverage >= 0.9
    assert found.kernels["bytes"].isna().all()


# What an accelerator's trace looks like, made by hand: a CPU launches, a device works later.


def event(name: str, cat: str, ts: float, dur: float, **args: Any) -> dict[str, Any]:
    tid = args.pop("tid", 1)
    return {"name": name, "cat": cat, "ts": ts, "dur": dur, "tid": tid, "args": args}


LAYER = event("nn.Module: SiLU_0", "python_function", 5, 15)


def test_kernels_of_an_accelerator_belong_to_what_launched_them() -> None:
    shape = {"Input Dims": [[2, 8]]}
    trace = {
        "traceEvents": [
            event("ProfilerStep#2", "user_annotation", 0, 100),
            LAYER,
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
        ]
    }  # fmt: skip
    moved = [Moved("aten::silu", 128), Moved("aten::silu_backward", 192)]
    found = tables_of(trace, "cuda", moved)
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


def launches(*kernels: tuple[str, float, dict[str, Any]]) -> dict[str, Any]:
    """Return the trace of a step in which each kernel is launched by an operator of its own."""
    events = [event("ProfilerStep#1", "user_annotation", 0, 100)]
    for number, (name, dur, arguments) in enumerate(kernels, 1):
        ids = {"External id": number, "correlation": number}
        events += [
            event("aten::silu", "cpu_op", 5 * number, 4, **{"External id": number}),
            event("launch", "cuda_runtime", 5 * number + 1, 1, **ids),
            event(name, "kernel", 50 * number, dur, correlation=number, **arguments),
        ]
    return {"traceEvents": events}


def silus(*bytes_of_each: int) -> list[Moved]:
    return [Moved("aten::silu", moved) for moved in bytes_of_each]


CUDAS = "est. achieved occupancy %"


def test_occupancy_is_the_mean_over_time_and_registers_are_the_most() -> None:
    trace = launches(
        ("one", 30, {CUDAS: 100, "registers per thread": 16}),
        ("one", 10, {CUDAS: 50, "registers per thread": 40}),
        ("unable", 5, {CUDAS: -99, "registers per thread": 8}),
        ("untold", 1, {}),
    )
    kernels = tables_of(trace, "cuda", []).kernels.set_index("kernel")
    assert list(kernels["calls"]) == [2, 1, 1]
    assert kernels["occupancy_percent"]["one"] == (30 * 100 + 10 * 50) / 40
    assert kernels["occupancy_percent"].drop("one").isna().all()
    assert kernels["registers_per_thread"].drop("untold").to_dict() == {"one": 40, "unable": 8}
    assert pd.isna(kernels["registers_per_thread"]["untold"])


def test_a_kernel_s_ceiling_is_the_copy_that_moves_as_much_as_a_call_of_it() -> None:
    ceilings = Ceilings(((16, 7e9), (64, 3e9), (128, 2e9)), {})
    trace = launches(("twice", 9, {}), ("twice", 8, {}), ("large", 7, {}), ("small", 6, {}))
    # Two tensors of 64 bytes, of 128, and of 8, which is less than any that was copied.
    kernels = tables_of(trace, "cuda", silus(128, 128, 256, 16), ceilings).kernels
    ceiling = kernels.set_index("kernel")["ceiling_bytes_per_s"].to_dict()
    assert ceiling == {"twice": 3e9, "large": 2e9, "small": 7e9}

    unknown_bytes = tables_of(trace, "cuda", [], ceilings).kernels
    no_copies = tables_of(trace, "cuda", silus(128, 128, 256, 16), Ceilings((), {})).kernels
    for kernels in (unknown_bytes, no_copies):
        assert kernels["ceiling_bytes_per_s"].isna().all()


# The memory timeline.


def page_of(case: Case) -> str:
    with ready_step(case, Cpu()) as step:
        return memory_page(step, Cpu(), case.id)


LARGE = {"channels": 64, "height": 28, "width": 28}


@pytest.mark.parametrize(
    ("case", "inputs"),
    [
        # Output and, in training, input gradient, above the input and the output gradient.
        (case_of("silu", **LARGE), (1, 2)),
        (case_of("silu", phase="training", **LARGE), (2, 4)),
        # A DY-ReLU's parameters are a hundredth of its input here.
        (case_of("dyrelu_b", **LARGE), (1, 6)),
        (case_of("dyrelu_b", phase="training", **LARGE), (2, 10)),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_a_memory_page_says_what_is_allocated_at_most(case: Case, inputs: tuple[int, int]) -> None:
    found = re.search(r"At most ([\d.]+) MB at once; ([\d.]+) MB at the start", page_of(case))
    assert found
    most, before = (1e6 * float(megabytes) / case.input_bytes for megabytes in found.groups())
    assert (before, most) == pytest.approx(inputs, rel=0.03)
    counted = count(case, Cpu())["peak_bytes"] / case.input_bytes
    assert most - before == pytest.approx(counted, rel=0.03)


def test_a_layer_that_allocates_nothing_has_a_memory_page() -> None:
    assert "allocates nothing" in page_of(case_of("identity"))


def test_a_memory_page_is_whole_in_itself_and_named_after_its_case() -> None:
    with ready_step(case_of("dyrelu_b", phase="training"), Cpu()) as step:
        page = memory_page(step, Cpu(), "<b>&{}")
    assert "<title>Memory over one step: &lt;b&gt;&amp;{}</title>" in page
    assert len(page.encode()) < 300_000
    assert """content="default-src 'none'; img-src data:; style-src 'unsafe-inline'\"""" in page
    assert 'name="viewport"' in page
    [source] = re.findall(r'src="([^"]*)"', page)
    picture = base64.b64decode(source.removeprefix("data:image/png;base64,"), validate=True)
    assert picture.startswith(b"\x89PNG")
    assert b"http" not in picture
    text = page.replace(source, "")
    assert not re.search('//|href="(?!data:,")|src="[^"]|url', text)


def test_the_page_names_memory_as_torch_does() -> None:
    ours = [name.upper().replace(" ", "_") for name in CATEGORIES]
    torchs = ["UNKNOWN" if c is None else c.name for c in _memory_profiler._CATEGORY_TO_COLORS]
    assert ours == torchs


# In a run folder.


def test_tracing_again_replaces_the_lines_of_its_case_alone(tmp_path: Path) -> None:
    first, second = case_of("relu"), case_of("silu", phase="training")
    for case in (first, second, first):
        store(tmp_path, case, traced(case))
    again = traced(first)
    before = {name: (tmp_path / f"traces/{name}.csv").read_text() for name in TABLES}
    store(tmp_path, first, again)
    for name, text in before.items():
        after = (tmp_path / f"traces/{name}.csv").read_text()
        kept = [line for line in text.splitlines() if line.startswith(second.id)]
        assert kept
        assert [line for line in after.splitlines() if line.startswith(second.id)] == kept
    steps = pd.read_csv(tmp_path / "traces/steps.csv")
    assert list(steps["case_id"]) == [second.id, first.id]
    assert steps["untraced_ns"].iloc[1] == again.untraced_ns
    assert len(list(tmp_path.glob("tensorboard/*/*"))) == 4
    assert not list(tmp_path.rglob(".*"))


TABLES = {
    "steps": [
        "case_id", "activation", "phase", "steps", "step_ns", "untraced_ns", "coverage",
        "operators", "memory_lines", "trace", "memory_page", "memory_snapshot",
    ],
    "kernels": [
        "case_id", "kernel", "operator", "kind", "part", "calls", "time_ns", "share",
        "input_shapes", "bytes", "bandwidth_bytes_per_s", "ceiling_bytes_per_s",
        "occupancy_percent", "registers_per_thread",
    ],
    "timeline": ["case_id", "start_ns", "duration_ns", "kernel", "kind", "part"],
    "memory": ["case_id", "at_ns", "allocated_bytes", "part"],
}  # fmt: skip


def test_columns(tmp_path: Path) -> None:
    case = case_of("prelu", phase="training")
    store(tmp_path, case, traced(case))
    for name, columns in TABLES.items():
        assert list(pd.read_csv(tmp_path / f"traces/{name}.csv").columns) == columns
    [step] = pd.read_csv(tmp_path / "traces/steps.csv").to_dict("records")
    assert (tmp_path / step["trace"]).is_file()
    assert "prelu-training" in (tmp_path / step["memory_page"]).read_text()
    assert pd.isna(step["memory_snapshot"])
    assert step["memory_lines"] == len(pd.read_csv(tmp_path / "traces/memory.csv"))
    assert not list(tmp_path.rglob("*.pickle"))


def test_a_snapshot_is_stored_beside_the_trace(tmp_path: Path) -> None:
    case = case_of("relu")
    store(tmp_path, case, replace(traced(case), memory_snapshot=b"made by CUDA's allocator"))
    [step] = pd.read_csv(tmp_path / "traces/steps.csv").to_dict("records")
    snapshot = tmp_path / step["memory_snapshot"]
    assert snapshot.read_bytes() == b"made by CUDA's allocator"
    assert snapshot.parent == (tmp_path / step["trace"]).parent


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_table_that_was_cut_short_is_named_and_nothing_is_written(
    tmp_path_factory: pytest.TempPathFactory, two_traced: tuple[Traced, Traced], data: st.DataObject
) -> None:
    run = tmp_path_factory.mktemp("run")
    first, second = case_of("relu"), case_of("silu")
    store(run, first, two_traced[0])
    name = data.draw(st.sampled_from(sorted(TABLES)))
    path = run / f"traces/{name}.csv"
    whole = path.read_bytes()
    # Cut between two lines nobody can tell.
    inside = [end for end in range(len(whole)) if not end or whole[end - 1 : end] != b"\n"]
    path.write_bytes(whole[: data.draw(st.sampled_from(inside))])
    before = files_in(run)
    with pytest.raises(RunError, match=rf"^traces/{name}\.csv is cut short .*remove traces/"):
        store(run, second, two_traced[1])
    assert files_in(run) == before


@pytest.fixture(scope="module")
def two_traced() -> tuple[Traced, Traced]:
    return traced(case_of("relu")), traced(case_of("silu"))


@pytest.mark.parametrize(
    "content",
    [
        "case_id,at_ns,allocated_bytes\nrelu-inference,5,6\n",  # of an older version
        "case_id,at_ns,allocated_bytes,part\nrelu-inference,1\n",
        "case_id,at_ns,allocated_bytes,part\nrelu-inference,1,2,a,3\nrelu-inference,1,2,a\n",
        'case_id,at_ns,allocated_bytes,part\n"relu-inference,1,2,forward\n',
        "case_id,at_ns,allocated_bytes,part\nrelu-inference,1,2,a\n\xff\x00\n",
    ],
)
def test_a_table_of_another_make_is_named(
    tmp_path: Path, two_traced: tuple[Traced, Traced], content: str
) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces/memory.csv").write_bytes(content.encode("latin-1"))
    before = files_in(tmp_path)
    with pytest.raises(RunError, match=r"^traces/memory\.csv is cut short or of another version"):
        store(tmp_path, case_of("relu"), two_traced[0])
    assert files_in(tmp_path) == before


def stored(run: Path) -> dict[str, dict[str, Any]]:
    """Return all there is of each case that steps.csv names."""
    path = run / "traces/steps.csv"
    if not path.exists():
        return {}
    found = {}
    for step in pd.read_csv(path).to_dict("records"):
        of_tables = {}
        for name in TABLES:
            table = pd.read_csv(run / f"traces/{name}.csv", dtype=str)
            of_tables[name] = table[table["case_id"] == step["case_id"]].to_csv()
        files = {name: (run / step[name]).read_bytes() for name in ("trace", "memory_page")}
        found[step["case_id"]] = of_tables | files
    return found


@pytest.mark.parametrize("again", [True, False], ids=["traced before", "new"])
def test_death_at_any_point_leaves_each_case_whole_or_unnamed(
    tmp_path: Path, two_traced: tuple[Traced, Traced], again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    relu, silu = case_of("relu"), case_of("silu")
    # Of two more steps, so that lines of before and after differ.
    new = replace(two_traced[1], untraced_ns=5e9, memory_page="another")
    replaced = Path.replace

    def store_until(run: Path, last: int | None) -> int:
        done = 0

        def or_die(path: Path, target: Path) -> Path:
            nonlocal done
            if done == last:
                raise KeyboardInterrupt
            done += 1
            return replaced(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", or_die)
            with contextlib.suppress(KeyboardInterrupt):
                store(run, silu, new)
        return done

    def begun(run: Path) -> Path:
        store(run, relu, two_traced[0])
        if again:
            store(run, silu, two_traced[1])
        return run

    whole = begun(tmp_path / "whole")
    before = stored(whole)
    writes = store_until(whole, None)
    after = stored(whole)
    assert writes > len(TABLES)
    assert after[silu.id] != before.get(silu.id)
    for last in range(writes):
        run = begun(tmp_path / str(last))
        assert store_until(run, last) == last
        left = stored(run)
        assert left[relu.id] == before[relu.id]
        assert left.get(silu.id) in (None, before.get(silu.id))
        # And it can be stored as if nothing had been.
        store(run, silu, new)
        assert stored(run) == after


def test_a_case_that_fails_is_kept_until_it_is_traced(
    tmp_path: Path, two_traced: tuple[Traced, Traced]
) -> None:
    relu, silu = case_of("relu"), case_of("silu")
    path = tmp_path / "traces/failed.csv"

    def failed() -> dict[str, str]:
        table = pd.read_csv(path)
        assert list(table.columns) == ["case_id", "message"]
        return dict(zip(table["case_id"], table["message"], strict=True))

    store_failure(tmp_path, relu, 'ValueError: "no", not at all')
    store_failure(tmp_path, silu, "first")
    store_failure(tmp_path, silu, "second")
    assert failed() == {relu.id: 'ValueError: "no", not at all', silu.id: "second"}
    store(tmp_path, silu, two_traced[1])
    assert set(failed()) == {relu.id}
    store(tmp_path, relu, two_traced[0])
    assert not path.exists()
    # An earlier trace stays.
    before = stored(tmp_path)
    store_failure(tmp_path, relu, "now it fails")
    assert set(failed()) == {relu.id}
    assert stored(tmp_path) == before


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


def test_no_folder_host_or_user_in_what_is_written(tmp_path: Path) -> None:
    case = case_of(f"{__name__}:Own", phase="training")
    store(tmp_path, case, traced(case))
    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == [folder_name(case.id)]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
            for folder in (ROOT, Path.home(), Path(sys.prefix), tmp_path.parent, Path("/tmp/")):
                assert f"{folder}/" not in text
            for name in ("host_name", "traceName", socket.gethostname(), getpass.getuser()):
                assert not re.search(rf"\b{re.escape(name)}\b", text)


def test_tensorboards_plugin_reads_it(tmp_path: Path) -> None:
    from torch_tb_profiler.io.cache import Cache
    from torch_tb_profiler.profiler import RunLoader
    from torch_tb_profiler.utils import is_chrome_trace_file

    case = case_of("dyrelu_b", phase="training")
    store(tmp_path, case, traced(case))
    folder = tmp_path / "tensorboard" / case.id
    [path] = folder.glob("*.gz")
    assert is_chrome_trace_file(path.name)
    assert json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]

    with Cache() as cache:
        run = RunLoader(case.id, str(folder), cache).load()
        assert [view.display_name for view in run.views] == [
            "Overview", "Operator", "Trace", "Memory", "Module",
        ]  # fmt: skip
        [worker] = run.get_workers("Operator")
        profile = run.get_profile(worker, run.get_spans(worker)[0])
        rows = profile.operation_table_by_name["data"]
    names = {row["name"] for row in rows}
    assert {"aten::mul", "aten::addmm", "aten::max"} <= names
