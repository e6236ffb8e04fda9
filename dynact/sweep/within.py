"""A network that keeps a budget: the sites that it gives up, and what it really takes then."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from typing import Any

from dynact.networks.giving_up import GivingUp, against, giving_up
from dynact.schema.cases import AnyCase, NetworkCase
from dynact.schema.digits import measured_ratio, ratio_with_interval
from dynact.schema.placement import sites_placement
from dynact.schema.rows import Measured
from dynact.schema.run_folder import WITHIN, RunFolder
from dynact.sweep.networks import layer_of
from dynact.timing import format_ns

# Of the sites that are given up, on a line of a terminal.
_MOST_SITES = 4

Rows = Callable[[AnyCase], Measured | None]


@dataclass(frozen=True)
class Advice:
    """What was advised for a network that is above the budget; it stays what it is in a run."""

    kept: NetworkCase | None
    """The network with fewer sites; None where not even one is foretold to fit."""
    given_up: tuple[int, ...]
    """The numbers of the others."""
    foretold: float
    """The overhead that it was foretold to have."""


class Within:
    """What a run's networks have to give up for a budget.

    Parameters
    ----------
    budget
        The most that a network may take, over its own time.
    sites
        Where each network case with placement ``all`` replaces activations: as in the column
        `sites` of its row.
    """

    def __init__(
        self,
        budget: float,
        run: RunFolder,
        sites: Mapping[NetworkCase, Sequence[Mapping[str, Any]]],
    ) -> None:
        self._budget = budget
        self._run = run
        self._sites = sites
        self._records = run.records(WITHIN)

    def follow(self, cases: Iterable[AnyCase], row_of: Rows) -> list[AnyCase]:
        """Return the networks to measure in addition, once all visits of some cases are made.

        What was advised before in this run is advised again: measured anew, another site might be
        the first to go, and the same question would be measured twice.
        """
        found = [self._advise(case, row_of) for case in self._asked(cases)]
        return [advice.kept for advice in found if advice and advice.kept]

    def known(self, cases: Iterable[AnyCase]) -> list[AnyCase]:
        """Return those of `follow` that this run was advised before."""
        found = map(self._stored, self._asked(cases))
        return [advice.kept for advice in found if advice and advice.kept]

    def lines(self, cases: Iterable[AnyCase], row_of: Rows) -> list[str]:
        """Return for each network what keeping the budget took, in a line or two."""
        return [line for case in self._asked(cases) for line in self._said(case, row_of)]

    def count(self, cases: Iterable[AnyCase]) -> int:
        """Return how many networks there may be in addition."""
        return len(self._asked(cases))

    def _asked(self, cases: Iterable[AnyCase]) -> list[NetworkCase]:
        return [case for case in cases if isinstance(case, NetworkCase) and case in self._sites]

    def _advise(self, case: NetworkCase, row_of: Rows) -> Advice | None:
        if stored := self._stored(case):
            return stored
        row = row_of(case)
        if row is None or row.overhead is None or row.overhead <= self._budget:
            return None
        curve = self._curve(case, row, row_of)
        if curve is None or not curve.order:
            return None
        given_up = curve.within(self._budget)
        fits = given_up is not None
        given_up = curve.order if given_up is None else given_up
        stay = [site["number"] for site in self._sites[case] if site["number"] not in given_up]
        self._records.append(
            {
                "case_id": case.id,
                "budget": self._budget,
                "placement": sites_placement(stay) if fits and stay else "",
                "given_up": list(given_up),
                "foretold": curve.overheads[len(given_up)],
            }
        )
        self._run.replace(WITHIN, self._records)
        return self._stored(case)

    def _stored(self, case: NetworkCase) -> Advice | None:
        for record in self._records:
            if (record["case_id"], record["budget"]) == (case.id, self._budget):
                placement = record["placement"]
                return Advice(
                    replace(case, placement=placement) if placement else None,
                    tuple(record["given_up"]),
                    record["foretold"],
                )
        return None

    def _curve(self, case: NetworkCase, row: Measured, row_of: Rows) -> GivingUp | None:
        if row.baseline_time_ns is None or row.overhead is None:
            return None
        extra_ns = {site["number"]: _extra_ns(case, site, row_of) for site in self._sites[case]}
        return giving_up(extra_ns, row.baseline_time_ns, row.overhead)

    def _said(self, case: NetworkCase, row_of: Rows) -> list[str]:
        row = row_of(case)
        if row is None or row.overhead is None:
            return []
        budget, count = f"{self._budget:g}×", len(self._sites[case])
        advice, whole = self._stored(case), _ratio(row)
        everywhere = f"at all of its {count} sites" if count > 1 else "at its one site"
        if advice is None:
            if row.overhead <= self._budget:
                is_told = row.overhead_hi is not None and row.overhead_hi <= self._budget
                fits = "fits" if is_told else "is not seen to be above"
                return [f"{case.id} {fits} {budget}: {whole} {everywhere}"]
            return [f"{case.id} is above {budget}, and no site of it was measured to cost anything"]
        if advice.kept is None:
            return [f"{case.id} cannot keep {budget} with even one of its sites: {whole} with all"]
        kept = row_of(advice.kept)
        if kept is None:
            took = "is to be measured"
        elif kept.overhead is None:
            took = f"failed ({kept.status})"
        else:
            took = f"takes {_ratio(kept)}{against(self._budget, *_figures(kept)[1:])}"
        foretold = measured_ratio(advice.foretold, nan, nan)
        lines = [
            f"{case.id} takes {whole}; for {budget} it keeps "
            f"{count - len(advice.given_up)} of {count} sites ({advice.kept.placement}) and {took}"
            f", foretold {foretold}",
            f"  given up, the most expensive first: {self._named(case, advice, row_of)}",
        ]
        unknown = [s for s in self._sites[case] if isnan(_extra_ns(case, s, row_of))]
        if unknown:
            without = "without a measured layer"
            lines.append(
                f"  {len(unknown)} sites {without} stay, whatever they cost"
                if len(unknown) > 1
                else f"  1 site {without} stays, whatever it costs"
            )
        return lines

    def _named(self, case: NetworkCase, advice: Advice, row_of: Rows) -> str:
        # By what is known now: later passes may have put them in another order.
        extra_ns = {
            f"{site['number']} {site['name']}": _extra_ns(case, site, row_of)
            for site in self._sites[case]
            if site["number"] in advice.given_up
        }
        dearest = sorted(extra_ns, key=lambda name: -extra_ns[name])[:_MOST_SITES]
        shown = [f"{name} (+{format_ns(extra_ns[name])})" for name in dearest]
        more = len(extra_ns) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")


def _extra_ns(case: NetworkCase, site: Mapping[str, Any], row_of: Rows) -> float:
    """Return what a site takes longer than the original there; NaN where it was not measured."""
    layer = layer_of(case, site)
    row = None if layer is None else row_of(layer)
    if row is None or row.overhead is None or row.baseline_time_ns is None:
        return nan
    return row.baseline_time_ns * (row.overhead - 1)


def _ratio(row: Measured) -> str:
    return ratio_with_interval(*_figures(row))


def _figures(row: Measured) -> tuple[float, float, float]:
    overhead, low, high = (
        nan if figure is None else figure
        for figure in (row.overhead, row.overhead_lo, row.overhead_hi)
    )
    return overhead, low, high
