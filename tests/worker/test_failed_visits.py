"""Layers that go wrong: a visit says how, and harms none after it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dynact.schema.cases import Case
from dynact.worker.device import Cpu
from tests.measuring import FOUND, Bench, visit
from tests.sweeping import case_of
from tests.worker.noting import (
    ACCELERATORS,
    CASE,
    TRAINING,
    BreaksLater,
    FakeDevice,
    Quick,
    Slow,
    own,
)

pytestmark = pytest.mark.usefixtures("fresh_notes")


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
    ("frelou", "error", "ValueError: unknown activation 'frelou'; did you mean frelu"),
    ("no_such_module:Layer", "error", "ValueError: no_such_module:Layer: there is no module"),
    ("torch.nn:NoSuchLayer", "error", "ValueError: torch.nn:NoSuchLayer: there is no 'NoSu"),
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

    def test_an_implementation_that_is_not_there_is_an_error(self) -> None:
        found = visit(replace(CASE, impl="lines"), Cpu())

        assert found.status == "error"
        assert found.message.endswith("'lines' of prelu: it has reference, fused")

    def test_a_batch_of_one_that_a_layer_cannot_normalise_is_said_plainly(self) -> None:
        of_one = replace(TRAINING, activation="meta_acon_c_bn", batch=1)

        found = visit(of_one, Cpu())

        assert (found.status, found.message) == (
            "unsupported",
            "NotImplementedError: BN after each fc needs two samples or more to train on",
        )
        assert visit(replace(of_one, phase="inference"), Cpu()).status == "ok"
        assert visit(replace(of_one, batch=2), Cpu()).status == "ok"

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


class Lost(Cpu):
    """A device that was lost, which it says where its memory is to be given back."""

    def release_memory(self) -> None:
        raise RuntimeError("the device is lost\nsince then")


def test_of_a_device_that_is_lost_what_was_lost_first_is_said() -> None:
    found = visit(case_of(own(Broken)), Lost())

    assert (found.status, found.message) == ("error", "ValueError: a wrong value")
