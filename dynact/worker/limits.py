"""The fastest a device moves memory and multiplies matrices: what bounds any layer on it."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import torch

from dynact.schema.cases import BYTES_PER_ELEMENT
from dynact.timing import Clock, fastest_ns
from dynact.timing.clock import Call
from dynact.worker.device import Device

# What any first-level cache holds.
SMALLEST_BYTES = 2**14
SECONDS_EACH = 0.03


def measure_limits(device: Device) -> dict[str, Any]:
    """Return what `dynact.schema.limits.Ceilings` is made of, and the seconds it took.

    Each rate is the fastest of several blocks: of moving, from the caches' state that cases start
    from; of multiplying, whose operands are used again and again, from warm ones. A size or a dtype
    that the device cannot do is left out.

    Raises
    ------
    ValueError
        If it can copy nothing at all.
    """
    start_s = time.perf_counter()
    copies = []
    calls_s = []
    flops_per_s = {}
    with torch.inference_mode():
        for size in copy_sizes(device):
            with suppress(RuntimeError, TypeError):
                ways = list(_moved(size, device))
                rate = max(way.bytes_per_s for way in ways)
                copies.append({"bytes": size, "bytes_per_s": rate})
                calls_s += [way.call_s for way in ways]
        for dtype in BYTES_PER_ELEMENT:
            with suppress(RuntimeError, TypeError):
                flops_per_s[dtype] = 2 * device.matrix_rows**3 / _product_s(dtype, device)
    if not copies:
        raise ValueError(f"{device.torch_device} could not even copy {SMALLEST_BYTES} bytes")
    device.release_memory()
    seconds = time.perf_counter() - start_s
    return {
        "copies": copies,
        "call_s": min(calls_s),
        "flops_per_s": flops_per_s,
        "case_s": seconds,
    }


def copy_sizes(device: Device) -> list[int]:
    """Return of how many bytes tensors are copied, each twice the last.

    The largest is beyond the caches of most devices of its kind, and three fit into half of what
    is free.
    """
    most = min(device.largest_copy_bytes, device.free_bytes() // 6)
    return [2**power for power in range(most.bit_length()) if SMALLEST_BYTES <= 2**power <= most]


class _Moved(NamedTuple):
    call_s: float
    bytes_per_s: float
    """Read and written."""


def _moved(size: int, device: Device) -> Iterator[_Moved]:
    """Yield how tensors of a size are moved, in each of two ways.

    A layer reads more than it writes where it needs two passes over its input: on some devices
    that is faster than a copy.
    """
    source = torch.ones(size // 4, device=device.torch_device)
    other, target = torch.ones_like(source), torch.empty_like(source)
    calls: dict[Call, int] = {
        lambda: target.copy_(source): 2,
        lambda: torch.add(source, other, out=target): 3,
    }
    for call, tensors in calls.items():
        call_s = _seconds(call, device.clock)
        yield _Moved(call_s, tensors * size / call_s)


def _product_s(dtype: str, device: Device) -> float:
    shape = device.matrix_rows, device.matrix_rows
    factor = torch.randn(shape, device=device.torch_device).to(getattr(torch, dtype))
    product = torch.empty_like(factor)
    return _seconds(lambda: torch.mm(factor, factor, out=product), device.clock.warm)


def _seconds(call: Call, clock: Clock) -> float:
    call()
    return fastest_ns(call, clock, SECONDS_EACH) / 1e9
