"""Which cases a pass visits, and in which order."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil
from statistics import fmean, median
from typing import Generic, TypeVar

from dynact.schema.settings import Settings
from dynact.schema.visits import LEAST_VISITS, Visit, estimate, has_converged, undisturbed

# Of what all passes take: the most to spend on disturbed visits once more.
REPEATS = 0.1
# Of the passes: the most to add for time that was saved, as each may need a fresh process.
EXTRA = 0.5

Case = TypeVar("Case")


@dataclass
class Visited(Generic[Case]):
    """A case and its visits so far."""

    case: Case
    share: float = 1.0
    """Of the time that cases get to a visit."""
    visits: list[Visit] = field(default_factory=list)
    since: int = 0
    """The pass after which it is first to be visited."""
    ends_early: bool = True
    """Whether its visits end once its interval is narrow."""

    @property
    def in_passes(self) -> list[Visit]:
        """The visits but those that were made for time that was left."""
        return [visit for visit in self.visits if not visit.extra]

    @property
    def last_pass(self) -> int:
        """The number of the last pass that it was visited in."""
        return max([self.since, *(visit.number for visit in self.in_passes)])

    @property
    def ok(self) -> list[Visit]:
        """The visits that found something."""
        return [visit for visit in self.visits if visit.status == "ok"]

    @property
    def failed(self) -> bool:
        """Whether it is not worth another visit: it cannot be made, or failed twice.

        A process that crashed may have done so for what others did.
        """
        failures = [visit for visit in self.visits if visit.status != "ok"]
        hopeless = not self.ok and any(visit.status != "crashed" for visit in failures)
        return hopeless or len(failures) > 1

    def is_finished(self, precision: float) -> bool:
        """Return whether it failed, or its interval is narrow enough to end its visits."""
        return self.failed or (self.ends_early and has_converged(self.ok, precision))

    @property
    def half_width(self) -> float | None:
        """Half of its interval, as a share; None where it has none."""
        return estimate(self.ok).half_width if self.ok else None


class Passes(Generic[Case]):
    """The visits that a session makes: some passes over all cases, then what time is left for.

    Each pass has an order of its own, the same for the same cases, so that no case keeps its
    neighbours. A case that takes longer to a visit than its share waits for that many passes,
    but has `LEAST_VISITS` spread over all of them.

    Parameters
    ----------
    cases
        With the visits that former sessions made of them.
    """

    def __init__(self, cases: Sequence[Visited[Case]], settings: Settings) -> None:
        self.cases = cases
        self._settings = settings

    def __iter__(self) -> Iterator[tuple[int, list[Visited[Case]]]]:
        """Yield the number of each pass and the cases due in it; they are to be visited then."""
        for number in range(1, self._settings.passes + 1):
            due = [
                case
                for case in self.cases
                if self._is_its_turn(case, number) and not self._finished(case)
            ]
            if due:
                yield number, _shuffled(number, due)
        for number, due in enumerate(self._extra(), start=self._settings.passes + 1):
            yield number, _shuffled(number, due)

    def expected_s(self, case: Visited[Case]) -> float:
        """Return about how long a further visit of a case takes."""
        planned_s = case.share * self._settings.visit_s
        if further := [_cost_s(visit) for visit in case.visits[1:]]:
            return fmean(further)
        # The first visit made the case, or even compiled it.
        return max([planned_s, *(visit.timing_s or 0.0 for visit in case.visits)])

    def seconds_after(self, number: int) -> float:
        """Return about how long visits after a pass take, if no more cases converge."""
        return sum(self._left_after(case, number) * self.expected_s(case) for case in self.cases)

    def _left_after(self, case: Visited[Case], number: int) -> float:
        if self._finished(case):
            return 0.0
        passes, planned_s = self._settings.passes, case.share * self._settings.visit_s
        timed_s = fmean([visit.timing_s or 0.0 for visit in case.in_passes] or [planned_s])
        made = len(case.in_passes) + self._is_its_turn(case, number)
        # One that takes longer than its share is visited less often.
        affordable = max(passes * planned_s / max(timed_s, planned_s), LEAST_VISITS)
        return max(min(affordable - made, passes - number), 0.0)

    def half_width(self) -> float | None:
        """Return the median over cases of half their intervals, as a share."""
        widths = [width for case in self.cases if (width := case.half_width) is not None]
        return median(widths) if widths else None

    def to_do(self) -> list[Case]:
        """Return the cases that are due in any pass."""
        passes = range(1, self._settings.passes + 1)
        return [
            case.case
            for case in self.cases
            if not self._finished(case) and any(self._is_its_turn(case, n) for n in passes)
        ]

    def _finished(self, case: Visited[Case]) -> bool:
        return case.is_finished(self._settings.precision)

    def _is_its_turn(self, case: Visited[Case], number: int) -> bool:
        if case.last_pass >= number:
            return False
        made, visit_s = len(case.in_passes), case.share * self._settings.visit_s
        over_s = sum((visit.timing_s or 0) - visit.seconds for visit in case.in_passes)
        waited_s = visit_s * (number - 1 - case.since - made)
        least = ceil(LEAST_VISITS * number / self._settings.passes)
        return over_s - waited_s < visit_s / 2 or made < least

    def _extra(self) -> Iterator[list[Visited[Case]]]:
        """Yield what to visit once more: the disturbed, then the widest for time that was saved.

        All that are still wide at once, as far as there is time: visits have to lie apart.
        """
        visit_s, passes = self._settings.visit_s, self._settings.passes
        spare = int(REPEATS * passes * len(self.cases))
        while due := [case for case in self.cases if self._is_to_repeat(case)][:spare]:
            spare -= len(due)
            yield due
        saved_s = sum(
            passes * case.share * visit_s - sum(map(_cost_s, case.visits))
            for case in self.cases
            if not case.failed
        )
        for _ in range(ceil(EXTRA * passes)):
            due = self._widest(saved_s)
            if not due:
                return
            saved_s -= sum(map(_mean_cost_s, due))
            yield due

    def _is_to_repeat(self, case: Visited[Case]) -> bool:
        in_passes = sum(visit.status == "ok" for visit in case.in_passes)
        return not self._finished(case) and len(undisturbed(case.ok)) < in_passes

    def _widest(self, most_s: float) -> list[Visited[Case]]:
        wide = [case for case in self.cases if case.ends_early and not self._finished(case)]
        wide.sort(key=lambda case: -(case.half_width or 0))
        until_s = accumulate(map(_mean_cost_s, wide))
        return [case for case, spent_s in zip(wide, until_s, strict=True) if spent_s <= most_s]


def _cost_s(visit: Visit) -> float:
    # Making a case anew takes time too.
    return visit.visit_s or 0.0


def _mean_cost_s(case: Visited[Case]) -> float:
    return fmean(map(_cost_s, case.visits)) if case.visits else 0.0


def _shuffled(number: int, due: list[Visited[Case]]) -> list[Visited[Case]]:
    random.Random(number).shuffle(due)
    return due
