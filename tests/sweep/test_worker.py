"""The process that measures: whatever a layer does to it costs one row."""

import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dynact.schema.network_cases import NetworkCase
from dynact.schema.run_folder import Measured, NetworkRow, Row
from dynact.sweep import worker as worker_module
from dynact.sweep.worker import Settings, Worker, WorkerError
from tests.sweeping import ROOT, case_of

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


def own(name: str, **changes: int) -> Row:
    return Row(case_of(f"own_layers:{name}", **changes), "?")


def children() -> set[int]:
    """Return the workers that run; torch's compiler may have left a process of its own."""
    processes = psutil.Process().children()
    running = [p for p in processes if p.status() != psutil.STATUS_ZOMBIE]
    return {p.pid for p in running if "dynact.worker.serve" in p.cmdline()}


def check_ok(row: Measured, samples_ns: list[float]) -> None:
    assert row.status == "ok", row.message
    assert all(math.isfinite(sample) and sample > 0 for sample in samples_ns)
    # Figures and samples of one and the same case came over the pipe.
    assert row.pairs == len(samples_ns) >= 1
    assert row.time_ns == pytest.approx(statistics.median(samples_ns))
    for end in (row.overhead, row.overhead_lo, row.overhead_hi):
        assert end is not None
        assert end > 0


def test_measures_on_one_process(bench: Worker) -> None:
    before = children()
    assert len(before) == 1
    for name in ("relu", "frelu", "own_layers:Quiet", "own_layers:Needs"):
        case = case_of(name)
        row, samples_ns = bench.measure(case)
        assert row.case == case
        check_ok(row, samples_ns)
    assert children() == before


def test_says_what_there_is(bench: Worker) -> None:
    assert bench.welcome.device == "cpu"
    assert bench.welcome.memory_bytes == psutil.virtual_memory().total
    assert {"relu", "frelu", "dyrelu_c"} <= set(bench.welcome.activations)
    assert bench.welcome.environment["threads"] == 1


def test_has_a_memory_keeping_allocator(bench: Worker) -> None:
    bench.measure(case_of())
    (pid,) = children()
    # As mallopt(3) and the manual's "Memory Allocation Tunables" have them: no block by mmap,
    # none given back to the system, huge pages where there are any.
    expected = {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "-1",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }
    assert psutil.Process(pid).environ().items() >= expected.items()
    assert bench.welcome.environment["allocator"].items() >= expected.items()
    # The parent's own is not touched.
    assert not expected.keys() & os.environ.keys()


def test_what_a_layer_prints_is_no_answer(bench: Worker) -> None:
    check_ok(*bench.measure(own("Prints").case))
    check_ok(*bench.measure(case_of()))


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
def test_a_failure_is_a_row_and_the_next_case_has_a_fresh_process(
    bench: Worker, name: str, status: str, message: str
) -> None:
    check_ok(*bench.measure(case_of()))
    before = children()
    case = own(name).case
    row, samples_ns = bench.measure(case)
    assert (row.case, row.status, samples_ns) == (case, status, [])
    assert message in row.message
    assert "\n" not in row.message
    assert row.overhead is None
    assert not children()
    check_ok(*bench.measure(case_of()))
    assert len(children()) == 1
    assert not children() & before


def test_a_case_without_meaning_costs_no_process(bench: Worker) -> None:
    check_ok(*bench.measure(case_of()))
    before = children()
    row, _ = bench.measure(case_of(impl="fused"))
    assert row.status == "unsupported"
    assert children() == before


