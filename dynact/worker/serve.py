"""Answers what the parent asks, in a process of its own or, under a debugger, in the parent's."""

import gc
import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import IO, Any

import torch

from dynact.schema.cases import AnyCase, Case, KnownPair, NetworkCase, SiteCase
from dynact.schema.messages import Answer, Request, WorkerInfo
from dynact.schema.settings import Settings
from dynact.worker.counts import count_workload
from dynact.worker.device import Device, open_device, unused_gpu
from dynact.worker.environment import describe_environment
from dynact.worker.flush import Flush
from dynact.worker.kept import Kept
from dynact.worker.layer import LayerWorkload, check_layer
from dynact.worker.limits import measure_limits
from dynact.worker.visit import diagnosed, visit_workload
from dynact.worker.workload import Workload


def _network_workload(case: NetworkCase, device: Device, kept: Kept) -> Workload:
    # Networks are imported on demand: torchvision takes a second, and most sessions end without.
    from dynact.worker.network import NetworkWorkload

    return NetworkWorkload(case, device, kept)


WORKLOADS: dict[str, Callable[..., Workload]] = {
    KnownPair.table: LayerWorkload,
    Case.table: LayerWorkload,
    SiteCase.table: LayerWorkload,
    NetworkCase.table: _network_workload,
}


class InProcess:
    """The device and what is done with it, in this process: what `serve` answers from.

    Raises
    ------
    ValueError
        If the device is not there, or has no memory for a flush.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.device = open_device(settings.device, settings.clock)
        threads = settings.threads or self.device.default_threads
        if threads:
            torch.set_num_threads(threads)
        flushed_bytes = 0
        if settings.cache == "cold":
            # Of the caches that these threads use.
            flush = Flush(self.device)
            self.device.clock = self.device.clock.flushed_by(flush)
            flushed_bytes = flush.cache_bytes
        self.kept = Kept.on(self.device)
        self.info = WorkerInfo(
            device=str(self.device.torch_device),
            is_accelerator=self.device.is_accelerator,
            has_graphs=self.device.has_graphs,
            free_bytes=self.device.free_bytes(),
            environment=describe_environment(self.device),
            notice="" if settings.device else unused_gpu(self.device),
            flushed_bytes=flushed_bytes,
        )

    def ask(self, request: Request) -> Answer:
        """Return the answer; what cannot be done is a status with one line that says why."""
        try:
            return VERBS[request.verb](self, request)
        except ValueError as error:
            return Answer("refused", str(error))
        except (Exception, SystemExit) as error:
            return Answer(*diagnosed(error))

    def renew(self) -> None:
        """Go on as before: this process cannot be replaced."""

    def close(self) -> None:
        """Nothing to end."""


def _visit(bench: InProcess, request: Request) -> Answer:
    """Time a case for the seconds that are asked for."""
    answer = visit_workload(_workload(bench, request.case), bench.device, **request.arguments)
    if answer.status == "oom" and len(bench.kept):
        # What is kept of other cases may be all that was too much.
        bench.kept.clear()
        bench.device.release_memory()
        answer = visit_workload(_workload(bench, request.case), bench.device, **request.arguments)
    return answer


def _count(bench: InProcess, request: Request) -> Answer:
    """Count what a case costs without a clock."""
    return count_workload(_workload(bench, request.case), bench.device)


def _check(bench: InProcess, request: Request) -> Answer:
    """Try a case's layer once, or its network as it is, and tell what that is made of."""
    case: Any = request.case
    if isinstance(case, NetworkCase):
        from dynact.worker.network import check_network

        return Answer(figures={"structure": check_network(case, bench.device)})
    check_layer(case, bench.device)
    return Answer()


def _limits(bench: InProcess, _request: Request) -> Answer:
    """Measure the device's rates."""
    return Answer(figures=measure_limits(bench.device))


def _shapes(_bench: InProcess, request: Request) -> Answer:
    """Tell how often a network calls an activation at each (channels, height, width)."""
    from dynact.networks.shapes import shapes_in

    counts = shapes_in(**request.arguments)
    # JSON has no tuples for keys.
    return Answer(figures={"shapes": [[*shape, count] for shape, count in counts.items()]})


def _sites(bench: InProcess, request: Request) -> Answer:
    """Tell where a network case replaces activations."""
    from dynact.worker.network import pair_of, replaced_sites

    case: Any = request.case
    return Answer(figures={"sites": replaced_sites(pair_of(case, bench.device).swaps)})


VERBS: dict[str, Callable[[InProcess, Request], Answer]] = {
    "visit": _visit,
    "count": _count,
    "check": _check,
    "limits": _limits,
    "shapes": _shapes,
    "sites": _sites,
}


def main() -> None:
    """Answer the requests of a `dynact.sweep.worker.Worker`, a line each, until it is gone."""
    answers = _own_standard_output()
    requests = _read_ahead(sys.stdin.buffer)
    process = os.getpid()

    def say(answer: Answer) -> None:
        # A layer that forked leaves a copy of this, whose answer nobody asked for.
        if os.getpid() != process:
            os._exit(0)
        answers.write(answer.to_json() + b"\n")
        answers.flush()

    try:
        bench = InProcess(Settings(**json.loads(sys.argv[1])))
    except ValueError as error:
        say(Answer("refused", str(error)))
        return
    bench.device.bound_memory()
    # Or every full collection walks all that torch brings with it, for half a second.
    gc.freeze()
    say(Answer(figures=asdict(bench.info)))
    while True:
        say(bench.ask(Request.from_json(requests.get())))


def _workload(bench: InProcess, case: AnyCase | None) -> Workload:
    assert case
    return WORKLOADS[case.table](case, bench.device, bench.kept)


def _own_standard_output() -> IO[bytes]:
    """Keep the pipe to the parent for answers; what a layer prints goes to standard error."""
    pipe = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(pipe, "wb")


def _read_ahead(pipe: IO[bytes]) -> "queue.SimpleQueue[bytes]":
    """Read requests in a thread, which ends the process at once when the parent is gone."""
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in pipe:
            requests.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return requests


if __name__ == "__main__":
    main()
