"""Host networks, the sites of their activations, and another activation in their place."""

from dynact.networks.architectures import Host, create, example_input, host, names
from dynact.networks.loss import training_loss
from dynact.networks.papers import PlacementError
from dynact.networks.shapes import shapes_in
from dynact.networks.sites import GATE, Site, find_sites
from dynact.networks.swap import Swap, swap_activations

__all__ = [
    "GATE",
    "Host",
    "PlacementError",
    "Site",
    "Swap",
    "create",
    "example_input",
    "find_sites",
    "host",
    "names",
    "shapes_in",
    "swap_activations",
    "training_loss",
]
