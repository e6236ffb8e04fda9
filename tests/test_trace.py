"""Traces against counts, against the clock, and against TensorBoard's plugin."""

import getpass
import gzip
import json
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from dynact.cases import HEADLINE, PHASES, Case
from dynact.cost import count_parameters
from dynact.count import count
from dynact.device import Cpu
from dynact.layers import build
from dynact.results import folder_name
from dynact.trace import Tables, moved_bytes, record, store, tables_of
from dynact.trace.kinds import KINDS, kind_of

from .sweeping import case_of

ROOT = Path(__file__).parents[1]
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


def traced(case: Case, steps: int = 2) -> tuple[dict[str, Any], Tables]:
    trace = record(case, Cpu(), steps)
    return trace, tables_of(trace, "cpu", moved_bytes(case, Cpu()))


@pytest.mark.parametrize("case", HEADLINE_CASES, ids=lambda case: case.id)
def test_a_trace_agrees_with_the_counts(case: Case) -> None:
    _, tables = traced(case)
    counted = count(case, Cpu())
    assert tables.steps == 2
    assert tables.operators == counted["kernels"] == len(tables.timeline)
    assert tables.kernels["bytes"].sum() <= counted["traffic_eager_bytes"]

    assert tables.kernels["time_ns"].sum() == tables.step_ns
    assert tables.kernels["share"].sum() == pytest.approx(1)
    assert tables.coverage >= 0.9
    parts = {"forward", "backward"} if case.phase == "training" else {"forward"}
    assert set(tables.kernels["part"]) == set(tables.timeline["part"]) == parts
    assert set(tables.kernels["kind"]) <= set(KINDS)

    held = tables.memory["allocated_bytes"]
    allocations = int((held.diff() > 0).sum())
    # A convolution sorts its weights into a workspace of their size.
    workspace = 4 * count_parameters(build(case.activation, case.channels)).learnable
    assert abs(held.max() - counted["peak_bytes"]) <= 512 * allocations + workspace
    assert held.iloc[0] == held.iloc[-1] == 0 or case.phase == "inference"
    assert tables.memory["at_ns"].is_monotonic_increasing


@pytest.mark.parametrize("case", HEADLINE_CASES, ids=lambda case: case.id)
def test_kernels_that_are_all_known_move_what_was_counted(case: Case) -> None:
    _, tables = traced(case, steps=1)
    launches = tables.kernels[tables.kernels["bytes"].notna()]
    assert launches["bytes"].sum() == count(case, Cpu())["traffic_eager_bytes"]
    assert launches["calls"].sum() == tables.operators


def test_forward_and_backward_are_told_apart_by_number() -> None:
    _, tables = traced(case_of("silu", phase="training"))
    parts = dict(zip(tables.timeline["kernel"], tables.timeline["part"], strict=True))
    assert parts == {"aten::silu": "forward", "aten::silu_backward": "backward"}


def test_a_timeline_is_of_one_step_without_overlaps() -> None:
    _, tables = traced(case_of("dyrelu_b", phase="training"))
    line = tables.timeline
    assert (line["start_ns"] >= 0).all()
    ends = line["start_ns"] + line["duration_ns"]
    assert (line["start_ns"].iloc[1:].to_numpy() >= ends.iloc[:-1].to_numpy()).all()


def test_shapes_and_bandwidth_of_a_kernel() -> None:
    _, tables = traced(case_of("silu"))
    [kernel] = tables.kernels[tables.kernels["kernel"] == "aten::silu"].to_dict("records")
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
    ],
)  # fmt: skip
def test_kinds(operator: str, kind: str) -> None:
    assert kind_of(operator) == kind


def test_a_trace_cut_short_is_named() -> None:
    with pytest.raises(ValueError, match="cut short"):
        tables_of({"traceEvents": []}, "cpu", [])


# What an accelerator's trace looks like, made by hand: a CPU launches, a device works later.


def event(name: str, cat: str, ts: float, dur: float, **args: Any) -> dict[str, Any]:
    tid = args.pop("tid", 1)
    return {"name": name, "cat": cat, "ts": ts, "dur": dur, "tid": tid, "args": args}


def test_kernels_of_an_accelerator_belong_to_what_launched_them() -> None:
    shape = {"Input Dims": [[2, 8]]}
    trace = {
        "traceEvents": [
            event("ProfilerStep#2", "user_annotation", 0, 100),
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
        ]
    }  # fmt: skip
    tables = tables_of(trace, "cuda", [128, 192])
    assert (tables.step_ns, tables.coverage, tables.operators) == (50_000, 1.0, 2)
    assert tables.timeline.to_dict("list") == {
        "start_ns": [60_000, 110_000],
        "duration_ns": [20_000, 30_000],
        "kernel": ["silu_kernel", "silu_backward_kernel"],
        "kind": ["pointwise", "pointwise"],
        "part": ["forward", "backward"],
    }
    assert dict(zip(tables.kernels["kernel"], tables.kernels["bytes"], strict=True)) == {
        "silu_kernel": 128, "silu_backward_kernel": 192,
    }  # fmt: skip
    assert list(tables.memory["allocated_bytes"]) == [0, 512]


# In a run folder.


def test_tracing_again_replaces_the_lines_of_its_case_alone(tmp_path: Path) -> None:
    first, second = case_of("relu"), case_of("silu", phase="training")
    for case in (first, second, first):
        store(tmp_path, case, *traced(case), 1234.5)
    again = traced(first)
    before = {name: (tmp_path / f"traces/{name}.csv").read_text() for name in TABLES}
    store(tmp_path, first, *again, 99.0)
    for name, text in before.items():
        after = (tmp_path / f"traces/{name}.csv").read_text()
        kept = [line for line in text.splitlines() if line.startswith(second.id)]
        assert kept
        assert [line for line in after.splitlines() if line.startswith(second.id)] == kept
    steps = pd.read_csv(tmp_path / "traces/steps.csv")
    assert dict(zip(steps["case_id"], steps["untraced_ns"], strict=True)) == {
        second.id: 1234.5, first.id: 99.0,
    }  # fmt: skip
    assert len(list(tmp_path.glob("tensorboard/*/*"))) == 2
    assert not list(tmp_path.rglob(".*"))


TABLES = {
    "steps": [
        "case_id", "activation", "phase", "steps", "step_ns", "untraced_ns", "coverage",
        "operators", "trace",
    ],
    "kernels": [
        "case_id", "kernel", "kind", "part", "calls", "time_ns", "share", "input_shapes", "bytes",
        "bandwidth_bytes_per_s",
    ],
    "timeline": ["case_id", "start_ns", "duration_ns", "kernel", "kind", "part"],
    "memory": ["case_id", "at_ns", "allocated_bytes"],
}  # fmt: skip


def test_columns(tmp_path: Path) -> None:
    case = case_of("prelu", phase="training")
    store(tmp_path, case, *traced(case), None)
    for name, columns in TABLES.items():
        assert list(pd.read_csv(tmp_path / f"traces/{name}.csv").columns) == columns
    [step] = pd.read_csv(tmp_path / "traces/steps.csv").to_dict("records")
    assert (tmp_path / step["trace"]).is_file()
    assert pd.isna(step["untraced_ns"])


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


def test_no_folder_host_or_user_in_what_is_written(tmp_path: Path) -> None:
    case = case_of(f"{__name__}:Own", phase="training")
    store(tmp_path, case, *traced(case), None)
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
    store(tmp_path, case, *traced(case), None)
    folder = tmp_path / "tensorboard" / case.id
    [path] = folder.iterdir()
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
    assert {"aten::mul", "aten::addmm", "aten::maximum"} & names
