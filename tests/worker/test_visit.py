"""From case to visit: what is called, under what conditions, and what is said of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from dynact.schema.cases import DTYPES, MEMORY_FORMATS, Case, KnownPair
from dynact.timing import DeviceClock, Readings
from dynact.worker.device import Cpu
from dynact.worker.layer import draw_tensors
from dynact.worker.rotating_input import MOST_PLACES
from dynact.worker.visit import visit_workload
from tests.fake_device import Kernels, VirtualDevice, VirtualEventClock
from tests.measuring import FOUND, visit
from tests.sweeping import case_of, network_case_of
from tests.worker.noting import (
    BOTH_PHASES,
    CASE,
    GRADIENTS,
    RECORDED,
    RECORDED_TRAINING,
    SEEN,
    TRAINING,
    WEIGHT_GRADIENTS,
    FakeDevice,
    OtherRecorder,
    Quick,
    Recorder,
    Slow,
    Waits,
    own,
    places,
    recorder_takes_1_ms,
)

pytestmark = pytest.mark.usefixtures("fresh_notes")


LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Stub:
    """A workload whose pair answers with readings made up for the purpose, and notes how."""

    def __init__(self, case: Any, readings: Readings) -> None:
        self.case = case
        self.readings = readings
        self.asked: list[tuple[float, bool]] = []
        """Seconds, and whether in inference mode."""

    @contextmanager
    def ready(self) -> Iterator[Any]:
        assert not torch.is_inference_mode_enabled()
        yield self

    def visit(self, seconds: float) -> Readings:
        self.asked.append((seconds, torch.is_inference_mode_enabled()))
        return self.readings


class TestGoodVisit:
    @pytest.mark.parametrize("phase", ["inference", "training"])
    @pytest.mark.parametrize("activation", ["prelu", "dyrelu_b", "frelu"])
    def test_its_figures_agree_with_each_other(self, activation: str, phase: str) -> None:
        case = replace(CASE, activation=activation, phase=phase)

        found = visit(case, Cpu())

        assert (found.status, found.message, found.case_id) == ("ok", "", case.id)
        assert [name for name in FOUND if getattr(found, name) is None] == []
        assert found.host_share is found.baseline_host_share is None
        assert (
            found.device_time_ns is found.baseline_device_time_ns is found.device_overhead is None
        )
        assert found.time_ns > 0  # type: ignore[operator]
        assert found.baseline_time_ns > 0  # type: ignore[operator]
        assert found.pairs >= 2  # type: ignore[operator]
        assert found.pairs % 2 == 0  # type: ignore[operator]
        assert 0 < found.timing_s <= found.visit_s  # type: ignore[operator]
        assert (found.cache, found.clock) == ("warm", "wall")

    @pytest.mark.parametrize(
        "case", [CASE, TRAINING, network_case_of()], ids=["inference", "training", "network"]
    )
    def test_times_are_the_lower_quartiles_of_either_side_s_blocks(self, case: Any) -> None:
        workload = Stub(
            case,
            Readings(
                target_ns=[60.0, 20.0, 30.0, 50.0, 90.0, 10.0],
                baseline_ns=[7.0, 5.0, 9.0, 6.0, 100.0, 1.0],
                ratios=[4.0, 2.5, 100.0],
                calling_s=0.125,
                target_queueing_ns=[18.0, 15.0, 30.0],
                baseline_queueing_ns=[1.0, 2.0],
            ),
        )

        figures = visit_workload(workload, VirtualDevice(), 0.75).figures

        # A quarter of the way up are the second and the third of six: of these the lower.
        assert (figures["time_ns"], figures["baseline_time_ns"]) == (20.0, 5.0)
        assert figures["overhead"] == pytest.approx(4.0)
        assert (figures["host_share"], figures["baseline_host_share"]) == (15 / 20, 1 / 5)
        assert figures["pairs"] == 6
        assert figures["timing_s"] == 0.125
        assert (figures["cache"], figures["clock"]) == ("warm", "event")
        assert workload.asked == [(0.75, case.phase == "inference")]

    @pytest.mark.parametrize("disturbed", [0, 1])
    def test_of_two_blocks_one_may_be_disturbed(self, disturbed: int) -> None:
        target_ns, baseline_ns = [40.0, 40.0], [20.0, 20.0]
        target_ns[disturbed] = baseline_ns[1 - disturbed] = 900.0
        workload = Stub(CASE, Readings(target_ns, baseline_ns, [1.0], 0.1))

        assert visit_workload(workload, VirtualDevice(), 0.1).figures["overhead"] == 2.0

    @pytest.mark.parametrize("phase", ["inference", "training"])
    def test_it_compares_the_two_layers(self, phase: str) -> None:
        # Virtual time: kernels of 30 and 10 µs.
        device = FakeDevice()
        case = replace(CASE, activation=own(Slow), baseline=own(Quick), phase=phase)

        found = visit(case, device)

        assert found.status == "ok"
        assert found.overhead == pytest.approx(3, rel=0.01)
        assert found.time_ns == pytest.approx(30e3, rel=0.01)
        assert found.baseline_time_ns == pytest.approx(10e3, rel=0.01)
        # Launching a kernel takes the host a µs.
        assert found.host_share == pytest.approx(1 / 30, rel=0.01)
        assert found.baseline_host_share == pytest.approx(1 / 10, rel=0.01)
        assert found.device_time_ns == pytest.approx(30e3, rel=0.01)
        assert found.baseline_device_time_ns == pytest.approx(10e3, rel=0.01)
        assert found.clock == "event"

    def test_the_clock_of_the_device_tells_the_device_s_times_alone(self) -> None:
        device = FakeDevice()
        device.clock = DeviceClock(VirtualEventClock(device.accelerator))
        case = replace(CASE, activation=own(Slow), baseline=own(Quick))

        found = visit(case, device)

        assert (found.status, found.clock) == ("ok", "device")
        assert found.overhead == found.device_overhead == pytest.approx(3)
        assert found.time_ns == found.device_time_ns == pytest.approx(30e3)
        assert found.baseline_time_ns == found.baseline_device_time_ns == pytest.approx(10e3)
        assert found.host_share is found.baseline_host_share is None

    def test_what_cannot_be_queued_ahead_has_no_eager_time_in_its_place(self) -> None:
        device = FakeDevice()
        device.clock = DeviceClock(VirtualEventClock(device.accelerator))
        case = replace(CASE, activation=own(Waits), baseline=own(Quick))

        found = visit(case, device)

        assert found.status == "unsupported"
        assert found.message.startswith("NotQueuedError: its calls cannot be queued before they")
        assert found.overhead is found.time_ns is found.device_time_ns is None

    def test_it_lasts_as_long_as_asked(self) -> None:
        case = replace(CASE, activation=own(Slow), baseline=own(Quick))
        timed_s = []
        for seconds in (0.1, 0.4):
            device = FakeDevice()
            found = visit(case, device, seconds)
            assert found.seconds == seconds
            timed_s.append(found.timing_s)

        # To a round: four blocks of some 200 µs, and as many calls to settle them.
        assert timed_s == pytest.approx([0.1, 0.4], abs=2e-3)

    def test_what_others_took_away_is_that_of_the_visit(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        device = FakeDevice()
        launched: list[int] = []

        class Noted:
            def __init__(self) -> None:
                launched.append(len(device.accelerator.diary))

            def shares(self) -> dict[str, float]:
                launched.append(len(device.accelerator.diary))
                return {"steal_share": 0.125, "other_share": 0.5}

        monkeypatch.setattr("dynact.worker.visit.Disturbance", Noted)

        found = visit(replace(CASE, activation=own(Slow), baseline=own(Quick)), device)

        assert (found.steal_share, found.other_share) == (0.125, 0.5)
        # From behind the warming up until all is done.
        before, after = launched
        # The visit itself waits and settles either side twice, and each block once.
        assert device.accelerator.diary.index("record") == before + 10
        assert len(device.accelerator.diary) == after

    def test_warming_up_is_not_timed(self) -> None:
        device = FakeDevice()

        visit(replace(CASE, activation=own(Slow), baseline=own(Quick)), device)

        before = device.accelerator.diary[: device.accelerator.diary.index("record")]
        # A first call may allocate, a second one autotune; the last settles the first block.
        assert before.count("Quick") >= 3
        assert before.count("Slow") >= 3 + 1
        assert before[-1] == "Slow"


class TestConditions:
    def test_inference_is_eval_mode_under_inference_mode(self) -> None:
        assert visit(RECORDED, Cpu()).status == "ok"

        assert {seen.layer for seen in SEEN} == {"Recorder", "OtherRecorder"}
        assert not any(seen.training for seen in SEEN)
        assert all(seen.inference for seen in SEEN)
        assert not any(seen.x_requires_grad for seen in SEEN)
        assert GRADIENTS == []

    def test_training_is_train_mode_with_gradients_for_input_and_parameters(self) -> None:
        found = visit(RECORDED_TRAINING, Cpu())

        assert found.status == "ok"
        assert all(seen.training and not seen.inference for seen in SEEN)
        assert all(seen.x_requires_grad and seen.weight.requires_grad for seen in SEEN)
        # One backward to each forward, but for the first of a side, which checks the shape.
        assert len(GRADIENTS) == len(WEIGHT_GRADIENTS) == len(SEEN) - 2

    def test_gradients_start_from_none_and_end_as_none(self) -> None:
        visit(RECORDED_TRAINING, Cpu())

        assert all(seen.grads_before == (None, None) for seen in SEEN)
        assert all(seen.x.grad is None and seen.weight.grad is None for seen in SEEN)

    def test_the_gradient_is_fixed_random_and_fully_propagated(self) -> None:
        visit(RECORDED_TRAINING, Cpu())

        gradient = GRADIENTS[0]
        assert all(torch.equal(gradient, other) for other in GRADIENTS)
        x = SEEN[0].x.detach()
        assert not torch.equal(gradient, x)
        assert 0.5 < gradient.std() < 1.5
        # d/dw of Σ g·(w·x), not accumulated from step to step.
        expected = (gradient * x).sum(dim=(0, 2, 3)).view(-1, 1, 1)
        for found in WEIGHT_GRADIENTS:
            torch.testing.assert_close(found, expected)

    @BOTH_PHASES
    def test_both_sides_get_the_very_same_input(self, case: Case) -> None:
        visit(case, Cpu())

        assert {seen.layer for seen in SEEN} == {"Recorder", "OtherRecorder"}
        places = {
            layer: {seen.x.data_ptr() for seen in SEEN if seen.layer == layer}
            for layer in ("Recorder", "OtherRecorder")
        }
        assert places["Recorder"] == places["OtherRecorder"]
        expected = draw_tensors(case, Cpu())[0].detach()
        assert all(torch.equal(seen.x.detach(), expected) for seen in SEEN)

    @pytest.mark.parametrize("phase", ["inference", "training"])
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("memory_format", MEMORY_FORMATS)
    def test_dtype_and_memory_format_are_those_asked_for(
        self, phase: str, dtype: str, memory_format: str
    ) -> None:
        case = replace(RECORDED, phase=phase, dtype=dtype, memory_format=memory_format)

        assert visit(case, Cpu()).status == "ok"

        wanted = getattr(torch, dtype)
        for tensor in [seen.x for seen in SEEN] + GRADIENTS:
            assert tensor.dtype == wanted
            assert tensor.shape == (2, 3, 4, 5)
            assert tensor.is_contiguous(memory_format=LAYOUTS[memory_format])
        assert all(seen.weight.dtype == wanted for seen in SEEN)

    @BOTH_PHASES
    def test_the_input_moves_from_round_to_round(self, case: Case) -> None:
        # Four blocks of a call, each settled by one, and a call of either behind the move.
        with recorder_takes_1_ms() as bench:
            found = bench.visit(case, seconds=1)

        assert found.status == "ok"
        assert found.pairs is not None
        rounds = found.pairs // 2
        assert rounds >= 2 * MOST_PLACES
        # Behind the last, three of either side ask what the device alone takes.
        places = [seen.x.data_ptr() for seen in SEEN[-10 * rounds - 6 : -6]]
        by_round = [set(places[10 * turn :][:10]) for turn in range(rounds)]
        assert [len(places) for places in by_round] == [1] * rounds
        assert all(before != after for before, after in pairwise(by_round))
        assert len(set.union(*by_round)) == MOST_PLACES

    @BOTH_PHASES
    def test_it_moves_on_from_visit_to_visit(self, case: Case) -> None:
        by_visit = []
        with recorder_takes_1_ms() as bench:
            for _ in range(2 * MOST_PLACES):
                bench.visit(case, seconds=0)
                by_visit.append({seen.x.data_ptr() for seen in SEEN[-10:]})

        assert [len(places) for places in by_visit] == [1] * 2 * MOST_PLACES
        assert len(set.union(*by_visit)) == MOST_PLACES
        assert by_visit[:MOST_PLACES] == by_visit[MOST_PLACES:]

    def test_the_gradient_has_nothing_to_do_with_the_input(self) -> None:
        visit(replace(RECORDED_TRAINING, height=64, width=64), Cpu())

        # Of 24,576 draws: the correlation's standard error is 0.006.
        both = torch.stack([GRADIENTS[0].flatten(), SEEN[0].x.detach().flatten()])
        assert abs(torch.corrcoef(both)[0, 1].item()) < 0.05
        assert abs(GRADIENTS[0].mean().item()) < 0.05
        assert GRADIENTS[0].std().item() == pytest.approx(1, abs=0.05)


class TestKnownPairs:
    """A layer against itself, on as much or a known part more."""

    @pytest.mark.parametrize("phase", ["inference", "training"])
    @pytest.mark.parametrize(("more_rows", "more"), [(0, 0), (4, 0.1), (10, 0.25), (40, 1)])
    def test_on_a_device_that_takes_its_time_by_the_element_the_ratio_is_that_of_elements(
        self, more_rows: int, more: float, phase: str
    ) -> None:
        device = VirtualDevice()
        pair = known_pair(phase=phase, height=40, width=64, channels=64, more_rows=more_rows)

        def kernel_ns(name: str, y: Tensor) -> float:
            return y.numel() if name in ("relu", "threshold_backward") else 0.0

        with Kernels(device.accelerator, kernel_ns):
            found = visit(pair, device)

        assert (found.status, found.message) == ("ok", "")
        assert found.table == "known_rows.jsonl"
        # Launching a kernel takes the host a µs.
        assert found.overhead == pytest.approx(1 + more, rel=1e-3)
        elements = 2 * 64 * 40 * 64
        kernels = 2 if phase == "training" else 1
        assert found.baseline_time_ns == pytest.approx(kernels * elements, rel=1e-3)

    def test_a_warm_baseline_is_called_between_flush_and_reading(self) -> None:
        device = VirtualDevice()
        is_cold = False

        def flush() -> None:
            nonlocal is_cold
            device.accelerator.launch(1e6, "flush")
            is_cold = True

        def kernel_ns(name: str, _y: Tensor) -> float:
            nonlocal is_cold
            was_cold, is_cold = is_cold, False
            return (3e5 if was_cold else 1e5) if name == "relu" else 0.0

        device.clock = device.clock.flushed_by(flush)
        with Kernels(device.accelerator, kernel_ns):
            alike, against_warm = (
                visit(replace(known_pair(), warm_baseline=warm), device) for warm in (False, True)
            )

        assert (alike.status, against_warm.status) == ("ok", "ok")
        assert alike.overhead == pytest.approx(1, rel=1e-3)
        assert against_warm.overhead == pytest.approx(3, rel=1e-3)
        assert against_warm.cache == "cold"

    @pytest.mark.parametrize("phase", ["inference", "training"])
    def test_without_more_both_sides_get_the_very_same_input(self, phase: str) -> None:
        pair = known_pair(own(Recorder), own(OtherRecorder), phase=phase)

        with recorder_takes_1_ms() as bench:
            assert bench.visit(pair, seconds=1).status == "ok"

        for layer in ("Recorder", "OtherRecorder"):
            assert {seen.x.data_ptr() for seen in SEEN if seen.layer == layer} == places()
        assert len(places()) == MOST_PLACES

    @pytest.mark.parametrize("phase", ["inference", "training"])
    def test_with_more_the_target_alone_gets_it(self, phase: str) -> None:
        pair = known_pair(own(Recorder), own(OtherRecorder), phase=phase, more_rows=3)

        with recorder_takes_1_ms() as bench:
            assert bench.visit(pair, seconds=1).status == "ok"

        shapes = {(seen.layer, tuple(seen.x.shape)) for seen in SEEN}
        assert shapes == {("Recorder", (2, 8, 10, 7)), ("OtherRecorder", (2, 8, 7, 7))}
        # Both move.
        assert len(places()) == 2 * MOST_PLACES
        if phase == "training":
            assert {tuple(each.shape) for each in GRADIENTS} == {(2, 8, 10, 7), (2, 8, 7, 7)}


def known_pair(
    activation: str = "relu", baseline: str = "relu", more_rows: int = 0, **changes: Any
) -> KnownPair:
    case = case_of(activation, baseline=baseline, **changes)
    return KnownPair(**asdict(case), more_rows=more_rows)
