"""Times from cold caches are those of the cost model, as are ceilings and what the host takes."""

import gc
from collections.abc import Iterator

import pytest
from sim_backend import configure

from dynact.worker.device import Device, open_device
from dynact.worker.flush import Flush
from dynact.worker.limits import measure_limits
from tests.measuring import visit
from tests.sim.oracle import KERNELS, Oracle
from tests.sweeping import case_of

USUAL = Oracle(
    launch_ns=5e3, latency_ns=2e3, bytes_per_ns=1.0, flops_per_ns=100.0, l2_bytes=400_000,
    l2_bytes_per_ns=4.0,
)  # fmt: skip
# Whose flush ends before its slow host has queued more than one kernel.
SLOW_HOST = Oracle(
    launch_ns=3e4, latency_ns=2e3, bytes_per_ns=8.0, flops_per_ns=100.0, l2_bytes=40_000,
    l2_bytes_per_ns=32.0,
)  # fmt: skip
BOTH = pytest.mark.parametrize("oracle", [USUAL, SLOW_HOST], ids=["usual", "slow host"])


def cold_device(oracle: Oracle) -> Device:
    configure(0, **vars(oracle))
    device = open_device("sim:0")
    assert device.cache_bytes() == oracle.l2_bytes
    device.clock = device.clock.flushed_by(Flush(device))
    return device


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    configure(0, l2_bytes=0, launch_ns=5e3)
    # A device and its clock know each other, and would keep the memory of a flush for other tests.
    gc.collect()


@BOTH
@pytest.mark.parametrize(("name", "phase"), KERNELS)
@pytest.mark.parametrize("side", [1, 3, 8, 56])
def test_a_cold_call_takes_what_the_memory_does(
    oracle: Oracle, name: str, phase: str, side: int
) -> None:
    case = case_of(name, phase=phase, device="sim:0", channels=64, height=side, width=side)

    found = visit(case, cold_device(oracle))

    assert (found.status, found.cache) == ("ok", "cold"), found.message
    for activation, *told in (
        (name, found.time_ns, found.device_time_ns, found.host_share),
        ("relu", found.baseline_time_ns, found.baseline_device_time_ns, found.baseline_host_share),
    ):
        assert told == pytest.approx(
            [
                oracle.cold_call_ns(activation, case),
                oracle.cold_device_ns(activation, case),
                oracle.cold_host_share(activation, case),
            ],
            rel=0.01,
        )


def test_states_differ_where_input_and_output_fit_the_cache_alone() -> None:
    small, large = (
        case_of("gelu", device="sim:0", channels=64, height=side, width=side) for side in (8, 56)
    )
    times = []
    for case in (small, large):
        cold = visit(case, cold_device(USUAL)).device_time_ns
        warm = visit(case, open_device("sim:0")).device_time_ns
        assert cold is not None
        assert warm is not None
        times.append(cold / warm)
    # The L2 is four times as fast as the memory.
    assert times == pytest.approx([4, 1], rel=0.01)


@BOTH
def test_a_host_has_a_share_where_its_queueing_outlasts_the_flush(oracle: Oracle) -> None:
    case = case_of("frelu", device="sim:0", channels=64, height=3, width=3)

    found = visit(case, cold_device(oracle))

    assert found.host_share is not None
    assert (found.host_share > 0.9) == (oracle is SLOW_HOST)
    assert found.baseline_host_share == 0


def test_ceilings_are_the_memory_s_at_every_size() -> None:
    record = measure_limits(cold_device(USUAL))

    for copy in record["copies"]:
        assert copy["bytes_per_s"] == pytest.approx(USUAL.bytes_per_ns * 1e9, rel=0.01), copy
    assert record["flops_per_s"]["float32"] == pytest.approx(1e11, rel=0.01)
