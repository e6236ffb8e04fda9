"""A case made ready: a pair to visit, and what is counted of each side, whichever kind it is."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from dynact.schema.cases import AnyCase
from dynact.timing import Pair
from dynact.worker.counter_cache import Counter


class Workload(Protocol):
    """What visiting and counting need of a case."""

    @property
    def case(self) -> AnyCase:
        """Return what is to be measured."""

    def ready(self) -> AbstractContextManager[Pair]:
        """Enter with both sides warm, to be called in the case's `modes.grad_mode`.

        What was made for a visit before is taken up again, as far as it is kept. Whatever a
        layer, a network or a compiler raises is passed on.
        """

    def target_counters(self) -> Sequence[Counter]:
        """Return what is to be counted of the target; nothing is made before it is needed."""

    def baseline_counters(self) -> Sequence[Counter]:
        """Return what is to be counted of the baseline."""
