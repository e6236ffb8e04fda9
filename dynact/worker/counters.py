"""What is counted alike of a layer and of a network, by the names of a row's figures."""

from collections.abc import Iterable

from torch import Tensor, nn

from dynact.cost import (
    MemoryTracker,
    count_flops,
    count_parameters,
    is_all_shown,
    peak_on_cpu,
    saved_for_backward,
)
from dynact.timing.clock import Call
from dynact.worker.counter_cache import Figures, PartlyCountedError
from dynact.worker.device import Device

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


def tracked_peak(call: Call, network: nn.Module, inputs: Iterable[Tensor]) -> int:
    """Return the most bytes that a network's call has alive at once, beside network and inputs."""
    # What a layer sets up at its first call is there at any other.
    call()
    with MemoryTracker([*network.parameters(), *network.buffers(), *inputs]) as tracker:
        call()
    peak: int = tracker.peak_bytes
    return peak


def allocated_peak(call: Call, device: Device, by_profiler: bool) -> int | None:
    """Return the most bytes that a call allocates at once, as an allocator says.

    Parameters
    ----------
    call
        Of a network.
    device
        Where the call's work is done.
    by_profiler
        Whether to ask the profiler of the host's allocator where the device keeps no statistics;
        else None is returned there.
    """
    # What libraries set up at their first call is none of the network's.
    device.peak_bytes(call)
    peak = device.peak_bytes(call)
    if peak is None and by_profiler:
        call()
        peak = peak_on_cpu(call)
    return peak
