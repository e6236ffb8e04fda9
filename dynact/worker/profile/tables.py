"""A trace's tables: its kernels over the steps, and the timeline and memory of one of them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dynact.schema.limits import Ceilings
from dynact.schema.profile import NO_OPERATOR
from dynact.worker.device import is_host
from dynact.worker.profile.events import Operator
from dynact.worker.profile.kernel_kind import kind_of_kernel
from dynact.worker.profile.operator_category import (
    category_of,
    is_composite,
    is_generated,
    moves_nothing,
)
from dynact.worker.profile.parts import LayerParts, Parts
from dynact.worker.profile.steady import Stretch, steady_steps
from dynact.worker.profile.steps import Step
from dynact.worker.profile.traffic_by_operator import OperatorTraffic

# Of what is summed up in one line. An overload that only calls another has its name and shapes, and
# bytes of its own it has none.
_KEY = ["kernel", "operator", "kind", "part", "input_shapes", "on_timeline"]
# In percent: as of the rows' times.
_SPREAD = (20, 80)
# Of operators; none of one that is another than was counted.
_Bytes = dict[Operator, int | None]


class NothingOnDeviceError(ValueError):
    """Operators ran on an accelerator, and their trace holds nothing of what it did."""


@dataclass(frozen=True)
class Tables:
    """What a trace says of a step, by those that `steady_steps` takes."""

    steps: int
    """In the trace."""
    steps_taken: int
    """Over how many of these the medians are."""
    steps_disturbed: int
    """How many of these were left out, as something else had the processor in between."""
    step_ns: float
    """Self device time: of operators on a CPU, of all that ran on an accelerator. The sum of the
    medians in ``kernels``."""
    step_p20_ns: float
    """The 20th percentile over the steps of that time in each."""
    step_p80_ns: float
    """The 80th."""
    shown_ns: tuple[int, int]
    """When the step of ``timeline`` and ``memory`` began and ended, by the trace's clock."""
    coverage: float
    """The share of ``step_ns`` that belongs to the layer: its own call, and that one's backward."""
    operators: int
    """Calls of operators that read or write, as `dynact.cost.TrafficCounter` counts them."""
    kernels: pd.DataFrame
    """A line a kernel, operator, part and input shapes, and another one of what only calls one of
    its own name; the times add up to ``step_ns``.

    ``time_ns`` is the median over the steps, between the percentiles ``time_p20_ns`` and
    ``time_p80_ns``. ``operator`` is what launched the kernel, on a CPU the kernel itself, and
    ``NO_OPERATOR`` where none was open when the host launched it, as of a graph's replay.
    ``calls`` are calls of an operator on a CPU and launches of a kernel on an accelerator in one
    step, and times and ``bytes`` are of all of them. ``ceiling_bytes_per_s`` is the fastest that
    the device was seen to move tensors of N bytes, where one call moves 2 N, as a copy does.
    ``occupancy_percent`` is the mean over time of the profiler's estimate, ``registers_per_thread``
    the most; empty where it gives none, as on a CPU.
    """
    timeline: pd.DataFrame
    """A line a call of one of the steps, in order; what only views, allocates or dispatches has
    none.

    ``start_ns`` is since the step's begin on a CPU. On an accelerator it is since the step's first
    kernel: before it work of earlier steps may wait in the queue.
    """
    memory: pd.DataFrame
    """A line an allocation or a free in that same step.

    ``at_ns`` is since the step's begin, by the host's clock on any device: not to be compared with
    an accelerator's ``start_ns``. ``part`` says where the host was: in the layer's call
    ("forward"), between the start of the first backward node and the end of the last
    ("backward"), or elsewhere ("other").
    """


@dataclass(frozen=True)
class _Call:
    """A call that is told apart: what has code of its own, or what dispatches to such calls."""

    operator: Operator
    part: str
    is_composite: bool
    launches: bool
    """Whether it reads or writes, and does not only view, allocate or dispatch."""


@dataclass(frozen=True)
class _Work:
    """A stretch of device time."""

    kernel: str
    operator: str
    kind: str
    part: str
    start_ns: int
    time_ns: int
    input_shapes: str
    bytes: int | None
    on_timeline: bool
    occupancy_percent: float | None = None
    registers_per_thread: int | None = None


