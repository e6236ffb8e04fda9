"""Each verb that crosses the pipe, answered without one."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor, nn

from dynact.schema.cases import AnyCase
from dynact.schema.limits import Ceilings
from dynact.schema.messages import Answer, Request
from dynact.schema.rows import figures_of, new_row
from dynact.schema.settings import Settings
from dynact.worker import known_pairs, limits, serve
from dynact.worker.device import Cpu
from dynact.worker.serve import VERBS, InProcess
from dynact.worker.workload import Workload
from tests.sweeping import case_of, network_case_of, site_of

CASES: list[AnyCase] = [
    case_of("frelu"), site_of("frelu", baseline="silu"), network_case_of("frelu"),
]  # fmt: skip
OF_EACH_TABLE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.table)


@pytest.fixture(scope="module")
def bench() -> Iterator[InProcess]:
    threads = torch.get_num_threads()
    yield InProcess(Settings(device="cpu", max_seconds=0.02))
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no more time than an answer needs."""
    monkeypatch.setattr(known_pairs, "MAX_SECONDS", 0.02)
    monkeypatch.setattr(limits, "SECONDS_EACH", 0.001)
    monkeypatch.setattr(Cpu, "matrix_rows", 64)


def own(layer_class: type) -> str:
    return f"{__name__}:{layer_class.__name__}"


class Greedy(nn.Module):
    def forward(self, _x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("tried to allocate more than there is")


class Broken(nn.Module):
    def forward(self, _x: Tensor) -> Tensor:
        raise RuntimeError("first line\nsecond line")


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2)


REQUESTS = {
    "compare": Request("compare", case_of("frelu"), {"time_share": 1.0}),
    "count": Request("count", case_of("frelu")),
    "check": Request("check", case_of("frelu")),
    "known_pairs": Request("known_pairs"),
    "limits": Request("limits"),
    "shapes": Request("shapes", arguments={"name": "lenet", "image_size": 32}),
    "sites": Request("sites", network_case_of("frelu")),
}


class TestVerbs:
    @pytest.mark.parametrize("verb", VERBS)
    def test_each_answers_over_a_pipe_as_without_one(self, bench: InProcess, verb: str) -> None:
        request = Request.from_json(REQUESTS[verb].to_json())

        answer = bench.ask(request)

        assert (answer.status, answer.message) == ("ok", "")
        assert Answer.from_json(answer.to_json()) == answer

    @OF_EACH_TABLE
    def test_compare_and_count_answer_with_figures_of_the_cases_row(
        self, bench: InProcess, case: AnyCase
    ) -> None:
        timed = bench.ask(Request("compare", case, {"time_share": 1.0}))
        counted = bench.ask(Request("count", case))

        assert timed.status == counted.status == "ok"
        assert not timed.figures.keys() & counted.figures.keys()
        figures = timed.figures | counted.figures
        row = new_row(case, "ok", **figures)
        # The parent adds when it was measured, the device's limits and where a shape occurs.
        missing = {name for name in figures_of(case.table) if getattr(row, name) is None}
        assert missing <= {
            "session", "elapsed_s", "occurrences",
            "bandwidth_bytes_per_s", "peak_flops_per_s", "floor_time_ns",
        }  # fmt: skip
        assert len(timed.samples_ns) == row.pairs

    def test_known_pairs_come_with_a_verdict(self, bench: InProcess) -> None:
        answer = bench.ask(Request("known_pairs"))

        assert isinstance(answer.figures["trustworthy"], bool)
        assert answer.figures["more_elements"] == pytest.approx(57 / 56)
        assert answer.samples_ns

    def test_limits_are_what_ceilings_are_made_of(self, bench: InProcess) -> None:
        found = Ceilings.of(bench.ask(Request("limits")).figures)

        assert (found.bandwidth_bytes_per_s(2**20) or 0) > 0
        assert found.flops_per_s["float32"] > 0

    def test_shapes_are_those_of_the_network_with_how_often_it_has_them(
        self, bench: InProcess
    ) -> None:
        answer = bench.ask(REQUESTS["shapes"])

        assert sorted(answer.figures["shapes"]) == [[6, 28, 28, 1], [16, 10, 10, 1]]

    @pytest.mark.parametrize(
        ("activation", "channels"), [("frelu", [6, 16]), ("prelu", [6, 16, 120, 84])]
    )
    def test_sites_are_those_that_are_replaced(
        self, bench: InProcess, activation: str, channels: list[int]
    ) -> None:
        answer = bench.ask(Request("sites", network_case_of(activation)))

        sites = answer.figures["sites"]
        assert [site["channels"] for site in sites] == channels
        assert {site["original"] for site in sites} == {"relu"}
        # A fully connected one has no height and width.
        assert [site["height"] is None for site in sites] == [size > 16 for size in channels]


