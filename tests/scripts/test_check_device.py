"""The command that checks a device; .ci/run runs it whole."""

import math
import runpy
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from dynact.worker.device_check import Way

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "check_device.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_a_device_that_is_not_there_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--device", "cuda:17"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("check_device.py: device 'cuda:17' is not there; this machine ha")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("found", "predicted", "word"),
    [
        (7.2, (7, 7), "confirmed"),
        (5.0, (4, 5.5), "confirmed"),
        (3.5, (4, 5.5), "refuted"),
        (10.6, (4, 5.5), "refuted"),
    ],
)
def test_a_prediction_is_confirmed_or_refuted_and_nothing_more(
    script: dict[str, Any], found: float, predicted: tuple[float, float], word: str
) -> None:
    verdict = script["_prediction"]("FReLU", found, predicted, 1, "×")
    assert verdict.answer == script["TOLD"]
    assert verdict.said.endswith(word)


def test_a_prediction_of_what_has_no_time_is_missing(script: dict[str, Any]) -> None:
    verdict = script["_prediction"]("FReLU", math.nan, (4, 5.5), 1, "×")
    assert verdict.answer == script["TOLD"]
    assert verdict.said == "no time of the device alone was found, 4 to 5.5× predicted: missing"


def test_predictions_are_compared_with_the_device_s_own_time(script: dict[str, Any]) -> None:
    rows = pd.DataFrame(
        {
            "status": "ok",
            "activation": ["frelu", "frelu", "acon_c"],
            "phase": ["inference", "training", "inference"],
            # What the host decides of them is none of the predictions'.
            "overhead": 70.0,
            "baseline_time_ns": 9e9,
            "device_overhead": [5.0, 20.0, None],
            "baseline_device_time_ns": [50e3, 90e3, 50e3],
        }
    )
    device = SimpleNamespace(name="NVIDIA H200")

    said = {each.name: each.said for each in script["_predictions"](device, rows)}

    words = {name.removeprefix("prediction: "): text.split()[-1] for name, text in said.items()}
    assert words == {
        "ReLU, inference": "confirmed", "frelu, inference": "confirmed",
        "frelu, training": "refuted", "acon_c, inference": "missing",
        "acon_c, training": "missing", "dyrelu_b, inference": "missing",
        "dyrelu_b, training": "missing",
    }  # fmt: skip
    assert said["prediction: ReLU, inference"].startswith("50 µs found")
    assert list(script["_predictions"](SimpleNamespace(name="A100"), rows)) == []


HOST = Way("wall", 7e4)
CLOCK, HELD, GRAPH = Way("event", 8e4), Way("held device", 5e4), Way("graph", 5.1e4)
NO_KERNELS = Way("profiler", None, "it shows 0 kernels")


@pytest.mark.parametrize(
    ("ways", "answer"),
    [
        ([HOST], "TOLD"),
        ([CLOCK, HELD, GRAPH, Way("profiler", 5.2e4)], "HOLDS"),
        ([CLOCK, HELD, GRAPH, Way("profiler", 5.3e4)], "FAILS"),
        ([CLOCK, HELD, GRAPH, NO_KERNELS], "FAILS"),
        ([CLOCK, Way("held device", None, "waits"), GRAPH, Way("profiler", 5.2e4)], "FAILS"),
        ([CLOCK, HELD, GRAPH, replace(NO_KERNELS, is_expected=False)], "HOLDS"),
        (
            [
                CLOCK,
                HELD,
                Way("graph", None, "none", False),
                replace(NO_KERNELS, is_expected=False),
            ],
            "TOLD",
        ),
    ],
)
def test_ways_of_timing_fail_where_one_differs_or_is_missing(
    script: dict[str, Any], ways: list[Way], answer: str
) -> None:
    verdict = script["_agreement"](ways)

    assert verdict.answer == script[answer]
    for way in ways:
        assert way.name in verdict.said
        assert way.why in verdict.said


def test_limits_are_within_eight_minutes(script: dict[str, Any]) -> None:
    limits = [script[f"{what}_LIMIT_S"] for what in ("TESTS", "SWEEP", "TRACES", "TRACES")]
    assert sum(limits) + len(limits) * script["GRACE_S"] < 8 * 60


def test_what_fails_costs_itself_alone(script: dict[str, Any]) -> None:
    def check() -> Any:
        yield script["Verdict"]("one", script["HOLDS"], "made")
        raise RuntimeError("no memory\nleft")

    made, failed = script["_guarded"]("rates", check)
    assert made.name == "one"
    assert failed == script["Verdict"]("rates", script["FAILS"], "RuntimeError: no memory")


def test_a_command_that_takes_too_long_is_ended_and_said(
    script: dict[str, Any], tmp_path: Path
) -> None:
    words = (
        f"import time\nprint({str(Path.home())!r}, flush=True)\n"
        "try: time.sleep(60)\nexcept KeyboardInterrupt: print('2 passed in 5 s')"
    )
    log = tmp_path / "log"

    code, last = script["_command"](["-c", words], log, 5)

    assert (code, last) == (1, "not done after 5 s, its last words: 2 passed in 5 s")
    assert log.read_text().splitlines() == ["~", "2 passed in 5 s"]


def test_a_command_that_will_not_end_is_killed(
    script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print('2 passed', flush=True)\ntime.sleep(600)"
    )
    command = script["_command"]
    monkeypatch.setitem(command.__globals__, "GRACE_S", 0.5)
    start_s = time.monotonic()

    code, last = command(["-c", words], tmp_path / "log", 5)

    assert (code, last) == (1, "not done after 5 s, its last words: 2 passed")
    assert time.monotonic() - start_s < 60


def test_a_command_s_last_line_says_how_it_went(script: dict[str, Any], tmp_path: Path) -> None:
    words = "print('first'); print('==== 3 passed in 2 s ===='); print(); raise SystemExit(3)"
    assert script["_command"](["-c", words], tmp_path / "log", 60) == (3, "3 passed in 2 s")
