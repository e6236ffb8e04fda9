"""What is counted alike of a layer and of a network, by the names of a row's figures."""

from torch import Tensor, nn

from dynact.cost import count_flops, count_parameters, saved_for_backward
from dynact.worker.counter_cache import Figures


def parameters(module: nn.Module) -> Figures:
    """Count what a module holds."""
    found = count_parameters(module)
    return {
        "parameters": found.learnable,
        "parameters_normalisation": found.normalisation,
        "buffers": found.buffers,
    }


def arithmetic(module: nn.Module, x: Tensor) -> Figures:
    """Count one forward pass in eval mode."""
    found = count_flops(module, x)
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
