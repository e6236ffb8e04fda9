"""From a case to all that the profiler says of it, every part of the same warm step."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from dynact.activations import PLAIN
from dynact.schema.cases import Case
from dynact.schema.limits import Ceilings
from dynact.schema.profile import times_hold
from dynact.schema.redact import error_line
from dynact.timing.clock import Call
from dynact.worker.captured import Replay
from dynact.worker.device import Device
from dynact.worker.layer import feed_of, prepared, ready_call
from dynact.worker.modes import grad_mode
from dynact.worker.profile.memory_page import memory_page
from dynact.worker.profile.memory_timeline import MemoryTimeline
from dynact.worker.profile.record import Trace, record
from dynact.worker.profile.snapshot import memory_snapshot
from dynact.worker.profile.steps import steps_of
from dynact.worker.profile.tables import NothingOnDeviceError, Tables, tables_of
from dynact.worker.profile.traffic_by_operator import OperatorTraffic, traffic_of_operators
from dynact.worker.profile.words import words_kept, worth_hearing

T = TypeVar("T")
# How often a case is traced at most, if other programs disturb it.
_MOST_TRIES = 3


@dataclass(frozen=True)
class Profiled:
    """What the profiler says of a case."""

    trace: Trace
    tables: Tables
    untraced_ns: float
    """Median time of one call without the profiler, by the device's clock.

    Of as many calls as are profiled, directly before them, each after an untimed one as in a sweep:
    against it the tables' ``step_ns`` shows what the profiler itself costs.
    """
    tries: int
    """How often the case was traced until these two agreed, or as nearly as in any try."""
    memory_page: str | None
    """HTML, of the step that the tables show; ``None`` where it could not be made."""
    memory_snapshot: bytes | None
    """Pickled; ``None`` where there is none."""
    failures: tuple[str, ...]
    """What of all this could not be made, and why, a line each."""
    on_accelerator: bool
    """Whether the device is any but the host itself."""


def profile_case(
    case: Case, device: Device, steps: int, ceilings: Ceilings | None = None
) -> Profiled:
    """Profile ``steps`` calls of a case: its layer, input and call are those that are timed.

    A trace that was disturbed, so that its times and those without the profiler are far apart, is
    made again a few times at most; of all tries the nearest is taken.

    Parameters
    ----------
    ceilings
        What the device can do, as the run has measured it.
    """
    failures: list[str] = []

    def or_none(what: str, make: Callable[[], T]) -> T | None:
        # Beside the trace, whose time is what a case is profiled for.
        try:
            return make()
        except Exception as error:
            failures.append(f"no {what}: {error_line(error)}")
            return None

    # Generated code moves other bytes than the operators it stands for.
    shows_operators = case.mode == "eager" and case.impl in PLAIN
    traffic = traffic_of_operators(case, device) if shows_operators else []
    tries: list[_Try] = []
    with ready_step(case, device) as step:
        while len(tries) < _MOST_TRIES and not any(one.holds for one in tries):
            tries.append(_traced(step, device, steps, traffic, ceilings))
        snapshot = or_none("memory snapshot", lambda: memory_snapshot(step, device))
    nearest = min(tries, key=lambda one: one.distance)
    page = or_none("memory page", lambda: memory_page(nearest.memory, case.id))
    return Profiled(
        nearest.trace,
        nearest.tables,
        nearest.untraced_ns,
        len(tries),
        page,
        snapshot,
        tuple(failures),
        device.is_accelerator,
    )


@dataclass(frozen=True)
class _Try:
    """A trace, and what the same steps took directly before it."""

    trace: Trace
    tables: Tables
    untraced_ns: float
    holds: bool

    @property
    def memory(self) -> MemoryTimeline:
        """Of the step that the tables show.

        Raises
        ------
        Exception
            What went wrong where it could not be made.
        """
        memory, origin_ns = self.trace.memory, self.trace.events.origin_ns
        if isinstance(memory, Exception):
            raise memory
        return memory.within(*(origin_ns + ns for ns in self.tables.shown_ns))

    @property
    def distance(self) -> float:
        """Between the times with the profiler and without."""
        if self.holds:
            return 0.0
        return abs(math.log(self.tables.step_ns / self.untraced_ns))


def _traced(
    step: Call,
    device: Device,
    steps: int,
    traffic: Sequence[OperatorTraffic],
    ceilings: Ceilings | None,
) -> _Try:
    untraced_ns = statistics.median(device.clock.call_ns(step, 1) for _ in range(steps))
    with words_kept() as words:
        trace = record(step, device, steps)
    try:
        tables = tables_of(steps_of(trace.events), device.torch_device.type, traffic, ceilings)
    except NothingOnDeviceError as error:
        heard = dict.fromkeys([*words, *worth_hearing(trace.events.words)])
        said = "; ".join(heard) or "nothing of why"
        raise NothingOnDeviceError(f"{error}; the profiler says {said}") from None
    # Of a step in which nothing runs there is no time to be far from another.
    holds = not tables.step_ns or times_hold(tables.step_ns, untraced_ns, device.is_accelerator)
    return _Try(trace, tables, untraced_ns, holds)


@contextmanager
def ready_step(case: Case, device: Device) -> Iterator[Call]:
    """Yield what is timed of a case, warm, in the context in which it is called."""
    layer = prepared(case, device)
    with grad_mode(case):
        call = ready_call(layer, case, feed_of(case, device))
        if case.mode != "graph":
            yield call
            return
        replay = Replay(call, device)
        try:
            replay.capture()
            yield _Graph(replay)
        finally:
            replay.release()
            device.release_memory()


class _Graph(nn.Module):
    """A graph's replay, as the layer that the profiler is to see called."""

    def __init__(self, replay: Call) -> None:
        super().__init__()
        self._replay = replay

    def forward(self) -> None:
        self._replay()
