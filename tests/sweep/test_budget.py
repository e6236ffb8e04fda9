"""Sweeps in a limited time, on simulated devices whose every cost is known."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynact.schema.settings import Settings
from dynact.schema.visits import LEAST_VISITS
from dynact.sweep.budget import Budget, BudgetedPasses
from dynact.sweep.passes import Passes, Visited
from tests.sweep.simulated import PASSES_A_PROCESS, Simulated

# Visits of half a second: fewer are to be simulated.
SETTINGS = Settings(max_seconds=6.0)
LAYERS = range(6)
BUDGET_S = 900.0
# A layer at a size, the larger the dearer; a negative size is a pair that is always visited.
Layer = tuple[int, int]
PAIRS = [(-1, pair) for pair in range(5)]
ENDS = 4


def grown(sizes: int) -> list[list[Layer]]:
    """Return a step for each size, the ends of all axes before what is between them."""
    order = [0, 1, sizes // 2, sizes - 1] + [n for n in range(2, sizes - 1) if n != sizes // 2]
    return [[(size, layer) for layer in LAYERS] for size in order[:sizes]]


class Sweep:
    """What sessions make of the cases of some steps."""

    def __init__(self, steps: Sequence[Sequence[Layer]], precision: float = 0.01) -> None:
        self.settings = replace(SETTINGS, precision=precision)
        self.steps = steps
        self.visited = {case: Visited(case) for step in steps for case in step}

    def passes(
        self, device: Simulated[Layer], budget_s: float = BUDGET_S, *, is_spent: bool = True
    ) -> BudgetedPasses[Layer]:
        end_s = device.now_s + budget_s
        return BudgetedPasses(
            [Visited(pair, 3.0, ends_early=False) for pair in PAIRS],
            [[self.visited[case] for case in step] for step in self.steps],
            Budget(lambda: end_s - device.now_s, self.steps, ENDS, is_spent),
            self.settings,
            PASSES_A_PROCESS,
            device.opening_s,
        )

    def run(
        self, device: Simulated[Layer], budget_s: float = BUDGET_S, *, is_spent: bool = True
    ) -> float:
        """Return how long a session takes."""
        begun_s = device.now_s
        passes = self.passes(device, budget_s, is_spent=is_spent)
        device.sweep(passes, self.settings.visit_s)
        return device.now_s - begun_s

    @property
    def sizes(self) -> list[int]:
        """The sizes of which anything was visited."""
        return sorted({size for (size, _), case in self.visited.items() if case.visits})

    @property
    def costliest_s(self) -> float:
        """How long all visits took of the size that took longest."""
        took_s = defaultdict[int, float](float)
        for (size, _), case in self.visited.items():
            took_s[size] += sum(visit.visit_s or 0.0 for visit in case.visits)
        return max(took_s.values())

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        precision = self.settings.precision
        return all(case.is_finished(precision) for case in self.visited.values())


def device(speed: float = 1.0, **changes: object) -> Simulated[Layer]:
    """Return one that takes so many times as long for whatever it does."""
    costs = {"slower": lambda _now_s: speed} | changes
    return Simulated(lambda case: 0.02 * max(case[0], 0), **costs)  # type: ignore[arg-type]


def few_visits(sweep: Sweep) -> list[Layer]:
    """Return the cases that succeeded and have fewer visits than any is to have."""
    return [
        case
        for case, visited in sweep.visited.items()
        if not visited.failed and 0 < len(visited.visits) < LEAST_VISITS
    ]


@pytest.mark.parametrize("compiling_s", [0.0, 2.0])
@pytest.mark.parametrize("scatter", [0.0, 0.5])
@pytest.mark.parametrize("speed", [0.1, 1.0, 10.0])
def test_a_budget_is_used_and_kept(speed: float, scatter: float, compiling_s: float) -> None:
    sweep, bench = Sweep(grown(100)), device(speed, scatter=scatter, compiling_s=compiling_s)

    took_s = sweep.run(bench)

    assert 25 / 30 * BUDGET_S <= took_s <= BUDGET_S + bench.longest_s
    assert 0 < len(sweep.sizes) < 100
    # But for a size that turned out to be too much.
    assert len({size for size, _ in few_visits(sweep)}) <= 1


def test_a_faster_device_measures_more_sizes() -> None:
    found = []
    for speed in (0.1, 1.0, 10.0):
        sweep = Sweep(grown(100))
        sweep.run(device(speed))
        found.append(len(sweep.sizes))

    fast, usual, slow = found
    # A visit is timed for as long on a faster one.
    assert fast > usual > 3 * slow
    assert slow >= ENDS


def test_a_slow_device_makes_fewer_visits_before_it_leaves_out_ends() -> None:
    sweep, bench = Sweep(grown(ENDS)), device(10.0)
    whole_s = Sweep(grown(ENDS)).run(device(10.0), 1e6, is_spent=False)

    took_s = sweep.run(bench, 0.6 * whole_s)

    assert took_s <= 0.6 * whole_s + bench.longest_s
    assert len(sweep.sizes) == ENDS
    made = Counter(len(case.visits) for case in sweep.visited.values())
    assert LEAST_VISITS <= min(made) < max(made) < SETTINGS.passes


def test_where_the_ends_do_not_fit_the_last_is_left_out() -> None:
    sweep, bench = Sweep(grown(100)), device(10.0, compiling_s=1.0)

    took_s = sweep.run(bench, 900)

    assert 25 / 30 * 900 <= took_s <= 900 + bench.longest_s
    assert 0 < len(sweep.sizes) < ENDS
    assert sweep.sizes == sorted(step[0][0] for step in sweep.steps[: len(sweep.sizes)])


def test_steps_come_in_their_order_and_whole() -> None:
    sweep, bench = Sweep(grown(100)), device()

    sweep.run(bench)

    begun = list(dict.fromkeys(size for _, (size, _) in bench.made if size >= 0))
    assert begun == [step[0][0] for step in sweep.steps[: len(begun)]]
    visited = Counter(size for (size, _), case in sweep.visited.items() if case.visits)
    assert set(visited.values()) == {len(LAYERS)}


def test_a_step_that_turns_out_to_be_too_much_is_given_up() -> None:
    sweep, bench = Sweep(grown(ENDS)), device()
    bench.call_s = lambda case: 60.0 if case[0] == ENDS - 1 else 0.01

    took_s = sweep.run(bench, 400)

    assert took_s <= 400 + bench.longest_s
    # The last of the ends, which takes 6 × 60 s to be visited once.
    for (size, _), case in sweep.visited.items():
        assert (len(case.visits) >= LEAST_VISITS) == (size != ENDS - 1)


def test_a_small_sweep_ends_once_all_is_narrow() -> None:
    sweep, bench = Sweep(grown(ENDS)), device(scatter=0.0)

    took_s = sweep.run(bench)

    assert sweep.is_done
    assert took_s < 0.4 * BUDGET_S


def test_time_that_is_left_goes_to_what_is_wide_if_it_is_to_be_spent() -> None:
    spent, kept = Sweep(grown(ENDS)), Sweep(grown(ENDS))

    spent_s, kept_s = spent.run(device()), kept.run(device(), is_spent=False)

    assert 25 / 30 * BUDGET_S <= spent_s <= BUDGET_S + 1
    assert kept_s < 0.4 * BUDGET_S
    assert all(case.visits for case in kept.visited.values())


def test_a_device_that_becomes_slow_costs_visits_and_no_time() -> None:
    sweep, bench = Sweep(grown(100)), device()
    bench.slower = lambda now_s: 1.0 if now_s < BUDGET_S / 3 else 3.0

    took_s = sweep.run(bench)

    assert 25 / 30 * BUDGET_S <= took_s <= BUDGET_S + bench.longest_s


@settings(max_examples=15, deadline=None)
@given(
    speed=st.sampled_from([0.05, 0.3, 1.0, 4.0]),
    making_s=st.floats(0.0, 0.3),
    compiling_s=st.sampled_from([0.0, 0.5, 2.0]),
    counting_s=st.floats(0.0, 0.5),
    opening_s=st.floats(0.5, 6.0),
    scatter=st.sampled_from([0.0, 0.004, 0.5]),
    hung=st.sampled_from([0, 97, 31]),
    failed=st.sampled_from([0, 7, 2]),
    sizes=st.sampled_from([4, 12, 60]),
)
def test_whatever_visits_cost_the_budget_is_kept_and_used(
    speed: float, making_s: float, compiling_s: float, counting_s: float, opening_s: float,
    scatter: float, hung: int, failed: int, sizes: int,
) -> None:  # fmt: skip
    def status(case: Layer) -> str:
        size, layer = case
        number = len(LAYERS) * size + layer
        if size < 0:
            return "ok"
        if hung and number % hung == hung - 1:
            return "timeout"
        return "error" if failed and number % failed == failed - 1 else "ok"

    sweep = Sweep(grown(sizes))
    bench = device(
        speed, making_s=making_s, compiling_s=compiling_s, counting_s=counting_s,
        opening_s=opening_s, scatter=scatter, status=status,
    )  # fmt: skip

    took_s = sweep.run(bench)

    assert took_s <= BUDGET_S + bench.longest_s + bench.storing_s * speed
    # Where all is narrow, a further size has to have its time, and its passes their processes.
    openings_s = SETTINGS.passes / PASSES_A_PROCESS * speed * (opening_s + bench.storing_s)
    further_s = sweep.costliest_s + openings_s
    assert took_s >= 25 / 30 * BUDGET_S or sweep.is_done or took_s + further_s > BUDGET_S


@settings(max_examples=8, deadline=None)
@given(st.floats(100, 600), st.floats(100, 600))
def test_a_later_session_goes_on_where_the_time_ended(first_s: float, second_s: float) -> None:
    sweep, bench = Sweep(grown(60)), device()
    sweep.run(bench, first_s)
    sizes, before = sweep.sizes, len(bench.made)
    cut = [case for case, visited in sweep.visited.items() if visited.visits]

    took_s = sweep.run(bench, second_s)

    assert took_s <= second_s + bench.longest_s + bench.storing_s
    assert set(sizes) <= set(sweep.sizes)
    regular = Counter(
        visit for visit in bench.made if visit[0] <= SETTINGS.passes and visit[1][0] >= 0
    )
    assert set(regular.values()) == {1}
    new = {case for _, case in bench.made[before:] if case[0] >= 0} - set(cut)
    finished = [len(sweep.visited[case].visits) for case in cut]
    # Sizes are added once those that were begun have all their visits.
    assert not new or min(finished) >= LEAST_VISITS


@settings(max_examples=8, deadline=None)
@given(
    st.floats(5, 300),
    st.sampled_from([0.1, 1.0, 10.0]),
    st.sampled_from([0.0, 2.0]),
    st.sampled_from([3, 12]),
)
def test_a_session_without_one_makes_all_visits_that_were_missed(
    budget_s: float, speed: float, compiling_s: float, passes: int
) -> None:
    sweep, bench = Sweep(grown(8)), device(speed, compiling_s=compiling_s)
    sweep.settings = replace(sweep.settings, passes=passes, max_seconds=passes / 2)
    # A size that takes so long that there may be time for others alone.
    bench.call_s = lambda case: 7.0 if case[0] == 3 else 0.01
    sweep.run(bench, budget_s)
    few = {
        case
        for case, visited in sweep.visited.items()
        if len(visited.visits) < min(LEAST_VISITS, passes)
    }
    further = Passes([*sweep.visited.values()], sweep.settings)
    to_do = {*further.to_do()}
    bench.made.clear()

    bench.sweep(further, sweep.settings.visit_s)

    assert few <= to_do == {case for number, case in bench.made if number <= passes}
    assert further.to_do() == []
    for visited in sweep.visited.values():
        numbers = [visit.number for visit in visited.in_passes]
        assert len(numbers) == len(set(numbers)) >= min(LEAST_VISITS, passes)
