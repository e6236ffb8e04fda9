"""What is counted alike of a layer and of a network, by the names of a row's figures."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from dynact import activations
from dynact.cost import (
    MemoryTracker,
    count_flops,
    count_parameters,
    is_all_shown,
    peak_on_cpu,
    saved_for_backward,
)
from dynact.schema.cases import NetworkCase
from dynact.timing.clock import Call
from dynact.worker.counter_cache import Figures, PartlyCountedError
from dynact.worker.device import Device
from dynact.worker.modes import watched_mode

HIDDEN = "it computes outside of torch's operators, as by a kernel of its own"


def parameters(module: nn.Module) -> Figures:
    """Count what a module holds."""
    found = count_parameters(module)
    return {
        "parameters": found.learnable,
        "parameters_normalisation": found.normalisation,
        "buffers": found.buffers,
    }


def arithmetic(module: nn.Module, x: Tensor) -> Figures:
    """Count one forward pass in eval mode.

    Raises
    ------
    PartlyCountedError
        If it computes outside of torch's operators: what these do is not what it costs.
    """
    found = count_flops(module, x)
    if not is_all_shown(module, x):
        raise PartlyCountedError(HIDDEN, {})
    return {
        "flops": found.total,
        "flops_by_operator": found.by_operator,
        "uncounted_ops": list(found.uncounted_ops),
        "macs": found.multiply_accumulates,
    }


def saved(module: nn.Module, x: Tensor, phase: str) -> Figures:
    """Count what autograd keeps from forward to backward."""
    if phase != "training":
        return dict.fromkeys(
            ("saved_for_backward_bytes", "saved_input_bytes", "saved_output_bytes"), 0
        )
    found = saved_for_backward(module, x)
    return {
        "saved_for_backward_bytes": found.total,
        "saved_input_bytes": found.input,
        "saved_output_bytes": found.output,
    }


def peak(call: Call, case: NetworkCase, device: Device, track: Callable[[], int]) -> Figures:
    """Count the most bytes that a network's call allocates at once, as an allocator says.

    Where that keeps no statistics, as `tracked_peak` has it; of an implementation that shows no
    operators, as the profiler of the host's allocator has it.
    """
    with watched_mode(case):
        # What libraries set up at their first call is none of the network's.
        device.peak_bytes(call)
        peak_bytes = device.peak_bytes(call)
        if peak_bytes is None and case.impl not in activations.PLAIN:
            call()
            peak_bytes = peak_on_cpu(call)
    if peak_bytes is None:
        return {"peak_bytes": track(), "peak_source": "tracker"}
    return {"peak_bytes": peak_bytes, "peak_source": "allocator"}


def tracked_peak(
    call: Call, case: NetworkCase, network: nn.Module, inputs: Iterable[Tensor]
) -> int:
    """Return the most bytes that a network's call has alive at once, beside network and inputs."""
    with watched_mode(case):
        # What a layer sets up at its first call is there at any other.
        call()
        with MemoryTracker([*network.parameters(), *network.buffers(), *inputs]) as tracker:
            call()
    peak_bytes: int = tracker.peak_bytes
    return peak_bytes
