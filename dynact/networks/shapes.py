"""The shapes at which activations occur in a network."""

from collections import Counter

import torch

from dynact.networks import architectures
from dynact.networks.sites import GATE, find_sites


def shapes_in(name: str, image_size: int | None = None) -> dict[tuple[int, int, int], int]:
    """Return how often an activation is called at each shape in one forward pass of a network.

    Parameters
    ----------
    name
        A network's name.
    image_size
        Height and width of the image in pixels, by default the network's own.

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
    image = architectures.example_input(name, image_size=image_size)
    # There a pass takes no time.
    with torch.device("meta"):
        sites = find_sites(architectures.create(name), image.to("meta"))
    return dict(
        Counter(
            (site.channels, site.height, site.width)
            for site in sites
            if site.obstacle != GATE and site.height is not None and site.width is not None
        )
    )
