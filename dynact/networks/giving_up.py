"""Which sites of a network to give up first, where a new activation costs too much at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import isnan


@dataclass(frozen=True)
class GivingUp:
    """What a network with a new activation is foretold to take with fewer and fewer sites."""

    order: tuple[int, ...]
    """The sites that cost something, the one to give up first in front."""
    overheads: tuple[float, ...]
    """Over the original network: with all sites, without the first of `order`, the first two, …"""
    unmeasured: tuple[int, ...]
    """The sites of which nothing says what they cost: they stay."""

    def within(self, budget: float) -> tuple[int, ...] | None:
        """Return the fewest sites to give up for an overhead of at most ``budget``.

        None where it is foretold to be above even without all of `order`.
        """
        fits = (given for given, ratio in enumerate(self.overheads) if ratio <= budget)
        given = next(fits, None)
        return None if given is None else self.order[:given]


def giving_up(extra_ns: Mapping[int, float], original_ns: float, overhead: float) -> GivingUp:
    """Return in which order to give sites up, and what the network is foretold to take then.

    The most expensive site goes first, the earlier of equal ones: of all sets of so many sites,
    those that stay are the cheapest, and of all that keep a budget theirs is the largest. What
    costs nothing, or gains, is never given up.

    What the whole network took is not the sum over its sites: see `report.data.prediction.REST`.
    With P the sum of what costs, G that of what gains and M the network's own extra time, each
    site that costs is taken to cost (M − G) / P times what it was measured at alone: the rest is
    shared out in proportion, and what is foretold ends where it was measured, at all sites, and
    with none at the original. That is right where the rest is made where the time is, as by
    caches, launches that overlap, or a slower machine; a rest that one site alone makes is not
    told so. Where a site has no layer that was measured, a positive rest may be all its own: it is
    not shared out but stays with it.

    Parameters
    ----------
    extra_ns
        By the site's number, what it takes longer than the original's, in ns; NaN where that was
        not measured.
    original_ns
        The original network's time.
    overhead
        The new network's time over the original's, with all sites.
    """
    known = {site: extra for site, extra in extra_ns.items() if not isnan(extra)}
    costs = {site: extra for site, extra in known.items() if extra > 0}
    order = sorted(costs, key=lambda site: (-costs[site], site))
    cost, measured = sum(costs.values()), original_ns * (overhead - 1)
    gain = sum(known.values()) - cost
    share = max((measured - gain) / cost, 0.0) if cost else 0.0
    if len(known) < len(extra_ns):
        share = min(share, 1.0)
    spared = accumulate((share * costs[site] for site in order), initial=0.0)
    return GivingUp(
        tuple(order),
        tuple(overhead - saved / original_ns for saved in spared),
        tuple(site for site in extra_ns if site not in known),
    )


def against(budget: float, low: float, high: float) -> str:
    """Say of a measured overhead that it is above a budget, as far as its interval tells.

    Empty where it is not; NaN for an interval that there is not.
    """
    if low > budget:
        return " and is above it"
    return "" if high <= budget else ", which does not tell whether it keeps it"
