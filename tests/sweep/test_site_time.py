"""A site gets less time than a layer of the sweep: its share goes all the way to the clock."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from dynact.schema.network_cases import NetworkCase
from dynact.schema.run_folder import NETWORK_ROWS, ROWS, SITE_ROWS, AnyCase, RunFolder, new_row
from dynact.sweep import worker as worker_module
from dynact.sweep.session import Bench, Sweep
from dynact.sweep.worker import Settings, Worker
from dynact.worker import network_compare as network_measure
from dynact.worker import serve as in_process
from dynact.worker.compare import Measurement
from dynact.worker.serve import InProcess
from tests.sweeping import case_of

SETTINGS = Settings(device="cpu", precision=0.02, max_seconds=8.0)
LAYER = case_of()
NETWORK = NetworkCase("lenet", "frelu", "all", "inference", "float32", 2, 32, "cpu")

Noted = list[tuple[AnyCase, dict[str, float]]]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Noted:
    """Return what is measured in this process, and within which limits; it takes no time."""
    noted: Noted = []

    def note(case: AnyCase, _device: object, **given: float) -> Measurement:
        noted.append((case, given))
        return Measurement(new_row(case, "unsupported"))

    monkeypatch.setattr(in_process, "measure", note)
    monkeypatch.setattr(network_measure, "measure_network", note)
    return noted


class Pipe:
    """Stands for the measuring process: answers in this one, by lines of JSON as ever."""

    ended = False

    def __init__(self, settings: Settings) -> None:
        self._inside = InProcess(settings)

    def ask(self, request: dict[str, Any], _limit_s: float) -> dict[str, Any]:
        answer = in_process._serve(self._inside, json.loads(json.dumps(request)))
        return cast(dict[str, Any], json.loads(json.dumps(answer)))

    def answer(self, _limit_s: float) -> dict[str, Any]:
        return asdict(self._inside.welcome)

    def end(self) -> None:
        pass


@pytest.fixture(params=["worker", "in process"])
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(worker_module, "_Process", Pipe)
    return Worker(SETTINGS) if request.param == "worker" else InProcess(SETTINGS)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    run = RunFolder(tmp_path / "reports" / "run", resume=False, environment={})
    run.store_ceilings({"session": "", "copies": [], "flops_per_s": {}, "case_s": 0.0})
    yield run
    run.close()


@pytest.mark.parametrize("case", [LAYER, NETWORK], ids=["layer", "network"])
@pytest.mark.parametrize(("share", "max_seconds"), [(1.0, 8.0), (0.25, 2.0), (1.5, 12.0)])
def test_a_share_of_the_time_reaches_what_measures(
    bench: Bench, limits: Noted, case: AnyCase, share: float, max_seconds: float
) -> None:
    bench.measure(case, share)

    assert limits == [(case, {"precision": 0.02, "max_seconds": max_seconds})]


@pytest.mark.parametrize("case", [LAYER, NETWORK], ids=["layer", "network"])
def test_without_a_share_all_the_time_may_be_taken(
    bench: Bench, limits: Noted, case: AnyCase
) -> None:
    bench.measure(case)

    assert limits == [(case, {"precision": 0.02, "max_seconds": 8.0})]


@pytest.mark.parametrize(
    ("file", "case", "max_seconds"),
    [(ROWS, LAYER, 8.0), (NETWORK_ROWS, NETWORK, 8.0), (SITE_ROWS, LAYER, 0.3 * 8.0)],
)
def test_only_a_site_gets_a_share_of_the_time(
    bench: Bench, limits: Noted, run: RunFolder, file: str, case: AnyCase, max_seconds: float
) -> None:
    Sweep(bench, run, datetime.now()).measure(case, file)

    assert limits == [(case, {"precision": 0.02, "max_seconds": pytest.approx(max_seconds)})]
