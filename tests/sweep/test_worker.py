"""The process that measures: whatever a layer does to it costs one answer."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from dynact.schema.cases import AnyCase, Case
from dynact.schema.messages import Answer, Request
from dynact.schema.settings import Settings
from dynact.schema.visits import Visit
from dynact.sweep import worker as worker_module
from dynact.sweep.worker import Worker, WorkerError
from dynact.worker.serve import InProcess
from tests.measuring import AT_TIMES
from tests.sweep.bench import INFO
from tests.sweeping import ROOT, case_of, network_case_of, site_of

LAYERS = """
import os, signal, sys, time
import torch
from torch import nn

class Quiet(nn.Module):
    def forward(self, x):
        return x * 2

class Kills(Quiet):
    def forward(self, x):
        os.kill(os.getpid(), signal.SIGKILL)

class Exits(Quiet):
    def forward(self, x):
        print("last words", file=sys.stderr)
        os._exit(7)

class Hangs(Quiet):
    def forward(self, x):
        time.sleep(3600)

class Prints(Quiet):
    def forward(self, x):
        print('{"row": "not this"}')
        os.write(1, b'{"row": "nor this"}\\n')
        os.system("echo nor that")
        return super().forward(x)

class Greedy(Quiet):
    def forward(self, x):
        return torch.empty(1 << 50, dtype=torch.uint8)

class MoreThanIsFree(Quiet):
    def forward(self, x):
        import psutil
        hoard = []
        while True:
            # Touched, so that the system would have to find it.
            hoard.append(torch.ones(psutil.virtual_memory().total, dtype=torch.uint8))

class DiesWhenTraced(Quiet):
    def forward(self, x):
        if torch.jit.is_tracing():
            os._exit(3)
        return super().forward(x)

class HangsWhenTraced(Quiet):
    def forward(self, x):
        if torch.jit.is_tracing():
            time.sleep(3600)
        return super().forward(x)

class KillsBatches(Quiet):
    def forward(self, x):
        if len(x) > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)

class Forks(Quiet):
    # A copy of the process goes on beside it, as where a layer starts helpers by fork.
    forked = False
    def forward(self, x):
        if not Forks.forked:
            Forks.forked = True
            os.fork()
        return super().forward(x)

class Leaves(Quiet):
    def forward(self, x):
        raise SystemExit("no more")

class Raises(Quiet):
    def forward(self, x):
        raise RuntimeError("first line\\nsecond line")

class Needs(Quiet):
    def __init__(self, channels):
        super().__init__()
        self.channels = channels
    def forward(self, x):
        assert x.shape[1] == self.channels
        return super().forward(x)
