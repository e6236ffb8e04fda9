"""What tables need of a trace's events, and no more: a trace has hundreds of thousands."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

from dynact.worker.profile.chrome_trace import EVENTS, items_of, open_trace

# Event categories of what an accelerator does.
_ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
# What the profiler of Python puts before the name of a layer's class.
_MODULE = "nn.Module: "
# What the profiler says of each of CUDA's kernels.
_OCCUPANCY = "est. achieved occupancy %"
_REGISTERS = "registers per thread"
# What tables have room for, whose numbers have 64 bits, also where a trace's are added up.
LATEST_US = 2**62 / 1000
MOST_BYTES = 2**53
MOST_REGISTERS = 2**31
# Under which keys a trace keeps what the profiler had to say.
_WORDS = ("ERROR", "WARNING")
# And since when it counts its times.
_ORIGIN = "baseTimeNanoseconds"


@dataclass(eq=False, slots=True)
class Operator:
    """A call of an operator, or the evaluation of a node of autograd's graph."""

    name: str
    thread: Any
    start_ns: int
    end_ns: int
    shapes: str = ""
    """Of the tensors given to it: ``"8x64x28x28 8x64"``."""
    external_id: int | None = None
    sequence_number: int | None = None
    """The same for a forward operator and the node that differentiates it."""
    children: list["Operator"] = field(default_factory=list)

    @property
    def duration_ns(self) -> int:
        """With its children's."""
        return self.end_ns - self.start_ns

    @property
    def self_ns(self) -> int:
        """The duration without its children's."""
        return self.duration_ns - sum(child.duration_ns for child in self.children)

    def walk(self) -> Iterator["Operator"]:
        """Yield it and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Work(NamedTuple):
    """What an accelerator did: a kernel, or a transfer."""

    name: str
    is_kernel: bool
    start_ns: int
    end_ns: int
    correlation: Any
    external_id: int | None
    occupancy_percent: float | None
    registers_per_thread: int | None


class Launch(NamedTuple):
    """A call of the host's that an accelerator may work for."""

    at_ns: int
    thread: Any
    external_id: int | None
    is_of_kernel: bool


class Span(NamedTuple):
    """A stretch of a host's thread: a layer's call, or what a user or torch annotated."""

    name: str
    thread: Any
    start_ns: int
    end_ns: int


class Differentiated(NamedTuple):
    """The begin of a forward operator that a node of autograd's graph differentiates."""

    at_ns: int
    thread: Any


class Allocation(NamedTuple):
    """An allocation, or a free of so many bytes below zero."""

    at_ns: int
    thread: Any
    on_host: bool
    bytes: int


@dataclass(slots=True)
class Events:
    """A trace's events by what they are, in no order; times in ns since an origin of the trace."""

    operators: list[Operator] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    launches: dict[Any, Launch] = field(default_factory=dict)
    """By correlation: a graph's kernels share theirs."""
    layers: list[Span] = field(default_factory=list)
    annotations: list[Span] = field(default_factory=list)
    differentiated: list[Differentiated] = field(default_factory=list)
    allocations: list[Allocation] = field(default_factory=list)
    origin_ns: int = 0
    """Since 1970; 0 where the trace does not say."""
    words: list[str] = field(default_factory=list)
    """The profiler's errors and warnings."""


def read_trace(path: Path) -> Events:
    """Return the events of a file in Chrome's format, packed or not.

    Raises
    ------
    ValueError
        If it is none, was cut short, or is not as torch's profiler writes it: one line.
    """
    with open_trace(path) as text:
        return events_of(items_of(text))


def events_of(items: Iterable[tuple[str, Any]]) -> Events:
    """Return the events among what a trace holds (`items_of`).

    Raises
    ------
    ValueError
        If an event lacks what every one of its category has: one line.
    """
    events = Events()
    for key, item in items:
        if key in _WORDS and isinstance(item, list):
            events.words += map(str, item)
        elif key == _ORIGIN and isinstance(item, int):
            events.origin_ns = item
        elif key == EVENTS and isinstance(item, dict) and "ts" in item:
            try:
                _take(events, item)
            except (AttributeError, KeyError, TypeError, ValueError):
                name = " ".join(repr(item.get(of))[:40] for of in ("cat", "name"))
                raise ValueError(f"an event is not as torch's profiler writes it: {name}") from None
    return events


