"""Visits within a time: of as many sizes as there is time for, and then of what is widest."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import fmean
from typing import Generic

from dynact.schema.settings import Settings
from dynact.schema.visits import LEAST_VISITS
from dynact.sweep.passes import Case, Passes, Visited

# How far what is needed may be from what was estimated: so much more is kept back for what has
# begun, and a step is given up only where it needs so much more than is left.
MARGIN = 1.2


@dataclass(frozen=True)
class Budget(Generic[Case]):
    """A time, and what to spend it on."""

    left_s: Callable[[], float]
    """Tells how much of it is left."""
    steps: Sequence[Sequence[Case]]
    """Cases that are measured as far as there is time, the first first."""
    ends: int
    """So many of the steps come before any case has more than `LEAST_VISITS`."""
    is_spent: bool
    """Whether what is left of it goes to the widest intervals, however much it is."""
    ending_s: float = 0.0
    """How long a case takes once all visits are made, to be reported and drawn."""


class BudgetedPasses(Passes[Case]):
    """The visits that a session makes in a time that is limited.

    What cases take is learned from those before: a step is begun as long as it and all before can
    have their visits. A device that is fast gets more sizes, and one that is slow fewer passes. A
    step that turns out to be too much is given up, unless time for it is left in the end.

    Parameters
    ----------
    always
        Visited whatever the time.
    steps
        Those of the budget.
    """

    def __init__(
        self,
        always: Sequence[Visited[Case]],
        steps: Sequence[Sequence[Visited[Case]]],
        budget: Budget[Case],
        settings: Settings,
        passes_a_process: float = inf,
        opening_s: float = 0.0,
    ) -> None:
        super().__init__(always, settings, passes_a_process, opening_s)
        self._always = always
        self._budget = budget
        self._asked = settings
        self._waiting = [step for step in steps if step]
        self._taken: list[Sequence[Visited[Case]]] = []
        self._reserved_s = 0.0
        self._number = 0
        # Of first visits: what they took beside what the bench spent in them, counting above all.
        self._counting_s = 0.0
        self._counted = self._made = 0
        # Of each further pass: what it took beside its visits, a fresh process above all.
        self._between_s = [opening_s / passes_a_process]

    def __iter__(self) -> Iterator[tuple[int, list[Visited[Case]]]]:
        """Yield as `Passes` does; the first pass in pieces, a step each.

        Cases that it has no time for, see `has_time_for`, are not to be visited.
        """
        made = -1
        while self._made > made:
            made = self._made
            yield from self._pass(1, self.cases)
            while self._waiting and self._has_time_for_next():
                step = self._waiting.pop(0)
                self._taken.append(step)
                self.cases += step
                yield from self._pass(1, step)
                self._reserved_s = 0.0
            for number in range(2, self._asked.passes + 1):
                self._keep_to_the_time(number)
                yield from self._pass(number, self.cases)
        for number, due in enumerate(self._extra(), start=self._asked.passes + 1):
            yield from self._visits(number, due)

    def has_time_for(self, case: Visited[Case]) -> bool:
        """Return whether the next visit of a case can be made in time."""
        return self._has_time_for(case, 0.0)

    def _has_time_for(self, case: Visited[Case], beside_s: float) -> bool:
        expected_s = self.expected_s(case) if case.visits else self._longest_first_s()
        return expected_s + beside_s <= self._left_s() - self._reserved_s

    def left_in_time_s(self) -> float | None:
        """Return what is left of the time as long as that is all spent."""
        is_spent = self._budget.is_spent or self._waiting
        return max(self._left_s(), 0.0) if is_spent else None

    def _left_s(self) -> float:
        return self._budget.left_s() - self._budget.ending_s * len(self.cases)

    def _pass(
        self, number: int, cases: Sequence[Visited[Case]]
    ) -> Iterator[tuple[int, list[Visited[Case]]]]:
        yield from self._visits(number, self._due(number, cases))

    def _visits(
        self, number: int, due: Sequence[Visited[Case]]
    ) -> Iterator[tuple[int, list[Visited[Case]]]]:
        """Yield a pass, if there is time for some of it, and learn from it."""
        is_new = number != self._number
        beside_s = self._opening_s if is_new and self._opens(self._begun + 1) else 0.0
        if not (due := [case for case in due if self._has_time_for(case, beside_s)]):
            return
        if is_new:
            self._begin()
            self._number = number
        before = [len(case.visits) for case in due]
        left_s = self._budget.left_s()
        yield number, due
        took_s = left_s - self._budget.left_s()
        fresh = [v for case, count in zip(due, before, strict=True) for v in case.visits[count:]]
        self._made += len(fresh)
        others_s = took_s - sum(visit.visit_s or 0.0 for visit in fresh)
        if number > 1:
            self._between_s.append(others_s)
        elif self._taken:
            self._counting_s += others_s
            self._counted += len(fresh)

    def _has_time_for_next(self) -> bool:
        """Return whether the next step can have its visits, and all before theirs."""
        # Rather few visits of the ends of all axes than many of fewer sizes.
        least = len(self._taken) < self._budget.ends
        self._set_passes(self._least_passes if least else self._asked.passes)
        needed_s = self._needed_s(self.cases, 2)
        if needed_s + self._needed_s(self._waiting[0], 2) > self._left_s():
            return False
        # What has begun is not given up for what the next turns out to take.
        self._reserved_s = MARGIN * needed_s
        return True

    def _keep_to_the_time(self, number: int) -> None:
        """Plan fewer passes, of which ``number`` is next, or give up the last steps."""
        least = max(self._least_passes, number)
        while True:
            for passes in range(self._asked.passes, least - 1, -1):
                self._set_passes(passes)
                needed_s = self._needed_s(self.cases, number)
                if needed_s <= self._left_s():
                    return
            is_too_much = needed_s > MARGIN * self._left_s()
            if number > self._least_passes or len(self._taken) < 2 or not is_too_much:
                return
            self._waiting.insert(0, self._taken.pop())
            self.cases = [*self._always, *(case for step in self._taken for case in step)]

    @property
    def _least_passes(self) -> int:
        return min(LEAST_VISITS, self._asked.passes)

    def _set_passes(self, passes: int) -> None:
        self._settings = replace(
            self._asked, passes=passes, max_seconds=passes * self._asked.visit_s
        )

    def _needed_s(self, cases: Sequence[Visited[Case]], number: int) -> float:
        """Return how long the visits of some cases take, of the second pass or one after it on."""
        usual_s = self._usual_s()
        visits_s = sum(
            self._seconds_after(case, number - 1) if case.visits else usual_s for case in cases
        )
        further = self._settings.passes - number + 1
        return visits_s + (further * fmean(self._between_s) if visits_s else 0.0)

    def _usual_s(self) -> float:
        """Return how long all visits of a case took, or are expected to, that has been begun."""
        begun = [case for step in self._taken for case in step if case.visits]
        if not begun:
            return 0.0
        all_s = sum(
            sum(visit.visit_s or 0.0 for visit in case.in_passes) + self._seconds_after(case, 1)
            for case in begun
        )
        return all_s / len(begun) + self._usual_counting_s() + self._budget.ending_s

    def _longest_first_s(self) -> float:
        """Return how long a case of the step took at most that has just begun."""
        begun = [case for step in self._taken[-1:] for case in step if case.visits]
        visits_s = [case.visits[0].visit_s or 0.0 for case in begun]
        return max(visits_s, default=0.0) + self._usual_counting_s()

    def _usual_counting_s(self) -> float:
        return self._counting_s / self._counted if self._counted else 0.0

    def _for_time_left(self) -> Iterator[list[Visited[Case]]]:
        if not self._budget.is_spent:
            yield from super()._for_time_left()
            return
        made = -1
        while self._made > made and (due := self._widest(self._left_s() - fmean(self._between_s))):
            made = self._made
            yield due
