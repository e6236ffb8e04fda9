"""What a row says of a network's site, and the layer that is measured for it."""

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

from dynact.schema.cases import NetworkCase, SiteCase


class LayerAt(NamedTuple):
    """The fields of a `SiteCase` that a site decides, in their order there."""

    memory_format: str
    batch: int
    channels: int
    height: int
    width: int


def layer_at(site: Mapping[str, Any], batch: int) -> LayerAt:
    """Return the maps with as many elements as a site's input, which lie in memory as it does.

    Tokens (N, L, C) are maps of L × 1, clips (N, C, T, H, W) of (T·H) × W: to a layer that treats
    the elements of a channel alike that is the same. Where channels are not known all are one:
    only what treats all elements alike is placed there.

    Parameters
    ----------
    site
        One in a row's column `sites`, of whichever version.
    batch
        The network's. That of the layer is 0 where it is not known.
    """
    *rest, width = positions_of(site) or (1,)
    # Where there is but one dimension it is the height.
    height, width = (prod(rest), width) if rest else (width, 1)
    # Versions before knew none of these.
    samples = site.get("samples", 1 if site["channels"] else 0)
    return LayerAt(
        site.get("memory_format", "contiguous"),
        samples * batch if site.get("grows", True) else samples,
        site["channels"] or 1,
        height,
        width,
    )


def positions_of(site: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the sizes of a site's dimensions beside those of samples and channels."""
    if "positions" in site:
        return tuple(site["positions"])
    return (site["height"], site["width"]) if site["height"] else ()


def site_case(case: NetworkCase, site: Mapping[str, Any], baseline: str) -> SiteCase:
    """Return the layer that is measured for a site of a network's case."""
    return SiteCase(
        case.activation, case.impl, case.phase, "eager", case.dtype, *layer_at(site, case.batch),
        case.device, baseline,
    )  # fmt: skip
