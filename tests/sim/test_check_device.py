"""The check of a device, whole, on one that throttles: its verdicts are those of the cost model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import dynact
from dynact.schema.prefix import with_prefix
from dynact.timing import format_ns
from dynact.worker.device_check import CALLS, ELEMENTS
from tests.sim.conftest import Environment
from tests.sim.oracle import ELEMENT_BYTES, Oracle
from tests.sim.test_sweep import WITHIN, cases_of
from tests.sweeping import ROOT, House, Outcome, finish

COOL = Oracle(launch_ns=1e4, latency_ns=2e3, bytes_per_ns=1.0, flops_per_ns=100.0)
HOT = 1.7
# Of a quarter of the rows of a device with so little memory.
PRODUCT_NS = 2 * 1024**3 / COOL.flops_per_ns
# The first call, and then a call that settles before each block: it is hot from the eleventh on.
THROTTLED_FROM_NS = (1.5 + 10 * (1 + CALLS)) * PRODUCT_NS
# In place of those that hold on the device, which `test_marked_gpu` runs: two that are quick.
TESTS = """
import pytest, torch
pytestmark = pytest.mark.gpu
def test_it_is_there(): assert torch.accelerator.current_accelerator().type == "sim"
def test_it_is_cool(): assert False
"""

pytestmark = pytest.mark.slow

Verdicts = dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, with_sim: Callable[..., Environment]) -> House:
    house = House(tmp_path_factory.mktemp("house") / "dynact")
    shutil.copytree(ROOT / "scripts", house.folder / "scripts")
    (house.folder / "tests").mkdir()
    (house.folder / "tests" / "test_gpu.py").write_text(TESTS)
    throttled = {"throttled_from_ns": THROTTLED_FROM_NS, "throttled_factor": HOT}
    house.environment = with_sim(vars(COOL) | throttled)
    return house


@pytest.fixture(scope="module")
def outcome(house: House) -> Outcome:
    return finish(house.start_command(("python", "scripts/check_device.py")), seconds=400)


@pytest.fixture(scope="module")
def run(house: House, outcome: Outcome) -> Path:
    [run] = house.reports.glob("check-*")
    assert str(run) in outcome.output
    return run


@pytest.fixture(scope="module")
def verdicts(run: Path) -> Verdicts:
    told = json.loads((run / "check" / "verdicts.json").read_text())
    return {one["name"]: (one["answer"], one["said"]) for one in told}


def test_it_ends_with_a_verdict_a_line(outcome: Outcome, verdicts: Verdicts) -> None:
    for name, (answer, said) in verdicts.items():
        assert f" s  {answer:5}  {name}: {said}\n" in outcome.output
    answers = {name: answer for name, (answer, _) in verdicts.items()}
    assert answers == {
        "facts": "told", "clock": "told", "rates": "told", "ways of timing": "holds",
        "tests": "FAILS", "layers and networks": "holds", "traces": "holds",
        "figures and page": "holds",
    }, outcome.said  # fmt: skip
    assert "1 of 8 fail: tests\n" in outcome.output
    assert outcome.returncode == 1


def test_what_failed_is_its_own_last_line(verdicts: Verdicts, run: Path) -> None:
    assert verdicts["tests"][1].startswith("1 failed, 1 passed in ")
    assert "test_it_is_cool" in (run / "check" / "tests.log").read_text()


def test_the_clock_s_line_tells_that_it_throttles(verdicts: Verdicts, run: Path) -> None:
    first = f"the first calls after a rest take {1 / HOT:.2f}× what later ones do"
    assert verdicts["clock"][1].startswith(first)
    calls_ns = pd.read_csv(run / "check" / "ramp.csv")["call_ns"]
    assert calls_ns[:10].to_list() == pytest.approx([PRODUCT_NS] * 10, rel=WITHIN)
    assert calls_ns[10:].to_numpy() == pytest.approx(HOT * PRODUCT_NS, rel=WITHIN)


def test_rates_are_the_models(verdicts: Verdicts, run: Path) -> None:
    rates = json.loads((run / "check" / "rates.json").read_text())
    largest = rates["copies"][-1]["bytes"]
    said = verdicts["rates"][1]
    assert with_prefix(COOL.moving_bytes_per_s(largest) / HOT, "B/s") in said
    assert f"{with_prefix(COOL.flops_per_ns * 1e9 / HOT, 'FLOP/s')} in float32" in said


def test_ways_of_timing_agree_on_the_models_time(verdicts: Verdicts) -> None:
    time = format_ns(HOT * COOL.kernel_ns(2 * ELEMENT_BYTES * ELEMENTS))
    for way in ("event", "held device", "graph", "profiler"):
        assert f"{time} by the {way}" in verdicts["ways of timing"][1]


def test_layers_are_the_models(run: Path) -> None:
    hot = Oracle(**vars(COOL) | {"latency_ns": HOT * COOL.latency_ns, "bytes_per_ns": 1 / HOT})
    told = 0
    for case, row in cases_of(dynact.load(run)):
        overhead = hot.call_ns("prelu", case) / hot.call_ns("relu", case)
        assert row["overhead"] == pytest.approx(overhead, rel=WITHIN), case.id
        told += 1
    assert told == 2
