"""What single layers foretell of a whole network, and what the network really took."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dynact.report.data.names import positions
from dynact.report.data.omissions import complete
from dynact.schema.sites import LayerAt, layer_at, positions_of

# What the rest can be made of, in words for a reader.
REST = (
    "The rest is what the network took beyond (+) or below (−) the sum of its sites, each measured "
    "alone. It can be more: an activation that worked in place in the network no longer does, "
    "larger working data leaves the next layer less of its input in a cache, launches add up where "
    "the device waits for the host. It can be less: launches hide behind work that is queued "
    "already, work of neighbours overlaps, a layer finds in a cache what its neighbour has just "
    "written. Its size is measured, which of these made it is not."
)

_MEASURED = ("time_ns", "baseline_time_ns", "overhead")
_ENDS = {"overhead_lo": float, "overhead_hi": float}
_RATIOS = {"": "overhead", "_lo": "overhead_lo", "_hi": "overhead_hi"}
_SITE_KEY = ("activation", "phase", "dtype", "device", "baseline", *LayerAt._fields)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Extra times against the original network, by site and as a whole, in nanoseconds."""

    parts: pd.DataFrame
    """A line for each replaced site of each network row, in order of depth: ``case_id``, ``site``
    (its number, from 1), the columns of `sites_frame`, ``baseline_time_ns``, ``extra_ns``,
    ``extra_lo_ns``, ``extra_hi_ns`` (NaN where no layer of that shape was measured)."""

    totals: pd.DataFrame
    """The ok network rows, with ``predicted``, ``measured`` and ``rest`` (each ``_ns``,
    ``_lo_ns``, ``_hi_ns``), ``site_count`` and ``unmeasured``: the sites without a measured layer,
    ``", "`` between them. The sum leaves these out; it is NaN where it would have no part. So do
    ``original_share``, of the original's time that of the activations that are replaced, and
    ``share``, of the new network's time that of the new ones."""


def predict(networks: pd.DataFrame, sites: pd.DataFrame) -> Prediction:
    """Add up what the sites of each network cost alone, and hold it against the network's own.

    An extra time is the original's time × (paired ratio − 1), of a site as of the network. Its
    range comes from the ratio's 95 % interval; a sum's range adds all lower and all upper ends, as
    if all erred to the same side, and so does the rest's: both are wider than 95 %. Where a ratio
    has no interval, neither its extra time nor a sum with it has a range.

    Parameters
    ----------
    networks
        Network rows, any status.
    sites
        Layer rows; one serves all sites of its shape and memory format. Of several the last ok
        one counts.
    """
    ok = complete(networks, _MEASURED).astype(_ENDS)
    parts = _parts(ok, sites)
    totals = ok.assign(**_extra_ns(ok, "measured"))
    by_row = parts.groupby("case_id")
    count = ok["case_id"].map(by_row.size()).fillna(0).astype(int)
    for end in _RATIOS:
        extra = by_row[f"extra{end}_ns"]
        # Without a site the sum is 0; with sites of which none was measured it is not known.
        sums = extra.sum(min_count=1).where(extra.count() == by_row["extra_ns"].count())
        total = ok["case_id"].map(sums)
        totals[f"predicted{end}_ns"] = total.where(count > 0, 0.0)
    alone_ns = ok["case_id"].map(by_row["baseline_time_ns"].sum(min_count=1))
    totals["original_share"] = alone_ns / ok["baseline_time_ns"]
    new_ns = ok["baseline_time_ns"] * ok["overhead"]
    totals["share"] = (alone_ns + totals["predicted_ns"]) / new_ns
    for end, other in (("", ""), ("_lo", "_hi"), ("_hi", "_lo")):
        totals[f"rest{end}_ns"] = totals[f"measured{end}_ns"] - totals[f"predicted{other}_ns"]
    unknown = parts[parts["extra_ns"].isna()].groupby("case_id")["name"].agg(", ".join)
    return Prediction(
        parts,
        totals.assign(site_count=count, unmeasured=[unknown.get(i, "") for i in ok["case_id"]]),
    )


def lacking_range_note(totals: pd.DataFrame) -> str:
    """Return why sums and rests have no range, empty where all of them have one."""
    lacking = totals["rest_ns"].notna() & totals["rest_lo_ns"].isna()
    said = "A sum or rest without a range is of cases of which some have been visited once."
    return said if lacking.any() else ""


def sites_frame(cell: Any, batch: int = 1) -> pd.DataFrame:
    """Return the sites in a row's ``sites``, one line each, in its order; none where it has none.

    Columns: ``name``, ``baseline`` (what is replaced), ``positions`` as a reader has them, and of
    the layer that is measured for it ``memory_format``, ``batch``, ``channels``, ``height`` and
    ``width``, see `layer_at`.

    Parameters
    ----------
    cell
        The row's ``sites``.
    batch
        The row's.
    """
    sites = [
        (site["name"], site["original"], positions(positions_of(site)), *layer_at(site, batch))
        for site in (cell if isinstance(cell, list) else [])
    ]
    return pd.DataFrame(sites, columns=["name", "baseline", "positions", *LayerAt._fields])


def _parts(networks: pd.DataFrame, sites: pd.DataFrame) -> pd.DataFrame:
    listings = [sites_frame(None).assign(site=0, case_id="")]
    for case_id, cell, batch in networks[["case_id", "sites", "batch"]].itertuples(index=False):
        listing = sites_frame(cell, batch)
        listings.append(listing.assign(site=np.arange(1, len(listing) + 1), case_id=case_id))
    shared = ["case_id", "activation", "phase", "dtype", "device"]
    places = pd.concat([listing for listing in listings if len(listing)] or listings[:1])
    places = places.merge(networks[shared], on="case_id", how="left")
    measured = (
        complete(sites, _MEASURED).astype(_ENDS).drop_duplicates(list(_SITE_KEY), keep="last")
    )
    extra = _extra_ns(measured, "extra")
    known = measured[[*_SITE_KEY, "baseline_time_ns"]].assign(**extra)
    costs = known.set_index(list(_SITE_KEY))
    found = costs.reindex(pd.MultiIndex.from_frame(places[list(_SITE_KEY)]))
    columns = ["case_id", "site", *sites_frame(None)]
    names = ("baseline_time_ns", *extra)
    return places[columns].assign(**{name: found[name].to_numpy() for name in names})


def _extra_ns(rows: pd.DataFrame, name: str) -> "dict[str, pd.Series[float]]":
    return {
        f"{name}{end}_ns": rows["baseline_time_ns"] * (rows[ratio] - 1)
        for end, ratio in _RATIOS.items()
    }
