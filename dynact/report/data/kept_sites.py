"""Which sites of a network kept their activation, and why."""

from typing import Any

import pandas as pd

from dynact.report.data.names import display_name

_MOST_NAMES = 3
_MOST_REASONS = 3


def kept_sites_notes(networks: pd.DataFrame) -> list[str]:
    """Return a line for all activations that keep the same sites for the same reasons.

    Parameters
    ----------
    networks
        The rows of one network as `network_frames.labelled` gives them, any status.
    """
    rows = networks[networks["status"] == "ok"].drop_duplicates("variant")
    by_text: dict[str, list[str]] = {}
    for row in rows.dropna(subset=["sites", "kept_sites"]).to_dict("records"):
        if kept := row["kept_sites"]:
            text = _reasons(kept, len(kept) + len(row["sites"]))
            by_text.setdefault(text, []).append(row["variant"])
    return [f"{', '.join(variants)}: {text}." for text, variants in by_text.items()]


def _reasons(kept: list[dict[str, Any]], count: int) -> str:
    groups: dict[tuple[str, str], list[str]] = {}
    for site in kept:
        groups.setdefault((site["reason"], site["original"]), []).append(site["name"])
    largest_first = sorted(groups.items(), key=lambda group: -len(group[1]))
    texts = []
    for (reason, original), names in largest_first[:_MOST_REASONS]:
        why = f": {reason}" if reason else ""
        keep = "keeps" if len(names) == 1 else "keep"
        texts.append(
            f"{len(names)} of {count} sites {keep} {display_name(original)}{why} ({_shown(names)})"
        )
    if others := largest_first[_MOST_REASONS:]:
        more = sum(len(names) for _, names in others)
        texts.append(f"{more} more, for other reasons")
    return "; ".join(texts)


def _shown(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
