"""Kernels take the time that the cost model says, one after the other; here it is added up anew."""

from collections.abc import Iterator

import pytest
import torch
from sim_backend import configure, machine
from torch import nn

LAUNCH, LATENCY, BANDWIDTH, L2_BANDWIDTH, L2, RATE = 5e3, 2e3, 1.0, 4.0, 40e3, 10.0


@pytest.fixture(autouse=True)
def model() -> Iterator[None]:
    for device in (0, 1):
        configure(
            device, launch_ns=LAUNCH, latency_ns=LATENCY, bytes_per_ns=BANDWIDTH,
            l2_bytes_per_ns=L2_BANDWIDTH, l2_bytes=int(L2), flops_per_ns=RATE,
            throttled_from_ns=float("inf"), throttled_factor=1,
        )  # fmt: skip
    torch.accelerator.synchronize("sim:0")
    torch.accelerator.synchronize("sim:1")
    machine.keep_diary(True)
    yield
    machine.keep_diary(False)


def durations() -> list[float]:
    return [kernel.end_ns - kernel.start_ns for kernel in machine.diary()]


def event(device: str = "sim:0") -> torch.Event:
    return torch.Event(device, enable_timing=True)


@pytest.mark.parametrize(
    ("elements", "expected_ns"),
    [
        (100, LATENCY),
        (2000, 16e3 / L2_BANDWIDTH),
        (4999, 8 * 4999 / L2_BANDWIDTH),
        (5001, 8 * 5001 / BANDWIDTH),
        (10**6, 8e6 / BANDWIDTH),
    ],
)
def test_a_kernel_reads_and_writes_at_the_bandwidth_of_where_it_fits(
    elements: int, expected_ns: float
) -> None:
    x = torch.ones(elements, device="sim")
    machine.keep_diary(True)
    with torch.inference_mode():
        torch.relu(x)
        torch.relu_(x)
        torch.empty_like(x).copy_(x)
    assert durations() == pytest.approx([expected_ns] * 3)


def test_what_a_kernel_finds_in_the_l2_it_moves_at_its_bandwidth_until_a_large_one_runs() -> None:
    x, y = torch.ones(3000, device="sim"), torch.ones(1000, device="sim")
    large = torch.ones(10_000, device="sim")
    with torch.inference_mode():
        large.neg_()
        machine.keep_diary(True)
        torch.relu(x)
        torch.relu(x)
        torch.cat([x, y])
        torch.relu(y)
        large.neg_()
        torch.relu(y)
    warm, cold = 1 / L2_BANDWIDTH, 1 / BANDWIDTH
    three_of_four = 3 / 4 * warm + 1 / 4 * cold
    assert durations() == pytest.approx(
        [24e3 * cold, 24e3 * warm, 32e3 * three_of_four, 8e3 * warm, 8e4 * cold, 8e3 * cold]
    )


def test_what_is_read_twice_counts_twice_and_what_is_broadcast_once() -> None:
    x, row = torch.empty(1000, 100, device="sim"), torch.empty(100, device="sim")
    x + x
    x * row.expand(1000, 100)
    assert durations() == pytest.approx([12e5, 8e5 + 400])


def test_products_and_convolutions_are_bound_by_arithmetic() -> None:
    a, b = torch.randn(200, 300, device="sim"), torch.randn(300, 400, device="sim")
    images = torch.randn(2, 16, 20, 20, device="sim")
    convolution = nn.Conv2d(16, 32, 3, padding=1, device="sim")
    depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False, device="sim")
    linear = nn.Linear(300, 400, device="sim")
    machine.keep_diary(True)
    with torch.no_grad():
        a @ b
        linear(a)
        torch.mm(a.half(), b.half())
        convolution(images)
        depthwise(images)
    pairs = 200 * 300 * 400
    traffic = 4 * (2 * images.numel() + 16 * 9)  # more than 2 × 9 FLOPs an output
    assert durations() == pytest.approx(
        [
            2 * pairs / RATE, 2 * pairs / RATE,
            6 * 200 * 300, 6 * 300 * 400, 2 * pairs / (2 * RATE),
            2 * (2 * 32 * 400) * 16 * 9 / RATE,
            traffic / BANDWIDTH,
        ]
    )  # fmt: skip


def test_a_convolutions_backward_is_twice_its_forward() -> None:
    images = torch.randn(2, 16, 20, 20, device="sim", requires_grad=True)
    y = nn.Conv2d(16, 32, 3, padding=1, device="sim")(images)
    gradient = torch.ones_like(y)
    machine.keep_diary(True)
    y.backward(gradient)
    assert durations()[0] == pytest.approx(2 * 2 * (2 * 32 * 400) * 16 * 9 / RATE)