"""
QUICK = Settings(device="cpu", max_seconds=0.02)


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a module of layers that the worker can import."""
    folder = tmp_path_factory.mktemp("layers")
    (folder / "own_layers.py").write_text(LAYERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module")
def bench(layers: Path) -> Iterator[Worker]:
    """Start a worker that later tests find again, whatever earlier ones did to it."""
    assert layers
    worker = Worker(QUICK)
    yield worker
    worker.close()


def own(name: str) -> Case:
    return case_of(f"own_layers:{name}")


def visit_of(case: AnyCase) -> Request:
    return Request("visit", case, {"seconds": 0.01})


def children() -> set[int]:
    """Return the workers that run; torch's compiler may have left a process of its own."""
    processes = psutil.Process().children()
    running = [p for p in processes if p.status() != psutil.STATUS_ZOMBIE]
    return {p.pid for p in running if "dynact.worker.serve" in p.cmdline()}


def check_ok(bench: Worker, case: AnyCase | None = None) -> None:
    """Check that a case, by default a usual one, is measured well."""
    case = case or case_of()
    answer = bench.ask(visit_of(case))
    assert answer.status == "ok", answer.message
    # All that a visit holds, of one and the same case, came over the pipe.
    visit = Visit(
        case.table, case.id, 1, "ok", "", 0.01, session="", elapsed_s=1.0, **answer.figures
    )
    assert {name for name, value in asdict(visit).items() if value is None} == set(AT_TIMES)
    assert visit.overhead
    assert visit.time_ns
    assert visit.overhead == pytest.approx(visit.time_ns / (visit.baseline_time_ns or 0))
    assert math.isfinite(visit.overhead)
    assert visit.overhead > 0


class TestOneProcess:
    def test_it_does_whatever_goes_well_or_is_refused(self, bench: Worker) -> None:
        before = children()
        small = network_case_of(network="resnet18", image_size=16)

        check_ok(bench, case_of("relu"))
        for name in ("Quiet", "Needs", "Prints"):
            # What a layer prints is no answer.
            check_ok(bench, own(name))
        check_ok(bench, site_of("frelu", baseline="silu"))
        refused = bench.ask(Request("sites", small))
        missing = bench.ask(Request("check", own("Missing")))
        check_ok(bench)

        assert refused.status == missing.status == "refused"
        assert refused.message.startswith("resnet18 takes images of 32 × 32 pixels or more")
        assert missing.message.endswith("there is no 'Missing' in own_layers")
        assert len(before) == 1
        assert children() == before

    def test_one_request_has_one_answer_though_a_layer_forks(self, bench: Worker) -> None:
        check_ok(bench, own("Forks"))

        counts = bench.ask(Request("count", case_of("relu")))

        assert set(counts.figures) > {"flops", "parameters"}
        assert not {"overhead", "pairs"} & set(counts.figures)
        check_ok(bench, case_of("relu"))

    def test_a_layer_that_exits_is_an_error_of_its_own(self, bench: Worker) -> None:
        answer = bench.ask(Request("check", own("Leaves")))

        assert answer.status in ("refused", "error")
        assert "no more" in answer.message
        check_ok(bench)

    def test_it_says_what_there_is(self, bench: Worker) -> None:
        assert (bench.info.device, bench.info.is_accelerator) == ("cpu", False)
        assert 0 < bench.info.free_bytes <= psutil.virtual_memory().total
        assert bench.info.environment["threads"] == 1

    def test_it_has_a_memory_keeping_allocator(self, bench: Worker) -> None:
        check_ok(bench)
        (pid,) = children()
        # As mallopt(3) and the manual's "Memory Allocation Tunables" have them: no block by mmap,
        # none given back to the system, huge pages where there are any.
        expected = {
            "MALLOC_MMAP_MAX_": "0",
            "MALLOC_TRIM_THRESHOLD_": "-1",
            "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        }

        assert psutil.Process(pid).environ().items() >= expected.items()
        assert bench.info.environment["allocator"].items() >= expected.items()
        # The parent's own is not touched.
        assert not expected.keys() & os.environ.keys()

    @pytest.mark.parametrize(
        "case",
        [case_of("frelu", phase="training"), site_of("dyrelu_b"), network_case_of("frelu")],
        ids=["layer", "site", "network"],
    )
    def test_it_counts_what_the_parent_itself_would(self, bench: Worker, case: AnyCase) -> None:
        request = Request("count", case)

        there, here = (asker.ask(request) for asker in (bench, InProcess(QUICK)))

        assert there.status == here.status == "ok"
        assert there.figures.pop("counting_s") > 0
        assert here.figures.pop("counting_s") > 0
        assert there == here

    def test_a_fresh_one_is_to_be_had(self, bench: Worker) -> None:
        check_ok(bench)
        before = children()

        bench.renew()

        check_ok(bench)
        assert len(children()) == 1
        assert not children() & before

    def test_a_network_is_measured(self, bench: Worker) -> None:
        shapes = bench.ask(Request("shapes", arguments={"name": "lenet", "image_size": 32}))
        sites = bench.ask(Request("sites", network_case_of("frelu")))

        assert sorted(shapes.figures["shapes"]) == [[6, 28, 28, 1], [16, 10, 10, 1]]
        assert [site["channels"] for site in sites.figures["sites"]] == [6, 16]
        check_ok(bench, network_case_of("frelu"))


class TestBrokenProcess:
    @pytest.mark.parametrize(
        ("name", "status", "message"),
        [
            ("Kills", "crashed", "SIGKILL"),
            ("Exits", "crashed", "exit code 7: last words"),
            ("Greedy", "oom", "allocate"),
            pytest.param(
                "MoreThanIsFree", "oom", "allocate",
                marks=pytest.mark.skipif(
                    sys.platform != "linux", reason="only Linux can bound a process's memory"
                ),
            ),
            ("Raises", "error", "RuntimeError: first line"),
        ],
    )  # fmt: skip
    def test_a_failure_is_a_status_and_the_next_case_has_a_fresh_process(
        self, bench: Worker, name: str, status: str, message: str
    ) -> None:
        check_ok(bench)
        before = children()

        answer = bench.ask(visit_of(own(name)))

        assert answer.status == status
        assert message in answer.message
        assert "\n" not in answer.message
        assert "overhead" not in answer.figures
        assert not children()
        check_ok(bench)
        assert len(children()) == 1
        assert not children() & before

    def test_a_network_s_layer_that_ends_it_is_one_too(self, bench: Worker) -> None:
        # At one image it is quiet: that is how it is placed.
        answer = bench.ask(visit_of(network_case_of("own_layers:KillsBatches")))

        assert answer.status == "crashed"
        # Whatever is asked for next.
        assert bench.ask(Request("limits")).figures["copies"]

    def test_a_layer_that_hangs_is_given_up(
        self, bench: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        check_ok(bench)
        monkeypatch.setattr(worker_module, "CASE_LIMIT_S", 0.5)

        answers = [bench.ask(visit_of(own("Hangs")))]
        left = children()
        monkeypatch.undo()
        check_ok(bench)
        monkeypatch.setattr(worker_module, "CASE_LIMIT_S", 0.5)
        answers.append(bench.ask(Request("check", own("Hangs"))))

        assert answers == [Answer("timeout", "no answer within 1 s")] * 2
        assert not left
        assert not children()

    def test_what_may_compile_has_longer(
        self, bench: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        check_ok(bench)
        monkeypatch.setattr(worker_module, "CASE_LIMIT_S", 0.5)
        hangs = own("Hangs")

        answer = bench.ask(visit_of(replace(hangs, activation="relu", impl=hangs.activation)))

        assert answer == Answer("timeout", "no answer within 4 s")

    @pytest.mark.parametrize(
        ("name", "answer"),
        [
            ("DiesWhenTraced", Answer("crashed", "the process ended with exit code 3")),
            ("HangsWhenTraced", Answer("timeout", "no answer within 2 s")),
        ],
    )
    def test_counting_ends_it_after_what_was_timed_was_told(
        self, bench: Worker, monkeypatch: pytest.MonkeyPatch, name: str, answer: Answer
    ) -> None:
        check_ok(bench, own(name))
        if answer.status == "timeout":
            monkeypatch.setattr(worker_module, "CASE_LIMIT_S", 2)

        assert bench.ask(Request("count", own(name))) == answer
        assert not children()


class TestEnd:
    def test_a_worker_whose_parent_is_killed_ends_by_itself(self, layers: Path) -> None:
        script = (
            "import sys\n"
            f"sys.path[:0] = [{str(layers)!r}, {str(ROOT)!r}]\n"
            "from dynact.schema.messages import Request\n"
            "from dynact.sweep.worker import Settings, Worker\n"
            "worker = Worker(Settings(device='cpu', max_seconds=0.02))\n"
            "print('ready', flush=True)\n"
            f"worker.ask(Request.from_json({visit_of(own('Hangs')).to_json()!r}))\n"
        )
        with subprocess.Popen((sys.executable, "-c", script), stdout=subprocess.PIPE) as parent:
            assert parent.stdout
            assert parent.stdout.readline() == b"ready\n"
            (worker,) = psutil.Process(parent.pid).children()
            # Let it reach the middle of the case.
            time.sleep(0.5)
            assert worker.is_running()
            parent.kill()
        _, alive = psutil.wait_procs([worker], timeout=30)
        assert not alive


@dataclass
class FakeProcess:
    """Stands for the measuring process: answers from a list, and notes how it is treated."""

    answers: list[Answer] = field(default_factory=list)
    greeting: Answer = field(default_factory=lambda: Answer(figures=asdict(INFO)))
    limits_s: list[float] = field(default_factory=list)
    ended: bool = False

    def ask(self, _request: Request, limit_s: float) -> Answer:
        self.limits_s.append(limit_s)
        return self.answers.pop(0) if self.answers else Answer()

    def answer(self, _limit_s: float) -> Answer:
        return self.greeting

    def end(self) -> None:
        self.ended = True


class TestReplacement:
    """With processes that do as they are told, which costs no start of one."""

    @staticmethod
    def worker_of(
        monkeypatch: pytest.MonkeyPatch, *processes: FakeProcess, max_seconds: float = 1.0
    ) -> Worker:
        to_start = iter(processes)
        monkeypatch.setattr(worker_module, "_Process", lambda _settings: next(to_start))
        return Worker(Settings(max_seconds=max_seconds))

    @pytest.mark.parametrize(
        ("status", "fatal"),
        [
            ("ok", False), ("refused", False), ("unsupported", False),
            ("oom", True), ("timeout", True), ("crashed", True), ("error", True),
        ],
    )  # fmt: skip
    def test_a_process_lives_on_unless_it_may_be_damaged(
        self, monkeypatch: pytest.MonkeyPatch, status: str, fatal: bool
    ) -> None:
        first, second = FakeProcess([Answer(status)]), FakeProcess()
        worker = self.worker_of(monkeypatch, first, second)

        assert worker.ask(Request("limits")).status == status
        worker.ask(Request("limits"))

        assert first.ended == fatal
        assert (len(first.limits_s), len(second.limits_s)) == ((1, 1) if fatal else (2, 0))

    def test_one_failed_start_may_have_been_bad_luck(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dead = FakeProcess(greeting=Answer("crashed", "SIGKILL"))
        worker = self.worker_of(monkeypatch, FakeProcess(ended=True), dead, FakeProcess())

        assert worker.ask(Request("limits")).status == "ok"
        assert dead.ended

    def test_after_two_there_is_no_going_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dead = [FakeProcess(greeting=Answer("crashed", "SIGKILL")) for _ in range(2)]
        worker = self.worker_of(monkeypatch, FakeProcess(ended=True), *dead)

        with pytest.raises(WorkerError, match=r"^the measuring process did not start: SIGKILL$"):
            worker.ask(Request("limits"))

    def test_one_that_refuses_to_start_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refusing = FakeProcess(greeting=Answer("refused", "device 'abacus' is not there"))

        with pytest.raises(WorkerError, match=r"^device 'abacus' is not there$"):
            self.worker_of(monkeypatch, refusing)

    def test_what_it_says_of_itself_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.worker_of(monkeypatch, FakeProcess()).info == INFO

    def test_closing_ends_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        process = FakeProcess()

        self.worker_of(monkeypatch, process).close()

        assert process.ended

    @pytest.mark.parametrize(
        ("requests", "limit_s"),
        [
            # One minute to make ready, and thirty times what it may measure.
            ([Request("limits"), Request("check")], 60 + 30 * 2),
            ([visit_of(case_of()), visit_of(site_of())], 60 + 30 * 2),
            # A training step of a network may take seconds.
            ([visit_of(network_case_of())], 10 * (60 + 30 * 2)),
            # Counting calls a layer a few times, however long it is timed.
            ([Request("count", case_of()), Request("count", network_case_of())], 60),
        ],
        ids=["none", "layer", "network", "count"],
    )
    def test_the_time_for_an_answer(
        self, monkeypatch: pytest.MonkeyPatch, requests: list[Request], limit_s: float
    ) -> None:
        process = FakeProcess()
        worker = self.worker_of(monkeypatch, process, max_seconds=2)

        for request in requests:
            worker.ask(request)

        assert process.limits_s == [limit_s] * len(requests)


MEASURING = {"torch", "torchvision", "numpy", "pandas", "matplotlib", "scipy", "sklearn"}


def test_the_parent_imports_nothing_that_measures_counts_or_draws() -> None:
    script = (
        "import sys, dynact.sweep.plugin\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    command = (sys.executable, "-c", script)

    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "dynact" in output.split()
    assert not MEASURING & set(output.split())
