"""What torch lets an accelerator say of itself, as far as `dynact.worker.device` asks."""

import pytest
import torch

from dynact.schema.cases import PHASES
from dynact.worker.device import open_device
from dynact.worker.visit import diagnosed
from tests.measuring import visit
from tests.sweeping import case_of

MIB = 2**20


def in_use(device: str = "sim:0") -> int:
    return torch.accelerator.memory_allocated(device)


def test_torch_takes_it_for_an_accelerator() -> None:
    assert torch.accelerator.is_available()
    assert torch.accelerator.current_accelerator() == torch.device("sim")
    assert torch.accelerator.device_count() == 2
    assert torch.get_device_module("sim").__name__ == "sim_backend"
    torch.accelerator.set_device_index(1)
    assert torch.empty(1, device="sim").device.index == 1
    torch.accelerator.set_device_index(0)
    with pytest.raises(RuntimeError, match="no device sim:2"):
        torch.accelerator.set_device_index(2)


def test_dynact_opens_it() -> None:
    assert open_device(None).torch_device == torch.device("sim")
    device = open_device("sim:1")
    assert device.is_accelerator
    assert device.name == "simulated accelerator 1"
    assert device.memory_bytes == 2**30
    with pytest.raises(ValueError, match="cpu, sim, sim:0, sim:1"):
        open_device("sim:2")


def test_memory_is_counted_in_blocks_on_the_device_it_is_on() -> None:
    before = in_use("sim:0"), in_use("sim:1")
    torch.accelerator.reset_peak_memory_stats("sim:1")
    x = torch.empty(1000, dtype=torch.uint8, device="sim:1")
    y = x.clone()
    assert (in_use("sim:0"), in_use("sim:1")) == (before[0], before[1] + 2048)
    del x, y
    assert in_use("sim:1") == before[1]
    assert torch.accelerator.max_memory_allocated("sim:1") == before[1] + 2048


def test_the_peak_of_a_call_is_what_it_allocates_at_once() -> None:
    device = open_device("sim:0")
    x = torch.randn(MIB, device="sim")

    def call() -> None:
        y = x + 1  # 4 MiB
        del y
        _ = x * 2 + 1  # 4 MiB twice

    assert device.peak_bytes(call) == 8 * MIB
    assert device.allocations_of(call) is None


def test_beyond_the_limit_is_torchs_own_error() -> None:
    before = in_use()
    with pytest.raises(torch.OutOfMemoryError, match="sim:0 out of memory") as caught:
        torch.empty(2**30, device="sim:0")
    assert diagnosed(caught.value)[0] == "oom"
    x = torch.zeros(300 * MIB, dtype=torch.uint8, device="sim:0")
    with pytest.raises(torch.OutOfMemoryError):
        [x + 1, x + 2, x + 3]
    del x, caught
    assert in_use() == before


@pytest.mark.parametrize("how", [{"impl": "fused"}, {"mode": "compile"}], ids=str)
@pytest.mark.parametrize("phase", PHASES)
def test_what_is_compiled_is_told_to_be_unsupported_in_plain_words(
    how: dict[str, str], phase: str
) -> None:
    told = visit(case_of("prelu", phase=phase, device="sim", **how), open_device("sim"))
    assert told.status == "unsupported"
    assert "torch.compile generates no code for sim" in told.message


def test_streams_are_one_queue() -> None:
    stream = torch.Stream("sim:1")
    assert stream.device == torch.device("sim:1")
    with stream:
        x = torch.ones(1000, device="sim:1") + 1
        assert torch.accelerator.current_stream("sim:1") == stream
    assert not stream.query()
    stream.synchronize()
    assert stream.query()
    assert torch.accelerator.current_stream("sim:1") != stream
    assert x.sum().item() == 2000
