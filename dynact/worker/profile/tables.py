"""A trace's tables of one step: its kernels, their timeline, and the memory over it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
from dynact.worker.profile.steps import Step
from dynact.worker.profile.traffic_by_operator import OperatorTraffic

# Of operators; none of one that is another than was counted.
_Bytes = dict[Operator, int | None]


class NothingOnDeviceError(ValueError):
    """Operators ran on an accelerator, and their trace holds nothing of what it did."""


@dataclass(frozen=True)
class Tables:
    """What a trace says of its step of median duration among the last half."""

    steps: int
    step_ns: int
    """Sum of the self device time: of operators on a CPU, of all that ran on an accelerator."""
    coverage: float
    """The share of ``step_ns`` that belongs to the layer: its own call, and that one's backward."""
    operators: int
    """Calls of operators that read or write, as `dynact.cost.TrafficCounter` counts them."""
    kernels: pd.DataFrame
    """A line a kernel, operator, part and input shapes, and another one of what only calls one of
    its own name; the times add up to ``step_ns``.

    ``operator`` is what launched the kernel, on a CPU the kernel itself, and ``NO_OPERATOR`` where
    none was open when the host launched it, as of a graph's replay. ``calls`` are calls of
    an operator on a CPU and launches of a kernel on an accelerator, and ``time_ns`` and ``bytes``
    are of all of them. ``ceiling_bytes_per_s`` is the fastest that the device was seen to move
    tensors of N bytes, where one call moves 2 N, as a copy does.
    ``occupancy_percent`` is the mean over time of the profiler's estimate, ``registers_per_thread``
    the most; empty where it gives none, as on a CPU.
    """
    timeline: pd.DataFrame
    """A line a call, in order; what only views, allocates or dispatches has none.

    ``start_ns`` is since the step's begin on a CPU. On an accelerator it is since the step's first
    kernel: before it work of earlier steps may wait in the queue.
    """
    memory: pd.DataFrame
    """A line an allocation or a free.

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
    chosen = _chosen([sum(work.time_ns for work in of_step) for of_step in works])
    step_ns = sum(work.time_ns for work in works[chosen])
    known_ns = sum(work.time_ns for work in works[chosen] if work.part != "other")
    return Tables(
        steps=len(steps),
        step_ns=step_ns,
        coverage=known_ns / step_ns if step_ns else 0.0,
        operators=sum(call.launches for call in calls[chosen]),
        kernels=_kernels(works[chosen], step_ns, ceilings),
        timeline=_timeline(works[chosen], _origin_ns(works[chosen], steps[chosen], device_type)),
        memory=_memory(steps[chosen], parts[chosen], device_type),
    )


def _chosen(totals_ns: Sequence[int]) -> int:
    """Return which step is that of median duration among the last half."""
    # A loop's end leaves one behind in which nothing ran.
    ran = [number for number, total_ns in enumerate(totals_ns) if total_ns] or [0]
    # The first steps under a profiler were seen to take twice as long.
    warm = ran[len(ran) // 2 :]
    return sorted(warm, key=totals_ns.__getitem__)[(len(warm) - 1) // 2]


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


def _kernels(works: Sequence[_Work], step_ns: int, ceilings: Ceilings | None) -> pd.DataFrame:
    table = pd.DataFrame([vars(work) for work in works], columns=list(_Work.__annotations__))
    table["weighted_percent"] = table["occupancy_percent"].astype(float) * table["time_ns"]
    # An overload that only calls another has its name and shapes, and bytes of its own it has none.
    key = ["kernel", "operator", "kind", "part", "input_shapes", "on_timeline"]
    groups = table.groupby(key, sort=False)
    kernels = groups.agg(
        calls=("time_ns", "size"),
        time_ns=("time_ns", "sum"),
        # Unknown of one call is unknown of all.
        bytes=("bytes", lambda of_calls: of_calls.sum(skipna=False)),
        weighted_percent=("weighted_percent", lambda of_calls: of_calls.sum(skipna=False)),
        registers_per_thread=("registers_per_thread", "max"),
    ).reset_index()
    kernels["share"] = kernels["time_ns"] / step_ns
    kernels["bytes"] = kernels["bytes"].astype("Int64")
    kernels["bandwidth_bytes_per_s"] = kernels["bytes"] / kernels["time_ns"] * 1e9
    kernels["ceiling_bytes_per_s"] = [
        _ceiling(moved_bytes, calls, ceilings)
        for moved_bytes, calls in zip(kernels["bytes"], kernels["calls"], strict=True)
    ]
    kernels["occupancy_percent"] = kernels["weighted_percent"] / kernels["time_ns"]
    kernels["registers_per_thread"] = kernels["registers_per_thread"].astype("Int64")
    longest_first = kernels.sort_values("time_ns", ascending=False, kind="stable")
    return longest_first.drop(columns=["weighted_percent", "on_timeline"])


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
