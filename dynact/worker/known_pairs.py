"""Pairs whose ratio is known: whether ratios can be trusted on this machine, now."""

import time
from typing import Any

import torch
from torch import nn

from dynact.schema.messages import Answer
from dynact.schema.redact import one_line
from dynact.timing import Comparison, compare
from dynact.timing.clock import Call
from dynact.worker.device import Device

# The most by which ReLU against itself may differ from 1.
TOLERANCE = 0.005
# One interval judges a whole run, so that its false alarms must be rare.
CONFIDENCE = 0.999
# As fine as the tolerance: two equal layers at different addresses differ by up to 0.3 %.
PRECISION = 0.004
MAX_SECONDS = 4.0

NOT_RUN = dict.fromkeys(
    (
        *("self_overhead", "self_overhead_lo", "self_overhead_hi"),
        *("more_overhead", "more_overhead_lo", "more_overhead_hi"),
        *("timing_s", "case_s"),
    )
)


def compare_known_pairs(device: Device) -> Answer:
    """Compare ReLU with itself, and with ReLU on a known few elements more.

    Returns
    -------
    Answer
        Figures: ``trustworthy``; ``self_overhead`` and ``more_overhead``, each with ``_lo`` and
        ``_hi``; ``more_elements``, the known ratio of elements; seconds; ``message``, what is
        wrong. Samples: ReLU's.
    """
    start_s = time.perf_counter()
    shape = device.known_pair_shape
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
        return Answer(figures={"trustworthy": False, "message": message, **known, **NOT_RUN})
    errors = []
    if not with_itself.overhead_lo <= 1 <= with_itself.overhead_hi:
        errors.append(f"ReLU against itself excludes 1: {with_itself}")
    if abs(with_itself.overhead - 1) > TOLERANCE:
        errors.append(f"ReLU against itself is off by more than {TOLERANCE:.1%}: {with_itself}")
    if not with_more.overhead_lo > 1:
        errors.append(f"ReLU on more elements is not seen to take longer: {with_more}")
    verdict = {
        "trustworthy": not errors,
        "message": "; ".join(errors),
        **known,
        **_figures("self", with_itself),
        **_figures("more", with_more),
        "timing_s": with_itself.calling_s + with_more.calling_s,
        "case_s": time.perf_counter() - start_s,
    }
    return Answer(figures=verdict, samples_ns=with_itself.target_samples_ns)


def _compare(target: Call, baseline: Call, device: Device) -> Comparison:
    return compare(
        target,
        baseline,
        clock=device.clock,
        precision=PRECISION,
        max_seconds=MAX_SECONDS,
        confidence=CONFIDENCE,
    )


def _figures(name: str, comparison: Comparison) -> dict[str, Any]:
    return {
        f"{name}_overhead": comparison.overhead,
        f"{name}_overhead_lo": comparison.overhead_lo,
        f"{name}_overhead_hi": comparison.overhead_hi,
    }
