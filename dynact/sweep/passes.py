"""Which cases a pass visits, and in which order."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import ceil, inf
from statistics import fmean, median
from typing import Generic, TypeVar

from dynact.schema.settings import Settings
from dynact.schema.visits import LEAST_VISITS, Visit, estimate, has_converged, undisturbed

# Of what all passes take: the most to spend on disturbed visits once more.
REPEATS = 0.1
# Of the passes: the most to add for time that was saved, as each may need a fresh process.
EXTRA = 0.5
# Of what compiling a case took: what it takes in a further process, which finds it on disk.
# Measured on a CPU that others used: 3.8 s, and in six further processes 0.7 to 3.7 s.
COMPILING_AGAIN = 0.4

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
    made_elsewhere: int = field(init=False)
    """How many of the visits other processes made than the one that measures now."""

    def __post_init__(self) -> None:
        self.leave_process()

    def leave_process(self) -> None:
        """Take note that another process measures from now on."""
        self.made_elsewhere = len(self.visits)

    @property
    def is_made(self) -> bool:
        """Whether the process that measures now has made it."""
        return len(self.visits) > self.made_elsewhere

    @property
    def in_passes(self) -> list[Visit]:
        """The visits but those that were made for time that was left."""
        return [visit for visit in self.visits if not visit.extra]

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
    passes_a_process
        After so many a fresh process makes each case again; by default none ever does.
    opening_s
        How long that takes to begin.
    """

    def __init__(
        self,
        cases: Sequence[Visited[Case]],
        settings: Settings,
        passes_a_process: float = inf,
        opening_s: float = 0.0,
    ) -> None:
        self.cases = list(cases)
        self._settings = settings
        self._passes_a_process = passes_a_process
        self._opening_s = opening_s
        self._begun = 0

    def __iter__(self) -> Iterator[tuple[int, list[Visited[Case]]]]:
        """Yield the number of each pass and the cases due in it; they are to be visited then."""
        for number in range(1, self._settings.passes + 1):
            if due := self._due(number, self.cases):
                self._begin()
                yield number, due
        for number, due in enumerate(self._extra(), start=self._settings.passes + 1):
            self._begin()
            yield number, _shuffled(number, due)

    def has_time_for(self, _case: Visited[Case]) -> bool:
        """Return whether the next visit of a case is still to be made."""
        return True

    def left_in_time_s(self) -> float | None:
        """Return how long it takes from now, or None where that is how long its visits take."""
        return None

    def expected_s(self, case: Visited[Case]) -> float:
        """Return about how long a visit of a case takes in the pass that has begun."""
        again_s, making_s = self._parts_s(case)
        return again_s + (0.0 if case.is_made else making_s)

    def expected_of_pass_s(self, due: Sequence[Visited[Case]]) -> list[float]:
        """Return about how long each visit of the pass that has begun takes."""
        expected_s = [self.expected_s(case) for case in due]
        if self._opens(self._begun):
            expected_s[0] += self._opening_s
        return expected_s

    def seconds_after(self, number: int) -> float:
        """Return about how long visits after a pass take, if no more cases converge."""
        visits_s = sum(self._seconds_after(case, number) for case in self.cases)
        return visits_s + (self._fresh_after(number) * self._opening_s if visits_s else 0.0)

    def _seconds_after(self, case: Visited[Case], number: int) -> float:
        if not (left := self._left_after(case, number)):
            return 0.0
        again_s, making_s = self._parts_s(case)
        # One that is visited seldom finds a fresh process nearly each time.
        return left * again_s + min(left, self._fresh_after(number)) * making_s

    def _fresh_after(self, number: int) -> int:
        """Return how many passes after one are to begin with a fresh process."""
        further = range(1, self._settings.passes - number + 1)
        begun = max(self._begun, 1)
        return sum(self._is_in_fresh_process(begun + count) for count in further)

    def _begin(self) -> None:
        self._begun += 1
        if self._opens(self._begun):
            for case in self.cases:
                case.leave_process()

    def _opens(self, begun: int) -> bool:
        """Return whether a pass begins with another process than that of the one before."""
        return begun > 1 and self._is_in_fresh_process(begun)

    def _is_in_fresh_process(self, begun: int) -> bool:
        return begun % self._passes_a_process == 1

    def _parts_s(self, case: Visited[Case]) -> tuple[float, float]:
        """Return how long a visit takes, and how much longer one that makes the case anew."""
        planned_s = case.share * self._settings.visit_s
        if not case.visits:
            return planned_s, 0.0
        pairs = [*pairwise(case.visits)]
        again = [_cost_s(visit) for before, visit in pairs if visit.process == before.process]
        anew = [_cost_s(visit) for before, visit in pairs if visit.process != before.process]
        first = case.visits[0]
        timing_s = first.timing_s or 0.0
        again_s = fmean(again) if again else max(planned_s, timing_s)
        if anew:
            return again_s, max(fmean(anew) - again_s, 0.0)
        making_s = _cost_s(first) - timing_s - (1 - COMPILING_AGAIN) * (first.compile_s or 0.0)
        return again_s, max(making_s, 0.0)

    def _left_after(self, case: Visited[Case], number: int) -> float:
        if self._finished(case):
            return 0.0
        passes, planned_s = self._settings.passes, case.share * self._settings.visit_s
        timed_s = fmean([visit.timing_s or 0.0 for visit in case.in_passes] or [planned_s])
        made = len(case.in_passes) + self._is_its_turn(case, number)
        # One that takes longer than its share is visited less often.
        affordable = max(passes * planned_s / max(timed_s, planned_s), LEAST_VISITS)
        to_come = {*range(number + 1, passes + 1)} - {visit.number for visit in case.in_passes}
        return max(min(affordable - made, len(to_come)), 0.0)

    def half_width(self) -> float | None:
        """Return the median over cases of half their intervals, as a share."""
        widths = [width for case in self.cases if (width := case.half_width) is not None]
        return median(widths) if widths else None

    def to_do(self) -> list[Case]:
        """Return the cases that are due in any pass."""
        return [case.case for case in self.cases if any(self._turns(case))]

    def first(self) -> int | None:
        """Return the number of the first pass that any of the cases is due in."""
        return min((n for case in self.cases for n in self._turns(case)), default=None)

    def _turns(self, case: Visited[Case]) -> Iterator[int]:
        if not self._finished(case):
            passes = range(1, self._settings.passes + 1)
            yield from (number for number in passes if self._is_its_turn(case, number))

    def _due(self, number: int, cases: Sequence[Visited[Case]]) -> list[Visited[Case]]:
        """Return those of some cases that are due in a pass, in its order."""
        turns = (case for case in cases if self._is_its_turn(case, number))
        return _shuffled(number, [case for case in turns if not self._finished(case)])

    def _finished(self, case: Visited[Case]) -> bool:
        return case.is_finished(self._settings.precision)

    def _is_its_turn(self, case: Visited[Case], number: int) -> bool:
        """Return whether a case is due in a pass, be it one that others had their visits in.

        Such a one is made up for where the time was too short for it; not where the case waited,
        nor where it has had its time since.
        """
        made = case.in_passes
        numbers = {visit.number for visit in made}
        if number <= case.since or number in numbers or len(made) >= self._settings.passes:
            return False
        last = max(numbers, default=0)
        is_now = number > last or self._is_behind(case, last + 1, made)
        return is_now and self._is_behind(case, number, [v for v in made if v.number < number])

    def _is_behind(self, case: Visited[Case], number: int, made: Sequence[Visit]) -> bool:
        """Return whether a pass comes when a case with some visits has waited for long enough."""
        visit_s = case.share * self._settings.visit_s
        over_s = sum((visit.timing_s or 0) - visit.seconds for visit in made)
        waited_s = visit_s * (number - 1 - case.since - len(made))
        least = ceil(LEAST_VISITS * number / self._settings.passes)
        return over_s - waited_s < visit_s / 2 or len(made) < least

    def _extra(self) -> Iterator[list[Visited[Case]]]:
        """Yield what to visit once more: the disturbed, then the widest for time that was saved.

        All that are still wide at once, as far as there is time: visits have to lie apart.
        """
        spare = int(REPEATS * self._settings.passes * len(self.cases))
        while due := [case for case in self.cases if self._is_to_repeat(case)][:spare]:
            spare -= len(due)
            yield due
        yield from self._for_time_left()

    def _for_time_left(self) -> Iterator[list[Visited[Case]]]:
        visit_s, passes = self._settings.visit_s, self._settings.passes
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
