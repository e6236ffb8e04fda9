"""A user's cold sweep on the simulated accelerator: its times are the memory's, and it proves that.

And where a device has more cache than it tells of, a sweep says that it was not cold.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynact.schema.run_folder import load_gates
from tests.sim.conftest import Environment
from tests.sim.oracle import KERNELS, Oracle
from tests.sim.test_sweep import WITHIN, rows_of
from tests.sweeping import House, Outcome

ORACLE = Oracle(
    launch_ns=5e3, latency_ns=2e3, bytes_per_ns=1.0, flops_per_ns=100.0, l2_bytes=400_000,
    l2_bytes_per_ns=4.0,
)  # fmt: skip
# Known pairs beyond a real accelerator's caches are to find no memory, and not to take minutes.
MODEL = {**vars(ORACLE), "memory_bytes": 2**28}
# Eight times as much flushes less than there is.
TELLS_TOO_LITTLE = MODEL | {"told_l2_bytes": 40_000}
# Five visits: fewer tell nothing of known pairs.
OPTIONS = (
    "--sweep", "smoke", "--cache", "cold", "--networks", "none", "--phases", "inference",
    "--max-seconds", "0.02", "--passes", "5", "--batches", "2", "--channels", "64",
)  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, with_sim: Callable[..., Environment]) -> House:
    house = House(tmp_path_factory.mktemp("house") / "dynact")
    house.environment = with_sim(MODEL, TELLS_TOO_LITTLE)
    return house


@pytest.fixture(scope="module")
def cold(house: House) -> tuple[Outcome, Path]:
    layers = ("--activations", "gelu,frelu", "--resolutions", "1,8,56")
    return house.sweep(*OPTIONS, *layers, "--device", "sim:0", "--run", "cold"), (
        house.reports / "cold"
    )


def coldness(run: Path) -> Any:
    (gate,) = load_gates(run)
    return gate["coldness"]


def test_rows_are_the_cost_models_from_empty_caches(cold: tuple[Outcome, Path]) -> None:
    outcome, run = cold
    assert outcome.returncode == 0, outcome.said
    told = 0
    for case, row in rows_of(run):
        assert (row["status"], row["cache"], row["clock"]) == ("ok", "cold", "event"), row[
            "message"
        ]
        baseline_ns = ORACLE.cold_call_ns("relu", case)
        assert row["baseline_time_ns"] == pytest.approx(baseline_ns, rel=WITHIN), case.id
        assert row["fits_cache"] == (2 * case.input_bytes <= ORACLE.l2_bytes)
        if (case.activation, case.phase) in KERNELS:
            time_ns = ORACLE.cold_call_ns(case.activation, case)
            assert row["time_ns"] == pytest.approx(time_ns, rel=WITHIN), case.id
            assert row["overhead"] == pytest.approx(time_ns / baseline_ns, rel=WITHIN), case.id
            device_ns = ORACLE.cold_device_ns(case.activation, case)
            assert row["device_time_ns"] == pytest.approx(device_ns, rel=WITHIN), case.id
            told += 1
    assert told == 2 * 3


def test_floors_are_the_memorys(cold: tuple[Outcome, Path]) -> None:
    for case, row in rows_of(cold[1]):
        assert row["bandwidth_bytes_per_s"] == pytest.approx(1e9 * ORACLE.bytes_per_ns, rel=WITHIN)
        if case.activation == "gelu":
            smallest_copy_ns = ORACLE.kernel_ns(2 * 2**14, found=0)
            floor_ns = max(2 * case.input_bytes / ORACLE.bytes_per_ns, smallest_copy_ns)
            assert row["floor_time_ns"] == pytest.approx(floor_ns, rel=WITHIN), case.id


def test_the_run_proves_that_it_was_cold(cold: tuple[Outcome, Path]) -> None:
    outcome, run = cold
    found = coldness(run)
    assert found["proven"]
    # The L2 is four times as fast, and beyond it all is as slow.
    assert found["over_warm"] == pytest.approx([4, 4, 4], rel=WITHIN)
    assert found["over_share"] == pytest.approx([1, 1, 1], rel=WITHIN)
    assert found["message"] in outcome.output
    assert "its caches emptied before each call" in outcome.output
    environment = json.loads((run / "environment.json").read_text())
    assert environment["clock"]["cache"] == "cold"
    assert environment["device"]["cache_bytes"] == ORACLE.l2_bytes


def test_a_flush_too_small_for_the_cache_is_found_out(house: House) -> None:
    outcome = house.sweep(
        *OPTIONS, "--activations", "gelu", "--resolutions", "8", "--device", "sim:1",
        "--run", "not-cold",
    )  # fmt: skip
    run = house.reports / "not-cold"
    found = coldness(run)
    assert not found["proven"]
    assert found["over_warm"][0] == pytest.approx(1, rel=WITHIN)
    assert "RATIOS NOT TRUSTWORTHY HERE AND NOW: not cold: a ReLU in place on" in outcome.output
    (gate,) = load_gates(run)
    assert not gate["trustworthy"]


def test_a_run_takes_no_rows_from_caches_in_another_state(
    house: House, cold: tuple[Outcome, Path]
) -> None:
    before = (cold[1] / "visits.jsonl").read_bytes()
    refused = house.sweep("--device", "sim:0", "--run", "cold", "--resume", "--cache", "warm")
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert "clock.cache was 'cold' and is 'warm'; name another --run" in refused.errors
    assert (cold[1] / "visits.jsonl").read_bytes() == before
