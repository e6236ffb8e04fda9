"""What torch.compile makes of a layer: a graph that is no other layer's, and how long it takes."""

import sys
from typing import Any

import torch
from torch import Tensor, nn

from dynact.activations.fused.graph import generates_code_for


def seconds_compiling() -> float:
    """Return what torch.compile has taken in this process so far, forward and backward."""
    # Where nobody has compiled, dynamo need not be imported to tell.
    if "torch._dynamo" not in sys.modules:
        return 0.0
    from torch._dynamo.utils import calculate_time_spent

    return calculate_time_spent()["total_wall_time"]


def compile_alone(layer: nn.Module, x: Tensor) -> None:
    """Compile a layer's forward pass in place, for an input like this one.

    Dynamo keeps what it compiled by code object, so that a second ReLU of the same shape takes
    the first one's graph, a second shape makes the graph a dynamic one, and the eighth falls back
    to eager code. Each layer gets a code object of its own, whatever is compiled beside it.

    Parameters
    ----------
    x
        Of the shape, dtype and memory format that it will be called with.

    Raises
    ------
    NotImplementedError
        On a device that torch.compile generates no code for.
    RuntimeError
        If no graph was captured: it would run eager code.
    """
    # Imported on demand: dynamo takes as long to import as torch itself.
    from torch._dynamo.utils import counters as of_dynamo

    if not generates_code_for(x.device.type):
        raise NotImplementedError(f"torch.compile generates no code for {x.device.type}")
    own_forward: Any = layer.forward

    def forward(x: Tensor) -> Tensor:
        y: Tensor = own_forward(x)
        return y

    forward.__code__ = forward.__code__.replace()
    layer.forward = torch.compile(forward, fullgraph=True, dynamic=False)
    before = of_dynamo["stats"]["unique_graphs"]
    layer(x)
    if of_dynamo["stats"]["unique_graphs"] == before:
        raise RuntimeError(
            f"torch.compile captured no graph of {type(layer).__name__}: this would run eager code"
        )
