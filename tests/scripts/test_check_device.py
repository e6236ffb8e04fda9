"""The command that checks a device; .ci/run runs it whole."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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

    assert (code, last) == (1, "not done after 5 s: 2 passed in 5 s")
    assert log.read_text().splitlines() == ["~", "2 passed in 5 s"]


def test_a_command_s_last_line_says_how_it_went(script: dict[str, Any], tmp_path: Path) -> None:
    words = "print('first'); print('==== 3 passed in 2 s ===='); print(); raise SystemExit(3)"
    assert script["_command"](["-c", words], tmp_path / "log", 60) == (3, "3 passed in 2 s")