def tables_of(
    steps: Sequence[Step],
    device_type: str,
    traffic: Sequence[OperatorTraffic] = (),
    ceilings: Ceilings | None = None,
    parts_of: Callable[[Step], Parts] = LayerParts,
) -> Tables:
    """Return the tables of a trace's steps.

    On a CPU a kernel is an operator with code of its own, with all that this code calls, and
    generated code is one; on an accelerator it is what ran there.

    Parameters
    ----------
    steps
        As `steps_of` finds them in a trace.
    device_type
        Where the work was done: ``"cpu"``, ``"cuda"``.
    traffic
        What each operator reads and writes, in their order (`traffic_of_operators`); left out where
        there are not as many as operators, and of an operator that is another than was counted.
    ceilings
        The device's, where they are known.
    parts_of
        What tells forward, backward and the rest of a step apart.

    Raises
    ------
    NothingOnDeviceError
        If operators ran on an accelerator, and the trace says nothing of what it did.
    ValueError
        If there is no step: the trace was cut short.
    """
    if not steps:
        raise ValueError("the trace holds no step: it was cut short")
    parts = list(map(parts_of, steps))
    calls = [
        list(_calls(step, of_step, device_type)) for step, of_step in zip(steps, parts, strict=True)
    ]
    if not is_host(device_type) and not any(step.launched for step in steps):
        _check_nothing_to_launch(calls)
    arrange = _on_host if is_host(device_type) else _on_device
    works = [
        arrange(step, of_step, _bytes_of(of_step, traffic), parts_of_step)
        for step, of_step, parts_of_step in zip(steps, calls, parts, strict=True)
    ]
    steady = steady_steps(
        [_stretch(step, of_step, device_type) for step, of_step in zip(steps, works, strict=True)]
    )
    kernels = _kernels([works[number] for number in steady.taken], ceilings)
    step_ns = float(kernels["time_ns"].sum())
    known_ns = float(kernels.loc[kernels["part"] != "other", "time_ns"].sum())
    totals_ns = [sum(work.time_ns for work in works[number]) for number in steady.taken]
    p20_ns, p80_ns = np.percentile(totals_ns, _SPREAD)
    shown, work_shown = steps[steady.shown], works[steady.shown]
    return Tables(
        steps=len(steps),
        steps_taken=len(steady.taken),
        steps_disturbed=steady.disturbed,
        step_ns=step_ns,
        step_p20_ns=float(p20_ns),
        step_p80_ns=float(p80_ns),
        shown_ns=(shown.start_ns, shown.end_ns),
        coverage=known_ns / step_ns if step_ns else 0.0,
        operators=sum(call.launches for call in calls[steady.shown]),
        kernels=kernels,
        timeline=_timeline(work_shown, _origin_ns(work_shown, shown, device_type)),
        memory=_memory(shown, parts[steady.shown], device_type),
    )


def _stretch(step: Step, works: Sequence[_Work], device_type: str) -> Stretch:
    begin_ns, end_ns = step.start_ns, step.end_ns
    if not is_host(device_type):
        # Its host may be steps ahead, and then wait for it.
        begin_ns = min((work.start_ns for work in works), default=0)
        end_ns = max((work.start_ns + work.time_ns for work in works), default=0)
    return Stretch(
        end_ns - begin_ns,
        sum(work.time_ns for work in works),
        Counter(tuple(getattr(work, field) for field in _KEY) for work in works),
    )


def _check_nothing_to_launch(calls: Sequence[Sequence[_Call]]) -> None:
    if any(
        call.launches or is_generated(call.operator.name) for of_step in calls for call in of_step
    ):
        raise NothingOnDeviceError("the trace holds nothing of what the device did")


def _calls(step: Step, parts: Parts, device_type: str) -> Iterator[_Call]:
    for root in step.roots:
        yield from _told_apart(root, parts.of(root), device_type)


def _told_apart(operator: Operator, part: str, device_type: str) -> Iterator[_Call]:
    calls_its_name = any(child.name == operator.name for child in operator.children)
    if not is_composite(operator.name, device_type, calls_its_name):
        yield _Call(operator, part, False, not moves_nothing(operator.name))
        return
    yield _Call(operator, part, True, False)
    for child in operator.children:
        yield from _told_apart(child, part, device_type)


def _on_host(_step: Step, calls: Sequence[_Call], bytes_of: _Bytes, _parts: Parts) -> list[_Work]:
    return [
        _Work(
            call.operator.name,
            call.operator.name,
            category_of(call.operator.name),
            call.part,
            call.operator.start_ns,
            call.operator.self_ns if call.is_composite else call.operator.duration_ns,
            call.operator.shapes,
            bytes_of.get(call.operator),
            call.launches,
        )
        for call in calls
    ]


