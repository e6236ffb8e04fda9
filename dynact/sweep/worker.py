"""The process that measures, so that a crash costs one row.

The parent never imports torch: it is up in a moment, small, and its threads disturb nothing. It
asks over a pipe, a JSON object a line; the worker answers each line with one line.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dynact.schema.cases import Case
from dynact.schema.network_cases import NetworkCase
from dynact.schema.redact import one_line
from dynact.schema.run_folder import AnyCase, Measured, new_row

MEMORY_KEEPING_MALLOC = {
    # As caching allocators on accelerators do. By default glibc returns large blocks to the
    # system after every call, and page faults then drown the difference between two layers.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "-1",
    # Huge pages, so that a process draws its physical layout, and with it its cache conflicts,
    # from fewer possible ones.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
START_LIMIT_S = 120.0
CASE_LIMIT_S = 60.0
"""For all of a case but its timing: making, compiling and warming up both sides."""
NETWORK_PATIENCE = 10
"""A training step of a network may take seconds, and a comparison takes dozens of them."""
FATAL_STATUSES = ("oom", "timeout", "crashed", "error")
"""After one of these the process may be damaged (a full heap, a lost device): take a fresh one."""


class WorkerError(ValueError):
    """The worker cannot do what was asked; the message is one line for the user."""


@dataclass(frozen=True)
class Settings:
    """What holds for all cases of a session."""

    device: str | None = None
    """``None`` takes the accelerator where there is one, else the CPU."""
    threads: int | None = None
    """Of torch on the host; ``None`` is 1 on a CPU and torch's own choice beside an accelerator."""
    precision: float = 0.01
    max_seconds: float = 1.0

    @property
    def case_limit_s(self) -> float:
        """A case that takes longer than this hangs, or is too slow to be measured."""
        return CASE_LIMIT_S + 30 * self.max_seconds


@dataclass(frozen=True)
class Welcome:
    """What a worker says of itself when it is ready."""

    device: str
    memory_bytes: int
    activations: tuple[str, ...]
    environment: dict[str, Any]


class _DiedError(Exception):
    """The worker ended without an answer; the message says how."""


class _LateError(Exception):
    """The worker did not answer in time."""


