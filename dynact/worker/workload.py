"""A case made ready: two sides to compare, and what is counted of each, whichever kind it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dynact.schema.cases import AnyCase
from dynact.timing.clock import Call
from dynact.worker.counter_cache import Counter


@dataclass(frozen=True)
class Sides:
    """Two calls, warm, to be made in the case's `modes.grad_mode`."""

    target: Call
    baseline: Call
    before_round: Callable[[int], object] | None = None
    """Varies, with the number of each round, what the ratio should not hang on."""


class Workload(Protocol):
    """What comparing and counting need of a case."""

    @property
    def case(self) -> AnyCase:
        """Return what is to be measured."""

    def sides(self) -> Sides:
        """Make both sides, and warm them up in the case's `modes.grad_mode`.

        Whatever a layer, a network or a compiler raises is passed on.
        """

    def target_counters(self) -> Sequence[Counter]:
        """Return what is to be counted of the target; nothing is made before it is needed."""

    def baseline_counters(self) -> Sequence[Counter]:
        """Return what is to be counted of the baseline."""
