"""From case to visit, with layers that note how they are called and layers that go wrong."""

import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dynact.schema.cases import DTYPES, MEMORY_FORMATS, Case, KnownPair
from dynact.timing import Readings
from dynact.worker import layer as layer_module
from dynact.worker.device import Cpu
from dynact.worker.kept import Kept
from dynact.worker.layer import draw_tensors
from dynact.worker.rotating_input import MOST_PLACES
from dynact.worker.visit import visit_workload
from tests.fake_device import FakeAccelerator, Kernels, VirtualDevice
from tests.measuring import FOUND, Bench, visit
from tests.sweeping import case_of, network_case_of
from tests.worker.graphs import Graphs

pytestmark = pytest.mark.usefixtures("one_thread")

CASE = Case(
    activation="prelu",
    impl="reference",
    phase="inference",
    mode="eager",
    dtype="float32",
    memory_format="contiguous",
    batch=2,
    channels=3,
    height=4,
    width=5,
    device="cpu",
    baseline="relu",
)
TRAINING = replace(CASE, phase="training")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def own(layer_class: type) -> str:
    """The name by which a case asks for a class of this file."""
    return f"{__name__}:{layer_class.__name__}"


@dataclass
class Seen:
    """What a layer noted of one forward pass."""

    layer: str
    x: Tensor
    training: bool
    inference: bool
    x_requires_grad: bool
    weight: Tensor
    grads_before: tuple[Tensor | None, Tensor | None]


SEEN: list[Seen] = []
# What came back to the output, pass by pass.
GRADIENTS: list[Tensor] = []
WEIGHT_GRADIENTS: list[Tensor] = []


class Recorder(nn.Module):
    """x · weight, per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, channels).view(channels, 1, 1))
        self.weight.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
            keep_weight_gradient
        )

    def forward(self, x: Tensor) -> Tensor:
        SEEN.append(
            Seen(
                type(self).__name__,
                x,
                self.training,
                torch.is_inference_mode_enabled(),
                x.requires_grad,
                self.weight,
                (x.grad, self.weight.grad),
            )
        )
        y = x * self.weight
        if y.requires_grad:
            y.register_hook(GRADIENTS.append)  # type: ignore[no-untyped-call]
        return y


def keep_weight_gradient(weight: Tensor) -> None:
    assert weight.grad is not None
    WEIGHT_GRADIENTS.append(weight.grad.clone())


class OtherRecorder(Recorder):
    pass


@pytest.fixture(autouse=True)
def fresh_notes() -> Iterator[None]:
    for notes in (SEEN, GRADIENTS, WEIGHT_GRADIENTS):
        notes.clear()
    yield
    for notes in (SEEN, GRADIENTS, WEIGHT_GRADIENTS):
        notes.clear()


RECORDED = replace(CASE, activation=own(Recorder), baseline=own(OtherRecorder))
RECORDED_TRAINING = replace(RECORDED, phase="training")
BOTH_PHASES = pytest.mark.parametrize(
    "case", [RECORDED, RECORDED_TRAINING], ids=["inference", "training"]
)


@contextmanager
def recorder_takes_1_ms(most_bytes: int = 2**30) -> Iterator[Bench]:
    """A device on which a round is ten calls: for a block, one is enough."""
    device = VirtualDevice()
    with Kernels(device.accelerator, lambda name, _y: 1e6 if name == "mul" else 0.0):
        yield Bench(device, Kept(most_bytes))


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
            ),
        )

        figures = visit_workload(workload, VirtualDevice(), 0.75).figures

        # A quarter of the way up are the second and the third of six: of these the lower.
        assert (figures["time_ns"], figures["baseline_time_ns"]) == (20.0, 5.0)
        assert figures["overhead"] == pytest.approx(4.0)
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
        assert found.clock == "event"

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
        # The visit itself settles either side twice, and each block once.
        assert device.accelerator.diary.index("record") == before + 5
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
        places = [seen.x.data_ptr() for seen in SEEN[-10 * rounds :]]
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

        # Nothing is tried, warmed up or balanced: either side settled twice, and one round.
        assert len(SEEN) - first == 4 + 10 < first

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


def places() -> set[int]:
    """Where the inputs lay that were noted; they live, so that no two had the same place."""
    return {seen.x.data_ptr() for seen in SEEN}


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


class FakeDevice(VirtualDevice):
    """A device that the layers of this file reach."""

    def __init__(self) -> None:
        super().__init__()
        ACCELERATORS[0] = self.accelerator


ACCELERATORS = [FakeAccelerator()]


class Quick(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        ACCELERATORS[0].launch(10e3, "Quick")
        return x


class Slow(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        ACCELERATORS[0].launch(30e3, "Slow")
        return x


class Greedy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        ACCELERATORS[0].allocate(2**40)
        return x


class OutOfHostMemory(nn.Module):
    def forward(self, _x: Tensor) -> Tensor:
        raise MemoryError("no more")


class AbsurdTensor(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        # 2^60 bytes: more than any address space.
        return x + torch.empty(2**58)


class Complains(nn.Module):
    """As the libraries of accelerators do: with a plain RuntimeError."""

    message = ""

    def forward(self, _x: Tensor) -> Tensor:
        raise RuntimeError(Complains.message)


class NotImplementedLayer(nn.Module):
    def forward(self, _x: Tensor) -> Tensor:
        raise NotImplementedError("not for this device")


class MissingKernel(nn.Module):
    def forward(self, _x: Tensor) -> Tensor:
        raise RuntimeError("\"relu_cpu\" not implemented for 'Half'")


class Broken(nn.Module):
    def forward(self, _x: Tensor) -> Tensor:
        raise ValueError("a wrong value\nand much more\nabout it")


class Silent(nn.Module):
    def forward(self, _x: Tensor) -> Tensor:
        raise AssertionError


class Wordy(nn.Module):
    def forward(self, _x: Tensor) -> Tensor:
        raise ValueError("word " * 1000)


class Pooling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(x, 2)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class BreaksLater(nn.Module):
    """Works often enough to be timed, then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        # It is tried and warmed up by four, and balanced by six at least; a round is five or more.
        if self.calls > 12:
            raise RuntimeError("worn out")
        return x * 1


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


