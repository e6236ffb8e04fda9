"""Visits of a case that was visited before: what stays between them, and what is shared."""

import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dynact.schema.cases import Case
from dynact.worker import layer as layer_module
from dynact.worker.device import Cpu
from dynact.worker.kept import Kept
from dynact.worker.layer import draw_tensors
from dynact.worker.rotating_input import MOST_PLACES
from tests.measuring import Bench
from tests.worker.noting import (
    BOTH_PHASES,
    CASE,
    GRADIENTS,
    RECORDED,
    RECORDED_TRAINING,
    SEEN,
    BreaksLater,
    FakeDevice,
    OtherRecorder,
    Quick,
    Recorder,
    Seen,
    Slow,
    own,
    places,
    recorder_takes_1_ms,
)

pytestmark = pytest.mark.usefixtures("fresh_notes")


class Made(Recorder):
    """Counts how often it was made."""

    times = 0

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        Made.times += 1


class TestLaterVisits:
    """Of a case that was visited before."""

    @pytest.mark.parametrize("phase", ["inference", "training"])
    def test_they_make_nothing_anew(self, phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn: list[Case] = []

        def noted(case: Case, device: Cpu) -> Any:
            drawn.append(case)
            return draw_tensors(case, device)

        monkeypatch.setattr(layer_module, "draw_tensors", noted)
        monkeypatch.setattr(Made, "times", 0)
        bench = Bench(Cpu())
        case = replace(CASE, phase=phase, activation=own(Made), baseline=own(Made))

        statuses = [bench.visit(case).status for _ in range(3)]

        assert statuses == ["ok"] * 3
        assert (Made.times, len(drawn)) == (2, 1)

    def test_they_time_at_once(self) -> None:
        with recorder_takes_1_ms() as bench:
            bench.visit(RECORDED, seconds=0)
            first = len(SEEN)
            bench.visit(RECORDED, seconds=0)

        # Nothing is tried, warmed up or balanced: either side settled twice, one round, and three
        # of either that ask what the device alone takes.
        assert len(SEEN) - first == 4 + 10 + 6 < first

    def test_they_find_what_the_first_found(self) -> None:
        bench = Bench(FakeDevice())
        case = replace(CASE, activation=own(Slow), baseline=own(Quick))

        overheads = [bench.visit(case).overhead for _ in range(4)]

        assert overheads == pytest.approx([3] * 4, rel=0.01)

    def test_conditions_are_those_of_the_first(self) -> None:
        bench = Bench(Cpu())
        for case in (RECORDED, RECORDED_TRAINING) * 2:
            SEEN.clear()

            assert bench.visit(case).status == "ok"

            training = case.phase == "training"
            assert {seen.training for seen in SEEN} == {training}
            assert {seen.inference for seen in SEEN} == {not training}
            assert {seen.x_requires_grad for seen in SEEN} == {training}
            assert all(seen.grads_before == (None, None) for seen in SEEN)

    def test_one_after_a_failure_tries_again(self) -> None:
        bench = Bench(Cpu())
        worn_out = replace(CASE, activation=own(BreaksLater))

        found = [bench.visit(case) for case in (worn_out, CASE, worn_out)]

        assert [each.status for each in found] == ["error", "ok", "error"]
        assert found[2].message == "RuntimeError: worn out"

    def test_what_could_not_be_made_is_made_when_it_can_be(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench = Bench(Cpu())
        case = replace(CASE, activation=own(Moody))
        monkeypatch.setattr(Moody, "fails", True)
        first = bench.visit(case)
        monkeypatch.setattr(Moody, "fails", False)

        second = bench.visit(case)

        assert (first.status, second.status) == ("oom", "ok")


def memory_of(noted: list[Seen]) -> list["weakref.ref[Any]"]:
    """The memory of inputs that were noted, without holding it."""
    return [weakref.ref(seen.x.untyped_storage()) for seen in noted]


class TestInputsInCommon:
    @pytest.mark.parametrize(
        "changes",
        [
            {"activation": own(OtherRecorder)},
            {"activation": "relu"},
            {"baseline": "relu"},
            {"activation": "relu", "baseline": own(Made)},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("phase", ["inference", "training"])
    def test_cases_of_a_shape_are_called_on_the_same(
        self, changes: dict[str, str], phase: str
    ) -> None:
        case = replace(RECORDED, phase=phase)
        with recorder_takes_1_ms() as bench:
            bench.visit(case, seconds=1)
            first = places()
            bench.visit(replace(case, **changes), seconds=1)

        assert len(first) == MOST_PLACES
        assert places() == first

    @pytest.mark.parametrize(
        "changes",
        [
            {"phase": "training"},
            {"dtype": "bfloat16"},
            {"memory_format": "channels_last"},
            {"batch": 3},
            {"channels": 4},
            {"height": 5, "width": 4},
        ],
        ids=str,
    )
    def test_no_others_are(self, changes: dict[str, Any]) -> None:
        bench = Bench(Cpu())
        bench.visit(RECORDED)
        first = places()
        SEEN.clear()

        assert bench.visit(replace(RECORDED, **changes)).status == "ok"

        assert SEEN
        assert not places() & first

    @BOTH_PHASES
    @pytest.mark.parametrize("fails", [False, True], ids=["good", "failed"])
    def test_beyond_the_limit_they_are_given_up_and_their_memory_is_free_at_once(
        self, case: Case, fails: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gradients: list[weakref.ref[Any]] = []

        def noted(case: Case, device: Cpu) -> Any:
            x, gradient = draw_tensors(case, device)
            if gradient is not None:
                gradients.append(weakref.ref(gradient.untyped_storage()))
            return x, gradient

        monkeypatch.setattr(layer_module, "draw_tensors", noted)
        case = replace(case, activation=own(BreaksWhenTold), baseline=own(Made))
        other = replace(case, height=5, width=4, activation=own(Moody), baseline=own(Moody))
        monkeypatch.setattr(BreaksWhenTold, "after", 40 if fails else 10**9)
        # Fits the inputs of one shape, their spares and a gradient, and the layers of both.
        with recorder_takes_1_ms(2 * MOST_PLACES * CASE.input_bytes + 200) as bench:
            first = bench.visit(case, seconds=1)
            memory = memory_of(SEEN)
            SEEN.clear()
            GRADIENTS.clear()
            assert first.status == ("error" if fails else "ok")
            assert all(storage() is not None for storage in memory)
            assert len(memory) > MOST_PLACES

            assert bench.visit(other).status == "ok"

            assert {storage() is None for storage in memory} == {True}
            if case.phase == "training":
                assert [gradient() is None for gradient in gradients] == [True, False]
            # Kept are the layers of both and the input of the other; what is remade is as before.
            assert len(bench.kept) == 3
            monkeypatch.setattr(BreaksWhenTold, "after", 10**9)
            assert bench.visit(case).status == "ok"
        assert SEEN
        again = draw_tensors(case, Cpu())[0]
        assert all(torch.equal(seen.x, again) for seen in SEEN)

    def test_within_the_limit_they_stay(self) -> None:
        bench = Bench(Cpu(), Kept(10**6))
        bench.visit(RECORDED)
        memory = memory_of(SEEN)
        SEEN.clear()

        bench.visit(replace(RECORDED, height=5, width=4))

        assert all(storage() is not None for storage in memory)

    def test_layers_are_given_up_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Made, "times", 0)
        bench = Bench(Cpu(), Kept(0))
        case = replace(CASE, activation=own(Made), baseline=own(Made))

        for each in (case, replace(case, batch=3), case):
            assert bench.visit(each).status == "ok"

        assert Made.times == 2 * 3

    def test_inputs_and_parameters_are_all_that_is_counted(self) -> None:
        # Three places and two spares, as many bytes as asked for, and 3 · 4 of either layer.
        input_bytes = RECORDED.input_bytes
        for room, kept in ((0, 4), (-1, 3)):
            bench = Bench(
                Cpu(), Kept(2 * (2 * MOST_PLACES - 1) * input_bytes + 2 * 2 * 3 * 4 + room)
            )
            bench.visit(RECORDED)
            bench.visit(replace(RECORDED, height=5, width=4))
            assert len(bench.kept) == kept


class BreaksWhenTold(Recorder):
    """Works so many times, then fails."""

    after = 0

    def forward(self, x: Tensor) -> Tensor:
        BreaksWhenTold.after -= 1
        if BreaksWhenTold.after < 0:
            raise RuntimeError("worn out")
        return super().forward(x)


class Moody(nn.Module):
    fails = False

    def forward(self, x: Tensor) -> Tensor:
        if Moody.fails:
            raise MemoryError("no more")
        return x * 2
