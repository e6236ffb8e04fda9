"""What can be told, from visits whose scatter and whose differences are known."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dynact.schema.cases import PHASES, KnownPair
from dynact.schema.visits import Visit
from dynact.sweep.known_pairs import known_pairs, verdict
from dynact.timing.visits import over_visits
from tests.sweep.bench import INFO

PAIRS = known_pairs(PHASES, INFO)
VISITS = 14
Rng = np.random.Generator


def visits_of(pair: KnownPair, ratios: Sequence[float]) -> list[Visit]:
    return [
        Visit(
            pair.table, pair.id, number, "ok", "", 0.07, session="now", elapsed_s=1.0,
            overhead=float(ratio), time_ns=1e3 * number,
        )
        for number, ratio in enumerate(ratios, start=1)
    ]  # fmt: skip


def drawn(
    rng: Rng, scatter: float = 0.02, visits: int = VISITS, pairs: Sequence[KnownPair] = PAIRS
) -> dict[KnownPair, list[Visit]]:
    """Return visits in which layers are what they are known to be."""
    return {
        pair: visits_of(pair, (1 + pair.more) * np.exp(rng.normal(0, scatter, visits)))
        for pair in pairs
    }


class TestPairs:
    def test_sizes_go_from_launches_to_beyond_caches(self) -> None:
        for info in (INFO, replace(INFO, is_accelerator=True, device="cuda")):
            sizes = sorted({pair.input_bytes for pair in known_pairs(["inference"], info)})
            assert sizes[0] < 32 * 2**10
            assert sizes[-1] > 16 * 2**20
            assert len(sizes) == 3

    def test_a_tenth_more_is_whole_rows_of_whole_vectors(self) -> None:
        more = [pair for pair in PAIRS if pair.more_rows]

        assert {round(pair.more, 6) for pair in more} == {0.1}
        # 512 bits, the widest there are.
        assert all(pair.width * 4 % 64 == 0 for pair in PAIRS)

    def test_they_are_relu_in_the_phases_that_are_swept(self) -> None:
        assert {pair.phase for pair in known_pairs(["training"], INFO)} == {"training"}
        assert {(pair.activation, pair.baseline) for pair in PAIRS} == {("relu", "relu")}
        assert len({pair.id for pair in PAIRS}) == len(PAIRS)


class TestResolution:
    @pytest.mark.parametrize("visits", [6, 14, 40])
    def test_a_difference_of_that_size_is_seen_four_times_in_five(self, visits: int) -> None:
        rng = np.random.default_rng(3)
        seen = []
        for _ in range(600):
            stated = verdict(drawn(rng, visits=visits, pairs=PAIRS[:1]))["resolution"]
            found = over_visits((1 + stated) * np.exp(rng.normal(0, 0.02, visits)))
            assert found.lower is not None
            seen.append(found.lower > 1)

        # And is not stated too large: nearly always would be too often.
        assert 0.75 <= np.mean(seen) <= 0.95

    def test_each_size_and_phase_has_its_own_and_the_run_the_largest(self) -> None:
        rng = np.random.default_rng(5)
        visits = drawn(rng, scatter=0.001)
        noisy = next(pair for pair in PAIRS if pair.phase == "training" and not pair.more_rows)
        visits[noisy] = visits_of(noisy, np.exp(rng.normal(0, 0.04, VISITS)))

        found = verdict(visits)

        groups = {(group["size"], group["phase"]): group for group in found["groups"]}
        assert set(groups) == {
            (size, phase)
            for size in ("launch-bound", "in cache", "beyond the caches")
            for phase in PHASES
        }
        worst = groups["launch-bound", "training"]
        assert worst["resolution"] == found["resolution"] > 0.02
        assert all(group["resolution"] < 0.002 for group in groups.values() if group is not worst)
        assert {group["input_bytes"] for group in groups.values()} == {
            pair.input_bytes for pair in PAIRS
        }

    def test_it_narrows_with_visits(self) -> None:
        rng = np.random.default_rng(11)
        few, many = (
            np.median(
                [verdict(drawn(rng, visits=n, pairs=PAIRS[:1]))["resolution"] for _ in range(50)]
            )
            for n in (10, 40)
        )

        # √n, and more for Student's t of 5 degrees of freedom against 23.
        assert 1.7 <= few / many <= 3.3


class TestVerdict:
    def test_false_alarms_are_seldom_where_all_is_well(self) -> None:
        rng = np.random.default_rng(1)

        doubted = [not verdict(drawn(rng))["trustworthy"] for _ in range(400)]

        # One in forty is the most that may be.
        assert np.mean(doubted) <= 0.01

    def test_layers_that_differ_from_themselves_are_doubted(self) -> None:
        visits = drawn(np.random.default_rng(2), scatter=0.002)
        biased = [pair for pair in PAIRS if not pair.more_rows]
        for pair in biased[:3]:
            visits[pair] = visits_of(pair, [1.03, 1.031, 1.029, 1.03, 1.032, 1.028])

        found = verdict(visits)

        assert not found["trustworthy"]
        assert (found["self_pairs"], found["false_alarms"]) == (6, 3)
        assert found["message"] == "of 6 layers compared with themselves 3 seem to differ"

    def test_one_false_alarm_is_chance(self) -> None:
        visits = drawn(np.random.default_rng(2), scatter=0.002)
        visits[PAIRS[0]] = visits_of(PAIRS[0], [1.03, 1.031, 1.029, 1.03, 1.032, 1.028])

        found = verdict(visits)

        assert found["trustworthy"]
        assert found["false_alarms"] == 1

    def test_a_tenth_that_is_not_seen_is_doubted(self) -> None:
        visits = drawn(np.random.default_rng(2), scatter=0.002)
        missed = next(pair for pair in PAIRS if pair.more_rows)
        visits[missed] = visits_of(missed, [0.9, 1.3, 1.1, 1.0, 1.2, 0.8])

        found = verdict(visits)

        assert not found["trustworthy"]
        assert found["message"] == (
            "10% more elements are not seen to take longer (in cache, inference)"
        )
        assert sum(not detection["seen"] for detection in found["detections"]) == 1

    def test_a_tenth_that_seems_to_take_less_is_doubted_too(self) -> None:
        visits = drawn(np.random.default_rng(2), scatter=0.002)
        turned = next(pair for pair in PAIRS if pair.more_rows)
        visits[turned] = visits_of(turned, [0.9, 0.91, 0.89, 0.9, 0.91, 0.9])

        assert not verdict(visits)["trustworthy"]

    @pytest.mark.parametrize("visits", [0, 1, 4])
    def test_too_few_visits_tell_nothing(self, visits: int) -> None:
        found = verdict(drawn(np.random.default_rng(2), visits=visits))

        # Which is no reason for doubt.
        assert (found["trustworthy"], found["resolution"], found["message"]) == (True, None, "")

    def test_a_device_too_small_for_any_says_why(self) -> None:
        failed = Visit(
            PAIRS[0].table, PAIRS[0].id, 1, "oom", "no room", 0.07, session="now", elapsed_s=1.0
        )

        found = verdict({pair: [replace(failed, case_id=pair.id)] for pair in PAIRS})

        assert found["resolution"] is None
        assert f"{PAIRS[0].id}: oom: no room" in found["message"]

    def test_the_figures_are_those_of_the_visits(self) -> None:
        visits = drawn(np.random.default_rng(9))

        found = verdict(visits)

        pair = next(pair for pair in PAIRS if not pair.more_rows)
        logs = np.log([visit.overhead for visit in visits[pair]])
        group = found["groups"][0]
        assert group["self_overhead"] == pytest.approx(math.exp(stats.trim_mean(logs, 0.2)))
        assert group["self_overhead_lo"] < group["self_overhead"] < group["self_overhead_hi"]
        assert found["self_times_ns"] == [1e3 * number for number in range(1, VISITS + 1)]
