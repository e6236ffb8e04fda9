"""Asks the process that measures, so that a crash costs one row.

The parent never imports torch: it is up in a moment, small, and its threads disturb nothing. It
asks over a pipe, a JSON value a line; the worker answers each line with one line.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from dynact.schema.cases import NetworkCase
from dynact.schema.messages import Answer, Request, WorkerInfo
from dynact.schema.redact import one_line
from dynact.schema.settings import Settings
from dynact.sweep.plan import compiles

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
# For all of a request but timing: making, compiling and warming up both sides, or counting them.
CASE_LIMIT_S = 60.0
# Of the time to measure: what takes longer hangs, or is too slow to be measured.
TIMING_LIMIT = 30
# A training step of a network may take seconds, and a comparison takes dozens of them.
LIMIT_FACTORS = {NetworkCase.table: 10}
# FReLU's graphs take half a minute, and on a busy machine several times as long.
COMPILING_FACTOR = 4
# After one of these the process may be damaged (a full heap, a lost device): take a fresh one.
FATAL_STATUSES = ("oom", "timeout", "crashed", "error")


class WorkerError(ValueError):
    """The worker cannot do what was asked; the message is one line for the user."""


class Worker:
    """A measuring process, started at once and replaced when a request has broken it.

    Raises
    ------
    WorkerError
        If it cannot start: no such device, torch does not import.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process = _Process(settings)
        self.info = self._greeting()

    def ask(self, request: Request) -> Answer:
        """Return the answer, whatever happens to the process.

        One that is gone, or does not answer in time, makes the status ``"crashed"`` or
        ``"timeout"``. After one of `FATAL_STATUSES` the next request has a fresh process.

        Raises
        ------
        WorkerError
            If no process can be started any more.
        """
        self._revive()
        answer = self._process.ask(request, self._limit_s(request))
        if answer.status in FATAL_STATUSES:
            self._process.end()
        return answer

    def renew(self) -> None:
        """Have a fresh process for what is asked next."""
        self._process.end()

    def close(self) -> None:
        """End the process."""
        self._process.end()

    def _limit_s(self, request: Request) -> float:
        if request.verb == "count":
            return CASE_LIMIT_S
        limit_s = CASE_LIMIT_S + TIMING_LIMIT * self._settings.max_seconds
        if request.verb == "visit" and request.case:
            if compiles(request.case):
                limit_s *= COMPILING_FACTOR
            return limit_s * LIMIT_FACTORS.get(request.case.table, 1)
        return limit_s

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

    def _greeting(self) -> WorkerInfo:
        answer = self._process.answer(START_LIMIT_S)
        if answer.status == "refused":
            raise WorkerError(answer.message)
        if answer.status != "ok":
            self._process.end()
            raise WorkerError(f"the measuring process did not start: {answer.message}")
        return WorkerInfo(**answer.figures)


class _Process:
    def __init__(self, settings: Settings) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the child)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "dynact.worker.serve", json.dumps(asdict(settings))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
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

    def ask(self, request: Request, limit_s: float) -> Answer:
        assert self._child.stdin
        try:
            self._child.stdin.write(request.to_json() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            return self._crashed()
        return self.answer(limit_s)

    def answer(self, limit_s: float) -> Answer:
        assert self._child.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            if not selector.select(limit_s):
                return Answer("timeout", f"no answer within {limit_s:.0f} s")
        line = self._child.stdout.readline()
        return Answer.from_json(line) if line.endswith(b"\n") else self._crashed()

    def end(self) -> None:
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe
            # Closing flushes, and nobody is there to read.
            with suppress(BrokenPipeError):
                pipe.close()

    def _crashed(self) -> Answer:
        code = self._child.wait()
        if code < 0:
            hint = "; often the kernel's out-of-memory killer" if -code == signal.SIGKILL else ""
            said = f"the process was ended by {signal.Signals(-code).name}{hint}"
        else:
            self._stderr.seek(0)
            lines = self._stderr.read().decode(errors="replace").strip().splitlines()
            reason = f": {one_line(lines[-1])}" if lines else ""
            said = f"the process ended with exit code {code}{reason}"
        return Answer("crashed", said)
