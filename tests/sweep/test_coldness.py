"""Whether a run was cold, from visits that found what is known of the caches."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dynact.report.tables.verdict import verdict as report_verdict
from dynact.schema.cases import KnownPair, target_case
from dynact.schema.messages import WorkerInfo
from dynact.schema.visits import Visit
from dynact.sweep.coldness import TIMES_LARGER, coldness, coldness_pairs
from dynact.sweep.known_pairs import known_pairs, verdict
from dynact.sweep.progress import gate_line
from tests.sweep.bench import INFO

CACHE_BYTES = 32 * 2**20
COLD = replace(INFO, flushed_bytes=CACHE_BYTES)
OVER_WARM, LARGER = coldness_pairs(COLD)
VISITS = 12


def visits_of(pair: KnownPair, ratio: float, visits: int = VISITS) -> list[Visit]:
    # A scatter of 1 %, as much up as down.
    ratios = ratio * np.exp(0.01 * np.resize([-1, 1], visits))
    return [
        Visit(
            pair.table, pair.id, number, "ok", "", 0.1, session="now", elapsed_s=1.0,
            overhead=float(each), time_ns=1e5,
        )
        for number, each in enumerate(ratios, start=1)
    ]  # fmt: skip


def found(over_warm: float, over_share: float) -> dict[KnownPair, list[Visit]]:
    """Return visits in which the cold ReLU took these multiples of the warm one and its share."""
    return {
        OVER_WARM: visits_of(OVER_WARM, over_warm),
        LARGER: visits_of(LARGER, TIMES_LARGER / over_share),
    }


def told(visited: dict[KnownPair, list[Visit]]) -> dict[str, Any]:
    said = coldness(visited)
    assert said is not None
    return said


class TestPairs:
    def test_a_warm_run_has_none(self) -> None:
        assert coldness_pairs(INFO) == []
        assert not any(pair.tells_coldness for pair in known_pairs(["training"], INFO))

    @pytest.mark.parametrize("cache_bytes", [300_000, 2**22, CACHE_BYTES, 60 * 2**20, 2**29])
    @pytest.mark.parametrize("device", ["cpu", "cuda:1"])
    def test_one_fits_the_cache_with_room_and_the_other_is_far_beyond(
        self, cache_bytes: int, device: str
    ) -> None:
        is_accelerator = device != "cpu"
        info = replace(
            COLD, flushed_bytes=cache_bytes, device=device, is_accelerator=is_accelerator
        )

        over_warm, larger = coldness_pairs(info)

        assert over_warm.warm_baseline
        assert over_warm.more_rows == 0
        assert not larger.warm_baseline
        assert over_warm.input_bytes <= cache_bytes / 4
        assert over_warm.input_bytes == larger.input_bytes
        assert target_case(larger).input_bytes >= 3 * cache_bytes
        assert larger.more + 1 == pytest.approx(TIMES_LARGER)
        assert {pair.device for pair in (over_warm, larger)} == {device}

    def test_they_are_visited_with_the_others_and_named_apart(self) -> None:
        pairs = known_pairs(["inference", "training"], COLD)

        assert {OVER_WARM, LARGER} < set(pairs)
        assert [pair for pair in pairs if pair.tells_coldness] == [OVER_WARM, LARGER]
        assert len({pair.id for pair in pairs}) == len(pairs)
        assert [p for p in pairs if not p.tells_coldness] == known_pairs(
            ["inference", "training"], INFO
        )


class TestProof:
    def test_slower_than_warm_and_no_faster_than_memory_is_cold(self) -> None:
        said = told(found(over_warm=3.2, over_share=1.15))

        assert said["proven"]
        assert said["message"] == (
            "cold: a ReLU in place on 4.2 MB takes 3.20× (3.17–3.24) the time of one that finds "
            "its input in the caches, 1.15× (1.14–1.16) its share of one on 32 times as much"
        )
        assert said["over_warm"][0] == pytest.approx(3.2)
        assert said["over_share"][0] == pytest.approx(1.15)
        for name in ("over_warm", "over_share"):
            middle, low, high = said[name]
            assert low < middle < high

    @pytest.mark.parametrize("over_warm", [1.0, 0.9, 1.004])
    def test_as_fast_as_warm_is_not(self, over_warm: float) -> None:
        said = told(found(over_warm, over_share=1.2))

        assert not said["proven"]
        assert said["message"].startswith("not cold: a ReLU in place on 4.2 MB takes ")
        assert said["message"].endswith("the time of one that finds its input in the caches")

    @pytest.mark.parametrize(("over_share", "cold"), [(0.2, False), (0.48, False), (0.52, True)])
    def test_faster_than_memory_is_not(self, over_share: float, cold: bool) -> None:
        said = told(found(over_warm=1.4, over_share=over_share))

        assert said["proven"] is cold
        why = "its share of one on 32 times as much; memory needs half of that to read its input"
        assert said["message"].endswith(why) is not cold

    def test_what_is_not_seen_to_be_slower_than_warm_is_not(self) -> None:
        visited = found(over_warm=1.2, over_share=1.2)
        scattered = [0.5, 2.9, 0.6, 2.2, 1.2, 0.7, 2.0]
        visited[OVER_WARM] = [
            replace(visit, overhead=ratio)
            for visit, ratio in zip(visited[OVER_WARM], scattered, strict=False)
        ]

        assert not told(visited)["proven"]

    @pytest.mark.parametrize("visits", [0, 1, 4])
    def test_too_few_visits_prove_nothing_and_say_so(self, visits: int) -> None:
        visited = found(3.0, 1.2)
        visited[LARGER] = visits_of(LARGER, TIMES_LARGER, visits)

        message = f"not proven to be cold yet: the pairs that tell it have {visits} of 5 visits"
        assert coldness(visited) == {"proven": None, "message": message}
        gate = verdict(visited)
        assert gate["trustworthy"]
        assert gate_line(gate)[0].endswith(f"; {message}")
        assert f"to tell; {message}." in report_verdict([gate]).text

    def test_what_cannot_be_shown_is_not_shown(self) -> None:
        visited = found(3.0, 1.2)
        visited[LARGER] = [replace(visited[LARGER][0], status="oom", message="no room")]

        said = told(visited)

        assert not said["proven"]
        assert said["message"] == "not shown to be cold: oom: no room"


class TestGate:
    def gate(self, more: dict[KnownPair, list[Visit]], info: WorkerInfo = COLD) -> dict[str, Any]:
        usual: Sequence[KnownPair] = known_pairs(["inference"], info)
        visited = {pair: visits_of(pair, 1 + pair.more) for pair in usual} | more
        return verdict(visited)

    def test_a_run_that_is_not_cold_is_not_trusted_and_says_why(self) -> None:
        gate = self.gate(found(over_warm=1.0, over_share=1.2))

        assert not gate["trustworthy"]
        line, trustworthy = gate_line(gate)
        assert not trustworthy
        assert "not cold: a ReLU in place on 4.2 MB takes" in line

    def test_a_cold_one_is_and_says_by_what(self) -> None:
        gate = self.gate(found(over_warm=3.0, over_share=1.2))

        assert gate["trustworthy"]
        assert gate["coldness"]["proven"]
        line, trustworthy = gate_line(gate)
        assert trustworthy
        assert "; cold: a ReLU in place on 4.2 MB takes 3.0" in line

    def test_what_shows_coldness_is_no_known_difference(self) -> None:
        cold, warm = self.gate(found(3.0, 1.2)), self.gate({}, INFO)

        assert warm["coldness"] is None
        for name in ("groups", "detections", "self_pairs", "resolution"):
            assert cold[name] == warm[name]
