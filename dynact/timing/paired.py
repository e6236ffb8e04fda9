"""Compare two callables by paired, order-flipped, balanced blocks."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from statistics import median

from dynact.timing.clock import Call, Clock
from dynact.timing.fastest import fastest_ns
from dynact.timing.statistics import median_interval, values_needed

# Rounds before the interval is first looked at: fewer make stopping by luck too likely.
FIRST_LOOK = 16
# Looks are this factor of rounds apart: each look is one more chance to stop by luck.
LOOK_GROWTH = 1.3
# Share of the tail that the interval keeps; the rest pays for having looked repeatedly.
STOPPING_TAIL = 0.6
# A device whose speed changed by more than this factor between first and last third is flagged.
STEADY_WITHIN = 1.1


@dataclass(frozen=True)
class Comparison:
    """How much longer the target takes than the baseline."""

    overhead: float
    """Median over rounds of target time / baseline time; 1 where they take the same time."""
    overhead_lo: float
    overhead_hi: float
    pairs: int
    """Pairs of blocks measured, two to a round."""
    target_ns: float
    """Median time of one call."""
    baseline_ns: float
    converged: bool
    """Whether the interval became as narrow as asked for before time ran out."""
    speed_drift: float
    """Baseline time in the last third of the rounds over that in the first third."""
    confidence: float
    calling_s: float
    """Seconds spent in timed or settling calls."""
    target_samples_ns: tuple[float, ...] = field(repr=False)
    """One entry a block: the mean time of its calls, in the order measured."""
    baseline_samples_ns: tuple[float, ...] = field(repr=False)

    @property
    def steady(self) -> bool:
        """Whether the device kept its speed; a change of both sides alike leaves the ratio."""
        return is_steady(self.speed_drift)

    def __str__(self) -> str:
        parts = [
            f"{self.overhead:.4g}× [{self.overhead_lo:.4g}, {self.overhead_hi:.4g}]",
            f"{format_ns(self.target_ns)} against {format_ns(self.baseline_ns)}",
            f"{self.pairs} pairs",
        ]
        if not self.converged:
            half_width = (self.overhead_hi - self.overhead_lo) / 2 / self.overhead
            parts.append(f"NOT CONVERGED: still ±{half_width:.1%} when time ran out")
        if not self.steady:
            parts.append(f"UNSTEADY: the device's time per call changed {self.speed_drift:.2f}×")
        return " · ".join(parts)


def compare(
    target: Call,
    baseline: Call,
    *,
    clock: Clock,
    precision: float = 0.01,
    max_seconds: float = 1.0,
    confidence: float = 0.95,
    before_round: Callable[[int], object] | None = None,
) -> Comparison:
    """Measure how many times longer ``target`` takes than ``baseline``.

    Both must do their work the same way (two modules called alike) and be warm: compiled,
    autotuned, allocated. A round is four blocks, A B B A and B A A B in turn: its ratio is free of
    any linear change of the machine's speed. Each block starts from the clock's cache state, and
    the faster side's blocks hold as many calls as last about as long as the slower side's.

    Parameters
    ----------
    target, baseline
        Callables without arguments.
    clock
        Of the device that does the work.
    precision
        Stop when the interval's half-width is at most this share of the ratio.
    max_seconds
        Stop after this time in any case, but not before the interval has the rounds it needs.
    confidence
        Probability that the interval covers the true ratio, for rounds that are independent of
        each other. What disturbs both sides alike may last; what slows only one of them for
        many rounds narrows the interval unduly.
    before_round
        Called untimed with the number of each round. May vary what the ratio should not hang
        on, the same for both sides.

    Raises
    ------
    ValueError
        If precision, max_seconds or confidence is out of range.
    """
    if not 0 < precision < 1:
        raise ValueError(f"precision must lie between 0 and 1, got {precision}")
    if not max_seconds > 0:
        raise ValueError(f"max_seconds must be positive, got {max_seconds}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")

    interval_confidence = 1 - STOPPING_TAIL * (1 - confidence)
    least_rounds = values_needed(interval_confidence)
    target_ns: list[float] = []
    baseline_ns: list[float] = []
    ratios: list[float] = []
    next_look = max(FIRST_LOOK, least_rounds)

    with _garbage_collection_paused():
        target_calls, baseline_calls = _balanced_calls(target, baseline, clock)
        deadline_s = clock.now_s() + max_seconds
        calling_s = 0.0
        while True:
            start_s = clock.now_s()
            if before_round:
                before_round(len(ratios))
                start_s = clock.now_s()
                # Or the first block would pay for what the caller changed.
                target()
                baseline()
            sides = "TBBT" if len(ratios) % 2 == 0 else "BTTB"
            for side in sides:
                if side == "T":
                    target_ns.append(clock.call_ns(target, target_calls))
                else:
                    baseline_ns.append(clock.call_ns(baseline, baseline_calls))
            calling_s += clock.now_s() - start_s
            ratios.append(sum(target_ns[-2:]) / sum(baseline_ns[-2:]))

            late = clock.now_s() >= deadline_s and len(ratios) >= least_rounds
            if not late and len(ratios) < next_look:
                continue
            overhead, lower, upper = median_interval(ratios, interval_confidence)
            converged = (upper - lower) / 2 <= precision * overhead
            if converged or late:
                break
            next_look = ceil(len(ratios) * LOOK_GROWTH)

    third = max(len(baseline_ns) // 3, 1)
    return Comparison(
        overhead=overhead,
        overhead_lo=lower,
        overhead_hi=upper,
        pairs=2 * len(ratios),
        target_ns=median(target_ns),
        baseline_ns=median(baseline_ns),
        converged=converged,
        speed_drift=median(baseline_ns[-third:]) / median(baseline_ns[:third]),
        confidence=confidence,
        calling_s=calling_s,
        target_samples_ns=tuple(target_ns),
        baseline_samples_ns=tuple(baseline_ns),
    )


def is_steady(speed_drift: float) -> bool:
    """Return whether a `Comparison.speed_drift` is one of a device that kept its speed."""
    return 1 / STEADY_WITHIN <= speed_drift <= STEADY_WITHIN


def format_ns(duration_ns: float) -> str:
    """Return a duration with a unit that fits: ``"812 µs"``."""
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        # 999.7 µs would read "1e+03 µs".
        if duration_ns >= 0.9995 * scale:
            return f"{duration_ns / scale:.3g} {unit}"
    return f"{duration_ns:.3g} ns"


def _balanced_calls(target: Call, baseline: Call, clock: Clock) -> tuple[int, int]:
    """Return the calls to a block on either side that make blocks about equally long."""
    target_ns, baseline_ns = fastest_ns(target, clock), fastest_ns(baseline, clock)
    block_ns = max(target_ns, baseline_ns, clock.min_block_ns)
    return max(round(block_ns / target_ns), 1), max(round(block_ns / baseline_ns), 1)


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