class TestRefusal:
    @pytest.mark.parametrize(
        ("request_", "line"),
        [
            (
                Request("shapes", arguments={"name": "lent", "image_size": 32}),
                "unknown network 'lent'; did you mean lenet?",
            ),
            (
                Request("sites", network_case_of(network="resnet18", image_size=16)),
                "resnet18 takes images of 32 × 32 pixels or more, got 16",
            ),
            (
                Request("sites", network_case_of("frelu", placement="paper")),
                "no 'paper' placement of 'frelu' is known for this network",
            ),
            (
                Request("check", case_of(own(InPlace))),
                f"activation '{own(InPlace)}' writes into its input; make it in-place=False",
            ),
            (
                Request("check", case_of("no_such:Layer")),
                "activation 'no_such:Layer': ModuleNotFoundError: No module named 'no_such'",
            ),
        ],
        ids=lambda value: value.verb if isinstance(value, Request) else "",
    )
    def test_what_cannot_be_done_as_asked_is_one_line_for_the_user(
        self, bench: InProcess, request_: Request, line: str
    ) -> None:
        answer = bench.ask(request_)

        assert answer.status == "refused"
        assert answer.message.startswith(line)
        assert len(answer.message.splitlines()) == 1
        assert (answer.figures, answer.samples_ns) == ({}, ())

    def test_a_device_that_is_not_there(self) -> None:
        with pytest.raises(
            ValueError, match=r"^device 'abacus' is not there; this machine has: cpu"
        ):
            InProcess(Settings(device="abacus"))


class TestFailure:
    @pytest.mark.parametrize(
        ("layer_class", "status", "message"),
        [
            (Greedy, "oom", "OutOfMemoryError: tried to allocate more than there is"),
            (Broken, "error", "RuntimeError: first line"),
        ],
    )
    def test_a_layer_that_fails_is_a_status(
        self, bench: InProcess, layer_class: type, status: str, message: str
    ) -> None:
        request = Request("compare", case_of(own(layer_class)), {"time_share": 1.0})

        answer = bench.ask(request)

        assert (answer.status, answer.message) == (status, message)

    def test_so_is_what_fails_where_no_layer_is_tried(
        self, bench: InProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_bench: InProcess, _request: Request) -> Answer:
            raise MemoryError("no more")

        monkeypatch.setitem(VERBS, "limits", fail)

        assert bench.ask(Request("limits")) == Answer("oom", "MemoryError: no more")


class TestTime:
    """A share of the time goes all the way to what measures."""

    @pytest.fixture
    def noted(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        noted: list[dict[str, Any]] = []

        def note(workload: Workload, _device: object, **limits: float) -> Answer:
            noted.append({"case": workload.case, **limits})
            return Answer("unsupported")

        monkeypatch.setattr(serve, "compare_workload", note)
        return noted

    @OF_EACH_TABLE
    @pytest.mark.parametrize(("share", "max_seconds"), [(1.0, 8.0), (0.25, 2.0), (1.5, 12.0)])
    def test_it_is_a_share_of_the_sessions(
        self, bench: InProcess, noted: list[dict[str, Any]], case: AnyCase, share: float,
        max_seconds: float, monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        settings = replace(bench.settings, precision=0.02, max_seconds=8.0)
        monkeypatch.setattr(bench, "settings", settings)

        bench.ask(Request("compare", case, {"time_share": share}))

        assert noted == [{"case": case, "precision": 0.02, "max_seconds": max_seconds}]


class TestInfo:
    def test_it_says_what_there_is(self, bench: InProcess) -> None:
        assert (bench.info.device, bench.info.is_accelerator) == ("cpu", False)
        assert bench.info.memory_bytes == psutil.virtual_memory().total
        # It has to be stored.
        assert json.loads(json.dumps(bench.info.environment)) == bench.info.environment

    @pytest.mark.parametrize(("asked", "found"), [(None, 1), (2, 2)])
    def test_threads_are_one_on_a_cpu_or_as_asked_for(self, asked: int | None, found: int) -> None:
        before = torch.get_num_threads()

        info = InProcess(Settings(device="cpu", threads=asked)).info

        assert torch.get_num_threads() == info.environment["threads"] == found
        torch.set_num_threads(before)
