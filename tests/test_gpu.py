"""What only a real accelerator can show. Skipped where there is none (tests/conftest.py)."""

import json
import pickle
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dynact import measure_network
from dynact.activations import create, implementations, names
from dynact.activations.fused.graph import generates_code_for
from dynact.networks import create as create_network
from dynact.report.run import load
from dynact.schema.cases import Case, KnownPair, NetworkCase
from dynact.schema.limits import Ceilings
from dynact.schema.messages import WorkerInfo
from dynact.schema.profile import NO_OPERATOR
from dynact.sweep.coldness import coldness, coldness_pairs
from dynact.timing import compare
from dynact.timing.visits import over_visits
from dynact.worker.device import Accelerator, Cpu, open_device
from dynact.worker.flush import Flush
from dynact.worker.kept import Kept
from dynact.worker.limits import measure_limits
from dynact.worker.network import call_of_network, draw_images, pair_of
from dynact.worker.profile import (
    memory_snapshot,
    profile_case,
    ready_step,
    record,
    steps_of,
    store,
    tables_of,
)
from tests.measuring import Bench, count, visit

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parent.parent
# Allocators of accelerators round up to it.
BLOCK_BYTES = 512


@pytest.fixture
def device() -> Accelerator:
    device = open_device(None)
    assert isinstance(device, Accelerator)
    return device


def case_on(device: Accelerator, activation: str = "dyrelu_b") -> Case:
    return Case(
        activation=activation,
        impl="reference",
        phase="inference",
        mode="eager",
        dtype="float32",
        memory_format="contiguous",
        batch=8,
        channels=64,
        height=56,
        width=56,
        device=device.torch_device.type,
        baseline="relu",
    )


class Hoarder(nn.Module):
    """Asks for twice the device's memory."""

    def forward(self, x: Tensor) -> Tensor:
        total_bytes = torch.get_device_module(x.device).mem_get_info(x.device)[1]
        return x + torch.empty(2 * total_bytes, dtype=torch.uint8, device=x.device)[0]


FASTER = [
    pytest.param(name, impl, marks=[pytest.mark.compiles] if impl == "fused" else [])
    for name in names()
    for impl in implementations(name)[1:]
]


def needs_graphs(device: Accelerator) -> None:
    if device.torch_device.type == "cuda":
        assert device.has_graphs
    elif not device.has_graphs:
        pytest.skip("needs a device whose kernels torch can capture")


def needs_compiler(device: Accelerator) -> None:
    if not generates_code_for(device.torch_device.type):
        pytest.skip(f"torch.compile generates no code for {device.torch_device.type}")


@pytest.mark.parametrize(("name", "impl"), FASTER)
@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_faster_implementations_are_right_where_they_are_timed(
    device: Accelerator, name: str, impl: str, phase: str, dtype: str
) -> None:
    if impl == "fused":
        needs_compiler(device)
    case = replace(case_on(device, name), impl=impl, phase=phase, dtype=dtype)

    found = visit(case, device, seconds=0.05)

    assert (found.status, found.message) == ("ok", "")


@pytest.mark.parametrize(("name", "impl"), FASTER)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_autocast_keeps_the_dtype_of_faster_implementations(
    device: Accelerator, name: str, impl: str, dtype: torch.dtype
) -> None:
    if impl == "fused":
        needs_compiler(device)
    where = device.torch_device
    layer = create(name, 16, impl=impl).to(where)
    x = torch.randn(2, 16, 9, 7, device=where, dtype=dtype, requires_grad=True)
    with torch.autocast(where.type, torch.bfloat16):
        y = layer(x)
    y.sum().backward()

    assert y.dtype == dtype
    assert x.grad is not None
    assert x.grad.dtype == dtype
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in layer.parameters())


def test_events_agree_with_the_wall_clock_on_long_kernels(device: Accelerator) -> None:
    a = torch.randn(4096, 4096, device=device.torch_device)

    def work() -> None:
        torch.mm(a, a)

    for _ in range(3):
        work()
    device.synchronize()
    # As many as take some 200 ms by a first reading: launching and waiting are then far below 5 %.
    calls = max(round(200e6 / device.clock.call_ns(work, 10)), 10)

    ratios = []
    for _ in range(5):
        event_ns = device.clock.call_ns(work, calls)
        work()
        device.synchronize()
        start_ns = time.perf_counter_ns()
        for _ in range(calls):
            work()
        device.synchronize()
        ratios.append(event_ns / ((time.perf_counter_ns() - start_ns) / calls))

    # The middle one: the device's clock speed may move between the two.
    assert sorted(ratios)[2] == pytest.approx(1, rel=0.05)


