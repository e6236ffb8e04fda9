"""The fastest a device moves memory and multiplies matrices: what bounds any layer on it."""

import time
from contextlib import suppress
from typing import Any

import torch

from dynact.schema.cases import BYTES_PER_ELEMENT
from dynact.timing import fastest_ns
from dynact.timing.clock import Call
from dynact.worker.device import Device

# What any first-level cache holds.
SMALLEST_BYTES = 2**14
SECONDS_EACH = 0.03


def measure_limits(device: Device) -> dict[str, Any]:
    """Return what `dynact.schema.limits.Ceilings` is made of, and the seconds it took.

    Each rate is the fastest of several blocks. A size or a dtype that the device cannot do is
    left out.

    Raises
    ------
    ValueError
        If it can copy nothing at all.
    """
    start_s = time.perf_counter()
    copies = []
    flops_per_s = {}
    with torch.inference_mode():
        for size in copy_sizes(device):
            with suppress(RuntimeError, TypeError):
                copies.append({"bytes": size, "bytes_per_s": _bytes_per_s(size, device)})
        for dtype in BYTES_PER_ELEMENT:
            with suppress(RuntimeError, TypeError):
                flops_per_s[dtype] = 2 * device.matrix_rows**3 / _product_s(dtype, device)
    if not copies:
        raise ValueError(f"{device.torch_device} could not even copy {SMALLEST_BYTES} bytes")
    device.release_memory()
    seconds = time.perf_counter() - start_s
    return {"copies": copies, "flops_per_s": flops_per_s, "case_s": seconds}


def copy_sizes(device: Device) -> list[int]:
    """Return of how many bytes tensors are copied, each twice the last.

    The largest is beyond the caches of most devices of its kind, and three fit into half of what
    is free.
    """
    most = min(device.largest_copy_bytes, device.free_bytes() // 6)
    return [2**power for power in range(most.bit_length()) if SMALLEST_BYTES <= 2**power <= most]


def _bytes_per_s(size: int, device: Device) -> float:
    """Return the fastest rate at which tensors of a size are read and written.

    A layer reads more than it writes where it needs two passes over its input: on some devices
    that is faster than a copy.
    """
    source = torch.ones(size // 4, device=device.torch_device)
    other, target = torch.ones_like(source), torch.empty_like(source)
    calls: dict[Call, int] = {
        lambda: target.copy_(source): 2,
        lambda: torch.add(source, other, out=target): 3,
    }
    return max(tensors * size / _seconds(call, device) for call, tensors in calls.items())


def _product_s(dtype: str, device: Device) -> float:
    shape = device.matrix_rows, device.matrix_rows
    factor = torch.randn(shape, device=device.torch_device).to(getattr(torch, dtype))
    product = torch.empty_like(factor)
    return _seconds(lambda: torch.mm(factor, factor, out=product), device)


def _seconds(call: Call, device: Device) -> float:
    call()
    return fastest_ns(call, device.clock, SECONDS_EACH) / 1e9
