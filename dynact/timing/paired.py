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
# Of either side before a visit: what others did meanwhile may have taken its memory from the pool,
# or from the process, and a call that gets it back was seen to take twenty times as long.
SETTLING_CALLS = 2
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
            parts.append(f"UNSTEADY: the device {change_of_speed(self.speed_drift)}")
        return " · ".join(parts)


@dataclass
class Readings:
    """What rounds found, in the order measured."""

    target_ns: list[float] = field(default_factory=list)
    """One entry a block: the mean time of its calls."""
    baseline_ns: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    """One entry a round: target time / baseline time."""
    calling_s: float = 0.0
    """Seconds spent in timed or settling calls."""
    target_queueing_ns: list[float] = field(default_factory=list)
    """How long the host took to queue a call, of some between the blocks; none where it does the
    work itself."""
    baseline_queueing_ns: list[float] = field(default_factory=list)
    target_device_ns: float | None = None
    """What the device alone takes of a call, once a visit; ``None`` where that is not known."""
    baseline_device_ns: float | None = None


class Pair:
    """Two callables, compared in rounds: at once, or now a few rounds and more of them later.

    A round is four blocks, A B B A and B A A B in turn: its ratio is free of any linear change of
    the machine's speed. Each block starts from the clock's cache state, and the faster side's
    blocks hold as many calls as last about as long as the slower side's, or each holds one where
    the caches are flushed before each call.

    Parameters
    ----------
    target, baseline
        Callables without arguments, warm: compiled, autotuned, allocated.
    clock
        Of the device that does the work.
    baseline_clock
        Where the baseline starts from another cache state than the target.
    before_round
        Called untimed with the number of each round, over all visits. May vary what the ratio
        should not hang on, the same for both sides.
    """

    def __init__(
        self,
        target: Call,
        baseline: Call,
        clock: Clock,
        before_round: Callable[[int], object] | None = None,
        baseline_clock: Clock | None = None,
    ) -> None:
        self._target = target
        self._baseline = baseline
        self._clock = clock
        self._baseline_clock = baseline_clock or clock
        self._before_round = before_round
        self._target_calls = self._baseline_calls = 0
        self._rounds = self._visits = 0
        self._is_queued_ahead = True

    def balance(self) -> None:
        """Warm the device up, and find out how many calls of either side last equally long."""
        self._warm_up()
        if self._clock.cache == "cold":
            self._target_calls = self._baseline_calls = 1
            return
        self._balance(
            fastest_ns(self._target, self._clock), fastest_ns(self._baseline, self._clock)
        )

    def round(self, readings: Readings) -> None:
        """Make one round, balanced before, and note it."""
        clock = self._clock
        start_s = clock.now_s()
        if self._before_round:
            self._before_round(self._rounds)
            start_s = clock.now_s()
            # Or the first block would pay for what the caller changed.
            self._settle(readings)
        for side in "TBBT" if self._rounds % 2 == 0 else "BTTB":
            if side == "T":
                readings.target_ns.append(clock.call_ns(self._target, self._target_calls))
            else:
                readings.baseline_ns.append(
                    self._baseline_clock.call_ns(self._baseline, self._baseline_calls)
                )
        readings.calling_s += clock.now_s() - start_s
        readings.ratios.append(sum(readings.target_ns[-2:]) / sum(readings.baseline_ns[-2:]))
        self._rounds += 1

    def visit(self, seconds: float) -> Readings:
        """Make rounds for so long, at least one; the two orders take turns over all visits.

        Before its time begins to count, it settles both sides, and the first finds the balance.
        """
        readings = Readings()
        with _garbage_collection_paused():
            start_s = self._clock.now_s()
            for _ in range(SETTLING_CALLS):
                self._settle(readings)
            readings.calling_s = self._clock.now_s() - start_s
            if not self._target_calls:
                self.balance()
            deadline_s = self._clock.now_s() + seconds
            while not readings.ratios or self._clock.now_s() < deadline_s:
                self.round(readings)
            self._read_device(readings)
        self._visits += 1
        if self._clock.cache == "warm":
            # For the next visit: the first may have been made in a slow moment.
            self._balance(min(readings.target_ns), min(readings.baseline_ns))
        return readings

    def _read_device(self, readings: Readings) -> None:
        """Note what the device alone takes, unless it was seen that this cannot be told."""
        if self._is_queued_ahead:
            # In turn, or a device whose speed changes would favour the same side in each visit.
            for side in "TB" if self._visits % 2 == 0 else "BT":
                if side == "T":
                    readings.target_device_ns = self._clock.device_ns(
                        self._target, self._target_calls
                    )
                else:
                    readings.baseline_device_ns = self._baseline_clock.device_ns(
                        self._baseline, self._baseline_calls
                    )
            # To try again takes long.
            times_ns = readings.target_device_ns, readings.baseline_device_ns
            self._is_queued_ahead = None not in times_ns

    def _settle(self, readings: Readings) -> None:
        for call, clock, found_ns in (
            (self._target, self._clock, readings.target_queueing_ns),
            (self._baseline, self._baseline_clock, readings.baseline_queueing_ns),
        ):
            queueing_ns = clock.queueing_ns(call)
            if queueing_ns is not None:
                found_ns.append(queueing_ns)

    def _warm_up(self) -> None:
        # To flush before each call would take long, and work is work.
        clock, calls, worked_ns = self._clock.warm, 1, 0.0
        while worked_ns < clock.warm_up_ns:
            pair_ns = clock.work_ns(self._target, calls) + clock.work_ns(self._baseline, calls)
            worked_ns += pair_ns
            # Short calls, each waited for, would keep no device busy.
            if pair_ns < clock.min_block_ns:
                calls *= 2

    def _balance(self, target_ns: float, baseline_ns: float) -> None:
        block_ns = max(target_ns, baseline_ns, self._clock.min_block_ns)
        self._target_calls = max(round(block_ns / target_ns), 1)
        self._baseline_calls = max(round(block_ns / baseline_ns), 1)


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
    autotuned, allocated. They are compared in rounds, see `Pair`.

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
    next_look = max(FIRST_LOOK, least_rounds)
    pair = Pair(target, baseline, clock, before_round)
    readings = Readings()

    with _garbage_collection_paused():
        pair.balance()
        deadline_s = clock.now_s() + max_seconds
        while True:
            pair.round(readings)
            rounds = len(readings.ratios)
            late = clock.now_s() >= deadline_s and rounds >= least_rounds
            if not late and rounds < next_look:
                continue
            overhead, lower, upper = median_interval(readings.ratios, interval_confidence)
            converged = (upper - lower) / 2 <= precision * overhead
            if converged or late:
                break
            next_look = ceil(rounds * LOOK_GROWTH)

    target_ns, baseline_ns = readings.target_ns, readings.baseline_ns
    third = max(len(baseline_ns) // 3, 1)
    return Comparison(
        overhead=overhead,
        overhead_lo=lower,
        overhead_hi=upper,
        pairs=len(target_ns),
        target_ns=median(target_ns),
        baseline_ns=median(baseline_ns),
        converged=converged,
        speed_drift=median(baseline_ns[-third:]) / median(baseline_ns[:third]),
        confidence=confidence,
        calling_s=readings.calling_s,
        target_samples_ns=tuple(target_ns),
        baseline_samples_ns=tuple(baseline_ns),
    )


def is_steady(speed_drift: float) -> bool:
    """Return whether a `Comparison.speed_drift` is one of a device that kept its speed."""
    return 1 / STEADY_WITHIN <= speed_drift <= STEADY_WITHIN


def change_of_speed(speed_drift: float) -> str:
    """Return what a `Comparison.speed_drift` says the device did: ``"became 2.36× slower"``."""
    if speed_drift >= 1:
        return f"became {speed_drift:.2f}× slower"
    return f"became {1 / speed_drift:.2f}× faster"


def format_ns(duration_ns: float) -> str:
    """Return a duration with a unit that fits: ``"812 µs"``."""
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        # 999.7 µs would read "1e+03 µs".
        if duration_ns >= 0.9995 * scale:
            return f"{duration_ns / scale:.3g} {unit}"
    return f"{duration_ns:.3g} ns"


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