def test_the_device_alone_takes_of_long_kernels_what_events_say(device: Accelerator) -> None:
    a = torch.randn(4096, 4096, device=device.torch_device)

    def work() -> None:
        torch.mm(a, a)

    work()
    ratios = []
    for _ in range(5):
        held_ns = device.clock.device_ns(work, 10)
        assert held_ns is not None
        ratios.append(held_ns / device.clock.call_ns(work, 10))

    assert sorted(ratios)[2] == pytest.approx(1, rel=0.05)
    assert device.clock.queueing_ns(work) < 0.5 * device.clock.call_ns(work, 10)


def test_short_kernels_take_the_device_alone_less_than_their_host(device: Accelerator) -> None:
    x = torch.randn(100, device=device.torch_device)

    def work() -> None:
        for _ in range(12):
            torch.relu(x)

    work()
    held_ns = [device.clock.device_ns(work, 20) for _ in range(5)]
    queueing_ns = sorted(device.clock.queueing_ns(work) for _ in range(5))

    assert None not in held_ns
    assert sorted(held_ns)[2] < queueing_ns[2]


def test_a_comparison_sees_twice_the_work(device: Accelerator) -> None:
    a = torch.randn(2048, 2048, device=device.torch_device)

    def once() -> None:
        torch.mm(a, a)

    def twice() -> None:
        torch.mm(a, a)
        torch.mm(a, a)

    for call in (once, twice):
        call()
    device.synchronize()

    result = compare(twice, once, clock=device.clock)

    assert result.overhead == pytest.approx(2, rel=0.05)


def test_nothing_is_left_queued_when_a_comparison_is_over(device: Accelerator) -> None:
    a = torch.randn(4096, 4096, device=device.torch_device)

    def work() -> None:
        torch.mm(a, a)

    one_ns = min(device.clock.call_ns(work, 1) for _ in range(5))

    compare(work, work, clock=device.clock, precision=1e-6, max_seconds=0.2)

    # A host that did not wait would have queued hundreds of calls by now.
    start_ns = time.perf_counter_ns()
    device.synchronize()
    assert time.perf_counter_ns() - start_ns < 20 * one_ns


def test_peak_is_the_bytes_of_the_tensors_alive_at_once(device: Accelerator) -> None:
    # Whole multiples of what the allocator asks of the driver: the closed form is exact.
    first_bytes, second_bytes = 64 * 2**20, 96 * 2**20
    device.release_memory()
    there_before = torch.empty(first_bytes, dtype=torch.uint8, device=device.torch_device)

    def work() -> None:
        first = torch.empty(first_bytes, dtype=torch.uint8, device=device.torch_device)
        second = torch.empty(second_bytes, dtype=torch.uint8, device=device.torch_device)
        del first
        third = torch.empty(BLOCK_BYTES, dtype=torch.uint8, device=device.torch_device)
        del second, third

    assert device.peak_bytes(work) == first_bytes + second_bytes
    assert device.peak_bytes(lambda: None) == 0
    del there_before


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("activation", ["relu", "silu", "acon_c", "dyrelu_b"])
def test_the_allocator_s_peak_is_the_storages_of_the_tensors(
    device: Accelerator, activation: str, phase: str
) -> None:
    case = replace(case_on(device, activation), phase=phase)

    by_allocator = count(case, device)
    by_tracker = count(replace(case, device="cpu"), Cpu())

    assert by_allocator["message"] == by_tracker["message"] == ""
    assert (by_allocator["peak_source"], by_tracker["peak_source"]) == ("allocator", "tracker")
    # A library's workspace for the linear layers comes on top.
    assert by_allocator["peak_bytes"] == pytest.approx(
        by_tracker["peak_bytes"], rel=0.02, abs=40 * BLOCK_BYTES
    )
    for name in ("parameters", "flops", "traffic_floor_bytes", "saved_for_backward_bytes"):
        assert by_allocator[name] == by_tracker[name]


