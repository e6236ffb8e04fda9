"""Which sites of a network kept their activation, and why."""

import re

import pandas as pd

from dynact.report.data.names import display_name
from dynact.report.data.prediction import parse_sites

_MOST_NAMES = 3
_MOST_REASONS = 3

# A reason is a library's message and may hold the separator itself.
_BETWEEN = re.compile(r"; (?=\S+=\w+:\d)")


def kept_sites_notes(networks: pd.DataFrame) -> list[str]:
    """Return a line for all activations that keep the same sites for the same reasons.

    Parameters
    ----------
    networks
        The rows of one network as `network_frames.labelled` gives them, any status.
    """
    rows = networks[networks["status"] == "ok"].drop_duplicates("variant")
    rows = rows[["variant", "sites", "kept_sites"]].astype(object).fillna("")
    by_text: dict[str, list[str]] = {}
    for row in rows.to_dict("records"):
        kept = parse_kept_sites(row["kept_sites"])
        if len(kept):
            count = len(kept) + len(parse_sites(row["sites"]))
            by_text.setdefault(_reasons(kept, count), []).append(row["variant"])
    return [f"{', '.join(variants)}: {text}." for text, variants in by_text.items()]


def parse_kept_sites(listing: str) -> pd.DataFrame:
    """Return a ``name=original:shape – reason; …`` listing, one line a site, in its order.

    Columns: those of `parse_sites`, and ``reason``, empty in older rows, which hold none.
    """
    parts = []
    for entry in _BETWEEN.split(listing):
        sites, _, reason = entry.partition(" – ")
        parts.append(parse_sites(sites).assign(reason=reason))
    return pd.concat(parts, ignore_index=True)


def _reasons(kept: pd.DataFrame, count: int) -> str:
    groups: dict[tuple[str, str], list[str]] = {}
    for site in kept.to_dict("records"):
        groups.setdefault((site["reason"], site["baseline"]), []).append(site["name"])
    largest_first = sorted(groups.items(), key=lambda group: -len(group[1]))
    texts = []
    for (reason, baseline), names in largest_first[:_MOST_REASONS]:
        why = f": {reason}" if reason else ""
        keep = "keeps" if len(names) == 1 else "keep"
        texts.append(
            f"{len(names)} of {count} sites {keep} {display_name(baseline)}{why} ({_shown(names)})"
        )
    if others := largest_first[_MOST_REASONS:]:
        more = sum(len(names) for _, names in others)
        texts.append(f"{more} more, for other reasons")
    return "; ".join(texts)


def _shown(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