class NotALayer:
    pass


FAILURES = [
    (own(OutOfHostMemory), "oom", "MemoryError: no more"),
    (own(Greedy), "oom", "OutOfMemoryError: tried to allocate 1099511627776 bytes"),
    (own(NotImplementedLayer), "unsupported", "NotImplementedError: not for this device"),
    (own(MissingKernel), "unsupported", "RuntimeError: \"relu_cpu\" not implemented for 'Half'"),
    (own(Broken), "error", "ValueError: a wrong value"),
    (own(Silent), "error", "AssertionError:"),
    (own(BreaksLater), "error", "RuntimeError: worn out"),
    (
        own(Pooling),
        "error",
        f"ValueError: activation '{own(Pooling)}' changes the shape from (2, 3, 4, 5) to "
        "(2, 3, 2, 2); an activation keeps it",
    ),
    (
        own(Pair),
        "error",
        f"ValueError: activation '{own(Pair)}' returns a tuple, not a tensor",
    ),
    (own(NotALayer), "error", f"ValueError: {own(NotALayer)} makes a NotALayer, not a"),
    ("frelou", "error", "ValueError: unknown activation 'frelou': did you mean frelu"),
    ("no_such_module:Layer", "error", "ModuleNotFoundError: No module named 'no_such_module'"),
    ("torch.nn:NoSuchLayer", "error", "AttributeError: module 'torch.nn' has no attribute"),
]


