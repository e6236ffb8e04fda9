"""The comparison in virtual time: known ratios, known disturbances, a thousand runs of each."""

import gc
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, cycle, pairwise, repeat

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.timing import Comparison, Pair, compare, format_ns, is_steady
from tests.timing.virtual import Machine, VirtualClock, Work

Floats = npt.NDArray[np.float64]

RATIO = 3.0
BASELINE_NS = 200e3
RUNS = 1000
# More than any of the runs below takes.
BLOCKS = 2000
# Four blocks as long as a call of the target, and at most as much for settling.
ROUND_S = 4 * 2 * 600e3 / 1e9


def compared(
    disturbances: list[float], precision: float = 0.01, max_seconds: float = 1e3
) -> Comparison:
    machine = Machine()
    return compare(
        Work(machine, "T", RATIO * BASELINE_NS),
        Work(machine, "B", BASELINE_NS),
        clock=VirtualClock(machine, disturbances),
        precision=precision,
        max_seconds=max_seconds,
    )


class Streams:
    """What disturbs a machine: factors on the time of each block, one row a run.

    Both sides suffer alike, so that the median of the ratios is the ratio undisturbed: exchanging
    the sides turns the ratio's logarithm over, which makes it symmetric about the true one.
    """

    def __init__(self) -> None:
        self._random = np.random.default_rng(20)
        self._block = np.arange(BLOCKS)
        self._phase = self._random.uniform(0, 2 * np.pi, (RUNS, 1))

    def independent(self, sigma: float = 0.03) -> Floats:
        return np.exp(self._random.normal(0, sigma, (RUNS, BLOCKS)))

    def linear_drift(self) -> Floats:
        """Half slower again every 400 blocks."""
        return self.independent() * (1 + self._block / 800)

    def slow_sine(self) -> Floats:
        """±20 % with a period of 50 rounds."""
        return self.independent() * (1 + 0.2 * np.sin(2 * np.pi * self._block / 200 + self._phase))

    def fast_sine(self) -> Floats:
        """±5 % with a period of 2.8 rounds."""
        return self.independent() * (
            1 + 0.05 * np.sin(2 * np.pi * self._block / 11.3 + self._phase)
        )

    def spikes(self) -> Floats:
        """One block in twenty takes 1.5 to 5 times as long."""
        hit = self._random.random((RUNS, BLOCKS)) < 0.05
        return self.independent(0.02) * np.where(
            hit, self._random.uniform(1.5, 5, (RUNS, BLOCKS)), 1
        )

    def heavy_tails(self) -> Floats:
        """Student's t with 1.5 degrees of freedom: no variance."""
        tails = self._random.standard_t(1.5, (RUNS, BLOCKS))
        return np.exp(0.02 * np.clip(tails, -100, 100))

    def autocorrelated(self, correlation: float) -> Floats:
        """AR(1) from block to block."""
        news = self._random.normal(0, 1, (RUNS, BLOCKS))
        state = news.copy()
        for block in range(1, BLOCKS):
            state[:, block] = (
                correlation * state[:, block - 1] + np.sqrt(1 - correlation**2) * news[:, block]
            )
        return np.exp(0.03 * state)

    def bursts(self) -> Floats:
        """A neighbour: everything takes 1.5 times as long for 8 blocks on average, then 32 free."""
        chance = self._random.random((RUNS, BLOCKS))
        busy = np.zeros((RUNS, BLOCKS), bool)
        busy[:, 0] = chance[:, 0] < 0.2
        for block in range(1, BLOCKS):
            stays, begins = chance[:, block] > 1 / 8, chance[:, block] < 1 / 32
            busy[:, block] = np.where(busy[:, block - 1], stays, begins)
        return self.independent(0.02) * np.where(busy, 1.5, 1)

    def order_effect(self) -> Floats:
        """The first block of each pair takes 5 % longer, whichever side it is."""
        return self.independent() * np.where(self._block % 2 == 0, 1.05, 1)


