"""Each verb that crosses the pipe, answered without one."""

import json
from dataclasses import asdict
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor, nn

from dynact.schema.cases import AnyCase, Case, KnownPair
from dynact.schema.limits import Ceilings
from dynact.schema.messages import Answer, Request
from dynact.schema.rows import figures_of
from dynact.schema.settings import Settings
from dynact.schema.visits import Visit, measured_figures
from dynact.worker import layer as layer_module
from dynact.worker import limits, serve
from dynact.worker.device import Cpu
from dynact.worker.flush import ASSUMED_HOST_BYTES
from dynact.worker.serve import VERBS, InProcess
from dynact.worker.workload import Workload
from tests.measuring import FOUND
from tests.sweeping import case_of, network_case_of, site_of

CASES: list[AnyCase] = [
    case_of("frelu"), site_of("frelu", baseline="silu"), network_case_of("frelu"),
    KnownPair(**asdict(case_of("relu")), more_rows=3),
]  # fmt: skip
OF_EACH_TABLE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.table)


@pytest.fixture(scope="module")
def bench() -> InProcess:
    return InProcess(Settings(device="cpu"))


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no more time than an answer needs."""
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
    "visit": Request("visit", case_of("frelu"), {"seconds": 0.02}),
    "count": Request("count", case_of("frelu")),
    "check": Request("check", case_of("frelu")),
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
    def test_a_visit_answers_with_all_that_a_line_says_of_it(
        self, bench: InProcess, case: AnyCase
    ) -> None:
        answer = bench.ask(Request("visit", case, {"seconds": 0.02}))

        assert answer.status == "ok"
        assert answer.figures.keys() == set(FOUND)
        assert None not in answer.figures.values()

    @OF_EACH_TABLE
    def test_a_visit_and_a_count_make_a_row(self, bench: InProcess, case: AnyCase) -> None:
        timed = bench.ask(Request("visit", case, {"seconds": 0.02}))
        counted = bench.ask(Request("count", case))

        assert timed.status == counted.status == "ok"
        line = Visit(case.table, case.id, 1, "ok", "", 0.02, "session", 1.0, **timed.figures)
        of_visits = measured_figures([line], precision=0.01)
        assert not of_visits.keys() & counted.figures.keys()
        # The parent adds what it knows of the device, where a shape occurs and what is to be said.
        assert set(figures_of(case.table)) - of_visits.keys() - counted.figures.keys() <= {
            "occurrences", "message",
            "bandwidth_bytes_per_s", "peak_flops_per_s", "floor_time_ns", "fits_cache",
        }  # fmt: skip

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
        # As LeNet calls them; no other stands between.
        assert [site["number"] for site in sites] == [*range(1, len(channels) + 1)]
        assert {site["original"] for site in sites} == {"relu"}
        # A fully connected one has no height and width.
        assert [site["height"] is None for site in sites] == [size > 16 for size in channels]


class TestRefusal:
    @pytest.mark.parametrize(
        ("request_", "line"),
        [
            (
                Request("shapes", arguments={"name": "lent", "image_size": 32}),
                "unknown network 'lent'; did you mean lenet",
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
                "activation 'no_such:Layer': ValueError: no_such:Layer: there is no module",
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
        assert answer.figures == {}

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
        request = Request("visit", case_of(own(layer_class)), {"seconds": 0.02})

        answer = bench.ask(request)

        assert (answer.status, answer.message) == (status, message)

    def test_so_is_what_fails_where_no_layer_is_tried(
        self, bench: InProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_bench: InProcess, _request: Request) -> Answer:
            raise MemoryError("no more")

        monkeypatch.setitem(VERBS, "limits", fail)

        assert bench.ask(Request("limits")) == Answer("oom", "MemoryError: no more")


class FewTimes(nn.Module):
    """Finds no memory so many times."""

    times = 0

    def forward(self, x: Tensor) -> Tensor:
        FewTimes.times -= 1
        if FewTimes.times >= 0:
            raise torch.OutOfMemoryError("tried to allocate more than there is")
        return x * 2


class TestMemory:
    """What is kept of other cases is given up before a case is said to be too large."""

    @pytest.fixture
    def bench(self, monkeypatch: pytest.MonkeyPatch) -> InProcess:
        self.released: list[int] = []
        bench = InProcess(Settings(device="cpu"))
        # How much is kept while the device gives back what is free.
        monkeypatch.setattr(
            Cpu, "release_memory", lambda _device: self.released.append(len(bench.kept))
        )
        return bench

    def visit(self, bench: InProcess, case: Case) -> Answer:
        return bench.ask(Request("visit", case, {"seconds": 0.0}))

    @pytest.mark.parametrize(("times", "status"), [(0, "ok"), (1, "ok"), (2, "oom"), (3, "oom")])
    def test_a_case_is_tried_twice(
        self, bench: InProcess, monkeypatch: pytest.MonkeyPatch, times: int, status: str
    ) -> None:
        monkeypatch.setattr(FewTimes, "times", times)
        assert self.visit(bench, case_of("relu")).status == "ok"

        answer = self.visit(bench, case_of(own(FewTimes), batch=3))

        assert answer.status == status
        if times < 2:
            assert None not in answer.figures.values()
        else:
            assert FewTimes.times == times - 2
            assert answer.message == "OutOfMemoryError: tried to allocate more than there is"

    def test_all_is_given_up_before_the_second_time(
        self, bench: InProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(FewTimes, "times", 1)
        self.visit(bench, case_of("relu"))
        assert len(bench.kept) == 2

        self.visit(bench, case_of(own(FewTimes), batch=3))

        # Its own input and layers; released behind the failure, with its input there, and again.
        assert len(bench.kept) == 2
        assert self.released == [3, 0]

    def test_where_nothing_is_kept_there_is_no_second_time(
        self, bench: InProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Case] = []

        def no_room(case: Case, _device: Cpu) -> Any:
            asked.append(case)
            raise torch.OutOfMemoryError("no room for an input")

        monkeypatch.setattr(layer_module, "draw_tensors", no_room)

        assert self.visit(bench, case_of("relu")).status == "oom"
        assert len(asked) == 1

    def test_what_fails_otherwise_costs_nothing_that_is_kept(self, bench: InProcess) -> None:
        self.visit(bench, case_of("relu"))

        assert self.visit(bench, case_of(own(Broken))).status == "error"

        # Both are on the same input.
        assert len(bench.kept) == 2


class TestTime:
    """The seconds asked for go all the way to what measures, and what is kept with them."""

    @OF_EACH_TABLE
    @pytest.mark.parametrize("seconds", [0.1, 12.0])
    def test_it_is_what_was_asked_for(
        self, bench: InProcess, monkeypatch: pytest.MonkeyPatch, case: AnyCase, seconds: float
    ) -> None:
        noted: list[Any] = []

        def note(workload: Workload, device: object, seconds: float) -> Answer:
            noted.append((workload.case, device, seconds))
            return Answer("unsupported")

        monkeypatch.setattr(serve, "visit_workload", note)

        bench.ask(Request("visit", case, {"seconds": seconds}))

        assert noted == [(case, bench.device, seconds)]

    def test_later_visits_find_what_earlier_ones_kept(self, bench: InProcess) -> None:
        bench.kept.clear()
        sizes = []
        for case in (CASES[0], CASES[0], CASES[2], CASES[2], CASES[0]):
            bench.ask(Request("visit", case, {"seconds": 0.0}))
            sizes.append(len(bench.kept))

        # An input and its layers; a pair of networks.
        assert sizes == [2, 2, 3, 3, 3]


class TestInfo:
    def test_it_says_what_there_is(self, bench: InProcess) -> None:
        assert (bench.info.device, bench.info.is_accelerator) == ("cpu", False)
        assert 0 < bench.info.free_bytes <= psutil.virtual_memory().total
        # It has to be stored.
        assert json.loads(json.dumps(bench.info.environment)) == bench.info.environment

    def test_caches_are_warm_unless_they_are_to_be_cold(self, bench: InProcess) -> None:
        cold = InProcess(Settings(device="cpu", cache="cold"))

        assert (bench.info.flushed_bytes, bench.device.clock.cache) == (0, "warm")
        assert cold.info.flushed_bytes == (cold.device.cache_bytes() or ASSUMED_HOST_BYTES)
        for one, state in ((bench, "warm"), (cold, "cold")):
            found = one.ask(Request("visit", case_of("gelu"), {"seconds": 0.01}))
            assert found.figures["cache"] == one.info.environment["clock"]["cache"] == state

    @pytest.mark.parametrize(("asked", "found"), [(None, 1), (2, 2)])
    def test_threads_are_one_on_a_cpu_or_as_asked_for(self, asked: int | None, found: int) -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(3)

        info = InProcess(Settings(device="cpu", threads=asked)).info

        assert torch.get_num_threads() == info.environment["threads"] == found
        torch.set_num_threads(before)