OUT_OF_MEMORY = [
    # torch's allocator on a CPU: Linux
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 1099511627776 bytes. Error code 12 (Cannot allocate memory)",
    # CUDA's runtime, whose context, or graph, found no room
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other "
    "API call, so the stacktrace below might be incorrect.",
    # ROCm
    "HIP out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.98 GiB",
    "HIP error: out of memory",
    # Apple
    "MPS backend out of memory (MPS allocated: 17.9 GiB, other allocations: 1.2 GiB)",
    # handles and workspaces of libraries
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    # Intel's level-zero
    "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
    "level_zero backend failed with error: 38 (UR_RESULT_ERROR_OUT_OF_HOST_MEMORY)",
    "[enforce fail at alloc_cpu.cpp] data. DefaultCPUAllocator: not enough memory: you tried to "
    "allocate 4294967296 bytes.",
    "Native API failed. Native API returns: -2 (PI_ERROR_OUT_OF_DEVICE_MEMORY)",
]
OTHER_COMPLAINTS = [
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`",
    "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    "HIP error: invalid device function",
    "level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)",
    "CUDA error: device-side assert triggered",
]


class TestFailure:
    @pytest.mark.parametrize("phase", ["inference", "training"])
    @pytest.mark.parametrize(
        ("name", "status", "message"), FAILURES, ids=[name.split(":")[-1] for name, *_ in FAILURES]
    )
    def test_it_is_a_visit_that_says_why_in_one_line(
        self, name: str, status: str, message: str, phase: str
    ) -> None:
        found = visit(replace(CASE, activation=name, phase=phase), Cpu())

        assert found.status == status
        assert found.message.startswith(message)
        assert "\n" not in found.message
        assert "much more" not in found.message
        assert len(found.message) < 400
        told = {name for name in FOUND if getattr(found, name) is not None}
        assert told == {"process", "visit_s"}

    def test_a_failing_baseline_is_one_too(self) -> None:
        found = visit(replace(CASE, baseline=own(Broken)), Cpu())

        assert (found.status, found.message) == ("error", "ValueError: a wrong value")

    def test_a_long_message_is_cut(self) -> None:
        found = visit(replace(CASE, activation=own(Wordy)), Cpu())

        assert found.message.startswith("ValueError: word word")
        assert len(found.message) < 400

    @pytest.mark.parametrize(
        "case",
        [
            replace(CASE, batch=2**20, channels=2**10, height=2**14, width=2**14),
            replace(CASE, activation=own(AbsurdTensor)),
        ],
        ids=["input", "inside"],
    )
    def test_memory_really_asked_for_and_not_there_is_oom(self, case: Case) -> None:
        found = visit(case, Cpu())

        assert found.status == "oom"
        assert "can't allocate memory" in found.message

    @pytest.mark.parametrize("message", OUT_OF_MEMORY)
    def test_each_library_that_says_so_in_its_own_words_is_oom(
        self, monkeypatch: pytest.MonkeyPatch, message: str
    ) -> None:
        monkeypatch.setattr(Complains, "message", message)

        found = visit(replace(CASE, activation=own(Complains)), Cpu())

        assert found.status == "oom"
        assert found.message == f"RuntimeError: {message.splitlines()[0]}"

    @pytest.mark.parametrize("message", OTHER_COMPLAINTS)
    def test_what_else_a_library_complains_of_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, message: str
    ) -> None:
        monkeypatch.setattr(Complains, "message", message)

        assert visit(replace(CASE, activation=own(Complains)), Cpu()).status == "error"

    def test_another_implementation_is_unsupported(self) -> None:
        found = visit(replace(CASE, impl="fused"), Cpu())

        assert found.status == "unsupported"
        assert found.message.endswith("prelu has no implementation 'fused'")

    def test_a_good_case_after_one_out_of_memory_is_good(self) -> None:
        device = FakeDevice()
        bench = Bench(device)
        good = replace(CASE, activation=own(Slow), baseline=own(Quick))

        statuses = [
            bench.visit(case).status for case in (good, replace(good, activation=own(Greedy)), good)
        ]

        assert statuses == ["ok", "oom", "ok"]
        # What is kept stays where it is; what failed is let go.
        assert device.released == 1

    def test_a_failed_training_step_leaves_grad_mode_as_it_was(self) -> None:
        visit(replace(TRAINING, activation=own(BreaksLater)), Cpu())
        visit(replace(CASE, activation=own(BreaksLater)), Cpu())

        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()

    def test_an_interrupt_is_no_visit(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            visit(replace(CASE, activation=own(Interrupting)), Cpu())


class Interrupting(nn.Module):
    def forward(self, _x: Tensor) -> Tensor:
        raise KeyboardInterrupt


class HalfCompiled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        torch._dynamo.graph_break()
        return y + 1


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        # torch calls it deprecated, and still users have such layers.
        warnings.simplefilter("ignore", FutureWarning)
        layer: nn.Module = torch.jit.script(nn.ReLU())
    return layer


class Disabled(nn.Module):
    """Asks dynamo to leave it alone."""

    @torch._dynamo.disable
    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


@pytest.mark.usefixtures("fresh_dynamo")
class TestCompile:
    """Tiny shapes: generating code takes seconds all the same."""

    def test_a_compiled_case_runs_generated_code(self) -> None:
        # Dynamo traces a layer's Python; compiled, only the traces note anything.
        name = own(CountsItsPython)
        case = replace(CASE, mode="compile", activation=name, baseline=name)
        CountsItsPython.runs = 0

        found = visit(case, Cpu())

        assert found.status == "ok", found.message
        assert CountsItsPython.runs == 0

    @pytest.mark.parametrize(
        "name", [own(HalfCompiled), f"{__name__}:{scripted.__name__}", own(Disabled)]
    )
    @pytest.mark.parametrize("side", ["activation", "baseline"])
    @pytest.mark.parametrize("phase", ["inference", "training"])
    def test_what_would_run_eagerly_on_either_side_is_an_error(
        self, graphs: Graphs, phase: str, side: str, name: str
    ) -> None:
        case = replace(CASE, mode="compile", phase=phase, activation="relu")

        found = visit(replace(case, **{side: name}), Cpu())

        assert found.status == "error"
        assert found.message
        assert found.overhead is None
        # The side that can be compiled is, if it comes first.
        assert len(graphs.shapes) == (1 if side == "baseline" else 0)

    def test_a_graph_break_says_where(self) -> None:
        found = visit(replace(CASE, mode="compile", activation=own(HalfCompiled)), Cpu())

        assert "graph_break" in found.message

    def test_a_compiler_that_is_switched_off_is_an_error(self) -> None:
        # torch's own way: undoing monkeypatch's would delete the setting for all later tests.
        with torch._dynamo.config.patch(disable=True):
            found = visit(replace(CASE, mode="compile"), Cpu())

        assert found.status == "error"
        assert "compile" in found.message

    @pytest.mark.parametrize("phase", ["inference", "training"])
    def test_cases_of_one_class_and_many_shapes_each_keep_graphs_of_their_own(
        self, graphs: Graphs, phase: str
    ) -> None:
        # More than dynamo makes of one piece of code before it falls back to eager.
        shapes = [(1 + number % 3, 3, 4, 1 + number) for number in range(12)]
        cases = [
            replace(
                CASE, mode="compile", phase=phase, activation="relu",
                batch=shape[0], channels=shape[1], height=shape[2], width=shape[3],
            )
            for shape in shapes
        ]  # fmt: skip
        bench = Bench(Cpu(), Kept(0))

        first = [bench.visit(case, seconds=0).status for case in cases]

        assert first == ["ok"] * len(cases)
        # Either side of each has one, and it is of that shape alone.
        assert graphs.shapes == [shape for shape in shapes for _ in range(2)]
        for number, case in enumerate(cases):
            called = graphs.calls.copy()

            assert bench.visit(case, seconds=0).status == "ok"

            own_graphs = {2 * number, 2 * number + 1}
            more = {i for i, calls in enumerate(graphs.calls) if calls > called[i]}
            assert more == own_graphs
        assert len(graphs.shapes) == 2 * len(cases)

    def test_a_compiled_case_keeps_its_graph_while_others_are_visited(self, graphs: Graphs) -> None:
        bench = Bench(Cpu(), Kept(0))
        case = replace(CASE, mode="compile", activation="prelu")
        others = [replace(case, batch=batch) for batch in (1, 3, 4)]
        others += [replace(case, activation="silu"), replace(case, mode="eager")]
        bench.visit(case)

        for other in others:
            assert bench.visit(other).status == "ok"
            made = len(graphs.shapes)
            found = bench.visit(case)
            assert found.status == "ok"
            assert len(graphs.shapes) == made

        # Of itself and of all but the eager one.
        assert made == 2 * len(others)

    def test_it_is_called_on_the_input_of_the_eager_case(self, graphs: Graphs) -> None:
        with recorder_takes_1_ms() as bench:
            bench.visit(RECORDED, seconds=1)
            bench.visit(replace(RECORDED, mode="compile", activation="relu", baseline="relu"))

        assert graphs.places
        assert graphs.places <= places()


class CountsItsPython(nn.Module):
    runs = 0

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            CountsItsPython.runs += 1
        return x.relu()


class Lost(Cpu):
    """A device that was lost, which it says where its memory is to be given back."""

    def release_memory(self) -> None:
        raise RuntimeError("the device is lost\nsince then")


def test_of_a_device_that_is_lost_what_was_lost_first_is_said() -> None:
    found = visit(case_of(own(Broken)), Lost())

    assert (found.status, found.message) == ("error", "ValueError: a wrong value")
