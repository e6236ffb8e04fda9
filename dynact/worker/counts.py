"""From case to counts: what a layer costs without a clock."""

import functools
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from dynact import activations
from dynact.cost import (
    MemoryTracker,
    TrafficCounter,
    count_flops,
    count_parameters,
    floor_bytes,
    fvcore_default_flops,
    saved_for_backward,
)
from dynact.schema.cases import Case
from dynact.schema.redact import error_line
from dynact.worker.counter_cache import Figures, Parts
from dynact.worker.device import Device
from dynact.worker.workload import Fixed, call_of, draw_input, prepared, watched_mode

Count = Callable[[nn.Module, Tensor, Case, Device], Figures]

OF_THE_BASELINE = ("flops", "traffic_eager_bytes", "saved_for_backward_bytes", "peak_bytes")
"""What a row also says of its baseline, as ``baseline_…``."""
_PARTS = Parts(most=2000)
"""As many as the quick sweep has, in little memory."""


def count(case: Case, device: Device) -> Figures:
    """Return what a case costs without a clock, by the names of a row's figures.

    Counted is the eager formulation, on the case's own device, with real tensors: a layer that
    fails on meta tensors is counted all the same. What cannot be counted is left out, and
    ``message`` says why, in one line.
    """
    start_s = time.perf_counter()
    eager = replace(case, mode="eager", baseline="")
    figures, faults = _counted(eager, device)
    of_baseline, _ = _counted(replace(eager, activation=case.baseline), device)
    beside = {f"baseline_{name}": of_baseline.get(name) for name in OF_THE_BASELINE}
    try:
        device.release_memory()
    except RuntimeError as error:
        faults.append(error_line(error))
    seconds = time.perf_counter() - start_s
    return figures | beside | {"message": "; ".join(faults), "counting_s": seconds}


def _counted(case: Case, device: Device) -> tuple[Figures, list[str]]:
    in_both_phases = replace(case, phase="inference")
    parts: list[tuple[str, Count, Case]] = [
        ("parameters", _parameters, in_both_phases),
        ("arithmetic", _arithmetic, in_both_phases),
        ("fvcore's default", _fvcore_default, in_both_phases),
        ("traffic", _traffic_and_peak, case),
        ("saved for backward", _saved, case),
    ]
    subject = functools.cache(
        lambda: (prepared(case.activation, case, device), draw_input(case, device))
    )

    def counting(part: Count) -> Callable[[], Figures]:
        return lambda: part(*subject(), case, device)

    return _PARTS.count((name, (of_case, device), counting(part)) for name, part, of_case in parts)


def _parameters(layer: nn.Module, _x: Tensor, _case: Case, _device: Device) -> Figures:
    found = count_parameters(layer)
    return {
        "parameters": found.learnable,
        "parameters_normalisation": found.normalisation,
        "buffers": found.buffers,
    }


def _arithmetic(layer: nn.Module, x: Tensor, _case: Case, _device: Device) -> Figures:
    found = count_flops(layer, x)
    parts = " ".join(f"{operator}:{flops}" for operator, flops in found.by_operator.items())
    return {
        "flops": found.total,
        "flops_by_operator": parts,
        "uncounted_ops": ", ".join(found.uncounted_ops),
    }


def _fvcore_default(layer: nn.Module, x: Tensor, _case: Case, _device: Device) -> Figures:
    return {"flops_fvcore_default": fvcore_default_flops(layer, x)}


def _traffic_and_peak(layer: nn.Module, x: Tensor, case: Case, device: Device) -> Figures:
    training = case.phase == "training"
    gradient = torch.ones_like(x) if training else None
    call = call_of(layer, Fixed(x), gradient)
    parameters = list(layer.parameters())
    there_anyway = [x, *parameters, *layer.buffers()]
    if gradient is not None:
        there_anyway.append(gradient)
    with watched_mode(case):
        with TrafficCounter() as traffic, MemoryTracker(there_anyway) as memory:
            call()
        # The second call: what a library sets up at the first is not the layer's.
        allocated_bytes = device.peak_bytes(call)
    least_bytes = floor_bytes(
        activations.least_passes(case.activation, training),
        case.input_bytes,
        sum(parameter.nbytes for parameter in parameters),
        sum(parameter.nbytes for parameter in parameters if parameter.requires_grad and training),
    )
    return {
        # The plain formulation is an implementation too: of a user's layer that returns its
        # input, or does not use its parameters, it is the better bound.
        "traffic_floor_bytes": min(least_bytes, traffic.bytes),
        "traffic_eager_bytes": traffic.bytes,
        "kernels": traffic.kernels,
        "data_dependent": traffic.reads_values,
        "peak_bytes": memory.peak_bytes if allocated_bytes is None else allocated_bytes,
        "peak_source": "tracker" if allocated_bytes is None else "allocator",
    }


def _saved(layer: nn.Module, x: Tensor, case: Case, _device: Device) -> Figures:
    if case.phase != "training":
        return dict.fromkeys(
            ("saved_for_backward_bytes", "saved_input_bytes", "saved_output_bytes"), 0
        )
    found = saved_for_backward(layer, x)
    return {
        "saved_for_backward_bytes": found.total,
        "saved_input_bytes": found.input,
        "saved_output_bytes": found.output,
    }
