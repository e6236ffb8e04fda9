"""What a network would take with an activation at fewer of its sites, and what it took there."""

from dataclasses import dataclass
from itertools import takewhile

import pandas as pd

from dynact.networks.giving_up import GivingUp, giving_up
from dynact.report.run import Run

# What is foretold, in words for a reader.
FORETOLD = (
    "What a network takes with fewer sites is foretold from what each site adds when its layer is "
    "measured alone: the most expensive goes first, and the rest of the network's own extra time "
    "is shared out in proportion, as nothing measured tells whose it is. Sites that add nothing "
    "stay, and so do those without a measured layer, with all of a rest that may be theirs."
)


@dataclass(frozen=True, eq=False)
class FewerSites:
    """A network row with an activation at all sites, and what comes of giving some up."""

    subject: str
    variant: str
    phase: str
    sites: pd.DataFrame
    """A line a site: ``number`` among all calls of the network (NaN in older runs), ``name``,
    ``extra_ns``; its index counts from 1, in order of depth."""
    giving_up: GivingUp
    """By the index of `sites`."""
    measured: pd.DataFrame
    """Every measured row of this network, activation and phase: ``kept`` sites, ``overhead``,
    ``overhead_lo``, ``overhead_hi``, ``mark``, ``placement``; that with all sites first."""
    budgets: dict[float, str]
    """What the network was asked to keep, and where it has the activation then (``sites:1-3``);
    empty where it was foretold not to fit anywhere."""

    @property
    def halved(self) -> int | None:
        """How many sites have to go for half of the extra time; None where none is foretold."""
        overheads = self.giving_up.overheads
        half = 1 + (overheads[0] - 1) / 2
        given = len(list(takewhile(lambda overhead: overhead > half, overheads)))
        return given if overheads[0] > 1 and given < len(overheads) else None

    def foretold(self, given_up: int) -> float:
        """Return the overhead without so many sites."""
        return self.giving_up.overheads[given_up]


def fewer_sites(run: Run) -> list[FewerSites]:
    """Return each ok network row with an activation everywhere, in the rows' order."""
    prediction = run.prediction
    labels = run.labelled_networks[["subject", "variant", "mark"]]
    totals = prediction.totals.join(labels).dropna(subset="subject")
    keys = ["subject", "activation", "replaced", "phase"]
    found = []
    for row in totals[totals["placement"] == "all"].to_dict("records"):
        alike = totals[(totals[keys] == [row[key] for key in keys]).all(axis="columns")]
        parts = prediction.parts[prediction.parts["case_id"] == row["case_id"]]
        sites = parts.set_index("site")[["name", "extra_ns"]]
        numbers = [site.get("number") for site in row["sites"] or []]
        measured = alike.sort_values("site_count", ascending=False, kind="stable")
        columns = ["kept", "overhead", "overhead_lo", "overhead_hi", "mark", "placement"]
        found.append(
            FewerSites(
                row["subject"],
                row["variant"],
                row["phase"],
                sites.assign(number=pd.Series(numbers, sites.index, dtype=float)),
                giving_up(sites["extra_ns"].to_dict(), row["baseline_time_ns"], row["overhead"]),
                measured.rename(columns={"site_count": "kept"})[columns],
                {
                    record["budget"]: record["placement"]
                    for record in run.within
                    if record["case_id"] == row["case_id"]
                },
            )
        )
    return found
