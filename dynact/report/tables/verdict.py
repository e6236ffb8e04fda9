"""What the known pairs of a run say of its ratios, for the page and the summary alike."""

from dataclasses import dataclass
from typing import Any

from dynact.report.data.trust import not_trustworthy, percent, told
from dynact.report.tables.table import Table
from dynact.schema.digits import NO_FIGURE, ratio_with_interval
from dynact.schema.prefix import with_prefix


@dataclass(frozen=True)
class Verdict:
    """Whether to trust a run's ratios, and the figures that say so."""

    kind: str
    """``passed``, ``failed`` or ``unknown``."""
    headline: str
    text: str
    messages: list[str]
    """Why a session's ratios are not to be trusted."""
    tables: list[Table]


def verdict(gates: list[dict[str, Any]]) -> Verdict:
    """Return what the known pairs of all sessions say, also those of versions before."""
    new = [gate for gate in gates if "groups" in gate]
    former = [gate for gate in gates if "groups" not in gate]
    tables = [table for table in (_groups(new), _former(former)) if table.lines]
    if not_trustworthy(gates):
        text = (
            "Known ratios were not found on this device at this time. Read every figure below with "
            f"that in mind, or sweep again. {_found(new) if new else ''}"
        ).rstrip()
        return Verdict(
            "failed",
            "⚠ RATIOS NOT TRUSTWORTHY HERE AND NOW.",
            text,
            [g["message"] for g in gates if not g["trustworthy"] and g["message"]],
            tables,
        )
    headline = told(gates, " here")
    if headline:
        return Verdict("passed", headline, _found(new), [], tables)
    if former and not new:
        text = "A version before measured this run: it states no resolution."
        return Verdict("passed", "Known ratios were found.", text, [], tables)
    why = (
        "; ".join(["The known pairs have been visited too few times to tell", *_cold(new)]) + "."
        if new
        else "Nothing was checked against a known ratio."
    )
    return Verdict("unknown", "Resolution: not known.", why, [], tables)


def _found(gates: list[dict[str, Any]]) -> str:
    """Return how often the known pairs were read wrongly and rightly."""
    pairs, alarms = (sum(gate[name] for gate in gates) for name in ("self_pairs", "false_alarms"))
    seen: dict[float, list[bool]] = {}
    for gate in gates:
        for detection in gate["detections"]:
            seen.setdefault(detection["more"], []).append(detection["seen"])
    known = [
        f"more work by {percent(more)} was seen in {sum(times)} of {len(times)} places"
        for more, times in sorted(seen.items())
    ]
    false = f"ReLU against itself read as a difference in {alarms} of {pairs} places"
    return f"{'; '.join([false, *known, *_cold(gates)])}."


def _cold(gates: list[dict[str, Any]]) -> list[str]:
    """Return what the latest session says of the caches, if it emptied them."""
    said = [gate["coldness"]["message"] for gate in gates if gate.get("coldness")]
    return said[-1:]


def _groups(gates: list[dict[str, Any]]) -> Table:
    several = len(gates) > 1
    header = ["size", "input", "phase", "visits", "differences from", "ReLU / itself"]
    header.append("known differences, as read")
    lines = [
        [
            group["size"],
            with_prefix(group["input_bytes"], "B"),
            group["phase"],
            str(group["visits"]),
            percent(group["resolution"]),
            _ratio(group, "self_overhead"),
            _detected(gate, group),
            *([gate["session"]] if several else []),
        ]
        for gate in gates
        for group in gate["groups"]
    ]
    return Table([*header, "session"] if several else header, lines)


def _detected(gate: dict[str, Any], group: dict[str, Any]) -> str:
    here = [
        f"{percent(d['more'])} more: {_ratio(d, 'overhead')}, {'seen' if d['seen'] else 'missed'}"
        for d in gate["detections"]
        if (d["size"], d["phase"]) == (group["size"], group["phase"])
    ]
    return "; ".join(here) or NO_FIGURE


def _ratio(figures: dict[str, Any], name: str) -> str:
    return ratio_with_interval(*(figures[f"{name}{end}"] for end in ("", "_lo", "_hi")))


def _former(gates: list[dict[str, Any]]) -> Table:
    header = ["session", "verdict", "ReLU / itself", "ReLU on more elements / ReLU"]
    lines = [
        [
            str(gate["session"]),
            "trustworthy" if gate["trustworthy"] else "not trustworthy",
            # That gate looked for tenths of a percent, which fewer digits would hide.
            *(
                NO_FIGURE
                if gate[f"{kind}_overhead"] is None
                else f"{gate[f'{kind}_overhead']:.4f} "
                f"({gate[f'{kind}_overhead_lo']:.4f}–{gate[f'{kind}_overhead_hi']:.4f})"
                for kind in ("self", "more")
            ),
            f"{gate['more_elements']:.4f}",
            gate["message"] or "",
        ]
        for gate in gates
    ]
    return Table([*header, "elements", "message"], lines)
