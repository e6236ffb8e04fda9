"""Networks, the sites of their activations, and another activation in their place.

What needs torch is imported when it is asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynact.networks.architectures import Architecture, architecture, create, example_input
    from dynact.networks.architectures import names as names
    from dynact.networks.loss import training_loss
    from dynact.networks.papers import PlacementError
    from dynact.networks.shapes import shapes_in
    from dynact.networks.sites import GATE, Site, find_sites
    from dynact.networks.swap import Swap, swap_activations

__all__ = [
    "GATE",
    "Architecture",
    "PlacementError",
    "Site",
    "Swap",
    "architecture",
    "create",
    "example_input",
    "find_sites",
    "names",
    "shapes_in",
    "swap_activations",
    "training_loss",
]

_HOMES = {
    **dict.fromkeys(
        ("Architecture", "architecture", "create", "example_input", "names"), "architectures"
    ),
    **dict.fromkeys(("GATE", "Site", "find_sites"), "sites"),
    **dict.fromkeys(("Swap", "swap_activations"), "swap"),
    "PlacementError": "papers",
    "shapes_in": "shapes",
    "training_loss": "loss",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
