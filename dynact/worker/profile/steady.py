"""Which of a trace's steps speak for all of them."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

# As long as its like, times that, a step that had the processor to itself does not take: steps of
# 2 ms beside other programs took 2.0 to 2.3 ms or else 16 to 400.
_DISTURBED = 1.5


class Stretch(NamedTuple):
    """How long a step took, and what it did."""

    wall_ns: int
    """From its begin to its end, with the time in which nothing of it ran."""
    device_ns: int
    """The time in which its work ran."""
    work: Counter[Any]
    """How often it did what."""


@dataclass(frozen=True)
class Steady:
    """Steps by their number in the trace."""

    taken: list[int]
    """Those that did the same work, warm and undisturbed; at least one."""
    shown: int
    """The one of these that took the median time."""
    disturbed: int
    """How many others did that work, and took much longer."""


def steady_steps(steps: Sequence[Stretch]) -> Steady:
    """Choose, of the last half of the steps, those that did the same work in like time.

    The same work is what most of these steps did, so that a median of each kernel's time is of as
    many as of any other's. A step is disturbed whose wall time or device time is more than 1.5
    times the lower quartile of its like: a scheduler that gives the processor to another program
    within a kernel makes the kernel long, and between kernels the step.

    Parameters
    ----------
    steps
        In their order, at least one.
    """
    # A loop's end leaves one behind in which nothing ran.
    ran = [number for number, step in enumerate(steps) if step.device_ns] or [0]
    # The first steps under a profiler were seen to take twice as long.
    warm = ran[len(ran) // 2 :]
    by_work: defaultdict[frozenset[Any], list[int]] = defaultdict(list)
    for number in warm:
        by_work[frozenset(steps[number].work.items())].append(number)
    middle = _median(warm, steps)
    alike = max(by_work.values(), key=lambda numbers: (len(numbers), middle in numbers))
    wall_ns = _lower_quartile([steps[number].wall_ns for number in alike])
    device_ns = _lower_quartile([steps[number].device_ns for number in alike])
    taken = [
        number
        for number in alike
        if steps[number].wall_ns <= _DISTURBED * wall_ns
        and steps[number].device_ns <= _DISTURBED * device_ns
    ]
    return Steady(taken, _median(taken, steps), len(alike) - len(taken))


def _median(numbers: Sequence[int], steps: Sequence[Stretch]) -> int:
    return sorted(numbers, key=lambda number: steps[number].wall_ns)[(len(numbers) - 1) // 2]


def _lower_quartile(times_ns: Sequence[int]) -> int:
    return sorted(times_ns)[(len(times_ns) - 1) // 4]
