"""Which visits are made of cases whose times and ratios are known."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.settings import Settings
from dynact.schema.visits import LEAST_VISITS, Visit, estimate
from dynact.sweep.passes import REPEATS, Passes, Visited

SETTINGS = Settings(precision=0.001, max_seconds=1.0, passes=10)
Answer = Callable[[str, int], dict[str, Any]]
Made = list[tuple[int, str]]


def wide(_case: str, number: int) -> dict[str, Any]:
    """A ratio that never becomes narrow, in just the time asked for."""
    return {"overhead": 2.0 + number % 2, "timing_s": 0.1}


def visit_of(case: str, number: int, seconds: float, **figures: Any) -> Visit:
    usual: dict[str, Any] = {"status": "ok", "message": "", "session": "now", "elapsed_s": 1.0}
    usual["visit_s"] = figures.get("timing_s")
    return Visit(
        table="rows.jsonl", case_id=case, number=number, seconds=seconds, **usual | figures
    )


def sweep(
    names: Sequence[str],
    answer: Answer,
    settings: Settings = SETTINGS,
    visits: dict[str, list[Visit]] | None = None,
    most: int = 10**6,
) -> Made:
    """Return the visits that are made, at most so many; notes them in ``visits``."""
    kept = defaultdict(list) if visits is None else visits
    made: Made = []
    for number, due in Passes([Visited(n, visits=kept[n]) for n in names], settings):
        assert due
        for visited in due:
            if len(made) == most:
                return made
            found = answer(visited.case, number)
            visited.visits.append(
                visit_of(
                    visited.case,
                    number,
                    visited.share * settings.visit_s,
                    extra=number > settings.passes,
                    **found,
                )
            )
            made.append((number, visited.case))
    return made


def orders(made: Made) -> list[list[str]]:
    by_pass = defaultdict(list)
    for number, case in made:
        by_pass[number].append(case)
    return list(by_pass.values())


NAMES = [f"case {i}" for i in range(12)]


def test_each_pass_visits_each_case_once_in_an_order_of_its_own() -> None:
    found = orders(sweep(NAMES, wide))

    assert len(found) == SETTINGS.passes
    assert all(sorted(order) == sorted(NAMES) for order in found)
    assert all(before != after for before, after in pairwise([NAMES, *found]))
    # No case keeps its neighbour.
    followers = Counter(pair for order in found for pair in pairwise(order))
    assert max(followers.values()) <= 4


def test_the_order_is_drawn_from_a_seed() -> None:
    assert sweep(NAMES, wide) == sweep(NAMES, wide)


def test_a_narrow_case_has_five_visits_and_its_time_goes_to_the_widest() -> None:
    def answer(case: str, number: int) -> dict[str, Any]:
        scatter = {"narrow": 0.0, "wide": 0.01}.get(case, 1.0)
        return {"overhead": 2 + scatter * (number % 2), "timing_s": 0.1}

    names = ["narrow", "wide", "wider", "wider too"]
    made = Counter(case for _, case in sweep(names, answer))

    assert made["narrow"] == LEAST_VISITS
    # What it left, of ten passes.
    assert sum(made.values()) == 4 * SETTINGS.passes
    assert made["wide"] <= made["wider"]
    assert made["wider"] + made["wider too"] >= 2 * SETTINGS.passes + 2


def test_where_all_are_narrow_the_sweep_ends() -> None:
    made = sweep(NAMES, lambda _case, _number: {"overhead": 2.0, "timing_s": 0.1})

    assert len(made) == LEAST_VISITS * len(NAMES)


@pytest.mark.parametrize("takes_s", [0.2, 0.35, 1.0, 30.0])
def test_a_slow_case_waits_but_has_five_visits_spread_over_the_sweep(takes_s: float) -> None:
    def answer(case: str, number: int) -> dict[str, Any]:
        return wide(case, number) | {"timing_s": takes_s if case == "slow" else 0.1}

    visits: dict[str, list[Visit]] = defaultdict(list)
    made = sweep(["slow", *NAMES], answer, visits=visits)

    # Though it was not visited in the last pass.
    assert Passes([Visited("slow", visits=visits["slow"])], SETTINGS).to_do() == []
    numbers = [number for number, case in made if case == "slow"]
    assert len(numbers) == max(round(SETTINGS.max_seconds / takes_s), LEAST_VISITS)
    gaps = [after - before for before, after in pairwise([0, *numbers, SETTINGS.passes + 1])]
    assert max(gaps) <= math.ceil(SETTINGS.passes / len(numbers)) + 1
    others = Counter(case for _, case in made if case != "slow")
    assert set(others.values()) == {SETTINGS.passes}


@pytest.mark.parametrize(
    ("status", "visits"),
    # A process that was ended may have been ended by others.
    [("error", 1), ("oom", 1), ("unsupported", 1), ("timeout", 1), ("crashed", 2)],
)
def test_a_case_that_never_succeeds_is_not_visited_again(status: str, visits: int) -> None:
    def answer(case: str, number: int) -> dict[str, Any]:
        return {"status": status, "message": "why"} if case == "bad" else wide(case, number)

    made = sweep(["bad", *NAMES], answer)

    assert [number for number, case in made if case == "bad"] == [1, 2][:visits]


def test_one_that_fails_later_has_a_second_chance_and_no_third() -> None:
    def answer(case: str, number: int) -> dict[str, Any]:
        fails = case == "bad" and number in (3, 5)
        return {"status": "crashed", "message": "why"} if fails else wide(case, number)

    made = sweep(["bad", *NAMES], answer)

    assert [number for number, case in made if case == "bad"] == [1, 2, 3, 4, 5]


def test_disturbed_visits_are_made_once_more_and_then_no_more() -> None:
    def answer(case: str, number: int) -> dict[str, Any]:
        disturbed = case == "case 3" and number in (2, 7)
        return wide(case, number) | {"other_share": 1.0 if disturbed else 0.01}

    made = Counter(case for _, case in sweep(NAMES, answer))

    assert made.pop("case 3") == SETTINGS.passes + 2
    assert set(made.values()) == {SETTINGS.passes}


def test_a_sweep_that_is_disturbed_throughout_ends_all_the_same() -> None:
    made = sweep(NAMES, lambda case, number: wide(case, number) | {"steal_share": 1.0})

    planned = SETTINGS.passes * len(NAMES)
    assert planned < len(made) <= (1 + REPEATS) * planned


TAKES = st.lists(st.sampled_from([0.02, 0.1, 0.3, 2.0]), min_size=1, max_size=5)


@given(TAKES, st.integers(0, 60), st.integers(0, 60))
def test_a_sweep_killed_anywhere_is_resumed_where_it_was(
    takes: list[float], first: int, second: int
) -> None:
    names = NAMES[: len(takes)]

    def answer(case: str, number: int) -> dict[str, Any]:
        return wide(case, number) | {"timing_s": takes[NAMES.index(case)]}

    whole = sweep(names, answer)
    visits: dict[str, list[Visit]] = defaultdict(list)

    pieces = [sweep(names, answer, visits=visits, most=most) for most in (first, second, 10**6)]

    # Not those for which time was left: how many there are depends on all that went before.
    def in_passes(made: Made) -> list[tuple[int, str]]:
        return sorted(visit for visit in made if visit[0] <= SETTINGS.passes)

    assert in_passes([visit for piece in pieces for visit in piece]) == in_passes(whole)


@given(TAKES, st.sampled_from([3, 5, 10, 12]), st.data())
def test_passes_that_a_case_missed_are_made_up_for(
    takes: list[float], passes: int, data: st.DataObject
) -> None:
    """As where the time was too short for some visits, of any pass."""
    settings = Settings(precision=0.001, max_seconds=0.1 * passes, passes=passes)
    names = NAMES[: len(takes)]
    missed = data.draw(st.sets(st.tuples(st.integers(1, passes), st.sampled_from(names))))

    def answer(case: str, number: int) -> dict[str, Any]:
        return wide(case, number) | {"timing_s": takes[NAMES.index(case)]}

    visits: dict[str, list[Visit]] = {name: [] for name in names}
    cases = [Visited(name, visits=visits[name]) for name in names]
    for number, due in Passes(cases, settings):
        if number > passes:
            break
        for one in due:
            if (number, one.case) not in missed:
                one.visits.append(visit_of(one.case, number, 0.1, **answer(one.case, number)))
    few = {one.case for one in cases if len(one.visits) < min(LEAST_VISITS, passes)}
    before = Passes(cases, settings).to_do()

    sweep(names, answer, settings, visits)

    assert few <= {*before}
    assert Passes(cases, settings).to_do() == []
    for name, takes_s in zip(names, takes, strict=True):
        numbers = [visit.number for visit in visits[name] if not visit.extra]
        assert len(numbers) == len(set(numbers))
        if takes_s <= 0.1:
            assert set(numbers) == {*range(1, passes + 1)}
        else:
            # What its time is for, and a visit more where some came late.
            affordable = max(0.1 * passes / takes_s, min(LEAST_VISITS, passes))
            assert min(LEAST_VISITS, passes) <= len(numbers) <= affordable + 1


def test_fewer_passes_than_were_made_are_made() -> None:
    visits: dict[str, list[Visit]] = defaultdict(list)

    def answer(case: str, number: int) -> dict[str, Any]:
        # Of odd numbers too.
        overhead = 2.0 + number // 2 % 2
        return {"overhead": overhead, "timing_s": 0.2 if case == "slow" else 0.1}

    sweep(["slow", *NAMES], answer, visits=visits)
    fewer = Settings(precision=0.001, max_seconds=0.5, passes=5)

    assert [n for n, _ in sweep(["slow", *NAMES], answer, fewer, visits) if n <= 5] == []


def test_passes_are_added_to_a_finished_run() -> None:
    visits: dict[str, list[Visit]] = defaultdict(list)
    sweep(NAMES, wide, visits=visits)
    more = Settings(precision=0.001, max_seconds=1.6, passes=16)

    made = sweep(NAMES, wide, more, visits)

    assert Counter(number for number, _ in made) == dict.fromkeys(range(11, 17), len(NAMES))


def test_what_was_made_for_time_that_was_left_is_no_pass() -> None:
    visits = {"a": [visit_of("a", n, 0.1, **wide("a", n)) for n in range(1, 11)]}
    visits["a"] += [visit_of("a", n, 0.1, extra=True, **wide("a", n)) for n in range(11, 16)]
    more = Settings(precision=0.001, max_seconds=1.2, passes=12)

    assert [number for number, _ in sweep(["a"], wide, more, visits) if number <= 12] == [11, 12]


def test_what_is_to_be_visited_to_the_end_is_and_gets_no_more() -> None:
    narrow = {"overhead": 1.0, "timing_s": 0.1}
    known = Visited("known", since=3, ends_early=False)
    cases = [known, *(Visited(name) for name in NAMES)]
    for number, due in Passes(cases, SETTINGS):
        for one in due:
            found = narrow if one.case != "case 1" else wide(one.case, number)
            one.visits.append(visit_of(one.case, number, 0.1, extra=number > 10, **found))

    assert [visit.number for visit in known.visits] == list(range(4, 11))


def test_what_was_saved_is_not_overspent() -> None:
    def answer(case: str, number: int) -> dict[str, Any]:
        if case == "slow":
            return wide(case, number) | {"timing_s": 3.0}
        return {"overhead": 2.0, "timing_s": 0.1}

    visits: dict[str, list[Visit]] = defaultdict(list)
    made = sweep(["slow", *NAMES], answer, visits=visits)

    spent_s = sum(visit.timing_s or 0 for of_case in visits.values() for visit in of_case)
    assert Counter(case for _, case in made)["slow"] == LEAST_VISITS
    # But for the visits that a case has at least.
    assert spent_s <= 13 * SETTINGS.max_seconds + LEAST_VISITS * 3.0


def test_a_case_that_came_later_catches_up() -> None:
    visits: dict[str, list[Visit]] = defaultdict(list)
    sweep(NAMES[:2], wide, visits=visits)

    made = sweep(NAMES[:3], wide, visits=visits)

    assert made == [(number, NAMES[2]) for number in range(1, SETTINGS.passes + 1)]


@pytest.mark.parametrize(("of_process", "of_visit"), [(0.005, 0.007), (0.01, 0.01), (0.02, 0.02)])
def test_intervals_cover_where_visits_end_once_they_are_narrow(
    of_process: float, of_visit: float
) -> None:
    rng = np.random.default_rng(4)
    settings = Settings(precision=0.01, max_seconds=1.2, passes=12)
    names = [f"case {i}" for i in range(1_000)]
    # Two passes a process, as in a sweep.
    shifts = rng.normal(0, of_process, (len(names), 12))
    visits: dict[str, list[Visit]] = defaultdict(list)

    def answer(case: str, number: int) -> dict[str, Any]:
        process = (number - 1) // 2
        log = shifts[int(case.split()[1]), process] + rng.normal(0, of_visit)
        return {"overhead": 2 * math.exp(log), "timing_s": 0.1, "process": process}

    sweep(names, answer, settings, visits)

    found = [estimate(of_case) for of_case in visits.values()]
    covered = [one.lower <= 2.0 <= one.upper for one in found if one.lower and one.upper]
    assert len(covered) == len(names)
    # 93 %, but for the chance of a thousand cases.
    assert np.mean(covered) >= 0.92


def test_it_says_what_is_to_do_and_how_wide_intervals_are() -> None:
    visits: dict[str, list[Visit]] = defaultdict(list)
    cases = [Visited(name, visits=visits[name]) for name in ("narrow", "wide", "new", "bad")]
    for number in range(1, 8):
        visits["narrow"].append(visit_of("narrow", number, 0.1, overhead=2.0, timing_s=0.1))
        visits["wide"].append(visit_of("wide", number, 0.1, **wide("wide", number)))
    visits["bad"].append(visit_of("bad", 1, 0.1, status="oom", message="why"))
    passes = Passes(cases, SETTINGS)

    assert passes.to_do() == ["wide", "new"]
    assert passes.seconds_after(7) == pytest.approx(2 * 3 * 0.1)
    wide_width = cases[1].half_width
    assert wide_width
    assert passes.half_width() == pytest.approx(wide_width / 2)
    assert Passes(cases[2:], SETTINGS).half_width() is None


@pytest.mark.parametrize("timing_s", [0.01, 0.1, 0.15, 0.4, 3.0])
@pytest.mark.parametrize("pass_number", [1, 4])
def test_it_foretells_how_long_it_will_take(timing_s: float, pass_number: int) -> None:
    """Of cases whose visits all take as long, in the first pass longer by what makes them."""
    names = ["a", "b", "c"]

    def answer(_case: str, number: int) -> dict[str, Any]:
        took = {"timing_s": timing_s, "visit_s": timing_s + (20.0 if number == 1 else 0.0)}
        return {"overhead": 2.0 + number % 2} | took

    visits: dict[str, list[Visit]] = defaultdict(list)
    made = sweep(names, answer, SETTINGS, visits)
    regular = [number for number, _ in made if number <= SETTINGS.passes]
    later_s = timing_s * sum(number > pass_number for number in regular)
    known = {
        name: [visit for visit in of if visit.number <= pass_number] for name, of in visits.items()
    }

    passes = Passes([Visited(name, visits=known[name]) for name in names], SETTINGS)

    # What is shorter than its share is planned as that, until a second visit tells.
    planned_s = max(later_s, len(names) * 9 * 0.1) if pass_number == 1 else later_s
    expected_s = planned_s if timing_s < 0.1 else later_s
    # To a visit of each.
    slack_s = len(names) * max(timing_s, 0.1)
    assert passes.seconds_after(pass_number) == pytest.approx(expected_s, abs=slack_s)


def test_a_case_is_made_once_in_each_process() -> None:
    making_s, again_s = 3.0, 0.1
    case = Visited("layer")
    passes = Passes([case], SETTINGS, passes_a_process=2)
    expected_s: list[float] = []

    for number, _ in passes:
        expected_s.append(passes.expected_s(case))
        seconds = again_s + making_s * (number % 2)
        figures = {"overhead": 2.0 + number % 2, "timing_s": again_s, "visit_s": seconds}
        case.visits.append(visit_of("layer", number, 0.1, process=(number + 1) // 2, **figures))
        if number == 8:
            break

    # What making it takes is known from the first visit on.
    assert expected_s[1:] == pytest.approx([again_s, again_s + making_s] * 3 + [again_s])
    # A session that goes on has a process of its own.
    further = Visited("layer", visits=case.visits)
    known = Passes([further], SETTINGS, passes_a_process=2)
    assert known.expected_s(further) == pytest.approx(again_s + making_s)