STREAMS: dict[str, Callable[[Streams], Floats]] = {
    "independent": Streams.independent,
    "linear_drift": Streams.linear_drift,
    "slow_sine": Streams.slow_sine,
    "fast_sine": Streams.fast_sine,
    "spikes": Streams.spikes,
    "heavy_tails": Streams.heavy_tails,
    "autocorrelated_0.5": lambda streams: streams.autocorrelated(0.5),
    "autocorrelated_0.9": lambda streams: streams.autocorrelated(0.9),
    "bursts": Streams.bursts,
    "order_effect": Streams.order_effect,
}


@cache
def disturbances_of(name: str) -> Floats:
    return STREAMS[name](Streams())


def median_deviation(disturbances: Floats) -> float:
    """√n times the standard deviation of the median of n round ratios, relative to the ratio.

    That is 1 / 2f, f being the ratios' density at their median (David & Nagaraja, section 10.2):
    √(π/2)·σ = 1.2533 σ for normal ones. Read off all rounds of all runs, T B B T and B T T B in
    turn, computed here and not by the code under test.
    """
    blocks = disturbances.reshape(RUNS, -1, 4)
    ratios = (blocks[:, :, 0] + blocks[:, :, 3]) / (blocks[:, :, 1] + blocks[:, :, 2])
    ratios[:, 1::2] = 1 / ratios[:, 1::2]
    below, above = np.quantile(ratios, (0.45, 0.55))
    return float((above - below) / (0.55 - 0.45) / 2)


def test_ideal_width_is_the_textbook_one_for_normal_noise() -> None:
    # log((e^a + e^d) / (e^b + e^c)) of four normal deviates has, to first order, their own σ.
    assert median_deviation(disturbances_of("independent")) == pytest.approx(
        1.2533 * 0.03, rel=0.02
    )


@pytest.mark.parametrize(
    ("precision", "max_seconds"),
    [
        pytest.param(0.01, 1e3, id="until_narrow"),
        pytest.param(1e-6, 30 * ROUND_S, id="until_late"),
    ],
)
@pytest.mark.parametrize("name", STREAMS)
def test_interval_covers_the_true_ratio_and_is_near_the_narrowest_possible(
    name: str, precision: float, max_seconds: float
) -> None:
    disturbances = disturbances_of(name)

    runs = [compared(run.tolist(), precision, max_seconds) for run in disturbances]

    covered = sum(run.overhead_lo <= RATIO <= run.overhead_hi for run in runs)
    # Nominal 95 %; 93 % is three standard deviations of a thousand runs below.
    assert covered >= 0.93 * RUNS
    deviation = median_deviation(disturbances)
    over_ideal = [
        (run.overhead_hi - run.overhead_lo)
        / RATIO
        / (2 * 1.96 * deviation / np.sqrt(run.pairs / 2))
        for run in runs
    ]
    assert np.mean(over_ideal) <= 2
    assert {run.converged for run in runs} == {precision == 0.01}
    estimates = [run.overhead for run in runs]
    assert np.mean(estimates) == pytest.approx(RATIO, rel=0.002)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_order_within_a_round_flips_from_round_to_round(machine: Machine) -> None:
    clock = VirtualClock(machine)

    result = compare(Work(machine, "T", 1e6), Work(machine, "B", 1e6), clock=clock)

    measured = "".join(side for side, _ in clock.blocks[-2 * result.pairs :])
    rounds = [measured[i : i + 4] for i in range(0, len(measured), 4)]
    assert rounds[::2] == ["TBBT"] * len(rounds[::2])
    assert rounds[1::2] == ["BTTB"] * len(rounds[1::2])
    assert len(rounds) >= 16


def test_one_call_of_the_same_side_settles_each_block(machine: Machine) -> None:
    clock = VirtualClock(machine)
    target, baseline = Work(machine, "T", 3e6), Work(machine, "B", 1e6)

    compare(target, baseline, clock=clock)

    # The virtual clock's blocks do not call: all calls there are settle, one before each block.
    for name in "TB":
        settled = [
            n for (side, _), n in zip(clock.blocks, clock.settled, strict=True) if side == name
        ]
        assert settled == list(range(1, len(settled) + 1))
    assert target.calls + baseline.calls == len(clock.blocks)


