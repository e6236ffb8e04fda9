"""The suite's own gate: whether ratios can be trusted on this machine, now."""

import time
from typing import Any

import torch
from torch import nn

from dynact.schema.redact import one_line
from dynact.timing import Comparison, compare
from dynact.timing.clock import Call
from dynact.worker.device import Device

TOLERANCE = 0.005
"""The most by which ReLU against itself may differ from 1."""
CONFIDENCE = 0.999
"""One interval judges a whole run, so that its false alarms must be rare."""
PRECISION = 0.004
"""As fine as the tolerance: two equal layers at different addresses differ by up to 0.3 %."""
MAX_SECONDS = 4.0
CPU_SHAPE = (1, 32, 56, 56)
"""Small enough for the caches to hold input, output and interpreter together."""
ACCELERATOR_SHAPE = (64, 256, 56, 56)
"""Large enough that memory traffic, not the kernel's launch, takes the time."""

NOT_RUN = dict.fromkeys(
    ("self_ratio", "self_lo", "self_hi", "more_ratio", "more_lo", "more_hi", "timing_s", "case_s")
)


def run_gate(device: Device) -> tuple[dict[str, Any], list[float]]:
    """Compare ReLU with itself, and with ReLU on a known few elements more.

    Returns
    -------
    tuple
        The verdict: ``trustworthy``; ``_ratio``, ``_lo`` and ``_hi`` for each of ``self`` and
        ``more``; ``more_elements``, the known ratio of elements; seconds; ``message``, what is
        wrong. And ReLU's samples in ns.
    """
    start_s = time.perf_counter()
    shape = CPU_SHAPE if device.torch_device.type == "cpu" else ACCELERATOR_SHAPE
    wider = (*shape[:-1], shape[-1] + 1)
    known = {"more_elements": wider[-1] / shape[-1]}
    try:
        with torch.inference_mode():
            x = torch.randn(shape, device=device.torch_device)
            more = torch.randn(wider, device=device.torch_device)
            first, second = nn.ReLU(), nn.ReLU()
            with_itself = _compare(lambda: first(x), lambda: second(x), device)
            with_more = _compare(lambda: first(more), lambda: second(x), device)
    except RuntimeError as error:
        # A device too small or too busy for the gate may still do for smaller cases.
        message = f"the gate could not run: {one_line(str(error))}"
        return {"trustworthy": False, "message": message, **known, **NOT_RUN}, []
    faults = []
    if not with_itself.overhead_lo <= 1 <= with_itself.overhead_hi:
        faults.append(f"ReLU against itself excludes 1: {with_itself}")
    if abs(with_itself.overhead - 1) > TOLERANCE:
        faults.append(f"ReLU against itself is off by more than {TOLERANCE:.1%}: {with_itself}")
    if not with_more.overhead_lo > 1:
        faults.append(f"ReLU on more elements is not seen to take longer: {with_more}")
    verdict = {
        "trustworthy": not faults,
        "message": "; ".join(faults),
        **known,
        **_figures("self", with_itself),
        **_figures("more", with_more),
        "timing_s": with_itself.calling_s + with_more.calling_s,
        "case_s": time.perf_counter() - start_s,
    }
    return verdict, list(with_itself.target_samples_ns)


def _compare(target: Call, baseline: Call, device: Device) -> Comparison:
    return compare(
        target,
        baseline,
        clock=device.clock,
        precision=PRECISION,
        max_seconds=MAX_SECONDS,
        confidence=CONFIDENCE,
    )


def _figures(name: str, comparison: Comparison) -> dict[str, float]:
    return {
        f"{name}_ratio": comparison.overhead,
        f"{name}_lo": comparison.overhead_lo,
        f"{name}_hi": comparison.overhead_hi,
    }
