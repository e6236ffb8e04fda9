"""The steps in a trace, with each one's operators as trees."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]

# Event categories of what an accelerator does.
ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
# What autograd's engine puts before the name of a node it evaluates.
BACKWARD = "autograd::engine::evaluate_function: "
# What the profiler of Python puts before the name of a layer's class.
MODULE = "nn.Module: "


@dataclass(eq=False)
class Operator:
    """A call of an operator, or the evaluation of a node of autograd's graph."""

    name: str
    start_ns: int
    duration_ns: int
    arguments: Event
    children: list["Operator"] = field(default_factory=list)

    @property
    def self_ns(self) -> int:
        """The duration without its children's."""
        return self.duration_ns - sum(child.duration_ns for child in self.children)

    @property
    def end_ns(self) -> int:
        """When it returned."""
        return self.start_ns + self.duration_ns

    def walk(self) -> Iterator["Operator"]:
        """Yield it and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Step:
    """One step of a trace; times in ns since an origin that all steps share."""

    start_ns: int
    layer_ns: tuple[int, int]
    """When the layer was called and when it returned; the step calls no other before it."""
    roots: tuple[Operator, ...]
    """The outermost operators, by start."""
    launched: tuple[tuple[Event, int], ...]
    """What ran on an accelerator, and the external id of the operator that launched it."""
    memory: tuple[Event, ...]
    """Allocations and frees, by time, on any device."""


def steps_of(trace: dict[str, Any]) -> list[Step]:
    """Return the steps of a trace in Chrome's format, in order.

    What an accelerator does belongs to the step that launched it, whenever it ran.
    """
    events: list[Event] = sorted(
        (e for e in trace["traceEvents"] if "ts" in e),
        key=lambda e: (e["ts"], -e.get("dur", 0)),
    )
    roots = _trees([e for e in events if e.get("cat") == "cpu_op"])
    layers = [
        _when(e)
        for e in events
        if e.get("cat") == "python_function" and e["name"].startswith(MODULE)
    ]
    launches = {
        e["args"]["correlation"]: e["args"]["External id"]
        for e in events
        if str(e.get("cat")).endswith(("_runtime", "_driver"))
        and {"correlation", "External id"} <= e["args"].keys()
    }
    steps = []
    for mark in events:
        if mark.get("cat") == "user_annotation" and mark["name"].startswith("ProfilerStep#"):
            start_ns, end_ns = _when(mark)
            # Without stacks nothing is known to be the layer's.
            layer_ns = next(
                (when for when in layers if start_ns <= when[0] < end_ns), (start_ns, start_ns)
            )
            own = tuple(root for root in roots if start_ns <= root.start_ns < end_ns)
            ids = {op.arguments.get("External id") for root in own for op in root.walk()}
            launched = tuple(
                (e, launches[e["args"].get("correlation")])
                for e in events
                if e.get("cat") in ON_DEVICE and launches.get(e["args"].get("correlation")) in ids
            )
            memory = tuple(
                e for e in events
                if e["name"] == "[memory]" and start_ns <= in_ns(e["ts"]) < end_ns
            )  # fmt: skip
            steps.append(Step(start_ns, layer_ns, own, launched, memory))
    return steps


def in_ns(microseconds: float) -> int:
    """Return a time of a trace in ns."""
    return round(microseconds * 1000)


def shapes_of(operator: Operator) -> str:
    """Return the shapes of the tensors given to an operator: ``"8x64x28x28 8x64"``."""
    shapes = re.findall(r"\[([\d, ]+)\]", str(operator.arguments.get("Input Dims", [])))
    return " ".join(shape.replace(", ", "x") for shape in shapes)


def _when(event: Event) -> tuple[int, int]:
    return in_ns(event["ts"]), in_ns(event["ts"] + event["dur"])


def _trees(events: list[Event]) -> list[Operator]:
    roots: list[Operator] = []
    open_by_thread: dict[Any, list[Operator]] = {}
    for event in events:
        start_ns, end_ns = _when(event)
        operator = Operator(event["name"], start_ns, end_ns - start_ns, event.get("args", {}))
        within = open_by_thread.setdefault(event["tid"], [])
        while within and within[-1].end_ns <= operator.start_ns:
            within.pop()
        (within[-1].children if within else roots).append(operator)
        within.append(operator)
    return roots