def test_what_the_caller_changes_before_a_round_is_paid_for_outside_it(machine: Machine) -> None:
    clock = VirtualClock(machine)
    target, baseline = Work(machine, "T", 1e6), Work(machine, "B", 1e6)
    turns: list[int] = []

    def change(turn: int) -> None:
        turns.append(turn)
        # Two calls of either side are dear, as after a move in memory: more than settling takes.
        for side in (target, baseline):
            side.cost_ns = 5e6
            side.later_costs_ns = [5e6, 1e6]

    result = compare(target, baseline, clock=clock, before_round=change)

    assert turns == list(range(result.pairs // 2))
    assert set(result.target_samples_ns) == set(result.baseline_samples_ns) == {1e6}


@pytest.mark.parametrize(("target_ns", "baseline_ns"), [(20e6, 200e3), (200e3, 20e6)])
def test_faster_side_is_called_as_often_as_fits_into_the_slower_ones_block(
    machine: Machine, target_ns: float, baseline_ns: float
) -> None:
    clock = VirtualClock(machine)

    result = compare(Work(machine, "T", target_ns), Work(machine, "B", baseline_ns), clock=clock)

    sizes = dict(clock.blocks[-2 * result.pairs :])
    slow, fast = ("T", "B") if target_ns > baseline_ns else ("B", "T")
    assert sizes[slow] == 1
    assert 90 <= sizes[fast] <= 110
    assert result.overhead == pytest.approx(target_ns / baseline_ns)


@given(
    target_ns=st.floats(1, 1e8),
    baseline_ns=st.floats(1, 1e8),
)
def test_blocks_are_never_too_short_for_the_clock_nor_lopsided(
    target_ns: float, baseline_ns: float
) -> None:
    machine = Machine()
    clock = VirtualClock(machine)

    result = compare(
        Work(machine, "T", target_ns), Work(machine, "B", baseline_ns), clock=clock, max_seconds=1e3
    )

    sizes = dict(clock.blocks[-2 * result.pairs :])
    blocks_ns = sizes["T"] * target_ns, sizes["B"] * baseline_ns
    # A block is a whole number of calls: rounding costs at most a third of one that holds 1.5.
    assert min(blocks_ns) >= 2 / 3 * clock.min_block_ns
    assert max(blocks_ns) / min(blocks_ns) <= 1.5
    assert result.overhead == pytest.approx(target_ns / baseline_ns)
    assert result.converged


def test_balance_survives_a_spike_while_estimating(machine: Machine) -> None:
    def spikes() -> Iterator[float]:
        yield 50.0
        while True:
            yield 1.0

    clock = VirtualClock(machine, spikes())

    result = compare(Work(machine, "T", 1e6), Work(machine, "B", 1e6), clock=clock)

    assert set(clock.blocks[-2 * result.pairs :]) == {("T", 1), ("B", 1)}


def test_a_quiet_machine_is_left_after_the_first_look(machine: Machine) -> None:
    result = compare(Work(machine, "T", 2e6), Work(machine, "B", 1e6), clock=VirtualClock(machine))

    assert (result.overhead, result.overhead_lo, result.overhead_hi) == (2, 2, 2)
    assert result.pairs == 2 * 16
    assert result.converged
    assert (result.target_ns, result.baseline_ns) == (2e6, 1e6)
    assert str(result) == "2× [2, 2] · 2 ms against 1 ms · 32 pairs"


def test_stops_as_soon_as_the_interval_is_as_narrow_as_asked() -> None:
    runs = [
        compared(run.tolist(), precision)
        for run in disturbances_of("independent")[:20]
        for precision in (0.05, 0.02, 0.01)
    ]

    # Each look is a chance to stop by luck: the next is at 1.3 times as many rounds.
    looks = [16]
    while looks[-1] < BLOCKS // 4:
        looks.append(math.ceil(1.3 * looks[-1]))
    assert {run.pairs // 2 for run in runs} <= set(looks)
    for coarse, medium, fine in zip(runs[::3], runs[1::3], runs[2::3], strict=True):
        assert coarse.pairs <= medium.pairs <= fine.pairs
    for run, precision in zip(runs, 20 * (0.05, 0.02, 0.01), strict=True):
        assert run.converged
        assert (run.overhead_hi - run.overhead_lo) / 2 <= precision * run.overhead


def test_an_interval_exactly_as_narrow_as_asked_is_narrow_enough(machine: Machine) -> None:
    # Both blocks of the target are a sixteenth too fast, right and too slow from round to round.
    rounds = cycle((15 / 16, 1, 17 / 16))
    factors = chain.from_iterable((factor, factor) for factor in rounds)
    # While the block's size is estimated, blocks of both sides are undisturbed.
    undisturbed = repeat(1.0, 3)

    slowness = chain(undisturbed, factors)
    clock = VirtualClock(
        machine, spell=lambda name, _now_ns: next(slowness) if name == "T" else 1.0
    )
    result = compare(
        Work(machine, "T", 2.0**20), Work(machine, "B", 2.0**20), clock=clock, precision=1 / 16
    )

    assert (result.overhead_lo, result.overhead_hi) == (15 / 16, 17 / 16)
    assert result.converged
    assert result.pairs == 2 * 16


def test_says_so_when_time_runs_out() -> None:
    disturbances = disturbances_of("spikes")[0].tolist()

    result = compared(disturbances, precision=0.0001, max_seconds=20 * ROUND_S)

    half_width = (result.overhead_hi - result.overhead_lo) / 2 / result.overhead
    assert not result.converged
    assert f"NOT CONVERGED: still ±{half_width:.1%} when time ran out" in str(result)


@pytest.mark.parametrize("rounds", [20, 50, 100])
def test_overruns_its_time_by_less_than_a_round(machine: Machine, rounds: int) -> None:
    clock = VirtualClock(machine, disturbances_of("independent")[0].tolist())

    result = compare(
        Work(machine, "T", 600e3),
        Work(machine, "B", 200e3),
        clock=clock,
        precision=1e-6,
        max_seconds=rounds * ROUND_S,
    )

    estimating_ns = 2 * 3 * 2 * 600e3
    assert machine.now_ns <= (rounds + 1) * ROUND_S * 1e9 + estimating_ns
    assert machine.now_ns >= rounds * ROUND_S * 1e9
    assert not result.converged


def test_it_takes_a_second_unless_asked_otherwise(machine: Machine) -> None:
    clock = VirtualClock(machine, disturbances_of("independent")[0].tolist())

    result = compare(
        Work(machine, "T", 600e3), Work(machine, "B", 200e3), clock=clock, precision=1e-6
    )

    estimating_s = 2 * 3 * 2 * 600e3 / 1e9
    assert 1 <= machine.now_ns / 1e9 <= 1 + ROUND_S + estimating_s
    assert not result.converged


def test_calling_takes_the_settling_in_and_leaves_the_callers_changes_out(machine: Machine) -> None:
    def change(_turn: int) -> None:
        machine.now_ns += 50e6

    result = compare(
        Work(machine, "T", 1e6),
        Work(machine, "B", 1e6),
        clock=VirtualClock(machine),
        before_round=change,
    )

    # One call of either side behind the change, then four blocks of one call, each settled by one.
    assert result.calling_s == pytest.approx(result.pairs / 2 * (2 + 4 * 2) * 1e-3)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_never_fewer_rounds_than_the_interval_needs(machine: Machine, confidence: float) -> None:
    result = compare(
        Work(machine, "T", 1e9),
        Work(machine, "B", 1e9),
        clock=VirtualClock(machine),
        max_seconds=1e-9,
        confidence=confidence,
    )

    # The range of n values misses the median with probability 2 · 2^-n.
    rounds = result.pairs // 2
    assert 2 / 2**rounds <= 1 - confidence
    assert result.confidence == confidence
    assert rounds <= np.ceil(np.log2(2 / (1 - confidence))) + 1


def test_higher_confidence_gives_a_wider_interval_that_covers_more_often() -> None:
    machine_runs = disturbances_of("independent")[:200]

    def covered(confidence: float) -> tuple[int, float]:
        hits, width = 0, 0.0
        for run in machine_runs:
            machine = Machine()
            result = compare(
                Work(machine, "T", 600e3),
                Work(machine, "B", 200e3),
                clock=VirtualClock(machine, run.tolist()),
                precision=1e-6,
                max_seconds=30 * ROUND_S,
                confidence=confidence,
            )
            hits += result.overhead_lo <= RATIO <= result.overhead_hi
            width += result.overhead_hi - result.overhead_lo
        return hits, width

    outcomes = [covered(confidence) for confidence in (0.5, 0.9, 0.999)]

    assert all(few < many and narrow < wide for (few, narrow), (many, wide) in pairwise(outcomes))
    assert outcomes[-1][0] >= 198


@pytest.mark.parametrize(
    ("factor", "times", "direction"), [(1.5, 1.5, "slower"), (0.5, 2.0, "faster")]
)
def test_a_change_of_speed_is_flagged_and_leaves_the_ratio(
    machine: Machine, factor: float, times: float, direction: str
) -> None:
    noise = disturbances_of("independent")[0]

    # All of it takes 30 virtual rounds at the first speed; the change comes in the middle.
    def spell(_name: str, now_ns: float) -> float:
        return 1.0 if now_ns < 15 * ROUND_S * 1e9 else factor

    result = compare(
        Work(machine, "T", 600e3),
        Work(machine, "B", 200e3),
        clock=VirtualClock(machine, noise.tolist(), spell),
        precision=1e-6,
        max_seconds=30 * ROUND_S,
    )

    assert result.speed_drift == pytest.approx(factor, rel=0.05)
    assert not result.steady
    said = re.search(rf"UNSTEADY: the device became (\d\.\d\d)× {direction}$", str(result))
    assert said
    assert float(said[1]) == pytest.approx(times, rel=0.05)
    assert result.overhead_lo <= RATIO <= result.overhead_hi
    assert result.overhead == pytest.approx(RATIO, rel=0.02)


def test_a_steady_machine_is_not_flagged() -> None:
    result = compared(disturbances_of("independent")[1].tolist())

    assert result.steady
    assert "UNSTEADY" not in str(result)


@pytest.mark.parametrize(
    ("speed_drift", "steady"),
    [(1.0, True), (1.1, True), (1 / 1.1, True), (1.11, False), (1 / 1.11, False)],
)
def test_a_tenth_more_or_less_is_steady(speed_drift: float, steady: bool) -> None:
    assert is_steady(speed_drift) == steady


@pytest.mark.parametrize("confidence", [0.1, 0.95])
def test_samples_are_one_a_block_in_the_order_measured(machine: Machine, confidence: float) -> None:
    # 2^-10 a block: exactly representable, and each block's factor tells its place.
    factors = [1 + block / 1024 for block in range(200)]
    clock = VirtualClock(machine, factors)

    result = compare(
        Work(machine, "T", 600e3),
        Work(machine, "B", 600e3),
        clock=clock,
        max_seconds=1e-9,
        confidence=confidence,
    )

    first = len(clock.blocks) - 2 * result.pairs
    for name, samples in (("T", result.target_samples_ns), ("B", result.baseline_samples_ns)):
        places = [i for i, (side, _) in enumerate(clock.blocks) if side == name and i >= first]
        assert list(samples) == pytest.approx([600e3 * factors[i] for i in places])
    assert result.target_ns == pytest.approx(float(np.median(result.target_samples_ns)))
    assert result.baseline_ns == pytest.approx(float(np.median(result.baseline_samples_ns)))
    third = len(result.baseline_samples_ns) // 3
    assert result.speed_drift == pytest.approx(
        float(np.median(result.baseline_samples_ns[-third:]))
        / float(np.median(result.baseline_samples_ns[:third]))
    )


@pytest.mark.parametrize("precision", [0, -0.1, 1, 2, float("nan")])
def test_a_precision_that_is_no_share_is_refused(machine: Machine, precision: float) -> None:
    with pytest.raises(ValueError, match="precision must lie between 0 and 1, got"):
        compare(
            Work(machine, "T", 1), Work(machine, "B", 1),
            clock=VirtualClock(machine), precision=precision,
        )  # fmt: skip


@pytest.mark.parametrize("max_seconds", [0, -1, float("nan")])
def test_no_time_at_all_is_refused(machine: Machine, max_seconds: float) -> None:
    with pytest.raises(ValueError, match="max_seconds must be positive, got"):
        compare(
            Work(machine, "T", 1), Work(machine, "B", 1),
            clock=VirtualClock(machine), max_seconds=max_seconds,
        )  # fmt: skip


@pytest.mark.parametrize("confidence", [0, 1, 95, float("nan")])
def test_a_confidence_that_is_no_probability_is_refused(
    machine: Machine, confidence: float
) -> None:
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, got"):
        compare(
            Work(machine, "T", 1), Work(machine, "B", 1),
            clock=VirtualClock(machine), confidence=confidence,
        )  # fmt: skip


@pytest.fixture(params=[True, False], ids=["gc_on", "gc_off"])
def collecting(request: pytest.FixtureRequest) -> Iterator[bool]:
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if before else gc.disable)()


def test_garbage_collection_rests_while_timing_and_is_as_before_after(
    machine: Machine, collecting: bool
) -> None:
    seen = []

    class Watching(Work):
        def __call__(self) -> None:
            seen.append(gc.isenabled())
            super().__call__()

    compare(Watching(machine, "T", 1e6), Watching(machine, "B", 1e6), clock=VirtualClock(machine))

    assert set(seen) == {False}
    assert gc.isenabled() == collecting


@pytest.mark.parametrize("calls_before", [0, 10])
def test_garbage_collection_is_as_before_after_an_exception_too(
    machine: Machine, collecting: bool, calls_before: int
) -> None:
    class Failing(Work):
        def __call__(self) -> None:
            super().__call__()
            if self.calls > calls_before:
                raise OverflowError("it broke")

    with pytest.raises(OverflowError, match="it broke"):
        compare(Failing(machine, "T", 1e6), Work(machine, "B", 1e6), clock=VirtualClock(machine))
    assert gc.isenabled() == collecting


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0.4, "0.4 ns"),
        (999, "999 ns"),
        (999.5, "1 µs"),
        (999.7, "1 µs"),
        (1e3, "1 µs"),
        (812_345, "812 µs"),
        (999_500, "1 ms"),
        (999_700, "1 ms"),
        (2.5e6, "2.5 ms"),
        (999.5e6, "1 s"),
        (999.7e6, "1 s"),
        (61e9, "61 s"),
    ],
)
def test_format_ns(duration_ns: float, text: str) -> None:
    assert format_ns(duration_ns) == text


