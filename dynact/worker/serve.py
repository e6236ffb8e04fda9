"""Measures in the process it runs in: the worker's inside, or pytest itself under a debugger."""

import gc
import json
import os
import queue
import sys
import threading
from dataclasses import asdict
from typing import IO, Any

import psutil
import torch

from dynact import activations
from dynact.schema.cases import Case
from dynact.schema.network_cases import NetworkCase
from dynact.schema.run_folder import AnyCase, Measured
from dynact.sweep.worker import Settings, Welcome
from dynact.worker.compare import measure
from dynact.worker.counts import count
from dynact.worker.device import open_device
from dynact.worker.environment import describe_environment
from dynact.worker.known_pairs import run_gate
from dynact.worker.limits import measure_ceilings
from dynact.worker.workload import check_layer

CASES: dict[str, type[Case] | type[NetworkCase]] = {
    kind.__name__: kind for kind in (Case, NetworkCase)
}


class InProcess:
    """Does what `dynact.sweep.worker.Worker` does, without a process of its own.

    Raises
    ------
    ValueError
        If the device is not there.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._device = open_device(settings.device)
        on_cpu = self._device.torch_device.type == "cpu"
        if settings.threads or on_cpu:
            torch.set_num_threads(settings.threads or 1)
        self.welcome = Welcome(
            device=str(self._device.torch_device),
            memory_bytes=self._device.memory_bytes,
            activations=activations.names(),
            environment=describe_environment(self._device),
        )

    def measure(self, case: AnyCase, patience: float = 1.0) -> tuple[Measured, list[float]]:
        """Return the case's row and its samples in ns, in that share of ``max_seconds``."""
        limits: Any = {
            "precision": self._settings.precision,
            "max_seconds": patience * self._settings.max_seconds,
        }
        if isinstance(case, NetworkCase):
            from dynact.worker.network_compare import measure_network

            measurement = measure_network(case, self._device, **limits)
        else:
            measurement = measure(case, self._device, **limits)
        return measurement.row, list(measurement.samples_ns)

    def count(self, case: AnyCase) -> dict[str, Any]:
        """Return what the case costs without a clock."""
        if isinstance(case, NetworkCase):
            from dynact.worker.network_counts import count_network

            return count_network(case, self._device)
        return count(case, self._device)

    def check(self, case: Case) -> None:
        """Try the case's layer once; raises ValueError in one line if it cannot be compared."""
        check_layer(case, self._device)

    def run_gate(self) -> tuple[dict[str, Any], list[float]]:
        """Return the gate's verdict and ReLU's samples in ns."""
        return run_gate(self._device)

    def measure_ceilings(self) -> dict[str, Any]:
        """Return the device's rates (`dynact.worker.limits.measure_ceilings`)."""
        return measure_ceilings(self._device)

    def networks(self) -> dict[str, int]:
        """Return the networks there are, and the image size in pixels each is made for."""
        from dynact.networks import architectures

        return {name: architectures.host(name).image_size for name in architectures.names()}

    def shapes_in(self, network: str, image_size: int) -> dict[tuple[int, int, int], int]:
        """Return how often a network calls an activation at each (channels, height, width)."""
        from dynact.networks import shapes_in

        return shapes_in(network, image_size)

    def sites(self, case: NetworkCase) -> list[dict[str, Any]]:
        """Return where a case replaces activations: the fields of `dynact.networks.Site`."""
        from dynact.worker.network_workload import pair_of

        swaps = pair_of(case, self._device).swaps
        return [asdict(swap.site) for swap in swaps if not swap.kept_because]

    def close(self) -> None:
        """Nothing to end."""


def main() -> None:
    """Answer the requests of a `dynact.sweep.worker.Worker`, a JSON line each, until it is gone."""
    answers = _own_standard_output()
    requests = _read_ahead(sys.stdin.buffer)

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content).encode() + b"\n")
        answers.flush()

    try:
        bench = InProcess(Settings(**json.loads(sys.argv[1])))
    except ValueError as error:
        answer({"fault": str(error)})
        return
    if bench.welcome.device == "cpu":
        _fail_before_the_system_does()
    # Or every full collection walks all that torch brings with it, for half a second.
    gc.freeze()
    answer(asdict(bench.welcome))
    while True:
        answer(_serve(bench, requests.get()))


def _serve(bench: InProcess, request: dict[str, Any]) -> dict[str, Any]:
    try:
        if request["do"] == "gate":
            verdict, samples_ns = bench.run_gate()
            return {"verdict": verdict, "samples_ns": samples_ns}
        if request["do"] == "networks":
            return {"networks": bench.networks()}
        if request["do"] == "shapes":
            # JSON has no tuples for keys.
            shapes = bench.shapes_in(request["network"], request["image_size"])
            return {"shapes": list(shapes.items())}
        if request["do"] == "ceilings":
            return {"ceilings": bench.measure_ceilings()}
        case: Any = CASES[request["of"]](**request["case"])
        if request["do"] == "sites":
            return {"sites": bench.sites(case)}
        if request["do"] == "check":
            bench.check(case)
            return {}
    except ValueError as error:
        return {"fault": str(error)}
    if request["do"] == "count":
        return bench.count(case)
    row, samples_ns = bench.measure(case, request["patience"])
    return {"row": row.figures(), "samples_ns": samples_ns}


def _own_standard_output() -> IO[bytes]:
    """Keep the pipe to the parent for answers; what a layer prints goes to standard error."""
    pipe = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(pipe, "wb")


def _read_ahead(pipe: IO[bytes]) -> "queue.SimpleQueue[dict[str, Any]]":
    """Read requests in a thread, which ends the process at once when the parent is gone."""
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def read() -> None:
        for line in pipe:
            requests.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return requests


def _fail_before_the_system_does() -> None:
    """Let an allocation beyond the free memory fail, in place of the system killing processes."""
    if sys.platform == "linux":
        import resource

        available = psutil.Process().memory_info().data + psutil.virtual_memory().available
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (available, hard))


if __name__ == "__main__":
    main()
