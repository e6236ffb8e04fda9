"""The shapes at which activations occur in a network."""

from collections import Counter
from contextlib import suppress

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from dynact.networks import architectures
from dynact.networks.sites import GATE, find_sites


def shapes_in(
    name: str, image_size: int | None = None, sample: str = ""
) -> dict[tuple[int, int, int], int]:
    """Return how often an activation is called at each shape in one forward pass of a network.

    Parameters
    ----------
    name
        A network's name, or a network of the user's own.
    image_size
        Height and width of the image in pixels, by default the network's own.
    sample
        In place of them, as of `architectures.example_input`.

    Returns
    -------
    dict
        Calls by (channels, height, width), in the order of the pass. Gates and the inputs of
        fully connected layers, which have no height and width, are not among them.

    Raises
    ------
    ValueError
        If there is no such network, or it cannot take such an image.
    """
    example = architectures.example_input(name, image_size=image_size, sample=sample)
    sites = None
    # The user's own may keep, outside of itself, what it makes of tensors without values.
    if not architectures.architecture(name).is_own:
        # RegNet computes its widths by tensors.
        with suppress(NotImplementedError, ValueError), torch.device("meta"):
            # There neither weights nor a pass take time.
            sites = find_sites(
                architectures.create(name), tree_map_only(Tensor, lambda x: x.to("meta"), example)
            )
    if sites is None:
        sites = find_sites(architectures.create(name), example)
    return dict(
        Counter(
            (site.channels, site.height, site.width)
            for site in sites
            if site.obstacle != GATE and site.height is not None and site.width is not None
        )
    )
