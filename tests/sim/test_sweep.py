"""A user's sweep on the simulated accelerator, from command line to page: it tells the truth.

Rows are compared with what `tests.sim.oracle` adds up of the cost model. Layers at three sizes
stand for kernels far shorter than a launch, about as long, and far longer.

What the simulation does not show: kernels side by side (every stream of a device is one queue),
caches that forget bit by bit (only a kernel that does not fit into the L2 empties it), and host
time that Python itself takes: the host's clock moves by launches and waits alone, so that figures
are exact. The history of an allocator for torch's memory viewer is CUDA's
alone, and torch.compile generates no code for a device that it does not know: both are left out.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pandas as pd
import psutil
import pytest

import dynact
from dynact.schema.cases import Case
from tests.sim.conftest import Environment
from tests.sim.oracle import KERNELS, Oracle, peak_bytes
from tests.sweeping import ROOT, House, finish

DEVICES = {
    "sim:0": Oracle(launch_ns=1e4, latency_ns=2e3, bytes_per_ns=1.0, flops_per_ns=100.0),
    # A host that is slowed fivefold, and a cache that some inputs fit into.
    "sim:1": Oracle(
        launch_ns=5e4, latency_ns=2e3, bytes_per_ns=0.5, flops_per_ns=50.0,
        l2_bytes=300_000, l2_bytes_per_ns=2.0,
    ),
}  # fmt: skip
WITHIN = 0.01
# Without known pairs: they are large enough for a real accelerator, too large for these.
BRIEF = (
    "-k", "not bench_gate", "--sweep", "smoke", "--max-seconds", "0.02", "--passes", "2",
    "--batches", "2",
)  # fmt: skip
LAYERS = ("--activations", "gelu,prelu,frelu", "--channels", "64", "--resolutions", "1,3,56")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, with_sim: Callable[..., Environment]) -> House:
    house = House(tmp_path_factory.mktemp("house") / "dynact")
    shutil.copytree(ROOT / "scripts", house.folder / "scripts")
    house.environment = with_sim(*(vars(model) for model in DEVICES.values()))
    return house


@pytest.fixture(scope="module")
def resumed(house: House) -> Path:
    """A run on sim:0 whose worker, and then whose session, were killed, and which was resumed."""
    options = (*BRIEF, *LAYERS, "--device", "sim:0", "--networks", "lenet", "--run", "resumed")
    run = house.reports / "resumed"
    process = house.start(*options)
    wait_for_visits(process, run, 4)
    [worker] = psutil.Process(process.pid).children()
    worker.kill()
    wait_for_visits(process, run, 8)
    process.kill()
    finish(process)
    outcome = house.sweep(*options, "--resume")
    assert outcome.returncode == 0, outcome.said
    return run


@pytest.fixture(scope="module")
def on_the_other(house: House) -> Path:
    """A run on sim:1 of layers alone."""
    options = (*BRIEF, *LAYERS, "--device", "sim:1", "--networks", "none", "--run", "other")
    outcome = house.sweep(*options)
    assert outcome.returncode == 0, outcome.said
    return house.reports / "other"


@pytest.fixture(params=["sim:0", "sim:1"])
def run(request: pytest.FixtureRequest) -> tuple[Path, Oracle]:
    fixture = {"sim:0": "resumed", "sim:1": "on_the_other"}[request.param]
    return request.getfixturevalue(fixture), DEVICES[request.param]


def wait_for_visits(process: "subprocess.Popen[str]", run: Path, count: int) -> None:
    path = run / "visits.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None, finish(process).said
        time.sleep(0.05)


def rows_of(run: Path) -> list[tuple[Case, "pd.Series"]]:
    return cases_of(dynact.load(run))


def cases_of(rows: pd.DataFrame) -> list[tuple[Case, "pd.Series"]]:
    names = [field.name for field in fields(Case)]
    return [(Case(**row[names].to_dict()), row) for _, row in rows.iterrows()]


def test_every_case_is_measured_by_the_devices_events(run: tuple[Path, Oracle]) -> None:
    found = dynact.load(run[0])
    assert len(found) == 3 * 2 * 3
    assert set(found["status"]) == {"ok"}, found["message"].unique()
    assert (~found.apply(counted, axis=1)).sum() <= 1
    assert set(found["clock"]) == {"event"}
    environment = json.loads((run[0] / "environment.json").read_text())
    assert environment["device"]["name"].startswith("simulated accelerator")


def test_times_and_overheads_are_the_models(run: tuple[Path, Oracle]) -> None:
    folder, oracle = run
    told = 0
    for case, row in rows_of(folder):
        baseline_ns = oracle.call_ns("relu", case)
        assert row["baseline_time_ns"] == pytest.approx(baseline_ns, rel=WITHIN), case.id
        if (case.activation, case.phase) in KERNELS:
            time_ns = oracle.call_ns(case.activation, case)
            assert row["time_ns"] == pytest.approx(time_ns, rel=WITHIN), case.id
            assert row["overhead"] == pytest.approx(time_ns / baseline_ns, rel=WITHIN), case.id
            told += 1
    assert told == 5 * 3


def test_host_shares_are_the_models(run: tuple[Path, Oracle]) -> None:
    folder, oracle = run
    found = []
    for case, row in rows_of(folder):
        baseline = oracle.host_share("relu", case)
        assert row["baseline_host_share"] == pytest.approx(baseline, rel=WITHIN), case.id
        if (case.activation, case.phase) in KERNELS:
            share = oracle.host_share(case.activation, case)
            assert row["host_share"] == pytest.approx(share, rel=WITHIN), case.id
            found.append(share)
    # Kernels far shorter than a launch are among them, and far longer ones.
    assert max(found) == 1
    assert min(found) < 0.06


def test_the_devices_own_times_and_overheads_are_the_models(run: tuple[Path, Oracle]) -> None:
    folder, oracle = run
    for case, row in rows_of(folder):
        baseline_ns = oracle.device_ns("relu", case)
        assert row["baseline_device_time_ns"] == pytest.approx(baseline_ns, rel=WITHIN), case.id
        if (case.activation, case.phase) in KERNELS:
            time_ns = oracle.device_ns(case.activation, case)
            assert row["device_time_ns"] == pytest.approx(time_ns, rel=WITHIN), case.id
            ratio = time_ns / baseline_ns
            assert_ratio(row, "device_overhead", ratio)


def host_share_of(oracle: Oracle, case: Case, row: "pd.Series") -> float:
    known = (case.activation, case.phase) in KERNELS
    return oracle.host_share(case.activation, case) if known else float(row["host_share"])


def test_an_eager_layer_that_waits_for_its_host_reads_its_launches(
    run: tuple[Path, Oracle],
) -> None:
    folder, oracle = run
    [frelu] = [
        row for case, row in rows_of(folder)
        if (case.activation, case.phase, case.height) == ("frelu", "inference", 1)
    ]  # fmt: skip
    assert frelu["overhead"] == pytest.approx(3, rel=WITHIN)
    assert frelu["time_ns"] == pytest.approx(3 * oracle.launch_ns, rel=WITHIN)


# Twelve kernels of 2 µs, each queued in 10, against one of 8.
TWELVE = """
import torch