def test_no_layer_is_faster_than_the_ceilings_allow(device: Accelerator) -> None:
    ceilings = Ceilings.of(measure_limits(device))
    case = replace(case_on(device, "relu"), batch=64, baseline="relu")
    found = visit(case, device, seconds=0.5)
    counted = count(case, device)

    floor_ns = ceilings.figures(
        case.input_bytes, case.dtype, counted["traffic_floor_bytes"], counted["flops"]
    )["floor_time_ns"]

    assert found.time_ns is not None
    assert floor_ns is not None
    assert 0.9 < found.time_ns / floor_ns < 3


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize(("more_rows", "more"), [(0, 0), (8, 0.1)])
def test_visits_of_a_known_pair_find_what_is_known(
    device: Accelerator, more_rows: int, more: float, phase: str
) -> None:
    # Large enough that memory traffic, not the kernel's launch, takes the time, of a small part of
    # the memory.
    case = replace(case_on(device, "relu"), phase=phase, channels=256, height=80, width=128)
    batch = min(device.memory_bytes // 100 * case.batch // case.input_bytes, 64)
    case = replace(case, batch=max(batch, 1))
    pair = KnownPair(**asdict(case), more_rows=more_rows)
    bench = Bench(device, Kept.on(device))

    visits = [bench.visit(pair, seconds=0.2) for _ in range(6)]

    assert {each.status for each in visits} == {"ok"}, visits[0].message
    found = over_visits([each.overhead for each in visits if each.overhead is not None])
    assert found.middle == pytest.approx(1 + more, rel=0.03)
    # A tenth of the work can be told from none.
    assert found.half_width is not None
    assert found.half_width < 0.05


def test_a_flush_empties_the_caches(device: Accelerator) -> None:
    flush = Flush(device)
    device.clock = device.clock.flushed_by(flush)
    info = WorkerInfo(str(device.torch_device), True, 0, {}, flushed_bytes=flush.cache_bytes)
    bench = Bench(device, Kept.on(device))

    pairs = coldness_pairs(info)
    visited = {pair: [bench.visit(pair, seconds=0.2) for _ in range(6)] for pair in pairs}

    found = coldness(visited)
    assert found is not None
    assert found["proven"], found["message"]


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("activation", ["gelu", "frelu", "dyrelu_b"])
def test_a_graph_does_what_its_layer_does_with_fewer_launches(
    device: Accelerator, activation: str, phase: str
) -> None:
    needs_graphs(device)
    eager = replace(case_on(device, activation), batch=1, height=2, width=2, phase=phase)
    bench = Bench(device, Kept.on(device))

    in_turns = [
        bench.visit(replace(eager, mode=mode), seconds=0.1) for mode in ("eager", "graph") * 3
    ]

    assert {found.status for found in in_turns} == {"ok"}, [each.message for each in in_turns]
    eager_ns, graph_ns = (
        min(found.time_ns for found in in_turns[first::2] if found.time_ns) for first in (0, 1)
    )
    if activation != "gelu" or phase == "training":
        # Several kernels, each over before the host has queued the next.
        assert graph_ns < 0.8 * eager_ns


class Waits(nn.Module):
    """Its host reads a value."""

    def __init__(self, _channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.sum().item() > 0)


def test_a_layer_that_waits_is_no_graph_and_harms_no_other(device: Accelerator) -> None:
    needs_graphs(device)
    bench = Bench(device, Kept.on(device))
    names = (f"{__name__}:{Waits.__name__}", "frelu", "frelu")
    modes = ("graph", "graph", "eager")

    found = [
        bench.visit(replace(case_on(device, name), mode=mode))
        for name, mode in zip(names, modes, strict=True)
    ]

    assert [each.status for each in found] == ["unsupported", "ok", "ok"], found
    assert "it cannot be captured as a graph" in found[0].message


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_the_device_s_own_clock_reads_what_is_read_beside(device: Accelerator, phase: str) -> None:
    case = replace(case_on(device, "gelu"), batch=32, phase=phase)
    alone = open_device(str(device.torch_device), "device")

    beside = [visit(case, device, seconds=0.1).device_time_ns for _ in range(3)]
    read = [visit(case, alone, seconds=0.1).time_ns for _ in range(3)]

    assert None not in beside + read
    assert sorted(read)[1] == pytest.approx(sorted(beside)[1], rel=0.1)


@pytest.mark.compiles
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_compiled_cases_keep_their_graphs_between_visits(device: Accelerator, phase: str) -> None:
    needs_compiler(device)
    # Here, for it takes seconds, and most machines skip all tests of this file.
    from torch._dynamo.utils import counters as of_dynamo

    case = replace(case_on(device, "silu"), phase=phase, mode="compile")
    cases = [replace(case, batch=batch) for batch in (8, 16)]
    bench = Bench(device, Kept.on(device))
    try:
        assert {bench.visit(each, seconds=0.1).status for each in cases} == {"ok"}
        graphs = of_dynamo["stats"]["unique_graphs"]

        assert {bench.visit(each, seconds=0.1).status for each in cases} == {"ok"}

        assert of_dynamo["stats"]["unique_graphs"] == graphs
    finally:
        torch.compiler.reset()


def test_memory_of_what_was_given_up_is_free(device: Accelerator) -> None:
    case = replace(case_on(device, "relu"), batch=64)
    bench = Bench(device, Kept(0))

    def allocated_bytes() -> int:
        return torch.accelerator.memory_allocated(device.torch_device)

    before = allocated_bytes()
    for batch in (64, 48, 32, 16):
        assert bench.visit(replace(case, batch=batch), seconds=0.05).status == "ok"
        bench.kept.clear()
        # What libraries allocate at their first call stays, and is small.
        assert allocated_bytes() - before < case.input_bytes


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_a_case_is_timed_by_events(device: Accelerator, phase: str) -> None:
    found = visit(replace(case_on(device), phase=phase), device, seconds=0.5)

    assert (found.status, found.clock) == ("ok", "event"), found.message
    # It moves 6.5 times the bytes that ReLU moves, in a dozen kernels to one.
    assert found.overhead is not None
    assert found.overhead > 1.5


def test_a_good_visit_follows_one_out_of_memory(device: Accelerator) -> None:
    hoarder = case_on(device, f"{__name__}:{Hoarder.__name__}")
    bench = Bench(device)

    visits = [bench.visit(case) for case in (case_on(device), hoarder, case_on(device))]

    assert [each.status for each in visits] == ["ok", "oom", "ok"], [v.message for v in visits]
    assert visits[1].message.startswith("OutOfMemoryError: ")


def test_a_smoke_sweep_ends_well(device: Accelerator, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("dynact", "benches"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout / name)
    (checkout / "reports").mkdir()

    sweep = subprocess.run(
        [
            sys.executable, "-m", "pytest", "benches", "--benchmark-only", "--sweep", "smoke",
            "--device", device.torch_device.type, "--run", "smoke",
        ],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )  # fmt: skip

    assert sweep.returncode == 0, sweep.stdout + sweep.stderr
    run = checkout / "reports" / "smoke"
    rows = load(run)
    assert len(rows) > 0
    assert set(rows["status"]) == {"ok"}
    assert set(rows["device"]) == {device.torch_device.type}
    assert set(rows["clock"]) == {"event"}
    assert (rows["overhead_lo"] > 0).all()
    assert json.loads((run / "benchmark.json").read_text())["benchmarks"]


def test_ones_own_network_is_measured_where_it_is(device: Accelerator) -> None:
    network = create_network("resnet18").to(device.torch_device)
    images = torch.randn(8, 3, 64, 64, device=device.torch_device)

    found = measure_network(network, "dyrelu_b", example_input=images, seconds=1)

    for row in (found.inference, found.training):
        assert (row.status, row.message, row.clock) == ("ok", "", "event")
        # K lines stacked and a max, in the place of one kernel.
        assert row.overhead is not None
        assert row.overhead > 1.1
        assert row.peak_bytes is not None
        assert row.peak_bytes > 0
    assert found.training.saved_for_backward_bytes is not None


@pytest.mark.parametrize("activation", ["relu", "frelu", "dyrelu_b"])
def test_the_largest_batch_that_is_computed_runs_and_a_larger_one_does_not(
    device: Accelerator, activation: str
) -> None:
    """Within what an allocator's blocks and a library's workspaces take beside the tensors."""
    if device.torch_device.type != "cuda":
        pytest.skip("only CUDA can be held to a part of its memory")
    case = NetworkCase(
        "resnet18", activation, "all", "training", "float32", 8, 128, device.torch_device.type
    )
    figures = count(case, device)
    budget = 2 * 2**30
    fixed, per_image = figures["memory_fixed_bytes"], figures["memory_per_image_bytes"]
    most = (budget - fixed) / per_image
    network = pair_of(case, device).swapped
    torch.cuda.set_per_process_memory_fraction(budget / device.memory_bytes)
    try:
        call_of_network(case, network, draw_images(case, int(0.75 * most), device))()
        device.release_memory()
        with pytest.raises(torch.OutOfMemoryError):
            call_of_network(case, network, draw_images(case, int(1.1 * most), device))()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        device.release_memory()


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_a_network_is_measured_and_counted(device: Accelerator, phase: str) -> None:
    case = NetworkCase(
        "mobilenet_v2", "frelu", "all", phase, "float32", 8, 64, device.torch_device.type
    )

    bench = Bench(device, Kept.on(device))
    visits = [bench.visit(case, seconds=0.3) for _ in range(2)]
    figures = count(case, device)

    assert figures["message"] == ""
    for found in visits:
        assert (found.status, found.message) == ("ok", "")
        assert found.overhead is not None
        assert found.overhead > 1
    assert figures["peak_source"] == "allocator"


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_a_trace_is_of_the_device_s_kernels(
    device: Accelerator, tmp_path: Path, phase: str
) -> None:
    case = replace(case_on(device), phase=phase)
    ceilings = Ceilings.of(measure_limits(device))

    traced = profile_case(case, device, 8, ceilings)
    store(tmp_path, case, traced)

    kernels = traced.tables.kernels
    assert kernels["time_ns"].sum() == traced.tables.step_ns > 0
    # Untraced there are gaps between the kernels, traced each takes a little longer.
    assert 0.2 < traced.tables.step_ns / traced.untraced_ns < 1.5
    assert traced.tables.coverage > 0.9
    assert "aten::mul" in set(kernels["operator"])
    # The host runs ahead: its queue is no part of the step.
    assert traced.tables.timeline["start_ns"].min() == 0
    memory = traced.tables.memory
    parts = {"forward", "backward"} if phase == "training" else {"forward"}
    assert parts <= set(memory["part"])
    held_bytes = memory.loc[memory["part"] == "forward", "allocated_bytes"].iloc[-1]
    assert held_bytes >= case.input_bytes
    known = kernels.dropna(subset="bytes")
    assert len(known) > 0
    assert (known["bandwidth_bytes_per_s"] < 2 * known["ceiling_bytes_per_s"]).all()
    if device.torch_device.type == "cuda" and torch.version.hip is None:
        pointwise = kernels[kernels["kind"] == "pointwise"]
        assert pointwise["occupancy_percent"].between(0, 100).all()
        assert pointwise["registers_per_thread"].between(1, 255).all()
    largest = max(path.stat().st_size for path in tmp_path.rglob("memory.html"))
    assert largest < 300_000
    assert traced.failures == ()
    assert traced.memory_page is not None
    assert "At most" in traced.memory_page


def test_a_graph_s_replay_is_whole_in_its_trace(device: Accelerator) -> None:
    if device.torch_device.type != "cuda":
        pytest.skip("needs CUDA's graphs")
    x = torch.randn(2**20, device=device.torch_device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(10):
            x.mul_(2)

    kernels = tables_of(steps_of(record(graph.replay, device, 4).events), "cuda").kernels

    assert kernels["calls"].sum() == 10
    assert set(kernels["operator"]) == {NO_OPERATOR}


@pytest.mark.compiles
def test_generated_kernels_are_traced(device: Accelerator) -> None:
    needs_compiler(device)
    case = replace(case_on(device), phase="training", mode="compile")
    try:
        tables = profile_case(case, device, 4).tables
    finally:
        torch.compiler.reset()

    assert {"forward", "backward"} <= set(tables.kernels["part"])
    assert tables.coverage > 0.9
    assert tables.kernels["bytes"].isna().all()


def test_a_snapshot_holds_the_allocations_of_a_step(device: Accelerator) -> None:
    case = case_on(device)
    with ready_step(case, device) as step:
        dumped = memory_snapshot(step, device)
        again = memory_snapshot(step, device)
    if device.torch_device.type != "cuda":
        assert dumped is None
        return

    assert dumped is not None
    assert again is not None
    assert str(ROOT).encode() not in dumped
    # One step's each: the history starts anew.
    histories = [
        [e["size"] for trace in pickle.loads(d)["device_traces"] for e in trace
         if e["action"] == "alloc"]
        for d in (dumped, again)
    ]  # fmt: skip
    assert histories[0] == histories[1]
    assert case.input_bytes in histories[0]
    # Off again.
    before = len(torch.cuda.memory._snapshot()["device_traces"][0])
    torch.empty(BLOCK_BYTES, dtype=torch.uint8, device=device.torch_device)
    assert len(torch.cuda.memory._snapshot()["device_traces"][0]) == before
