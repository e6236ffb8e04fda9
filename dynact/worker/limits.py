"""The fastest a device copies memory and multiplies matrices: what bounds any layer on it."""

import time
from contextlib import suppress
from typing import Any

import torch

from dynact.schema.cases import BYTES_PER_ELEMENT
from dynact.timing import fastest_ns
from dynact.timing.clock import Call
from dynact.worker.device import Device

# From what any first-level cache holds to what few last-level caches do.
COPY_BYTES = tuple(2**power for power in range(14, 28))
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
        for size in COPY_BYTES:
            with suppress(RuntimeError, TypeError):
                # Each byte is read and written.
                rate = 2 * size / _copy_s(size, device)
                copies.append({"bytes": size, "bytes_per_s": rate})
        for dtype in BYTES_PER_ELEMENT:
            with suppress(RuntimeError, TypeError):
                flops_per_s[dtype] = 2 * device.matrix_rows**3 / _product_s(dtype, device)
    if not copies:
        raise ValueError(f"{device.torch_device} could not even copy {COPY_BYTES[0]} bytes")
    device.release_memory()
    seconds = time.perf_counter() - start_s
    return {"copies": copies, "flops_per_s": flops_per_s, "case_s": seconds}


def _copy_s(size: int, device: Device) -> float:
    source = torch.ones(size, dtype=torch.uint8, device=device.torch_device)
    target = torch.empty_like(source)
    return _seconds(lambda: target.copy_(source), device)


def _product_s(dtype: str, device: Device) -> float:
    shape = device.matrix_rows, device.matrix_rows
    factor = torch.randn(shape, device=device.torch_device).to(getattr(torch, dtype))
    product = torch.empty_like(factor)
    return _seconds(lambda: torch.mm(factor, factor, out=product), device)


def _seconds(call: Call, device: Device) -> float:
    call()
    return fastest_ns(call, device.clock, SECONDS_EACH) / 1e9