def test_a_layer_that_hangs_is_given_up(bench: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(worker_module, "CASE_LIMIT_S", 0.5)
        row, samples_ns = bench.measure(own("Hangs").case)
    assert (row.status, samples_ns) == ("timeout", [])
    assert "not measured within 1 s" in row.message
    assert not children()
    check_ok(*bench.measure(case_of()))


def test_check_says_in_one_line_what_is_wrong(
    bench: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.check(own("Quiet").case)
    with pytest.raises(WorkerError, match=r"AttributeError: .* has no attribute 'Missing'$"):
        bench.check(own("Missing").case)
    check_ok(*bench.measure(case_of()))
    monkeypatch.setattr(worker_module, "CASE_LIMIT_S", 0.5)
    with pytest.raises(WorkerError, match=r"^check: no answer within 1 s$"):
        bench.check(own("Hangs").case)
    assert not children()


def test_what_was_timed_survives_its_counting(
    bench: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "CASE_LIMIT_S", 2.0)
    for name, why in (
        ("DiesWhenTraced", "not counted: the process ended with exit code 3"),
        ("HangsWhenTraced", "not counted: no answer within 2 s"),
    ):
        check_ok(*bench.measure(own(name).case))
        figures = bench.count(own(name).case)
        assert set(figures) == {"message"}
        assert figures["message"].startswith(why)
        assert not children()
    check_ok(*bench.measure(case_of()))
    assert bench.count(case_of())["flops"] > 0


def test_a_process_that_is_gone_is_replaced_for_the_ceilings(bench: Worker) -> None:
    bench.measure(own("Kills").case)
    assert not children()

    assert bench.measure_ceilings()["copies"]


def test_a_network_is_measured_and_counted(bench: Worker) -> None:
    case = NetworkCase("lenet", "frelu", "all", "inference", "float32", 2, 32, "cpu")

    assert bench.networks()["lenet"] == 32
    assert bench.shapes_in("lenet", 32) == {(6, 28, 28): 1, (16, 10, 10): 1}
    assert [site["channels"] for site in bench.sites(case)] == [6, 16]
    row, samples_ns = bench.measure(case)
    assert isinstance(row, NetworkRow)
    check_ok(row, samples_ns)
    assert bench.count(case)["parameters"] == 62_270


def test_a_network_s_layer_that_ends_the_process_is_a_row(bench: Worker) -> None:
    # At one image it is quiet: that is how it is placed.
    case = NetworkCase(
        "lenet", "own_layers:KillsBatches", "all", "inference", "float32", 2, 32, "cpu"
    )

    row, _ = bench.measure(case)

    assert (type(row), row.status) == (NetworkRow, "crashed")
    check_ok(*bench.measure(case_of()))


def test_images_that_are_too_small_for_a_network(bench: Worker) -> None:
    case = NetworkCase("resnet18", "frelu", "all", "inference", "float32", 2, 16, "cpu")

    with pytest.raises(WorkerError, match=r"^resnet18 takes images of 32 × 32 pixels or more"):
        bench.sites(case)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(WorkerError, match=r"^device 'abacus' is not there; this machine has: cpu"):
        Worker(Settings(device="abacus"))


def test_the_time_for_a_case_grows_with_the_time_to_measure() -> None:
    short, long = (Settings(max_seconds=seconds).case_limit_s for seconds in (1, 100))
    assert short > 1
    assert long - short > 99


def test_the_parent_never_imports_torch() -> None:
    script = (
        "import sys, dynact.sweep.plugin\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'torch'])\n"
        "import dynact.worker.serve\n"
        "print('torch' in sys.modules)\n"
    )
    command = (sys.executable, "-c", script)
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert output.splitlines() == ["[]", "True"]


def test_a_worker_whose_parent_is_killed_ends_by_itself(layers: Path) -> None:
    script = (
        "import sys\n"
        f"sys.path[:0] = [{str(layers)!r}, {str(ROOT)!r}]\n"
        "from dynact.schema.cases import Case\n"
        "from dynact.sweep.worker import Settings, Worker\n"
        "worker = Worker(Settings(device='cpu', max_seconds=0.02))\n"
        "print('ready', flush=True)\n"
        f"worker.measure({own('Hangs').case!r})\n"
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