class Worker:
    """A measuring process, started at once and replaced when a case has broken it.

    Raises
    ------
    WorkerError
        If it cannot start: no such device, torch does not import.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process = _Process(settings)
        self.welcome = self._greeting()

    def measure(self, case: AnyCase, patience: float = 1.0) -> tuple[Measured, list[float]]:
        """Return the case's row and its samples in ns, whatever happens to the process.

        Parameters
        ----------
        patience
            The share of ``max_seconds`` to spend at most.
        """
        self._revive()
        limit_s = self._settings.case_limit_s * (
            NETWORK_PATIENCE if isinstance(case, NetworkCase) else 1
        )
        try:
            answer = self._process.ask(_request("measure", case) | {"patience": patience}, limit_s)
        except _LateError:
            row = new_row(case, "timeout", f"not measured within {limit_s:.0f} s")
        except _DiedError as death:
            row = new_row(case, "crashed", str(death))
        else:
            row = new_row(case, **answer["row"])
        if row.status in FATAL_STATUSES:
            self._process.end()
        return row, answer["samples_ns"] if row.status == "ok" else []

    def count(self, case: AnyCase) -> dict[str, Any]:
        """Return what the case costs without a clock.

        If the process does not survive it, that is a message and nothing else: what was timed
        stays.
        """
        try:
            return self._process.ask(_request("count", case), CASE_LIMIT_S)
        except (_LateError, _DiedError) as failure:
            self._process.end()
            return {"message": f"not counted: {failure}"}

    def check(self, case: Case) -> None:
        """Try the case's layer once.

        Raises
        ------
        WorkerError
            If it cannot be made, called or compared; says why in one line.
        """
        self._ask_or_explain(_request("check", case))

    def run_gate(self) -> tuple[dict[str, Any], list[float]]:
        """Return the gate's verdict and ReLU's samples in ns."""
        answer = self._ask_or_explain({"do": "gate"})
        return answer["verdict"], answer["samples_ns"]

    def measure_ceilings(self) -> dict[str, Any]:
        """Return the device's rates (`dynact.worker.limits.measure_ceilings`)."""
        ceilings: dict[str, Any] = self._ask_or_explain({"do": "ceilings"})["ceilings"]
        return ceilings

    def networks(self) -> dict[str, int]:
        """Return the networks there are, and the image size in pixels each is made for."""
        networks: dict[str, int] = self._ask_or_explain({"do": "networks"})["networks"]
        return networks

    def shapes_in(self, network: str, image_size: int) -> dict[tuple[int, int, int], int]:
        """Return how often a network calls an activation at each (channels, height, width).

        Raises
        ------
        WorkerError
            If the images are too small for the network; one line.
        """
        request = {"do": "shapes", "network": network, "image_size": image_size}
        counts = self._ask_or_explain(request)["shapes"]
        return {(channels, height, width): count for (channels, height, width), count in counts}

    def sites(self, case: NetworkCase) -> list[dict[str, Any]]:
        """Return where a case replaces activations: the fields of `dynact.networks.Site`.

        Raises
        ------
        WorkerError
            If the images are too small for the network, or nothing can be replaced; one line.
        """
        sites: list[dict[str, Any]] = self._ask_or_explain(_request("sites", case))["sites"]
        return sites

    def close(self) -> None:
        """End the process."""
        self._process.end()

    def _revive(self) -> None:
        if self._process.ended:
            try:
                self._restart()
            except WorkerError:
                # Once more: whatever took the last one may have been passing.
                self._restart()

    def _restart(self) -> None:
        self._process = _Process(self._settings)
        self._greeting()

    def _greeting(self) -> Welcome:
        try:
            answer = self._process.answer(START_LIMIT_S)
        except (_DiedError, _LateError) as failure:
            self._process.end()
            raise WorkerError(f"the measuring process did not start: {failure}") from None
        if "fault" in answer:
            raise WorkerError(answer["fault"])
        return Welcome(**answer | {"activations": tuple(answer["activations"])})

    def _ask_or_explain(self, request: dict[str, Any]) -> dict[str, Any]:
        self._revive()
        try:
            answer = self._process.ask(request, self._settings.case_limit_s)
        except (_DiedError, _LateError) as failure:
            self._process.end()
            raise WorkerError(f"{request['do']}: {failure}") from None
        if "fault" in answer:
            raise WorkerError(answer["fault"])
        return answer


def _request(verb: str, case: AnyCase) -> dict[str, Any]:
    return {"do": verb, "of": type(case).__name__, "case": asdict(case)}


class _Process:
    def __init__(self, settings: Settings) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the child)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "dynact.worker.serve", json.dumps(asdict(settings))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            # Ctrl-C goes to the terminal's group; the parent decides when a case may end.
            process_group=0,
            env={
                **MEMORY_KEEPING_MALLOC,
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            },
        )

    @property
    def ended(self) -> bool:
        return self._child.poll() is not None

    def ask(self, request: dict[str, Any], limit_s: float) -> dict[str, Any]:
        assert self._child.stdin
        try:
            self._child.stdin.write(json.dumps(request).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise _DiedError(self._last_words()) from None
        return self.answer(limit_s)

    def answer(self, limit_s: float) -> dict[str, Any]:
        assert self._child.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            if not selector.select(limit_s):
                raise _LateError(f"no answer within {limit_s:.0f} s")
        line = self._child.stdout.readline()
        if not line.endswith(b"\n"):
            raise _DiedError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe
            # Closing flushes, and nobody is there to read.
            with suppress(BrokenPipeError):
                pipe.close()

    def _last_words(self) -> str:
        code = self._child.wait()
        if code < 0:
            hint = "; often the kernel's out-of-memory killer" if -code == signal.SIGKILL else ""
            return f"the process was ended by {signal.Signals(-code).name}{hint}"
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        reason = f": {one_line(lines[-1])}" if lines else ""
        return f"the process ended with exit code {code}{reason}"
