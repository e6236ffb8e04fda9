"""Which part of a step, forward, backward or neither, its operators and launches are of."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from operator import attrgetter, itemgetter
from typing import Any, Protocol

from dynact.worker.profile.events import Operator
from dynact.worker.profile.steps import BACKWARD, Step

# The node that keeps a gradient: it is part of no forward operator, and has no number.
ACCUMULATION = BACKWARD + "torch::autograd::AccumulateGrad"
# How annotations of torch's own begin that are of no pass: optimizers and data loaders.
_OF_NO_PASS = ("Optimizer.", "enumerate(DataLoader)")


class Parts(Protocol):
    """The parts of a step, by the names in ``PARTS``."""

    def of(self, root: Operator) -> str:
        """Return the part of one of the step's outermost operators."""

    def at(self, now_ns: int, thread: Any) -> str:
        """Return the part that a thread was in at a time, by whatever is known of it."""


class LayerParts:
    """Of a step that calls one layer, and goes back through it.

    Forward is the layer's call; backward are the nodes that differentiate what it called, or, of
    what no operator tells, the time from the first node's begin to the last one's end.
    """

    def __init__(self, step: Step) -> None:
        self._layer_ns = step.layer_ns or (step.start_ns, step.start_ns)
        nodes = step.nodes
        self._threads = {step.thread, *(node.thread for node in nodes)}
        self._backward_ns = (
            min((node.start_ns for node in nodes), default=0),
            max((node.end_ns for node in nodes), default=0),
        )
        self._numbers = {
            operator.sequence_number
            for root in step.roots
            if self._calls(root.start_ns)
            for operator in root.walk()
        } - {None}

    def of(self, root: Operator) -> str:
        """Return whose it is, by its time or its number."""
        if self._calls(root.start_ns):
            return "forward"
        if root.name == ACCUMULATION:
            return "backward"
        is_node = root.name.startswith(BACKWARD)
        return "backward" if is_node and root.sequence_number in self._numbers else "other"

    def at(self, now_ns: int, thread: Any) -> str:
        """Return it by the time, on the step's thread and those of its nodes."""
        if thread not in self._threads:
            return "other"
        if self._calls(now_ns):
            return "forward"
        begin_ns, end_ns = self._backward_ns
        return "backward" if begin_ns <= now_ns < end_ns else "other"

    def _calls(self, now_ns: int) -> bool:
        called_ns, returned_ns = self._layer_ns
        return called_ns <= now_ns < returned_ns


class StepParts:
    """Of a step of any training or inference, of which nobody says what its network is.

    Backward are the nodes of autograd and all else on its own threads. Forward is, on any thread,
    what a thread does from the first operator that a later node differentiates until the next node
    begins: in a closure that an optimizer calls, too. Of what else the step's thread does,
    optimizers, data loaders and all after the last node are neither, and the rest is forward.
    """

    def __init__(self, step: Step) -> None:
        self._thread = step.thread
        nodes = step.nodes
        self._nodes_ns: defaultdict[Any, list[tuple[int, int]]] = defaultdict(list)
        for node in nodes:
            self._nodes_ns[node.thread].append((node.start_ns, node.end_ns))
        self._forward_ns = _forward_of(step)
        last_ns = max((node.end_ns for node in nodes), default=step.end_ns)
        spans = [
            span
            for span in step.annotations
            if span.name.startswith(_OF_NO_PASS) and span.start_ns < last_ns
        ]
        # An optimizer may call another: until the outer one returns all is of no pass.
        ends_ns = accumulate((span.end_ns for span in spans), max)
        self._neither_ns = [
            *zip((span.start_ns for span in spans), ends_ns, strict=True),
            (last_ns, step.end_ns),
        ]

    def of(self, root: Operator) -> str:
        """Return it by the operator's begin."""
        return self.at(root.start_ns, root.thread)

    def at(self, now_ns: int, thread: Any) -> str:
        """Return it by the thread, the nodes, and what torch annotates."""
        if _is_within(now_ns, self._nodes_ns.get(thread, ())):
            return "backward"
        if _is_within(now_ns, self._forward_ns.get(thread, ())):
            return "forward"
        if thread != self._thread:
            return "backward" if thread in self._nodes_ns else "other"
        return "other" if _is_within(now_ns, self._neither_ns) else "forward"


def _forward_of(step: Step) -> dict[Any, list[tuple[int, int]]]:
    """Return, by thread, from where on until the next node what was computed is differentiated."""
    begins_ns = [node.start_ns for node in step.nodes]
    found: defaultdict[Any, dict[int, int]] = defaultdict(dict)
    for at_ns, thread in step.differentiated:
        place = bisect_right(begins_ns, at_ns)
        if place < len(begins_ns):
            found[thread].setdefault(begins_ns[place], at_ns)
    roots: defaultdict[Any, list[Operator]] = defaultdict(list)
    for root in step.roots:
        roots[root.thread].append(root)
    return {
        thread: [(_begin_of(at_ns, roots[thread]), end_ns) for end_ns, at_ns in stretches.items()]
        for thread, stretches in found.items()
    }


def _begin_of(at_ns: int, roots: Sequence[Operator]) -> int:
    """Return when the outermost operator began that was open at a time; that time if none was."""
    place = bisect_right(roots, at_ns, key=attrgetter("start_ns")) - 1
    is_open = place >= 0 and at_ns < roots[place].end_ns
    return roots[place].start_ns if is_open else at_ns


def _is_within(now_ns: int, stretches: Sequence[tuple[int, int]]) -> bool:
    """Return whether a time is in one of some stretches, which follow each other."""
    place = bisect_right(stretches, now_ns, key=itemgetter(0)) - 1
    return place >= 0 and now_ns < stretches[place][1]