def test_views_and_memory_take_no_time() -> None:
    x = torch.empty(10, 10, device="sim")
    before = machine.host_ns()
    x.t()[1:].reshape(-1).expand(3, 90).unsqueeze(0).detach()
    torch.empty_like(x)
    assert durations() == [LATENCY]  # reshape has to copy
    assert machine.host_ns() == before + LAUNCH


def test_the_host_runs_ahead_and_waits_when_it_is_told_a_number() -> None:
    x = torch.empty(10**6, device="sim")
    before = machine.host_ns()
    torch.relu(x), torch.relu(x)
    assert machine.host_ns() == before + 2 * LAUNCH
    torch.accelerator.synchronize("sim:1")
    assert machine.host_ns() == before + 2 * LAUNCH
    torch.accelerator.synchronize("sim:0")
    assert machine.host_ns() == pytest.approx(before + LAUNCH + 2 * 8e6)
    for wait in (lambda: x.sum().item(), lambda: x.sum().cpu(), lambda: torch.equal(x, x)):
        torch.relu(x)
        before = machine.host_ns()
        wait()
        assert machine.host_ns() > before + 8e6


def test_events_are_stamped_where_they_stand_in_the_queue() -> None:
    x = torch.empty(10**6, device="sim")
    start, middle, end = event(), event(), event()
    torch.relu(x)
    start.record()
    torch.relu(x)
    middle.record()
    torch.relu_(x[:100])
    end.record()
    middle.synchronize()
    assert start.elapsed_time(middle) == pytest.approx(8)
    with pytest.raises(RuntimeError, match="must be completed"):
        start.elapsed_time(end)
    torch.accelerator.synchronize()
    assert middle.elapsed_time(end) == pytest.approx(LATENCY / 1e6)


def test_a_device_waits_for_an_event_of_the_other() -> None:
    torch.relu(torch.empty(10**6, device="sim:0"))
    done = event("sim:0")
    done.record(torch.accelerator.current_stream("sim:0"))
    torch.accelerator.current_stream("sim:1").wait_event(done)
    torch.relu(torch.empty(10, device="sim:1"))
    first, second = machine.diary()
    assert (first.device, second.device) == (0, 1)
    assert second.start_ns == first.end_ns


def test_time_that_stands_still_is_an_error() -> None:
    torch.relu(torch.empty(10, device="sim"))
    start, end = event(), event()
    start.record()
    end.record()
    torch.accelerator.synchronize()
    with pytest.raises(RuntimeError, match="nothing was queued"):
        start.elapsed_time(end)


def test_a_throttled_device_is_slower_from_then_on() -> None:
    x = torch.empty(10**6, device="sim")
    configure(0, throttled_from_ns=machine.host_ns() + LAUNCH + 1.5 * 8e6, throttled_factor=1.5)
    for _ in range(3):
        torch.relu(x)
    assert durations() == pytest.approx([8e6, 8e6, 12e6])


def test_each_device_has_its_own_model() -> None:
    configure(1, bytes_per_ns=BANDWIDTH / 2)
    for device in ("sim:0", "sim:1"):
        torch.relu(torch.empty(10**6, device=device))
    assert durations() == pytest.approx([8e6, 16e6])


def test_a_graph_computes_anew_what_was_captured_into_the_same_memory() -> None:
    x = torch.ones(10**6, device="sim:0")
    graph = torch.accelerator.Graph()
    with torch.Stream("sim:0"), graph:
        y = torch.relu(x * 2)
    x.fill_(-3)
    graph.replay()
    assert y.sum().item() == 0
    x.fill_(3)
    graph.replay()
    assert y.sum().item() == 6 * 10**6


def test_a_graph_s_kernels_are_launched_as_one_and_none_while_they_are_captured() -> None:
    x = torch.ones(10**6, device="sim:0")
    torch.accelerator.synchronize()
    start_ns, before = machine.host_ns(), len(durations())
    graph = torch.accelerator.Graph()
    with torch.Stream("sim:0"), graph:
        torch.relu(x * 2)
    assert (machine.host_ns(), len(durations())) == (start_ns, before)
    graph.replay()
    assert machine.host_ns() == start_ns + LAUNCH
    assert durations()[before:] == pytest.approx([8e6, 8e6])


def test_a_graph_is_not_captured_on_the_default_stream() -> None:
    x = torch.ones(10, device="sim:0")
    with pytest.raises(RuntimeError, match="not the default one"):
        torch.accelerator.Graph().capture_begin()
    with torch.Stream("sim:0"), torch.accelerator.Graph():
        torch.relu(x)
    with pytest.raises(RuntimeError, match="not the default one"):
        torch.accelerator.Graph().capture_begin()


def test_nobody_may_wait_while_kernels_are_captured() -> None:
    x = torch.ones(10, device="sim:0")
    with (
        pytest.raises(RuntimeError, match="nobody may wait"),
        torch.Stream("sim:0"),
        torch.accelerator.Graph(),
    ):
        x.sum().item()
    assert x.sum().item() == 10
