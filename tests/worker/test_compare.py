"""From case to row, with layers that note how they are called and layers that go wrong."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dynact.schema.cases import DTYPES, MEMORY_FORMATS, Case
from dynact.worker import compare as compare_module
from dynact.worker.device import Cpu
from dynact.worker.layer import draw_input
from dynact.worker.rotating_input import MOST_PLACES
from tests.fake_device import FakeAccelerator, Kernels, VirtualDevice
from tests.measuring import Measurement, measure
from tests.sweeping import case_of

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


def measured(case: Case, device: Cpu | None = None) -> Measurement:
    return measure(case, device or Cpu(), precision=0.05, max_seconds=0.05)


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


class TestGoodRow:
    @pytest.mark.parametrize("phase", ["inference", "training"])
    @pytest.mark.parametrize("activation", ["prelu", "dyrelu_b", "frelu"])
    def test_its_figures_agree_with_each_other(self, activation: str, phase: str) -> None:
        found = measured(replace(CASE, activation=activation, phase=phase))

        row, samples_ns = found.row, found.samples_ns
        assert (row.status, row.message) == ("ok", "")
        assert row.overhead_lo <= row.overhead <= row.overhead_hi  # type: ignore[operator]
        assert row.time_p20_ns <= row.time_ns <= row.time_p80_ns  # type: ignore[operator]
        assert row.time_ns == median(samples_ns)
        assert len(samples_ns) == row.pairs
        # A fifth lies beyond either, give or take the sample that is cut.
        fifth = 0.2 * (len(samples_ns) - 1) + 1
        assert sum(sample < row.time_p20_ns for sample in samples_ns) <= fifth  # type: ignore[operator]
        assert sum(sample > row.time_p80_ns for sample in samples_ns) <= fifth  # type: ignore[operator]
        assert 0 < row.timing_s <= row.case_s  # type: ignore[operator]
        assert (row.cache, row.clock) == ("warm", "wall")
        assert row.case.activation == activation

    @pytest.mark.parametrize("phase", ["inference", "training"])
    def test_it_is_the_comparison_of_the_two_layers(self, phase: str) -> None:
        # Virtual time: kernels of 30 and 10 µs, and one to settle.
        device = FakeDevice()
        case = replace(CASE, activation=own(Slow), baseline=own(Quick), phase=phase)

        row = measured(case, device).row

        assert row.status == "ok"
        assert row.overhead == pytest.approx(3, rel=0.01)
        assert row.time_ns == pytest.approx(30e3, rel=0.01)
        assert row.baseline_time_ns == pytest.approx(10e3, rel=0.01)
        assert row.converged is True
        assert row.speed_drift == pytest.approx(1, rel=0.01)
        assert row.clock == "event"

    def test_warming_up_is_not_timed(self) -> None:
        device = FakeDevice()

        measured(replace(CASE, activation=own(Slow), baseline=own(Quick)), device)

        before = device.accelerator.diary[: device.accelerator.diary.index("record")]
        # A first call may allocate, a second one autotune; the last settles the first block.
        assert before.count("Quick") >= 3
        assert before.count("Slow") >= 3 + 1
        assert before[-1] == "Slow"


class TestConditions:
    def test_inference_is_eval_mode_under_inference_mode(self) -> None:
        assert measured(RECORDED).row.status == "ok"

        assert {seen.layer for seen in SEEN} == {"Recorder", "OtherRecorder"}
        assert not any(seen.training for seen in SEEN)
        assert all(seen.inference for seen in SEEN)
        assert not any(seen.x_requires_grad for seen in SEEN)
        assert GRADIENTS == []

    def test_training_is_train_mode_with_gradients_for_input_and_parameters(self) -> None:
        row = measured(RECORDED_TRAINING).row

        assert row.status == "ok"
        assert all(seen.training and not seen.inference for seen in SEEN)
        assert all(seen.x_requires_grad and seen.weight.requires_grad for seen in SEEN)
        # One backward to each forward, but for the first of a side, which checks the shape.
        assert len(GRADIENTS) == len(WEIGHT_GRADIENTS) == len(SEEN) - 2

    def test_gradients_start_from_none_and_end_as_none(self) -> None:
        measured(RECORDED_TRAINING)

        assert all(seen.grads_before == (None, None) for seen in SEEN)
        assert all(seen.x.grad is None and seen.weight.grad is None for seen in SEEN)

    def test_the_gradient_is_fixed_random_and_fully_propagated(self) -> None:
        measured(RECORDED_TRAINING)

        gradient = GRADIENTS[0]
        assert all(torch.equal(gradient, other) for other in GRADIENTS)
        x = SEEN[0].x.detach()
        assert not torch.equal(gradient, x)
        assert 0.5 < gradient.std() < 1.5
        # d/dw of Σ g·(w·x), not accumulated from step to step.
        expected = (gradient * x).sum(dim=(0, 2, 3)).view(-1, 1, 1)
        for found in WEIGHT_GRADIENTS:
            torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize("case", [RECORDED, RECORDED_TRAINING], ids=["inference", "training"])
    def test_both_sides_get_the_very_same_input(self, case: Case) -> None:
        measured(case)

        assert {seen.layer for seen in SEEN} == {"Recorder", "OtherRecorder"}
        places = {
            layer: {seen.x.data_ptr() for seen in SEEN if seen.layer == layer}
            for layer in ("Recorder", "OtherRecorder")
        }
        assert places["Recorder"] == places["OtherRecorder"]
        expected = draw_input(case, Cpu()).detach()
        assert all(torch.equal(seen.x.detach(), expected) for seen in SEEN)

    @pytest.mark.parametrize("phase", ["inference", "training"])
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("memory_format", MEMORY_FORMATS)
    def test_dtype_and_memory_format_are_those_asked_for(
        self, phase: str, dtype: str, memory_format: str
    ) -> None:
        case = replace(RECORDED, phase=phase, dtype=dtype, memory_format=memory_format)

        assert measured(case).row.status == "ok"

        wanted = getattr(torch, dtype)
        for tensor in [seen.x for seen in SEEN] + GRADIENTS:
            assert tensor.dtype == wanted
            assert tensor.shape == (2, 3, 4, 5)
            assert tensor.is_contiguous(memory_format=LAYOUTS[memory_format])
        assert all(seen.weight.dtype == wanted for seen in SEEN)

    @pytest.mark.parametrize("case", [RECORDED, RECORDED_TRAINING], ids=["inference", "training"])
    def test_the_input_moves_from_round_to_round(self, case: Case) -> None:
        device = VirtualDevice()

        # A call is a block: with what settles it, and what follows a move, a round is ten calls.
        with Kernels(device.accelerator, lambda name, _y: 1e6 if name == "mul" else 0.0):
            row = measure(case, device, precision=0.05, max_seconds=1).row

        assert row.status == "ok"
        assert row.pairs is not None
        rounds = row.pairs // 2
        assert rounds >= 2 * MOST_PLACES
        places = [seen.x.data_ptr() for seen in SEEN[-10 * rounds :]]
        by_round = [set(places[10 * turn :][:10]) for turn in range(rounds)]
        assert [len(places) for places in by_round] == [1] * rounds
        assert all(before != after for before, after in pairwise(by_round))
        assert len(set.union(*by_round)) == MOST_PLACES

    def test_the_gradient_has_nothing_to_do_with_the_input(self) -> None:
        measured(replace(RECORDED_TRAINING, height=64, width=64))

        # Of 24,576 draws: the correlation's standard error is 0.006.
        both = torch.stack([GRADIENTS[0].flatten(), SEEN[0].x.detach().flatten()])
        assert abs(torch.corrcoef(both)[0, 1].item()) < 0.05
        assert abs(GRADIENTS[0].mean().item()) < 0.05
        assert GRADIENTS[0].std().item() == pytest.approx(1, abs=0.05)


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
        if self.calls > 20:
            raise RuntimeError("worn out")
        return x * 1


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
    def test_it_is_a_row_that_says_why_in_one_line(
        self, name: str, status: str, message: str, phase: str
    ) -> None:
        found = measured(replace(CASE, activation=name, phase=phase))

        row = found.row
        assert row.status == status
        assert row.message.startswith(message)
        assert "\n" not in row.message
        assert "much more" not in row.message
        assert len(row.message) < 400
        assert found.samples_ns == ()
        said = {key for key, value in vars(row).items() if value is not None}
        assert said == {"case", "status", "message", "case_s"}

    def test_a_failing_baseline_is_one_too(self) -> None:
        row = measured(replace(CASE, baseline=own(Broken))).row

        assert (row.status, row.message) == ("error", "ValueError: a wrong value")

    def test_a_long_message_is_cut(self) -> None:
        row = measured(replace(CASE, activation=own(Wordy))).row

        assert row.message.startswith("ValueError: word word")
        assert len(row.message) < 400

    @pytest.mark.parametrize(
        "case",
        [
            replace(CASE, batch=2**20, channels=2**10, height=2**14, width=2**14),
            replace(CASE, activation=own(AbsurdTensor)),
        ],
        ids=["input", "inside"],
    )
    def test_memory_really_asked_for_and_not_there_is_oom(self, case: Case) -> None:
        row = measured(case).row

        assert row.status == "oom"
        assert "can't allocate memory" in row.message

    @pytest.mark.parametrize("message", OUT_OF_MEMORY)
    def test_each_library_that_says_so_in_its_own_words_is_oom(
        self, monkeypatch: pytest.MonkeyPatch, message: str
    ) -> None:
        monkeypatch.setattr(Complains, "message", message)

        row = measured(replace(CASE, activation=own(Complains))).row

        assert row.status == "oom"
        assert row.message == f"RuntimeError: {message.splitlines()[0]}"

    @pytest.mark.parametrize("message", OTHER_COMPLAINTS)
    def test_what_else_a_library_complains_of_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, message: str
    ) -> None:
        monkeypatch.setattr(Complains, "message", message)

        assert measured(replace(CASE, activation=own(Complains))).row.status == "error"

    def test_another_implementation_is_unsupported(self) -> None:
        row = measured(replace(CASE, impl="fused")).row

        assert row.status == "unsupported"
        assert row.message.endswith("prelu has no implementation 'fused'")

    def test_a_good_case_after_one_out_of_memory_is_good(self) -> None:
        device = FakeDevice()
        good = replace(CASE, activation=own(Slow), baseline=own(Quick))

        statuses = [
            measured(case, device).row.status
            for case in (good, replace(good, activation=own(Greedy)), good)
        ]

        assert statuses == ["ok", "oom", "ok"]
        assert device.released == 3

    def test_a_failed_training_step_leaves_grad_mode_as_it_was(self) -> None:
        measured(replace(TRAINING, activation=own(BreaksLater)))
        measured(replace(CASE, activation=own(BreaksLater)))

        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()

    def test_an_interrupt_is_not_a_row(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            measured(replace(CASE, activation=own(Interrupting)))


class Interrupting(nn.Module):
    def forward(self, _x: Tensor) -> Tensor:
        raise KeyboardInterrupt


class HalfCompiled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        torch._dynamo.graph_break()
        return y + 1


class TestCompile:
    """Tiny shapes: generating code takes seconds all the same."""

    @pytest.fixture(autouse=True)
    def fresh_dynamo(self) -> Iterator[None]:
        torch.compiler.reset()
        yield
        torch.compiler.reset()

    def test_a_compiled_case_runs_generated_code(self) -> None:
        # Dynamo traces a layer's Python; compiled, only the traces note anything.
        name = own(CountsItsPython)
        case = replace(CASE, mode="compile", activation=name, baseline=name)
        CountsItsPython.runs = 0

        row = measured(case).row

        assert row.status == "ok", row.message
        assert row.pairs is not None
        assert CountsItsPython.runs < row.pairs

    def test_a_graph_break_is_an_error_and_not_silently_eager(self) -> None:
        row = measured(replace(CASE, mode="compile", activation=own(HalfCompiled))).row

        assert row.status == "error"
        assert "graph_break" in row.message
        assert row.overhead is None

    def test_a_compiler_that_is_switched_off_is_an_error(self) -> None:
        # torch's own way: undoing monkeypatch's would delete the setting for all later tests.
        with torch._dynamo.config.patch(disable=True):
            row = measured(replace(CASE, mode="compile")).row

        assert row.status == "error"
        assert "compile" in row.message


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


@pytest.mark.parametrize(
    ("layer", "status", "message"),
    [("relu", "error", "RuntimeError: the device is lost"), (own(Broken), "error", "")],
)
def test_a_device_that_is_lost_gives_no_figures(layer: str, status: str, message: str) -> None:
    found = measure(case_of(layer), Lost(), precision=0.05, max_seconds=0.05)

    assert (found.row.status, found.row.overhead, found.samples_ns) == (status, None, ())
    # What went wrong first is what is said.
    assert found.row.message.startswith(message)
    assert ("lost" in found.row.message) is bool(message)


def test_it_measures_as_precisely_and_as_long_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def note(*_sides: Any, **how: Any) -> Any:
        asked.append(how)
        raise RuntimeError("enough")

    monkeypatch.setattr(compare_module, "compare", note)

    measure(case_of(), Cpu(), precision=0.07, max_seconds=0.3)

    assert [(how["precision"], how["max_seconds"]) for how in asked] == [(0.07, 0.3)]