@given(st.floats(1e-3, 9e11))
def test_format_ns_is_right_to_three_digits_and_never_scientific(duration_ns: float) -> None:
    number, unit = format_ns(duration_ns).split()

    scale = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}[unit]
    assert float(number) * scale == pytest.approx(duration_ns, rel=0.0051)
    assert "e" not in number


def in_rounds(blocks: list[tuple[str, int]]) -> list[str]:
    """The sides of blocks, four by four."""
    sides = "".join(side for side, _ in blocks)
    return [sides[i : i + 4] for i in range(0, len(sides), 4)]


class TestVisits:
    """A pair that is left and come back to."""

    @pytest.mark.parametrize("seconds", [0.0, 1e-9])
    def test_each_makes_a_round_however_short_it_is(self, machine: Machine, seconds: float) -> None:
        pair = Pair(Work(machine, "T", 2e6), Work(machine, "B", 1e6), VirtualClock(machine))

        for _ in range(3):
            readings = pair.visit(seconds)

            assert readings.ratios == [2.0]
            assert readings.target_ns == [2e6, 2e6]
            assert readings.baseline_ns == [1e6, 1e6]

    @pytest.mark.parametrize("rounds", [1, 3, 4])
    def test_both_orders_take_turns_over_all_of_them(self, machine: Machine, rounds: int) -> None:
        clock = VirtualClock(machine)
        pair = Pair(Work(machine, "T", 1e6), Work(machine, "B", 1e6), clock)
        made = []
        for _ in range(4):
            # A round is four blocks of a call, each settled by one: the last begins in time.
            readings = pair.visit((rounds - 0.5) * 8e-3)
            assert len(readings.ratios) == rounds
            made += in_rounds(clock.blocks[-4 * rounds :])

        assert made == ["TBBT", "BTTB"] * (2 * rounds)

    def test_rounds_are_numbered_over_all_of_them(self, machine: Machine) -> None:
        turns: list[int] = []
        pair = Pair(
            Work(machine, "T", 1e6), Work(machine, "B", 1e6), VirtualClock(machine), turns.append
        )

        rounds = [len(pair.visit(seconds).ratios) for seconds in (0.0, 0.05, 0.0, 0.02)]

        assert rounds[1] > rounds[3] > rounds[0] == rounds[2] == 1
        assert turns == list(range(sum(rounds)))

    def test_the_balance_is_found_once_and_takes_none_of_the_time(self, machine: Machine) -> None:
        clock = VirtualClock(machine)
        pair = Pair(Work(machine, "T", 4e6), Work(machine, "B", 1e6), clock)
        start_ns = machine.now_ns

        first = pair.visit(0.1)

        balancing = len(clock.blocks) - 4 * len(first.ratios)
        # Three readings of either side at least.
        assert balancing >= 6
        assert machine.now_ns - start_ns > 0.1e9 + balancing * 2e6

        for _ in range(2):
            blocks, start_ns = len(clock.blocks), machine.now_ns
            readings = pair.visit(0.1)
            # The target's two blocks take 4 ms each and the baseline's as much; a settling call
            # goes before each.
            round_ns = 2 * (4e6 + 4e6) + 2 * (4e6 + 1e6)
            assert len(clock.blocks) - blocks == 4 * len(readings.ratios)
            # And before it, two calls of either side.
            settling_ns = 2 * (4e6 + 1e6)
            spent_ns = machine.now_ns - start_ns - settling_ns
            assert 0.1e9 <= spent_ns < 0.1e9 + round_ns
            assert set(clock.blocks[blocks:]) == {("T", 1), ("B", 4)}

    @pytest.mark.parametrize(
        ("target_ns", "baseline_ns", "calls"),
        [(8e6, 1e6, (1, 8)), (1e6, 8e6, (8, 1)), (2e4, 5e4, (5, 2))],
    )
    def test_what_was_balanced_in_a_slow_moment_is_balanced_by_the_visit_s_own_times(
        self,
        machine: Machine,
        target_ns: float,
        baseline_ns: float,
        calls: tuple[int, int],
    ) -> None:
        target, baseline = Work(machine, "T", 1e6), Work(machine, "B", 1e6)
        clock = VirtualClock(machine)

        def settle_down(turn: int) -> None:
            if turn == 0:
                target.cost_ns, baseline.cost_ns = target_ns, baseline_ns

        pair = Pair(target, baseline, clock, settle_down)
        first = pair.visit(0.0)
        assert set(clock.blocks[-4:]) == {("T", 1), ("B", 1)}

        second = pair.visit(0.0)

        assert dict(clock.blocks[-4:]) == dict(zip("TB", calls, strict=True))
        # What is said is of one call, however many a block had.
        assert first.ratios == second.ratios == [pytest.approx(target_ns / baseline_ns)]
        assert second.target_ns == pytest.approx([target_ns, target_ns])

    def test_one_slow_block_does_not_unbalance_the_next_visit(self, machine: Machine) -> None:
        # Six readings to find the balance, then the first block of a round of four.
        clock = VirtualClock(machine, chain(repeat(1.0, 6), [30.0], repeat(1.0)))
        pair = Pair(Work(machine, "T", 1e6), Work(machine, "B", 1e6), clock)
        assert pair.visit(0.0).target_ns == [30e6, 1e6]

        pair.visit(0.0)

        assert set(clock.blocks[-4:]) == {("T", 1), ("B", 1)}

    def test_readings_are_of_one_visit_in_the_order_measured(self, machine: Machine) -> None:
        # 2^-10 a block: exactly representable, and each block's factor tells its place.
        factors = [1 + block / 1024 for block in range(200)]
        clock = VirtualClock(machine, factors)
        pair = Pair(Work(machine, "T", 3e6), Work(machine, "B", 1.5e6), clock)
        pair.visit(0.05)
        first = len(clock.blocks)

        readings = pair.visit(0.05)

        sides = [side for side, _ in clock.blocks[first:]]
        of_either = {
            name: [
                cost_ns * factor
                for side, factor in zip(sides, factors[first:], strict=False)
                if side == name
            ]
            for name, cost_ns in (("T", 3e6), ("B", 1.5e6))
        }
        assert readings.target_ns == pytest.approx(of_either["T"])
        assert readings.baseline_ns == pytest.approx(of_either["B"])
        assert len(readings.ratios) >= 2
        assert readings.ratios == pytest.approx(
            [
                sum(of_either["T"][i : i + 2]) / sum(of_either["B"][i : i + 2])
                for i in range(0, len(of_either["T"]), 2)
            ]
        )

    def test_calling_takes_the_settling_in_and_leaves_the_callers_changes_out(
        self, machine: Machine
    ) -> None:
        def change(_turn: int) -> None:
            machine.now_ns += 50e6

        pair = Pair(Work(machine, "T", 1e6), Work(machine, "B", 1e6), VirtualClock(machine), change)
        for _ in range(2):
            readings = pair.visit(0.2)

            # Two calls of either side before all; in each round a call of either side behind the
            # change, and four blocks of a call, each settled by one.
            rounds = len(readings.ratios)
            assert readings.calling_s == pytest.approx((2 * 2 + rounds * (2 + 4 * 2)) * 1e-3)

    def test_what_was_lost_meanwhile_is_got_back_untimed(self, machine: Machine) -> None:
        target, baseline = Work(machine, "T", 2e6), Work(machine, "B", 1e6)
        pair = Pair(target, baseline, VirtualClock(machine))
        pair.visit(0.0)
        lost = [20e6, 5e6]

        class GetsBack(Work):
            def __call__(self) -> None:
                self.cost_ns = 2e6 + (lost.pop(0) if lost else 0.0)
                super().__call__()

        pair._target = GetsBack(machine, "T", 2e6)

        assert pair.visit(0.0).ratios == [2.0]

    def test_a_linear_drift_leaves_each_ratio_as_it_is(self, machine: Machine) -> None:
        drift = (1 + block / 100 for block in range(10_000))
        pair = Pair(Work(machine, "T", 3e6), Work(machine, "B", 3e6), VirtualClock(machine, drift))

        for _ in range(3):
            ratios = pair.visit(0.3).ratios
            assert ratios == pytest.approx([1.0] * len(ratios))


class TestGarbageDuringVisits:
    def test_it_rests_meanwhile_and_is_collected_as_before_after(
        self, machine: Machine, collecting: bool
    ) -> None:
        seen = []

        class Watching(Work):
            def __call__(self) -> None:
                seen.append(gc.isenabled())
                super().__call__()

        pair = Pair(Watching(machine, "T", 1e6), Watching(machine, "B", 1e6), VirtualClock(machine))
        for _ in range(2):
            pair.visit(0.0)
            assert gc.isenabled() == collecting

        assert set(seen) == {False}

    def test_so_it_is_after_a_visit_that_failed(self, machine: Machine, collecting: bool) -> None:
        class Failing(Work):
            def __call__(self) -> None:
                raise OverflowError("it broke")

        pair = Pair(Failing(machine, "T", 1e6), Work(machine, "B", 1e6), VirtualClock(machine))

        with pytest.raises(OverflowError, match="it broke"):
            pair.visit(0.0)
        assert gc.isenabled() == collecting