class Twelve(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.register_buffer("small", torch.zeros(1))

    def forward(self, x):
        for _ in range(12):
            torch.relu(self.small)
        return x

class Waits(Twelve):
    def forward(self, x):
        torch.relu(self.small).item()
        return x
"""
OWN = ("twelve:Twelve", "twelve:Waits")
DEVICE_ALONE = ["device_overhead", "device_overhead_lo", "device_overhead_hi"]
DEVICE_TIMES = ["device_time_ns", "baseline_device_time_ns"]


@pytest.fixture(scope="module")
def by_clock(house: House) -> dict[str, pd.DataFrame]:
    """The rows of layers of one's own, by which times of the accelerator were asked for."""
    (house.folder / "twelve.py").write_text(TWELVE)
    found = {}
    for times in ("both", "eager", "device"):
        outcome = house.sweep(
            *BRIEF, "--activations", "gelu", "--activation-from", OWN[0], "--activation-from",
            OWN[1], "--channels", "5", "--resolutions", "10", "--phases", "inference", "--device",
            "sim:0", "--networks", "none", "--clock", times, "--run", times,
        )  # fmt: skip
        whose = {"device": "the device's time"}.get(times, "time")
        assert f" dynact: {whose} as a multiple of the baseline's " in outcome.said
        found[times] = dynact.load(house.reports / times).set_index("activation")
    return found


def test_twelve_short_kernels_against_a_longer_one_by_either_time(
    by_clock: dict[str, pd.DataFrame],
) -> None:
    both, eager, device = (by_clock[times].loc[OWN[0]] for times in ("both", "eager", "device"))

    for row in (both, eager):
        assert row["clock"] == "event"
        assert_ratio(row, "overhead", 12)
        assert row["time_ns"] == pytest.approx(12e4, rel=WITHIN)
    for row in (both, device):
        assert_ratio(row, "device_overhead", 3)
        assert list(row[DEVICE_TIMES]) == pytest.approx([24e3, 8e3], rel=WITHIN)
    assert device["clock"] == "device"
    assert_ratio(device, "overhead", 3)
    assert [device["time_ns"], device["baseline_time_ns"]] == list(device[DEVICE_TIMES])


def test_who_asks_for_one_time_gets_no_other(by_clock: dict[str, pd.DataFrame]) -> None:
    eager, device = by_clock["eager"], by_clock["device"]

    assert eager[DEVICE_ALONE + DEVICE_TIMES].isna().all(axis=None)
    assert eager["host_share"].notna().all()
    assert device[["host_share", "baseline_host_share"]].isna().all(axis=None)


def test_a_layer_whose_host_waits_has_no_time_of_the_device_alone(
    by_clock: dict[str, pd.DataFrame],
) -> None:
    both, device = (by_clock[times].loc[OWN[1]] for times in ("both", "device"))

    assert both["status"] == "ok"
    assert pd.isna(both["device_overhead"])
    assert device["status"] == "unsupported"
    assert "its calls cannot be queued before they begin" in device["message"]
    assert pd.isna(device["time_ns"])


def test_which_time_a_run_is_of_is_told_and_kept(
    by_clock: dict[str, pd.DataFrame], house: House
) -> None:
    assert by_clock
    said = {}
    for times in ("eager", "device"):
        drawn = finish(house.start_command((sys.executable, "scripts/plot_overhead.py", times)))
        assert drawn.returncode == 0, drawn.said
        said[times] = (house.reports / times / "summary.md").read_text()
    mixed = house.sweep(*BRIEF, "--device", "sim:0", "--run", "device", "--resume")
    compared = finish(
        house.start_command((sys.executable, "scripts/compare_runs.py", "eager", "device"))
    )

    assert "Times are the device’s alone" in said["device"]
    assert "Times are of calls as the host makes them" in said["eager"]
    assert "settings.clock was 'device' and is 'both'" in mixed.said
    assert mixed.returncode == pytest.ExitCode.USAGE_ERROR
    assert compared.returncode == 0, compared.said
    text = next((house.reports / "device").rglob("against-eager/*.md")).read_text()
    assert "settings.clock" in text


def test_graphs_are_a_mode_beside_the_eager_one(house: House) -> None:
    (house.folder / "twelve.py").write_text(TWELVE)
    outcome = house.sweep(
        *BRIEF, "--activations", "gelu", "--activation-from", OWN[0], "--activation-from", OWN[1],
        "--channels", "5", "--resolutions", "10,20", "--phases", "inference", "--device", "sim:0",
        "--modes", "eager,graph", "--run", "graphs",
    )  # fmt: skip
    drawn = finish(house.start_command((sys.executable, "scripts/plot_overhead.py", "graphs")))
    rows = dynact.load(house.reports / "graphs").set_index(["mode", "activation", "height"])
    summary = (house.reports / "graphs" / "summary.md").read_text()

    # One launch of 10 µs on either side; all twelve kernels take 24, the baseline's 8.
    replayed = rows.loc["graph", OWN[0], 10]
    assert_ratio(replayed, "overhead", 24 / 10)
    assert_ratio(replayed, "device_overhead", 24 / 8)
    assert replayed["time_ns"] == pytest.approx(24e3, rel=WITHIN)
    waits = rows.loc["graph", OWN[1], 10]
    assert waits["status"] == "unsupported"
    assert "it cannot be captured as a graph" in waits["message"]
    assert rows.loc["eager", OWN[1], 10]["status"] == "ok"
    counts = ["flops", "operator_calls", "traffic_eager_bytes", "peak_bytes"]
    for name in ("gelu", OWN[0]):
        graph, eager = (rows.loc[mode, name, 10] for mode in ("graph", "eager"))
        assert list(graph[counts]) == list(eager[counts])
    assert drawn.returncode == 0, drawn.said
    assert "| graph, × eager ReLU | graph time |" in summary
    assert outcome.returncode == 0, outcome.said


def assert_ratio(row: "pd.Series", name: str, expected: float) -> None:
    found = row[[name, f"{name}_lo", f"{name}_hi"]].astype(float)
    assert list(found) == pytest.approx([expected] * 3, rel=WITHIN)


def counted(row: "pd.Series") -> bool:
    # One may have been counted when the worker was killed, and then says so.
    return not row["message"].startswith("not counted: the process was ended by SIGKILL")


def test_peaks_are_the_allocators(run: tuple[Path, Oracle]) -> None:
    for case, row in rows_of(run[0]):
        if (case.activation, case.phase) in KERNELS and counted(row):
            assert row["peak_source"] == "allocator"
            assert row["peak_bytes"] == peak_bytes(case.activation, case), case.id


def test_ceilings_and_floors_are_the_models(run: tuple[Path, Oracle]) -> None:
    folder, oracle = run
    ceilings = json.loads((folder / "ceilings.json").read_text())
    for copy in ceilings["copies"]:
        expected = oracle.moving_bytes_per_s(copy["bytes"])
        assert copy["bytes_per_s"] == pytest.approx(expected, rel=WITHIN), copy
    float32 = oracle.flops_per_ns * 1e9
    assert ceilings["flops_per_s"] == pytest.approx(
        {"float32": float32, "float64": float32 / 2, "bfloat16": 2 * float32,
         "float16": 2 * float32},
        rel=WITHIN,
    )  # fmt: skip
    sizes = [2**power for power in range(14, 28)]
    for case, row in rows_of(folder):
        if case.activation == "gelu" and counted(row):
            passes = {"inference": 2, "training": 5}[case.phase]
            # What the fastest copy reaches of those that are not much smaller.
            near = [size for size in sizes if size > case.input_bytes / 2]
            rate = max(map(oracle.moving_bytes_per_s, near))
            # And no less than the smallest takes.
            floor_ns = max(passes * case.input_bytes / rate, oracle.copy_s(sizes[0])) * 1e9
            assert row["floor_time_ns"] == pytest.approx(floor_ns, rel=WITHIN), case.id


def test_networks_are_measured_and_told_as_any_others(resumed: Path) -> None:
    lines = (resumed / "network_rows.jsonl").read_text().splitlines()
    networks = pd.DataFrame(map(json.loads, lines))
    assert set(networks["status"]) == {"ok"}
    assert set(networks["clock"]) == {"event"}
    by_activation = networks.set_index("activation")["overhead"]
    # A GELU moves what a ReLU does.
    assert by_activation["gelu"].to_list() == pytest.approx([1, 1], rel=WITHIN)
    assert (by_activation["frelu"] > 1.2).all()


def test_the_page_and_the_traces_are_drawn(resumed: Path, house: House) -> None:
    drawn = finish(house.start_command((sys.executable, "scripts/plot_overhead.py", resumed.name)))
    assert drawn.returncode == 0, drawn.said
    page = (resumed / "index.html").read_text()
    assert "simulated accelerator 0" in page
    oracle = DEVICES["sim:0"]
    waiting = sum(
        max(oracle.host_share("relu", case), host_share_of(oracle, case, row)) > 0.9
        for case, row in rows_of(resumed)
    )
    assert 0 < waiting < 12  # the largest of three shapes keeps the device busy
    assert f"in {waiting} of 18 measured cases, marked §, the device waited for it" in page
    assert re.search(r"×§</b>(?:\s*<small>[\d.–]+</small>)?\s*<small>device alone [\d.]+×", page)
    traced = finish(
        house.start_command(
            (sys.executable, "scripts/profile_traces.py", resumed.name, "--steps", "2",
             "-k", "inference 56x56")
        )
    )  # fmt: skip
    assert traced.returncode == 0, traced.said
    steps = pd.read_csv(resumed / "traces/steps.csv")
    assert set(steps["activation"]) == {"gelu", "prelu", "frelu"}
    assert steps["on_accelerator"].all()
    assert (steps["coverage"] == 1).all()
    for case, step in cases_of(steps):
        expected_ns = DEVICES["sim:0"].call_ns(case.activation, case)
        assert step["step_ns"] == pytest.approx(expected_ns, rel=WITHIN)
