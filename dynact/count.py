"""From case to counts: what a layer costs without a clock."""

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dynact import activations
from dynact.cases import Case
from dynact.cost.flops import count_flops, fvcore_default_flops
from dynact.cost.memory import MemoryTracker, saved_for_backward
from dynact.cost.parameters import count_parameters
from dynact.cost.traffic import TrafficCounter, floor_bytes
from dynact.device import Device
from dynact.layers import call_of, draw_gradient, draw_input, prepared
from dynact.redact import error_line

Figures = dict[str, Any]

OF_THE_BASELINE = ("flops", "traffic_eager_bytes", "saved_for_backward_bytes", "peak_bytes")
"""What a row also says of its baseline, as ``baseline_…``."""
MOST_KEPT = 1024
"""Counts that are kept for the next case: more than the quick sweep has, little memory."""


@dataclass
class _Input:
    current: Tensor


def count(case: Case, device: Device) -> tuple[Figures, str]:
    """Return what a case costs without a clock, by the names of a row's figures.

    Counted is the eager formulation, on the case's own device, with real tensors: a layer that
    fails on meta tensors is counted all the same. What cannot be counted is left out; the second
    answer says why, in one line.
    """
    eager = replace(case, mode="eager", baseline="")
    figures, faults = _counted(eager, device)
    of_baseline, _ = _counted(replace(eager, activation=case.baseline), device)
    beside = {f"baseline_{name}": of_baseline.get(name) for name in OF_THE_BASELINE}
    return figures | beside, "; ".join(faults)


@functools.lru_cache(MOST_KEPT)
def _counted(case: Case, device: Device) -> tuple[Figures, tuple[str, ...]]:
    of_both_phases, faults = _forward_pass(replace(case, phase="inference"), device)
    parts = {"traffic": _traffic_and_peak, "saved for backward": _saved}
    of_this_phase, more_faults = _attempted(parts, case, device)
    return of_both_phases | of_this_phase, faults + more_faults


@functools.lru_cache(MOST_KEPT)
def _forward_pass(case: Case, device: Device) -> tuple[Figures, tuple[str, ...]]:
    return _attempted({"parameters": _parameters, "arithmetic": _arithmetic}, case, device)


def _attempted(
    parts: Mapping[str, Callable[[Case, Device], Figures]], case: Case, device: Device
) -> tuple[Figures, tuple[str, ...]]:
    """Count one part after the other; one that fails costs only its own figures."""
    figures: Figures = {}
    faults = []
    for name, part in parts.items():
        try:
            figures |= part(case, device)
        except Exception as error:
            faults.append(f"{name} not counted: {error_line(error)}")
    return figures, tuple(faults)


def _parameters(case: Case, device: Device) -> Figures:
    found = count_parameters(prepared(case.activation, case, device))
    return {
        "parameters": found.learnable,
        "parameters_normalisation": found.normalisation,
        "buffers": found.buffers,
    }


def _arithmetic(case: Case, device: Device) -> Figures:
    layer, x = prepared(case.activation, case, device), draw_input(case, device)
    found = count_flops(layer, x)
    parts = " ".join(f"{operator}:{flops}" for operator, flops in found.by_operator.items())
    return {
        "flops": found.total,
        "flops_fvcore_default": fvcore_default_flops(layer, x),
        "flops_by_operator": parts,
        "uncounted_ops": ", ".join(found.uncounted_ops),
    }


def _traffic_and_peak(case: Case, device: Device) -> Figures:
    layer, x = prepared(case.activation, case, device), draw_input(case, device)
    gradient = draw_gradient(case, device)
    call = call_of(layer, _Input(x), gradient)
    parameters = list(layer.parameters())
    there_anyway = [x, *parameters, *layer.buffers()]
    if gradient is not None:
        there_anyway.append(gradient)
    # Not inference mode: there, operators made of others show as one.
    mode: AbstractContextManager[object] = (
        nullcontext() if case.phase == "training" else torch.no_grad()
    )
    with mode:
        # What a library sets up once is not the layer's.
        call()
        with TrafficCounter() as traffic, MemoryTracker(there_anyway) as memory:
            call()
        allocated_bytes = device.peak_bytes(call)
    training = case.phase == "training"
    return {
        "traffic_floor_bytes": floor_bytes(
            case.input_bytes,
            sum(parameter.nbytes for parameter in parameters),
            activations.least_passes(case.activation, training),
            training,
        ),
        "traffic_eager_bytes": traffic.bytes,
        "kernels": traffic.kernels,
        "data_dependent": traffic.reads_values,
        "peak_bytes": memory.peak_bytes if allocated_bytes is None else allocated_bytes,
        "peak_source": "tracker" if allocated_bytes is None else "allocator",
    }


def _saved(case: Case, device: Device) -> Figures:
    if case.phase != "training":
        return dict.fromkeys(
            ("saved_for_backward_bytes", "saved_input_bytes", "saved_output_bytes"), 0
        )
    found = saved_for_backward(prepared(case.activation, case, device), draw_input(case, device))
    return {
        "saved_for_backward_bytes": found.total,
        "saved_input_bytes": found.input,
        "saved_output_bytes": found.output,
    }
