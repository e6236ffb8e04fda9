"""The steps in a trace: each one's operators as trees, and what an accelerator did for it."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from dynact.worker.profile.events import (
    Allocation,
    Differentiated,
    Events,
    Launch,
    Operator,
    Span,
    Work,
)

# What autograd's engine puts before the name of a node it evaluates.
BACKWARD = "autograd::engine::evaluate_function: "
# How the profiler's schedule marks a step.
STEP = "ProfilerStep#"

_start = attrgetter("start_ns")
T = TypeVar("T")


class Launched(NamedTuple):
    """Work of an accelerator, and who asked for it."""

    work: Work
    operator: Operator | None
    """The innermost that was open, ``None`` where none was."""
    at_ns: int
    """When the host launched it; when it ran, where the trace does not say."""
    thread: Any
    """On which the host did; ``None`` where the trace does not say."""


@dataclass(frozen=True)
class Step:
    """One step of a trace; times in ns since an origin that all steps share."""

    start_ns: int
    end_ns: int
    thread: Any
    """On which it ran."""
    roots: tuple[Operator, ...]
    """The outermost operators, by start."""
    layer_ns: tuple[int, int] | None
    """When the first layer was called and when it returned; ``None`` without stacks."""
    launched: tuple[Launched, ...] = ()
    """What an accelerator did, by start."""
    allocations: tuple[Allocation, ...] = ()
    """By time, on any device."""
    annotations: tuple[Span, ...] = ()
    """Of its thread."""
    differentiated: tuple[Differentiated, ...] = ()
    """By time, on any thread."""

    @property
    def nodes(self) -> list[Operator]:
        """The evaluations of autograd's nodes, by start."""
        return [root for root in self.roots if root.name.startswith(BACKWARD)]


def steps_of(events: Events) -> list[Step]:
    """Return the steps that the profiler's schedule marked, in order; none without a schedule.

    What an accelerator did belongs to the step in whose time the host launched it, whenever it
    ran; if the trace has no launch of it, to the step in whose time it ran.
    """
    marks = [span for span in events.annotations if span.name.startswith(STEP)]
    return _steps(events, sorted(marks, key=_start))


def whole_as_step(events: Events) -> list[Step]:
    """Return all of a trace as one step, that of the thread with most operators; none if empty."""
    if not events.operators and not events.work:
        return []
    everything: list[Operator | Work | Span] = [
        *events.operators, *events.work, *events.annotations
    ]  # fmt: skip
    start_ns = min(map(_start, everything))
    end_ns = 1 + max(one.end_ns for one in everything)
    threads = Counter(
        operator.thread for operator in events.operators if not operator.name.startswith(BACKWARD)
    )
    [(thread, _)] = threads.most_common(1) or [(None, 0)]
    return _steps(events, [Span("", thread, start_ns, end_ns)])


def _steps(events: Events, marks: Sequence[Span]) -> list[Step]:
    begins = list(map(_start, marks))

    def by_step(timed: Iterable[T], when: Callable[[T], int]) -> list[list[T]]:
        of_steps: list[list[T]] = [[] for _ in marks]
        for one in sorted(timed, key=when):
            place = bisect_right(begins, when(one)) - 1
            if place >= 0 and when(one) < marks[place].end_ns:
                of_steps[place].append(one)
        return of_steps

    trees = _Trees(events.operators)
    # Work of a step is in the order in which it ran, which need not be that of the launches.
    launched = by_step(_launched(events, trees), attrgetter("at_ns"))
    parts = zip(
        marks,
        by_step(trees.roots, _start),
        by_step(events.layers, _start),
        launched,
        by_step(events.allocations, attrgetter("at_ns")),
        by_step(events.annotations, _start),
        by_step(events.differentiated, attrgetter("at_ns")),
        strict=True,
    )
    return [
        Step(
            mark.start_ns,
            mark.end_ns,
            mark.thread,
            tuple(roots),
            next(((layer.start_ns, layer.end_ns) for layer in layers), None),
            tuple(sorted(works, key=lambda one: one.work.start_ns)),
            tuple(allocations),
            tuple(one for one in annotations if one.thread == mark.thread),
            tuple(differentiated),
        )
        for mark, roots, layers, works, allocations, annotations, differentiated in parts
    ]


def _launched(events: Events, trees: "_Trees") -> Iterator[Launched]:
    by_id = {operator.external_id: operator for operator in events.operators}
    by_id.pop(None, None)
    for work in events.work:
        launch = events.launches.get(work.correlation)
        if launch is None:
            operator = by_id.get(work.external_id)
            began = operator or work
            yield Launched(work, operator, began.start_ns, getattr(began, "thread", None))
        else:
            # The profiler gives a launch no number where no operator is open, and an operator
            # that another thread has open is not its.
            operator = by_id.get(launch.external_id) or trees.innermost(launch)
            yield Launched(work, operator, launch.at_ns, launch.thread)


class _Trees:
    """Operators by who called whom: on a thread, what runs in another's time was called by it."""

    def __init__(self, operators: Iterable[Operator]) -> None:
        self.roots: list[Operator] = []
        self._roots_of: defaultdict[Any, list[Operator]] = defaultdict(list)
        open_on: defaultdict[Any, list[Operator]] = defaultdict(list)
        for operator in sorted(operators, key=lambda one: (one.start_ns, -one.end_ns)):
            # Of all steps or of the whole: the same operators may be asked for twice.
            operator.children = []
            within = open_on[operator.thread]
            while within and within[-1].end_ns <= operator.start_ns:
                within.pop()
            if within:
                within[-1].children.append(operator)
            else:
                self.roots.append(operator)
                self._roots_of[operator.thread].append(operator)
            within.append(operator)

    def innermost(self, launch: Launch) -> Operator | None:
        """Return the innermost operator that the launching thread had open, if any."""
        found, candidates = None, self._roots_of.get(launch.thread, [])
        while True:
            place = bisect_right(candidates, launch.at_ns, key=_start) - 1
            if place < 0 or candidates[place].end_ns < launch.at_ns:
                return found
            found = candidates[place]
            candidates = found.children
