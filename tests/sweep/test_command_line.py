"""The sweep from a real command line to its files: bad input, interruptions and kills."""

import getpass
import json
import math
import os
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from dynact.report.run import load, load_network_rows, load_site_rows
from dynact.schema.limits import Ceilings
from dynact.schema.run_folder import load_ceilings, load_gates
from dynact.schema.visits import LEAST_VISITS
from dynact.timing import format_ns
from tests.sweeping import BRIEF, NO_GATE, SHORT, House, Outcome, finish

LAYERS = """
import time
import torch
from torch import nn

class Double(nn.Module):
    def forward(self, x):
        return x * 2

class NotSixteen(Double):
    def forward(self, x):
        if x.shape[1] == 16:
            raise RuntimeError("sixteen is too few")
        return super().forward(x)

class Flattens(nn.Module):
    def forward(self, x):
        return x.flatten(1)

class Missing(Double):
    def forward(self, x):
        raise NotImplementedError("not for this device")

class Slow(Double):
    def forward(self, x):
        time.sleep(0.06)
        return super().forward(x)
"""
AXES = ("--phases", "inference", "--activations", "prelu,frelu", "--channels", "8,16")
NAMES = ("prelu", "frelu", "own_layers:Double")
IDS = {f"{name}-inference-2x{channels}x7x7-float32-cpu" for name in NAMES for channels in (8, 16)}
# As LeNet's activations are: after two convolutions and two fully connected layers.
SITE_IDS = {
    f"{name}-inference-2x{shape}-float32-cpu"
    for name in NAMES
    for shape in ("6x28x28", "16x10x10", "120x1x1", "84x1x1")
    if not (name == "frelu" and shape.endswith("1x1"))
}
NETWORK_IDS = {f"lenet-{name}-inference-2x3x32x32-float32-cpu" for name in NAMES}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("house") / "dynact")
    (house.folder / "own_layers.py").write_text(LAYERS)
    return house


@pytest.fixture(scope="module")
def finished(house: House) -> Outcome:
    """Run a small sweep with a user's own layer beside ours, gate and a network included."""
    return house.sweep(
        *SHORT, *AXES, "--activation-from", "own_layers:Double", "--networks", "lenet",
        "--benchmark-group-by", "param:activation", "--run", "first",
    )  # fmt: skip


@pytest.fixture(scope="module")
def first(house: House, finished: Outcome) -> Path:
    assert finished.returncode == 0, finished.said
    return house.reports / "first"


