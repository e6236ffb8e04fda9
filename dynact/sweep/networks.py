"""Which networks to measure, and which layers explain what is found."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dynact.activations import names as activation_names
from dynact.activations import obstacle_in_networks
from dynact.networks.architectures import architecture
from dynact.schema.cases import NetworkCase, SiteCase
from dynact.schema.sites import layer_at, site_case
from dynact.sweep.presets import Grid, NetworkGrid

# Channels, height and width; of a fully connected site (channels, 1, 1).
Shape = tuple[int, int, int]
# Answers where a network case replaces activations: as in the column `sites` of a row.
Sites = Callable[[NetworkCase], list[dict[str, Any]]]
# Answers how often a network calls an activation at each shape, given an image size and a sample.
ShapesIn = Callable[[str, int, str], Mapping[Shape, int]]


@dataclass(frozen=True)
class NetworkPlan:
    """The network cases of a sweep."""

    cases: tuple[NetworkCase, ...] = ()
    sites: tuple[SiteCase, ...] = ()
    """Each new activation against the one it replaces, at each shape at which it does."""
    left_out: tuple[str, ...] = ()
    """A line for each activation that has no place, or no such placement, in a network; and for
    each phase in which a network fails as it is."""
    everywhere: Mapping[NetworkCase, list[dict[str, Any]]] = field(default_factory=dict)
    """Of each case with placement ``all`` the sites, as in the column `sites` of its row."""


def plan_networks(
    grid: NetworkGrid,
    device: str,
    sites: Sites,
    failed: Mapping[tuple[str, str], str] | None = None,
) -> NetworkPlan:
    """Return the cases of a grid, and a layer case for each shape at which they replace one.

    Parameters
    ----------
    failed
        By network and phase why it does not run as it is.

    Raises
    ------
    ValueError
        If a network is unknown, or nothing is left: what the first was left out for.
    """

    @functools.cache
    def known(case: NetworkCase) -> list[dict[str, Any]] | ValueError:
        try:
            return sites(case)
        except ValueError as error:
            return error

    placed: list[NetworkCase] = []
    layers: dict[SiteCase, None] = {}
    without_place: dict[str, None] = {}
    # The line that says so, and why.
    left_out: dict[str, str] = {}
    everywhere: dict[NetworkCase, list[dict[str, Any]]] = {}
    for case in grid.cases(device):
        if reason := (failed or {}).get((case.network, case.phase)):
            left_out[f"{reason}; {case.phase} is left out"] = reason
            continue
        if obstacle := obstacle_in_networks(case.activation):
            without_place[f"{case.network}, {case.activation}: {obstacle}"] = None
            continue
        # The same whatever the phase; the user's own may run in its own dtype and batch alone.
        like = replace(case, phase="inference")
        if not architecture(case.network).is_own:
            like = replace(like, dtype="float32", batch=1)
        there = known(like)
        if isinstance(there, ValueError):
            line = _named(case, there)
            left_out[line] = line
        else:
            placed.append(case)
            if case.placement == "all":
                everywhere[case] = there
            at_sites = (layer_of(case, site) for site in there)
            layers |= dict.fromkeys(layer for layer in at_sites if layer)
    if left_out and not placed:
        raise ValueError(next(iter(left_out.values())))
    return NetworkPlan(tuple(placed), tuple(layers), (*without_place, *left_out), everywhere)


def _named(case: NetworkCase, error: ValueError) -> str:
    if case.placement == "all" and case.replaced:
        return f"--replace: {case.network}: {error}"
    return f"{case.network}, {case.activation}: {error}"


def own_networks(grid: NetworkGrid, device: str) -> list[NetworkCase]:
    """Return a case of each network of the user's own and phase, to be tried before the sweep."""
    found: dict[tuple[str, str], NetworkCase] = {}
    for case in grid.cases(device):
        if architecture(case.network).is_own:
            found.setdefault((case.network, case.phase), case)
    return list(found.values())


def shapes_of(
    networks: Iterable[str], image_size: int, shapes_in: ShapesIn, own_sample: str = ""
) -> Counter[Shape]:
    """Return at which shapes activations occur in some networks, and how often.

    Raises
    ------
    ValueError
        If a network is unknown, cannot take images of that size, or has no maps.
    """
    found: Counter[Shape] = Counter()
    for network in networks:
        declared = architecture(network)
        size = declared.size_for(image_size)
        shapes = shapes_in(network, size, own_sample if declared.is_own else "")
        if not shapes:
            raise ValueError(f"{network} calls no activation on maps (N, C, H, W)")
        found.update(shapes)
    return found


def at_shapes(grid: Grid, shapes: Iterable[Shape]) -> tuple[Grid, ...]:
    """Return the grid at exactly these shapes in place of its own."""
    return tuple(
        replace(grid, channels=(channels,), resolutions=((height, width),))
        for channels, height, width in shapes
    )


def layer_of(case: NetworkCase, site: Mapping[str, Any]) -> SiteCase | None:
    """Return the layer that is measured for a site that a network case replaces.

    None where its size is unknown, or the original is no activation that there is by itself.
    """
    if layer_at(site, 1).batch == 0 or site["original"] not in activation_names():
        return None
    return site_case(case, site, site["original"])
