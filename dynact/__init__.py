"""What a vision activation layer really costs."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynact.activations import create
    from dynact.networks import swap_activations
    from dynact.report.run import load
    from dynact.timing import compare
    from dynact.worker.own_network import measure_network

__all__ = ["compare", "create", "load", "measure_network", "swap_activations"]

_HOMES = {
    "compare": "dynact.timing",
    "create": "dynact.activations",
    "load": "dynact.report.run",
    "measure_network": "dynact.worker.own_network",
    "swap_activations": "dynact.networks",
}


# Looked up when asked for: the parent of a worker, which imports dynact, needs no torch.
def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
