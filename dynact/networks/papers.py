"""Where papers, or their official code, put an activation in a network."""

import re
from collections.abc import Callable

from torch import nn
from torchvision.models.resnet import Bottleneck
from torchvision.models.shufflenetv2 import ShuffleNetV2

from dynact.networks.sites import Site

_ALL = r""
_AFTER_3X3 = r"\blayer[1234]\.\d+\.relu#2$"

# By activation and placement: what the network is built of, and a pattern of its sites' names.
_SITES: dict[tuple[str, str], dict[type[nn.Module], str]] = {
    # arXiv 2007.11824: the published parameters and MACs are those of one FReLU a bottleneck,
    # after the 3×3, in stages 1 to 3. Its code has three a bottleneck in the same stages.
    ("frelu", "paper"): {Bottleneck: r"\blayer[123]\.\d+\.relu#2$"},
    ("frelu", "official"): {Bottleneck: r"\blayer[123]\.\d+\.relu#[123]$"},
    # Same paper and code, at every ReLU.
    ("frelu_light", "paper"): {ShuffleNetV2: _ALL},
    ("frelu_light", "official"): {ShuffleNetV2: _ALL},
    # arXiv 2009.04759, and its code.
    ("acon_c", "paper"): {Bottleneck: _AFTER_3X3, ShuffleNetV2: _ALL},
    ("acon_c", "official"): {Bottleneck: _AFTER_3X3, ShuffleNetV2: _ALL},
    ("meta_acon_c", "paper"): {Bottleneck: _AFTER_3X3, ShuffleNetV2: _ALL},
    ("meta_acon_c", "official"): {Bottleneck: _AFTER_3X3, ShuffleNetV2: _ALL},
    ("meta_acon_c_bn", "paper"): {Bottleneck: _AFTER_3X3, ShuffleNetV2: _ALL},
    ("meta_acon_c_bn", "official"): {Bottleneck: _AFTER_3X3, ShuffleNetV2: _ALL},
    # arXiv 2003.10027; no official code is known.
    ("dyrelu_a", "paper"): {nn.Module: _ALL},
    ("dyrelu_b", "paper"): {nn.Module: _ALL},
    ("dyrelu_c", "paper"): {nn.Module: _ALL},
}


class PlacementError(ValueError):
    """Neither a paper nor its code has the activation in such a network."""


def placement(activation: str, where: str, model: nn.Module) -> Callable[[Site], bool]:
    """Return whether a site is one where the paper, or its code, has the activation.

    ====================== ============================== ========================= ==============
    activation             ResNet with bottlenecks        ShuffleNetV2              other networks
    ====================== ============================== ========================= ==============
    frelu                  after the 3×3, stages 1–3      none                      none
    frelu, "official"      all three, stages 1–3          none                      none
    frelu_light            none                           all                       none
    acon_c, meta_acon_c    after the 3×3                  all                       none
    meta_acon_c_bn         after the 3×3                  all                       none
    dyrelu_a/b/c           all                            all                       all
    ====================== ============================== ========================= ==============

    Parameters
    ----------
    activation
        A name of the registry.
    where
        "paper" or "official", the code published with it.
    model
        The network; torchvision's, or one with its blocks as backbone.

    Raises
    ------
    PlacementError
        If the activation has no such placement in this network.
    """
    by_network = _SITES.get((activation, where), {})
    blocks = {base for module in model.modules() for base in type(module).__mro__}
    for block, pattern in by_network.items():
        if block in blocks:
            return lambda site: re.search(pattern, site.name) is not None
    known = ", ".join(block.__name__ for block in by_network) or "no network"
    raise PlacementError(
        f"no {where!r} placement of {activation!r} is known for this network, only for: {known}; "
        "name other activations, or placement all"
    )