def _on_device(step: Step, calls: Sequence[_Call], bytes_of: _Bytes, parts: Parts) -> list[_Work]:
    call_of: dict[Operator | None, _Call] = {
        operator: call
        for call in calls
        for operator in ([call.operator] if call.is_composite else call.operator.walk())
    }
    # None where no operator was open, or one that began in another step.
    launched_by = [call_of.get(one.operator) for one in step.launched]
    launches = Counter(call.operator for call in launched_by if call)
    works = []
    for (work, innermost, at_ns, thread), call in zip(step.launched, launched_by, strict=True):
        operator = call.operator if call else innermost
        name = operator.name if operator else NO_OPERATOR
        works.append(
            _Work(
                work.name,
                name,
                kind_of_kernel(work.name, name) if work.is_kernel else "memory",
                call.part if call else parts.at(at_ns, thread),
                work.start_ns,
                work.end_ns - work.start_ns,
                operator.shapes if operator else "",
                # Of an operator that launches several kernels nobody says which moved what.
                bytes_of.get(call.operator) if call and launches[call.operator] == 1 else None,
                on_timeline=True,
                occupancy_percent=work.occupancy_percent,
                registers_per_thread=work.registers_per_thread,
            )
        )
    return works


def _bytes_of(calls: Sequence[_Call], traffic: Sequence[OperatorTraffic]) -> _Bytes:
    launching = [call.operator for call in calls if call.launches]
    if len(launching) != len(traffic):
        return {}
    return {
        operator: counted.by(operator.name)
        for operator, counted in zip(launching, traffic, strict=True)
    }


def _kernels(steps: Sequence[Sequence[_Work]], ceilings: Ceilings | None) -> pd.DataFrame:
    """Return the kernels of steps that all did the same work."""
    table = pd.DataFrame(
        [vars(work) | {"step": number} for number, works in enumerate(steps) for work in works],
        columns=[*_Work.__annotations__, "step"],
    )
    # Of no lines pandas knows no type.
    table["time_ns"] = table["time_ns"].astype(float)
    table["weighted_percent"] = table["occupancy_percent"].astype(float) * table["time_ns"]
    groups = table.groupby(_KEY, sort=False)
    kernels = groups.agg(
        calls=("time_ns", "size"),
        all_ns=("time_ns", "sum"),
        # Unknown of one call is unknown of all.
        bytes=("bytes", lambda of_calls: of_calls.sum(skipna=False)),
        weighted_percent=("weighted_percent", lambda of_calls: of_calls.sum(skipna=False)),
        registers_per_thread=("registers_per_thread", "max"),
    )
    of_steps = table.groupby([*_KEY, "step"], sort=False)["time_ns"].sum().groupby(_KEY, sort=False)
    low, high = _SPREAD
    kernels = kernels.assign(
        time_ns=of_steps.median(),
        time_p20_ns=of_steps.quantile(low / 100),
        time_p80_ns=of_steps.quantile(high / 100),
    ).reset_index()
    kernels["calls"] //= len(steps)
    kernels["bytes"] //= len(steps)
    kernels["share"] = kernels["time_ns"] / kernels["time_ns"].sum()
    kernels["bytes"] = kernels["bytes"].astype("Int64")
    kernels["bandwidth_bytes_per_s"] = kernels["bytes"] / kernels["time_ns"] * 1e9
    kernels["ceiling_bytes_per_s"] = [
        _ceiling(moved_bytes, calls, ceilings)
        for moved_bytes, calls in zip(kernels["bytes"], kernels["calls"], strict=True)
    ]
    kernels["occupancy_percent"] = kernels["weighted_percent"] / kernels["all_ns"]
    kernels["registers_per_thread"] = kernels["registers_per_thread"].astype("Int64")
    longest_first = kernels.sort_values("time_ns", ascending=False, kind="stable")
    return longest_first.drop(columns=["weighted_percent", "all_ns", "on_timeline"])


def _ceiling(moved_bytes: Any, calls: int, ceilings: Ceilings | None) -> float | None:
    if ceilings is None or pd.isna(moved_bytes):
        return None
    return ceilings.bandwidth_bytes_per_s(moved_bytes // (2 * calls))


def _origin_ns(works: Sequence[_Work], step: Step, device_type: str) -> int:
    if is_host(device_type):
        return step.start_ns
    return min((work.start_ns for work in works), default=step.start_ns)


def _timeline(works: Sequence[_Work], origin_ns: int) -> pd.DataFrame:
    rows = [
        (work.start_ns - origin_ns, work.time_ns, work.kernel, work.kind, work.part)
        for work in works
        if work.on_timeline
    ]
    return pd.DataFrame(rows, columns=["start_ns", "duration_ns", "kernel", "kind", "part"])


def _memory(step: Step, parts: Parts, device_type: str) -> pd.DataFrame:
    rows = [(0, 0, "forward")]
    for at_ns, thread, on_host, allocated_bytes in step.allocations:
        if on_host == is_host(device_type):
            held_bytes = rows[-1][1] + allocated_bytes
            rows.append((at_ns - step.start_ns, held_bytes, parts.at(at_ns, thread)))
    return pd.DataFrame(rows, columns=["at_ns", "allocated_bytes", "part"])
