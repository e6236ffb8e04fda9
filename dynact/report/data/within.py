"""What it took networks to keep a budget, and which sites were given up for it."""

from math import nan
from typing import Any

import pandas as pd

from dynact.networks.giving_up import against
from dynact.report.data.fewer_sites import FewerSites, fewer_sites
from dynact.report.data.network_frames import extra_with_range
from dynact.report.run import Run
from dynact.schema.cases import NETWORK_FIELDS
from dynact.schema.digits import ratio_with_interval
from dynact.schema.placement import SITES, numbers_placed

# Sites that are named.
_MOST_SITES = 4
_NOT_SELECTED = "not selected"


def budget_sentences(run: Run) -> dict[str, list[str]]:
    """Return by subject what each of its activations keeps for each budget, and what that takes."""
    budgets = sorted({record["budget"] for record in run.within})
    said: dict[str, list[str]] = {}
    for curve in fewer_sites(run) if budgets else []:
        lines = (_said(curve, budget) for budget in budgets)
        said.setdefault(curve.subject, []).extend(filter(None, lines))
    return said


def _said(curve: FewerSites, budget: float) -> str:
    whole, count = curve.measured.iloc[0], len(curve.sites)
    within = f"{budget:g}×"
    everywhere = f"at all of its {count} sites" if count > 1 else "at its one site"
    takes = f"{curve.variant} takes {_ratio(whole)} in {curve.phase}, {everywhere}"
    if budget not in curve.budgets:
        if whole["overhead"] > budget:
            return ""
        fits = "within" if whole["overhead_hi"] <= budget else "not seen to be above"
        return f"{takes}, {fits} {within}."
    placement = curve.budgets[budget]
    if not placement:
        return f"{takes}, and cannot keep {within} with even one."
    stay = numbers_placed(placement)
    numbers = placement.removeprefix(SITES).replace("+", ", ").replace("-", "–")
    keeps = f"{takes}; for {within} it keeps {len(stay)} of them ({numbers})"
    gone = curve.sites[~curve.sites["number"].isin(stay)].sort_values(
        "extra_ns", ascending=False, kind="stable"
    )
    named = ", ".join(
        f"{site['number']:.0f} {site['name']} ({extra_with_range(site['extra_ns'], nan, nan)})"
        for site in gone.head(_MOST_SITES).to_dict("records")
    )
    more = f" and {len(gone) - _MOST_SITES} more" if len(gone) > _MOST_SITES else ""
    given_up = f"Given up, the most expensive first: {named}{more}."
    fewer = curve.measured[curve.measured["placement"] == placement]
    if fewer.empty:
        return f"{keeps}, of which there is no time. {given_up}"
    row = fewer.iloc[0]
    verdict = against(budget, row["overhead_lo"], row["overhead_hi"])
    return f"{keeps} and takes {_ratio(row)}{verdict}. {given_up}"


def _ratio(row: "pd.Series[Any]") -> str:
    figures = row[["overhead", "overhead_lo", "overhead_hi"]].astype(float)
    return f"{ratio_with_interval(*figures)} {row['mark']}".rstrip()


def with_given_up(networks: pd.DataFrame, within: list[dict[str, Any]]) -> pd.DataFrame:
    """Return network rows in which sites that were given up for a budget say so in ``kept_sites``.

    Parameters
    ----------
    networks
        As `Run.networks`.
    within
        As `Run.within`.
    """
    fields = [field for field in NETWORK_FIELDS if field != "placement"]
    keys = [tuple(key) for key in networks[fields].itertuples(index=False)]
    key_of = dict(zip(networks["case_id"], keys, strict=True))
    advised = {
        (key_of.get(record["case_id"]), record["placement"]): record
        for record in reversed(within)
        if record["placement"]
    }
    records = (
        advised.get((key, placement))
        for key, placement in zip(keys, networks["placement"], strict=True)
    )
    kept = [
        _given_up(cell, record) if record and isinstance(cell, list) else cell
        for cell, record in zip(networks["kept_sites"], records, strict=True)
    ]
    return networks.assign(kept_sites=pd.Series(kept, networks.index, dtype=object))


def _given_up(kept: list[dict[str, Any]], record: dict[str, Any]) -> list[dict[str, Any]]:
    reason = f"given up for the budget of {record['budget']:g}×"
    return [
        site | {"reason": reason}
        if site["reason"] == _NOT_SELECTED and site.get("number") in record["given_up"]
        else site
        for site in kept
    ]
