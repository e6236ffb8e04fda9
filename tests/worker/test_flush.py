"""What a flush moves, and that on this machine a call after it takes longer than without."""

from statistics import median
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dynact.worker.device import Cpu
from dynact.worker.flush import ASSUMED_ACCELERATOR_BYTES, ASSUMED_HOST_BYTES, Flush
from tests.fake_device import VirtualDevice


class Cached(VirtualDevice):
    """A device that computes nothing and tells, or does not, what its cache holds."""

    def __init__(self, cache_bytes: int | None, *, is_accelerator: bool = False) -> None:
        super().__init__("meta")
        self.is_accelerator = is_accelerator
        self._cache_bytes = cache_bytes

    def cache_bytes(self) -> int | None:
        return self._cache_bytes


class Moved(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which storages operators read and write, by their bytes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.read: list[int] = []
        self.written: list[int] = []

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.read += [tensor.untyped_storage().nbytes() for tensor in args]
        self.written.append(kwargs["out"].untyped_storage().nbytes())
        return func(*args, **kwargs)


@pytest.mark.parametrize("cache_bytes", [2**18, 300_000, 60 * 2**20])
def test_it_streams_several_caches_full_half_read_and_half_written(cache_bytes: int) -> None:
    flush = Flush(Cached(cache_bytes))

    with Moved() as moved:
        flush()

    assert flush.cache_bytes == cache_bytes
    assert moved.read == moved.written
    assert sum(moved.read) >= 3 * cache_bytes


@pytest.mark.parametrize(
    ("is_accelerator", "assumed"),
    [(False, ASSUMED_HOST_BYTES), (True, ASSUMED_ACCELERATOR_BYTES)],
)
def test_a_cache_of_unknown_size_is_taken_to_be_large(is_accelerator: bool, assumed: int) -> None:
    assert Flush(Cached(None, is_accelerator=is_accelerator)).cache_bytes == assumed


def test_what_is_read_is_in_memory_and_no_page_of_zeros() -> None:
    class Small(Cpu):
        def cache_bytes(self) -> int | None:
            return 2**16

    assert (Flush(Small())._source != 0).all()


@pytest.mark.parametrize("timed_in", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_it_is_called_in_any_mode(timed_in: Any) -> None:
    flush = Flush(Cached(2**16))
    with timed_in():
        flush()


def test_no_memory_for_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_args: Any, **_how: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    monkeypatch.setattr(torch, "ones", none_left)
    with pytest.raises(ValueError, match=r"--cache cold .* 2048 MiB .* meta has no memory; free"):
        Flush(Cached(2**28))


def test_a_call_after_it_takes_longer_than_one_that_was_made_between() -> None:
    device = Cpu()
    x = torch.randn(2**19)
    cold = device.clock.flushed_by(Flush(device))
    with torch.inference_mode():

        def call() -> None:
            torch.relu(x)

        call()
        clocks = cold, cold.rewarmed_by(call)
        # In turn, so that both meet what else the machine does.
        readings = [[clock.call_ns(call, 1) for clock in clocks] for _ in range(15)]
    cold_ns, warm_ns = map(median, zip(*readings, strict=True))
    # Three to four times as long on the machine this was written on.
    assert cold_ns > 1.2 * warm_ns
