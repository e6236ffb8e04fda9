"""Cases profiled and counted on the CPU, and traces of an accelerator made by hand."""

from collections.abc import Sequence
from typing import Any

from dynact.schema.cases import Case
from dynact.schema.limits import Ceilings
from dynact.worker.device import Cpu
from dynact.worker.profile import (
    OperatorTraffic,
    Tables,
    ready_step,
    record,
    steps_of,
    tables_of,
    traffic_of_operators,
)
from dynact.worker.profile.chrome_trace import EVENTS
from dynact.worker.profile.events import events_of
from dynact.worker.profile.steps import Step
from tests.measuring import count


def tables(case: Case, steps: int = 2) -> Tables:
    """Return the tables of a case's trace."""
    with ready_step(case, Cpu()) as step:
        trace = record(step, Cpu(), steps)
    return tables_of(steps_of(trace.events), "cpu", traffic_of_operators(case, Cpu()))


def steps_in(events: Sequence[dict[str, Any]]) -> list[Step]:
    """Return the steps of a trace's events."""
    return steps_of(events_of((EVENTS, one) for one in events))


def device_tables(
    events: Sequence[dict[str, Any]],
    traffic: Sequence[OperatorTraffic] = (),
    ceilings: Ceilings | None = None,
) -> Tables:
    """Return the tables of a GPU's events."""
    return tables_of(steps_in(events), "cuda", traffic, ceilings)


def counted(case: Case) -> dict[str, Any]:
    """Return what a case's row says that was counted."""
    figures = count(case, Cpu())
    assert figures.pop("message") == ""
    return figures


def event(name: str, category: str, ts: float, dur: float, **args: Any) -> dict[str, Any]:
    """Return an event as in a trace, of thread 1 unless ``tid`` says another; times in µs."""
    tid = args.pop("tid", 1)
    return {"name": name, "cat": category, "ts": ts, "dur": dur, "tid": tid, "args": args}


def launches(*kernels: tuple[str, float, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events of a step in which each kernel is launched by a SiLU of its own.

    A kernel is a name, a duration in µs and what the profiler says of it.
    """
    events = [event("ProfilerStep#1", "user_annotation", 0, 100)]
    for number, (name, dur, arguments) in enumerate(kernels, 1):
        ids = {"External id": number, "correlation": number}
        events += [
            event("aten::silu", "cpu_op", 5 * number, 4, **{"External id": number}),
            event("launch", "cuda_runtime", 5 * number + 1, 1, **ids),
            event(name, "kernel", 50 * number, dur, correlation=number, **arguments),
        ]
    return events