def _take(events: Events, event: dict[str, Any]) -> None:
    category, arguments = event.get("cat"), event.get("args", {})
    if category == "cpu_op":
        events.operators.append(
            Operator(
                _name(event["name"]),
                *_when(event),
                intern(_shapes(arguments.get("Input Dims", ()))),
                _external_id(arguments),
                _whole(arguments.get("Sequence number")),
            )
        )
    elif category in _ON_DEVICE:
        _, start_ns, end_ns = _when(event)
        events.work.append(
            Work(
                _name(event["name"]),
                category == "kernel",
                start_ns,
                end_ns,
                _whole(arguments.get("correlation")),
                _external_id(arguments),
                _occupancy(arguments),
                _registers(arguments),
            )
        )
    elif category == "python_function":
        if event["name"].startswith(_MODULE):
            events.layers.append(Span(_name(event["name"]), *_when(event)))
    elif category == "user_annotation":
        events.annotations.append(Span(_name(event["name"]), *_when(event)))
    elif category == "fwdbwd":
        # An arrow from the forward operator, "s", to its node, "f".
        if event["ph"] == "s":
            begin = Differentiated(_in_ns(event["ts"]), _thread(event["tid"]))
            events.differentiated.append(begin)
    elif event.get("name") == "[memory]":
        on_host = arguments["Device Type"] == 0  # the profiler's number of the host
        size = _whole(arguments["Bytes"]) or 0
        if abs(size) > MOST_BYTES:
            raise ValueError("no size that a memory has")
        at_ns, thread = _in_ns(event["ts"]), _thread(event.get("tid"))
        events.allocations.append(Allocation(at_ns, thread, on_host, size))
    elif str(category).endswith(("_runtime", "_driver")) and "correlation" in arguments:
        at_ns, is_of_kernel = _in_ns(event["ts"]), "Launch" in event["name"]
        launch = Launch(at_ns, _thread(event["tid"]), _external_id(arguments), is_of_kernel)
        events.launches[_whole(arguments["correlation"])] = launch


def _name(value: str) -> str:
    """Return a name with escapes in place of what cannot be shown."""
    if value.isprintable():
        return intern(value)
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    return intern("".join(shown))


def _in_ns(microseconds: float) -> int:
    """Return a time of a trace in ns."""
    if isinstance(microseconds, bool) or not abs(microseconds) < LATEST_US:
        raise ValueError("no time that a trace has")
    return round(microseconds * 1000)


def _whole(value: Any) -> int | None:
    """Return a whole number, if there is one."""
    if value is None or type(value) is int:
        return value
    raise TypeError("no whole number")


def _thread(value: Any) -> Any:
    """Return what a trace calls a thread, or a stream: a number, or words."""
    if isinstance(value, int | float | str):
        return value
    raise TypeError("no thread's name")


def _when(event: dict[str, Any]) -> tuple[Any, int, int]:
    start_us, lasts_us = event["ts"], event["dur"]
    if lasts_us < 0:
        raise ValueError("no time that anything takes")
    return _thread(event["tid"]), _in_ns(start_us), _in_ns(start_us + lasts_us)


def _external_id(arguments: dict[str, Any]) -> int | None:
    number = _whole(arguments.get("External id", arguments.get("external id")))
    # Up to torch 2.0 a launch had its own number there, which may also be that of an operator.
    return None if number == arguments.get("correlation") else number


def _shapes(dims: Any) -> str:
    shapes = re.findall(r"\[([\d, ]+)\]", str(dims))
    return " ".join(shape.replace(", ", "x") for shape in shapes)


def _registers(arguments: dict[str, Any]) -> int | None:
    count = _whole(arguments.get(_REGISTERS))
    if count is not None and not 0 <= count < MOST_REGISTERS:
        raise ValueError("no number of registers")
    return count


def _occupancy(arguments: dict[str, Any]) -> float | None:
    percent: float | None = arguments.get(_OCCUPANCY)
    # Where the profiler could not estimate it, it has been seen to say a negative number.
    return percent if percent is not None and percent >= 0 else None