@pytest.fixture(scope="module")
def benchmarks(first: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of benchmark.json by their names."""
    entries = json.loads((first / "benchmark.json").read_text())["benchmarks"]
    return {entry["name"]: entry for entry in entries}


def wait_until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    while not happened():
        assert process.poll() is None, finish(process).said
        time.sleep(0.01)


def test_leaves_its_files(house: House, first: Path) -> None:
    assert {path.name for path in first.iterdir()} - {".lock"} == {
        "visits.jsonl", "rows.jsonl", "site_rows.jsonl", "network_rows.jsonl",
        "known_rows.jsonl", "environment.json", "benchmark.json", "gates.jsonl", "ceilings.json",
    }  # fmt: skip
    assert (house.reports / "latest").resolve() == first.resolve()
    # Beside the reports, only what pytest and pytest-benchmark make for themselves.
    left = {path.name for path in house.folder.iterdir()}
    assert left <= {
        "dynact", "benches", "conftest.py", "pyproject.toml", "own_layers.py", "reports",
        "__pycache__", ".pytest_cache", ".benchmarks",
    }  # fmt: skip


def test_every_case_is_a_row_with_figures(first: Path) -> None:
    rows = load(first)
    assert set(rows["case_id"]) == IDS
    assert len(rows) == len(IDS)
    assert set(rows["status"]) == {"ok"}
    assert (rows[["time_ns", "overhead_lo"]] > 0).all(axis=None)
    assert (rows["visits"] >= LEAST_VISITS).all()
    assert (rows["elapsed_s"] > 0).all()
    assert rows["session"].nunique() == 1


def lacking(rows: pd.DataFrame) -> list[str]:
    """Columns with a gap, but for those that a host has no figures for."""
    of_accelerators = rows.columns.str.contains("host_share|device_")
    return list(rows.columns[rows.isna().any() & ~of_accelerators])


def test_every_row_has_every_figure(first: Path) -> None:
    rows = load(first)

    # These shapes are of no network.
    assert lacking(rows) == ["compile_s", "occurrences"]


def test_a_network_is_a_row_and_its_layers_are(first: Path) -> None:
    networks, sites = load_network_rows(first), load_site_rows(first)

    assert set(networks["case_id"]) == NETWORK_IDS
    assert len(networks) == len(NETWORK_IDS)
    assert set(networks["status"]) == {"ok"}
    assert lacking(networks) == ["compile_s"]
    assert set(sites["case_id"]) == SITE_IDS
    assert len(sites) == len(SITE_IDS)
    assert set(sites["status"]) == {"ok"}
    assert (sites["baseline"] == "relu").all()
    assert (sites["overhead"] > 0).all()


def test_each_row_s_floor_follows_from_the_device_s_ceilings(first: Path) -> None:
    record = load_ceilings(first)
    assert record is not None
    ceilings = Ceilings.of(record)

    for row in load(first).to_dict("records"):
        shape = (row["batch"], row["channels"], row["height"], row["width"])
        bandwidth = ceilings.bandwidth_bytes_per_s(4 * math.prod(shape))
        rate = record["flops_per_s"]["float32"]
        assert row["bandwidth_bytes_per_s"] == bandwidth
        assert row["peak_flops_per_s"] == rate
        floor_s = max(row["traffic_floor_bytes"] / bandwidth, row["flops"] / rate, record["call_s"])
        assert row["floor_time_ns"] == pytest.approx(floor_s * 1e9)


def test_the_gate_ran_and_speaks(first: Path, finished: Outcome) -> None:
    (verdict,) = load_gates(first)
    assert isinstance(verdict["trustworthy"], bool)
    loud = "RATIOS NOT TRUSTWORTHY" in finished.output
    assert loud != verdict["trustworthy"]
    assert ("can be told here and now" in finished.output) == verdict["trustworthy"]
    # One phase, three sizes.
    assert verdict["self_pairs"] == 3
    assert len(verdict["detections"]) == 2


def test_pytest_benchmark_has_the_same_figures(
    first: Path, benchmarks: dict[str, dict[str, Any]]
) -> None:
    for name, row in by_benchmark(first):
        entry = benchmarks[name]
        assert entry["stats"]["median"] * 1e9 == pytest.approx(row["time_ns"], rel=1e-6)
        undisturbed = row["visits"] - row["disturbed_visits"]
        told = undisturbed if undisturbed >= LEAST_VISITS else row["visits"]
        assert entry["stats"]["rounds"] == told
        for figure in ("overhead", "overhead_lo", "overhead_hi", "baseline_time_ns", "converged"):
            assert entry["extra_info"][figure] == row[figure]
        assert entry["params"]["activation"] == row["activation"]
        # What a layer or a network has no such field for is "-", so that any can be grouped by.
        assert entry["params"]["channels"] == row.get("channels", "-")
        assert entry["params"]["network"] == row.get("network", "-")
    assert set(benchmarks["bench_gate"]["params"].values()) == {"-"}
    # And the gate.
    assert len(benchmarks) == len(IDS) + len(SITE_IDS) + len(NETWORK_IDS) + 1


def by_benchmark(run: Path) -> Iterator[tuple[str, dict[Hashable, Any]]]:
    """Yield each row of a run by the name of its benchmark."""
    for benchmark, load_rows in (
        ("bench_activation", load), ("bench_site", load_site_rows),
        ("bench_network", load_network_rows),
    ):  # fmt: skip
        for row in load_rows(run).to_dict("records"):
            yield f"{benchmark}[{row['case_id']}]", row


def test_benchmark_json_is_small(first: Path, benchmarks: dict[str, dict[str, Any]]) -> None:
    for entry in benchmarks.values():
        assert "data" not in entry["stats"]
        assert len(json.dumps(entry, indent=4)) <= 4096
    whole = json.loads((first / "benchmark.json").read_text())
    about_the_machine = len(json.dumps(whole | {"benchmarks": []}, indent=4))
    allowed = 4096 * len(benchmarks) + about_the_machine + 100
    assert (first / "benchmark.json").stat().st_size <= allowed


@pytest.mark.parametrize(
    "name",
    [
        "benchmark.json",
        "environment.json",
        "visits.jsonl",
        "rows.jsonl",
        "known_rows.jsonl",
        "site_rows.jsonl",
        "network_rows.jsonl",
        "gates.jsonl",
        "ceilings.json",
    ],
)
def test_names_no_folder_host_or_user(house: House, first: Path, name: str) -> None:
    text = (first / name).read_text()
    assert str(house.folder) not in text
    assert str(Path.home()) + os.sep not in text
    for private in (socket.gethostname(), getpass.getuser()):
        assert f'"{private}"' not in text
        assert f"/{private}/" not in text


def test_groups_by_a_field_of_the_case(finished: Outcome) -> None:
    for name in NAMES:
        group = re.search(rf"benchmark '[^']*{name}[^']*': (\d+) tests", finished.output)
        assert group, finished.output
        measured = [*IDS, *SITE_IDS, *NETWORK_IDS]
        assert int(group[1]) == sum(f"{name}-inf" in case_id for case_id in measured)


def test_the_end_is_an_answer_that_follows_from_the_rows(first: Path, finished: Outcome) -> None:
    lines = finished.output.split("dynact: time as a multiple of the baseline's")[1].splitlines()

    def cells(beginning: str) -> list[str]:
        (line,) = [line for line in lines if line.startswith(beginning)]
        return re.split(r" {2,}", line.strip())

    rows, networks = load(first), load_network_rows(first).set_index("activation")
    largest = rows[rows["channels"] == 16].set_index("activation")
    assert cells("layers, ")[0].endswith("at 16x7x7")
    assert cells("relu (baseline)")[1] == format_ns(largest["baseline_time_ns"].median())
    for name in NAMES:
        _, ratio, time = cells(f"{name}  ")
        mean = math.sqrt(math.prod(rows[rows["activation"] == name]["overhead"]))
        assert is_rounded(ratio.partition("×")[0], mean)
        assert time == format_ns(largest.loc[name, "time_ns"])
        # Below the network as it is.
        _, ratio, time = cells(f"  {name}  ")
        assert is_rounded(ratio.partition("×")[0], networks.loc[name, "overhead"])
        assert time == format_ns(networks.loc[name, "time_ns"])
    assert "rows: reports/first/rows.jsonl" in lines


def is_rounded(shown: str, figure: float) -> bool:
    """Whether a figure is shown in some digits, or as the range that it lies in."""
    if "–" in shown:
        low, high = map(float, shown.split("–"))
        return low <= figure <= high
    unit = 10.0 ** -len(shown.partition(".")[2])
    # Of whole numbers the last digits may be zeros.
    return abs(float(shown) - figure) <= max(0.51 * unit, 0.05 * figure * ("." not in shown))


def test_in_process_measures_the_same_cases_and_skips_what_is_unsupported(
    house: House, first: Path
) -> None:
    outcome = house.sweep(
        *SHORT, *AXES, *NO_GATE, "--activation-from", "own_layers:Double",
        "--activation-from", "own_layers:Missing", "--in-process", "--run", "inside",
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.said
    rows = load(house.reports / "inside")
    is_missing = rows["activation"] == "own_layers:Missing"
    assert set(rows[~is_missing]["case_id"]) == set(load(first)["case_id"])
    assert set(rows[~is_missing]["status"]) == {"ok"}
    assert is_missing.sum() == 2
    assert set(rows[is_missing]["status"]) == {"unsupported"}
    assert f"{len(IDS)} passed, 2 skipped" in outcome.output
    # The gate was deselected.
    assert "known pairs not visited" in outcome.output
    assert not (house.reports / "inside" / "gates.jsonl").exists()


def test_layers_with_inputs_of_their_own_are_rows_like_others(house: House) -> None:
    names = ("swiglu", "geglu", "relu_inplace")
    outcome = house.sweep(
        *SHORT, "-k", "not harness", "--activations", ",".join(names), "--channels", "8",
        "--networks", "lenet", "--passes", "1", "--in-process", "--run", "own_inputs",
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.said
    rows = load(house.reports / "own_inputs")
    assert len(rows) == 2 * len(names)
    assert set(rows["status"]) == {"ok"}
    assert set(rows["message"]) == {""}
    # The output's, whose size the baseline's input has.
    assert set(rows["channels"]) == {8}
    assert set(rows["baseline_flops"]) == {2 * 8 * 7 * 7}
    assert "dynact: lenet, swiglu: its input has twice the channels of its output" in outcome.output


def test_a_failing_layer_is_a_row_and_the_others_are_measured_at_the_shapes_of_networks(
    house: House,
) -> None:
    outcome = house.sweep(
        *BRIEF, "--shapes-from", "lenet,resnet18", "--image-size", "32",
        "--phases", "inference", "--activations", "prelu",
        "--batches", "1,2", "--activation-from", "own_layers:NotSixteen", "--run", "failing",
        "-k", "bench_activation and inference-1x",
    )  # fmt: skip
    assert outcome.returncode == 1, outcome.said
    rows = load(house.reports / "failing").set_index("case_id")
    # What was deselected was not measured.
    assert set(rows["batch"]) == {1}
    found = {
        (row["activation"], row["channels"], row["height"]): row["occurrences"]
        for row in rows.to_dict("records")
    }
    # LeNet: after both convolutions. ResNet-18: after the first, then two in each of eight
    # blocks; the first of a stage has half the resolution from its first convolution on.
    occurrences = {
        (6, 28): 1, (16, 10): 1, (64, 16): 1, (64, 8): 4, (128, 4): 4, (256, 2): 4, (512, 1): 4,
    }  # fmt: skip
    assert found == {
        (name, *shape): times
        for name in ("prelu", "own_layers:NotSixteen")
        for shape, times in occurrences.items()
    }
    assert not (house.reports / "failing" / "network_rows.jsonl").exists()
    failed = "own_layers:NotSixteen-inference-1x16x10x10-float32-cpu"
    assert dict(rows["status"]) == {
        case_id: "error" if case_id == failed else "ok" for case_id in rows.index
    }
    assert rows.loc[failed, "message"] == "RuntimeError: sixteen is too few"
    table = outcome.output.split("dynact: time as a multiple of the baseline's")[1]
    (named,) = [line for line in table.splitlines() if line.startswith(f"  {failed}: ")]
    assert named == f"  {failed}: error: RuntimeError: sixteen is too few"
    assert "own_layers:NotSixteen" in table
    assert f"1 of {len(rows)} cases failed:" in table
    assert "Traceback" not in outcome.said


def visits_in(folder: Path) -> int:
    path = folder / "visits.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def has_more_visits(folder: Path, than: int) -> bool:
    return visits_in(folder) > than


def test_ctrl_c_keeps_the_visit_in_progress_and_says_how_to_go_on(house: House) -> None:
    process = house.start(
        *SHORT, "--phases", "inference", "--activations", "prelu", "--channels", "8,16",
        "--activation-from", "own_layers:Slow", "--run=stopped.",
        "-k", "bench_activation and not (some or thing)", start_new_session=True,
    )  # fmt: skip
    run = house.reports / "stopped."
    # Some visits of the slow layer take half a second each.
    wait_until(process, partial(has_more_visits, run, 5))
    os.killpg(process.pid, signal.SIGINT)
    outcome = finish(process)
    assert outcome.returncode == 2, outcome.said
    rows = load(run)
    assert len(rows) == 4
    assert set(rows["status"]) == {"ok"}
    # What it has by then is a sweep too.
    assert rows["visits"].sum() == visits_in(run) >= 6
    assert "4 passed" in outcome.output
    command = re.search(
        r"\d cases are to be visited further; go on with: (\S*python\S* -m pytest .*)",
        outcome.output,
    )
    assert command, outcome.said
    again = finish(house.start_command(command[1], shell=True))
    assert again.returncode == 0, again.said
    rows = load(run)
    assert len(rows) == 4
    assert rows["case_id"].is_unique
    assert (rows["visits"] >= LEAST_VISITS).all()
    assert "further" not in again.output


def test_killed_at_random_moments_no_visit_is_lost_or_doubled(house: House) -> None:
    count, passes = 3 * 3 * 2, 6
    options = (
        *SHORT, *NO_GATE, "--activations", "prelu,frelu,silu", "--channels", "4,8,16",
        "--batches", "1,2", "--phases", "inference", "--run", "killed", "--precision", "0.000001",
        "--passes", str(passes),
    )  # fmt: skip
    run = house.reports / "killed"
    moments = random.Random(0)
    seen: list[bytes] = []
    for session in range(3):
        process = house.start(*options, *(["--resume"] if session else []))
        before = visits_in(run)
        wait_until(process, partial(has_more_visits, run, before))
        time.sleep(moments.uniform(0, 0.3))
        with_worker = psutil.Process(process.pid).children()
        if session == 1:
            for worker in with_worker:
                worker.kill()
            wait_until(process, partial(has_more_visits, run, visits_in(run)))
        process.kill()
        finish(process)
        _, alive = psutil.wait_procs(with_worker, timeout=30)
        assert not alive
        *whole, _torn = (run / "visits.jsonl").read_bytes().split(b"\n")
        # None that was there is lost.
        assert whole[: len(seen)] == seen
        seen = whole
        # What there is by now can be read, whatever of it the rows tell already.
        assert load(run)["visits"].sum() <= len(seen)
    assert len(seen) < count * passes
    outcome = house.sweep(*options, "--resume")
    assert outcome.returncode == 0, outcome.said
    rows = load(run)
    assert len(rows) == count
    assert rows["case_id"].is_unique
    assert set(rows["status"]) == {"ok"}
    assert rows["failed_visits"].sum() <= 1
    made = [
        (visit["case_id"], visit["number"])
        for visit in map(json.loads, (run / "visits.jsonl").read_text().splitlines())
    ]
    assert len(made) == len(set(made))
    # One before the last is empty where all wait for time that they overran.
    assert max(number for _, number in made) >= passes
    assert (rows["visits"] + rows["failed_visits"] >= LEAST_VISITS).all()


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        # Before anything is opened; by the device's process; by a layer of the user's.
        (("--activations", "frelu,dyrelu_x"), "unknown activation 'dyrelu_x'; did you mean dyrelu"),
        (("--modes", "graph"), "--modes graph: torch captures no graphs on cpu; leave graph out"),
        (("--clock", "device"), "--clock device: on a CPU host and device are one, and there is"),
        (("--device", "abacus"), "device 'abacus' is not there; this machine has: cpu"),
        (
            ("--activation-from", "own_layers:Flattens"),
            "activation 'own_layers:Flattens' changes the shape from (2, ",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line(house: House, typed: tuple[str, ...], says: str) -> None:
    outcome = house.sweep("--sweep", "smoke", *typed, "--run", "bad")

    (line,) = [line for line in outcome.said.splitlines() if line.strip()]
    assert line.startswith(f"ERROR: {says}")
    assert outcome.returncode == pytest.ExitCode.USAGE_ERROR
    assert not (house.reports / "bad").exists()
