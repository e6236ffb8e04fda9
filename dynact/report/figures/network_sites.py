"""Extra time along the depth of each network: which sites are to blame, and what they leave."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dynact.report.data.digits import one_visit_note, range_note
from dynact.report.data.names import resolution, shortened
from dynact.report.data.network_frames import (
    extra_with_range,
    mark_note,
    paper_note,
)
from dynact.report.data.omissions import absence
from dynact.report.data.prediction import REST, lacking_range_note, sites_frame
from dynact.report.figures.declaration import NetworkFigure
from dynact.report.figures.style import (
    COLOURS,
    INK,
    QUIET,
    UNMEASURED,
    Page,
    colour_reach,
    names_width,
    nothing_to_draw,
    ratio_axis,
    styled,
)
from dynact.report.run import Run
from dynact.schema.digits import measured_ratio
from dynact.timing import format_ns

_Floats: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float64]]"

# Lengths in inches.
_STRIP = 0.54
_CROWDED_STRIP = 0.42
_CROWDED = 8
_PANEL_TITLE = 0.5
_PLOT = 3.6
_STAGES = 0.62
_COLUMNS = (("network", 0.45), ("= sites", 1.35), ("+ rest", 2.45))
_BESIDE = 3.3
_BAR = 0.75
_LONGEST_NAME = 28

_PLACE = ["name", "baseline", "channels", "height", "width", "positions"]
_SITES_COLOUR = "#3a3a3a"
_REST_COLOUR = "#7a4fa3"
# Of the fill under the steps, so that dark blocks stand out on the darkest colour.
_PALE = 0.6
# Of a strip's height, from its middle: where values end, where they begin, where shares stand.
_TOP, _BOTTOM, _SHARES = -0.42, 0.17, 0.34
# The measured difference stands this far right of the last site, as a share of the axis.
_MARGIN = 0.07
_EXPLANATION = (
    "How to read: a strip is one activation, from the network's input on the left to its output "
    "on the right. A dark block is what one site adds to the original network's time, on top of "
    "all sites before it: a tall block is a site to blame; blocks that go down are quicker than "
    "the original, flat stretches keep it. Percentages are a stage's share of the sum over the "
    "sites, the largest in bold (left out for want of room, and where some stages cost and "
    "others save); a stage ends where the resolution changes. The diamond at the right "
    "end is what the whole network took longer, with its 95 % interval; the violet bar from the "
    "last block to it is the rest. Every strip has its own scale, so that its pattern shows; its "
    "colour is the network's overhead. Numbers: overhead and extra time of a call on the whole "
    "batch; the sum over the sites, each measured alone; what remains. In brackets is the range of "
    "these two, wider than a 95 % interval: as if all sites erred to the same side."
)


@dataclass(frozen=True, eq=False)
class _Depth:
    """The sites of one network, in order."""

    places: pd.Index  # of _PLACE and the occurrence
    stages: list[tuple[str, float, float]]
    """Label, first and last edge of each stretch of one resolution."""


@styled
def network_sites(run: Run, caption: str = "") -> Figure:
    """Draw what each site of each network adds to its time, and the whole network beside the sum.

    Parameters
    ----------
    run
        One with networks.
    caption
        Small print at the bottom: device, date.

    Returns
    -------
    Figure
        A block for each network with an ok row, a panel for each phase, a strip for each
        activation and placement, cheapest in the first phase on top.
    """
    title = f"Where in the network each activation costs its time ({run.network_setting})"
    prediction = run.prediction
    if prediction.totals.empty:
        return nothing_to_draw(title, run.networks, caption, "a time")

    rows = run.labelled_networks
    totals = prediction.totals.assign(**rows[["subject", "variant", "mark"]]).dropna(
        subset="subject"
    )
    phases = sorted(rows["phase"].unique())
    subjects = [s for s in rows["subject"].unique() if s in set(totals["subject"])]
    orders = {s: _order(rows[rows["subject"] == s], phases[0]) for s in subjects}
    crowded = max(map(len, orders.values())) > _CROWDED
    strip = _CROWDED_STRIP if crowded else _STRIP
    names = {v: shortened(v, _LONGEST_NAME) for v in rows["variant"]}
    left = names_width(names.values())
    heights = {s: _PANEL_TITLE + strip * len(orders[s]) + _STAGES for s in subjects}
    page = Page(
        title,
        [
            _EXPLANATION,
            REST,
            _no_maps_note(prediction.parts),
            range_note(totals),
            one_visit_note(totals, "network"),
            lacking_range_note(totals),
            mark_note(totals["mark"]),
            paper_note(rows["variant"]),
            _unmeasured_note(totals),
            _left_out(rows, subjects),
            caption,
        ],
        width=left + len(phases) * (_PLOT + _BESIDE) + _BAR,
        body=sum(heights.values()),
    )
    reach = colour_reach(totals["overhead"])
    norm = LogNorm(1 / reach, reach)
    top = 0.0
    for subject in subjects:
        mine = totals[totals["subject"] == subject]
        depth = _depth(mine)
        order = orders[subject]
        for i, phase in enumerate(phases):
            axes = page.axes(
                left + i * (_PLOT + _BESIDE), top + _PANEL_TITLE, _PLOT, strip * len(order)
            )
            here = mine[mine["phase"] == phase].set_index("variant")
            _draw_panel(axes, depth, order)
            axes.set_yticks(range(len(order)), [names[v] for v in order] if i == 0 else [])
            _write_heads(axes, subject if i == 0 else "", phase, here["baseline_time_ns"])
            of_phase = rows[(rows["subject"] == subject) & (rows["phase"] == phase)]
            for line, variant in enumerate(order):
                if variant not in here.index:
                    _write_absence(axes, line, of_phase, variant)
                    continue
                total = here.loc[variant]
                parts = prediction.parts[prediction.parts["case_id"] == total["case_id"]]
                _draw_strip(axes, line, _Strip(parts, total, depth), norm)
                _write_numbers(axes, line, total)
        top += heights[subject]
    _draw_bar(page, left + len(phases) * (_PLOT + _BESIDE), heights[subjects[0]], norm, totals)
    return page.figure


def _order(rows: pd.DataFrame, phase: str) -> list[str]:
    """Return the variants, cheapest in the phase first, those without a ratio last."""
    first = rows[rows["phase"] == phase].set_index("variant")
    ratios = pd.to_numeric(first["overhead"].where(first["status"] == "ok"))
    return list(ratios.reindex(rows["variant"].unique()).sort_values(kind="stable").index)


def _depth(totals: pd.DataFrame) -> _Depth:
    """Bring the sites of all rows of a network into one order of depth."""
    frames = [sites_frame(cell) for cell in totals["sites"]]
    listings = [_places(sites) for sites in frames]
    places = max(listings, key=len)
    for listing in listings:
        places = places.union(listing.difference(places, sort=False), sort=False)
    # Windows of a map, which are folded into the batch, are as large as the map.
    sizes = pd.concat(
        pd.Series((sites["batch"] * sites["height"] * sites["width"]).to_numpy(), listing)
        for sites, listing in zip(frames, listings, strict=True)
    )
    return _Depth(places, _stages(places, sizes[~sizes.index.duplicated()].reindex(places)))


def _places(sites: pd.DataFrame) -> pd.MultiIndex:
    """Return what tells the sites of a network apart: one module may be called several times."""
    return pd.MultiIndex.from_frame(sites[_PLACE].assign(occurrence=_occurrences(sites)))


def _occurrences(sites: pd.DataFrame) -> "pd.Series[int]":
    return sites.groupby(_PLACE).cumcount()


def _stages(places: pd.MultiIndex, sizes: "pd.Series[int]") -> list[tuple[str, float, float]]:
    """Return the stretches of one resolution, by the positions of a sample.

    Squeezes to a vector in the middle of the network do not break a stage, nor does a branch of
    one site that has the next stage's resolution before the others leave theirs.
    """
    maps = places.to_frame(index=False)
    last_map = max((i for i, size in enumerate(sizes) if size > 1), default=-1)
    runs: list[list[int]] = []
    for site, size in enumerate(sizes):
        is_squeeze = size <= 1 and site < last_map
        if runs and (is_squeeze or size == sizes.iloc[runs[-1][0]]):
            runs[-1].append(site)
        else:
            runs.append([site])
    around = [0, *(int(sizes.iloc[run[0]]) for run in runs), 0, 0]
    stages: list[list[int]] = []
    branch: list[int] = []
    for i, run in enumerate(runs):
        before, here, after, then = around[i : i + 4]
        if len(run) == 1 and here < min(before, after) and then == here:
            branch = run
        elif branch and around[i - 1] == here:
            stages[-1] += branch + run
            branch = []
        else:
            stages.append(branch + run)
            branch = []
    edges = [*(stage[0] for stage in stages), len(places)]
    return [
        (_label(maps.iloc[stage]), float(first), float(last))
        for stage, (first, last) in zip(stages, pairwise(edges), strict=True)
    ]


def _label(sites: pd.DataFrame) -> str:
    """Return the resolution of the largest maps."""
    largest = (sites["height"] * sites["width"]).to_numpy().argmax()
    return str(sites["positions"].iloc[int(largest)])


def _draw_panel(axes: Axes, depth: _Depth, order: list[str]) -> None:
    count = max(len(depth.places), 1)
    axes.set(xlim=(0, count * (1 + 2 * _MARGIN)), ylim=(len(order) - 0.5, -0.5))
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    for i, (_, first, last) in enumerate(depth.stages):
        if i % 2 == 0:
            axes.axvspan(first, last, color="#f1f1f1", zorder=0)
    for line in range(1, len(order)):
        axes.axhline(line - 0.5, color="#d4d4d4", linewidth=0.5, zorder=0)
    _label_stages(axes, depth.stages)
    ends = f" 1 … {count}" if depth.places.size else "s: none"
    axes.annotate(
        f"depth: site{ends}, by resolution",
        (0, 0),
        xytext=(0, -36),
        xycoords="axes fraction",
        textcoords="offset points",
        size=8.5,
        va="bottom",
    )


def _label_stages(axes: Axes, stages: list[tuple[str, float, float]]) -> None:
    """Bracket the stages under the axis; a label that would meet its neighbour goes lower."""
    per_point = axes.get_xlim()[1] / (_PLOT * 72)
    taken: list[float] = []
    for label, first, last in stages:
        middle, half = (first + last) / 2, len(label) * 2.9 * per_point
        level = next((i for i, end in enumerate(taken) if middle - half > end), len(taken))
        taken[level : level + 1] = [middle + half + 2 * per_point]
        bracket: dict[str, Any] = {
            "xycoords": axes.get_xaxis_transform(),
            "textcoords": "offset points",
        }
        gap = min(0.12, 0.2 * (last - first))
        axes.plot(
            [first + gap, last - gap],
            [-0.02, -0.02],
            color=QUIET,
            linewidth=1.2,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            solid_capstyle="butt",
        )
        axes.annotate(
            label, (middle, 0), xytext=(0, -7 - 9 * level), ha="center", va="top", size=8, **bracket
        )


@dataclass(frozen=True, eq=False)
class _Strip:
    """What a strip shows: the parts of one network row on the axis of its network's sites."""

    parts: pd.DataFrame
    total: "pd.Series[Any]"
    depth: _Depth

    def steps(self) -> "tuple[_Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]":
        """Return each place's extra time: 0 where the activation stays, and whether it is known."""
        parts = self.parts.assign(occurrence=_occurrences(self.parts))
        names = [*_PLACE, "occurrence"]
        where = self.depth.places.get_indexer(pd.MultiIndex.from_frame(parts[names]))
        extra = np.zeros(len(self.depth.places))
        extra[where] = parts["extra_ns"]
        return np.nan_to_num(extra), ~np.isnan(extra)


def _draw_strip(axes: Axes, line: int, strip: _Strip, norm: LogNorm) -> None:
    extra, known = strip.steps()
    after = np.cumsum(extra)
    measured = [float(strip.total[f"measured{end}_ns"]) for end in ("", "_lo", "_hi")]
    # Of one visit there are no ends.
    low = np.nanmin([0.0, after.min(initial=0), *measured])
    high = np.nanmax([0.0, after.max(initial=0), *measured])
    scale = (_BOTTOM - _TOP) / ((high - low) or 1.0)

    def at(values: "Sequence[float] | _Floats") -> _Floats:
        heights: _Floats = line + _BOTTOM - (np.asarray(values, dtype=float) - low) * scale
        return heights

    tops, bottoms = at(after), at(after - extra)
    zero, end, middle, lower, upper = at([0.0, after[-1] if len(after) else 0.0, *measured])
    edges = np.arange(len(extra) + 1)
    colour = COLOURS(norm(strip.total["overhead"]))
    axes.stairs(tops, edges, baseline=zero, fill=True, color=colour, alpha=_PALE, zorder=2)
    # One collection: a patch for each of thousands of blocks would take most of the time.
    x = np.stack([edges[:-1], edges[1:], edges[1:], edges[:-1]], axis=-1)
    y = np.stack([bottoms, bottoms, tops, tops], axis=-1)
    blocks = PolyCollection(
        list(np.stack([x, y], axis=-1)), facecolor=_SITES_COLOUR, zorder=3, label="sites"
    )
    axes.add_collection(blocks, autolim=False)
    axes.stairs(tops, edges, baseline=None, color=INK, linewidth=0.9, zorder=4, label="sum")
    axes.hlines(zero, 0, len(extra), color="#8a8a8a", linewidth=0.5, zorder=2.5)
    _write_shares(axes, line, extra, strip.depth.stages)
    for place in np.flatnonzero(~known):
        axes.add_patch(
            Rectangle(
                (float(place), line - 0.5), 1, 1, facecolor="white", edgecolor="#b4b4b4",
                hatch="//////", linewidth=0, zorder=3.5, label="not measured",
            )
        )  # fmt: skip
    right = len(extra) + _MARGIN * max(len(extra), 1)
    axes.plot(
        [len(extra), right], [end, end], color=QUIET, linewidth=0.7, dashes=(2, 1.5), zorder=4
    )
    axes.plot(
        [right, right], [end, middle], color=_REST_COLOUR, linewidth=4, alpha=0.55,
        solid_capstyle="butt", zorder=4, label="rest",
    )  # fmt: skip
    axes.plot([right, right], [lower, upper], color=INK, linewidth=1.1, zorder=5, label="interval")
    axes.plot(
        right, middle, marker="D", markersize=4.5, color=colour, markeredgecolor=INK,
        markeredgewidth=0.8, zorder=6, label="network",
    )  # fmt: skip


def _write_shares(
    axes: Axes, line: int, extra: _Floats, stages: list[tuple[str, float, float]]
) -> None:
    """Write each stage's share of the sum under it, as far as there is room."""
    sums = np.array([extra[int(first) : int(last)].sum() for _, first, last in stages])
    if not sums.any() or (sums.min() < 0 < sums.max()):
        return
    shares = sums / sums.sum()
    per_point = axes.get_xlim()[1] / (_PLOT * 72)
    taken: list[tuple[float, float]] = []
    # The largest first: where two have no room, it stays.
    for stage in np.argsort(-shares, kind="stable"):
        _, first, last = stages[stage]
        text = f"{shares[stage]:.0%}"
        half = len(text) * 2.7 * per_point
        middle = max((first + last) / 2, half)
        if all(middle + half < begin or middle - half > end for begin, end in taken):
            bold = "normal" if taken else "bold"
            taken.append((middle - half, middle + half))
            axes.text(middle, line + _SHARES, text, size=6.5, ha="center", va="center", weight=bold)


def _write_heads(axes: Axes, subject: str, phase: str, baseline_ns: "pd.Series[float]") -> None:
    """Name the network above the first panel, and the phase and the columns above each."""
    took = f" (original: {format_ns(baseline_ns.median())})" if len(baseline_ns) else ""
    look: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.set_title(f"{phase}{took}", size=9, pad=4, loc="left")
    axes.annotate(subject, (0, 1), xytext=(0, 17), size=10.5, weight="bold", **look)
    for head, left in _COLUMNS:
        axes.annotate(
            head, (1, 1), xytext=(left * 72, 4), ha="center", va="bottom", size=8.5,
            color=_REST_COLOUR if head == "+ rest" else INK, **look,
        )  # fmt: skip


def _write_numbers(axes: Axes, line: int, total: "pd.Series[Any]") -> None:
    sites, rest = (
        extra_with_range(*total[[f"{name}{end}_ns" for end in ("", "_lo", "_hi")]])
        for name in ("predicted", "rest")
    )
    overhead = measured_ratio(*total[["overhead", "overhead_lo", "overhead_hi"]])
    texts = [
        f"{overhead}{total['mark']}\n{_signed(total['measured_ns'])}",
        ("†" if total["unmeasured"] else "") + sites.replace(" (", "\n("),
        rest.replace(" (", "\n("),
    ]
    for text, (head, left) in zip(texts, _COLUMNS, strict=True):
        axes.annotate(
            text, (1, line), xytext=(left * 72, 0), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", ha="center", va="center", size=8, linespacing=1.05,
            color=_REST_COLOUR if head == "+ rest" else INK,
        )  # fmt: skip


def _write_absence(axes: Axes, line: int, rows: pd.DataFrame, variant: str) -> None:
    why = absence(rows.assign(activation=rows["variant"]), variant)
    axes.axhspan(line - 0.5, line + 0.5, color=UNMEASURED, zorder=1)
    axes.text(
        0.5, line, why, transform=axes.get_yaxis_transform(), ha="center", va="center", size=8.5
    )


def _signed(duration_ns: float) -> str:
    return f"{'−' if duration_ns < 0 else '+'}{format_ns(abs(duration_ns))}"


def _no_maps_note(parts: pd.DataFrame) -> str:
    said = (
        "Tokens (N, L, C) are measured as maps of L × 1 and clips (N, C, T, H, W) as maps of "
        "(T·H) × W, which lie in memory as they do; a clip’s stage is frames × resolution."
    )
    maps = [resolution(*size) for size in zip(parts["height"], parts["width"], strict=True)]
    return said if (parts["positions"] != maps).any() else ""


def _unmeasured_note(totals: pd.DataFrame) -> str:
    lacking = totals[totals["unmeasured"] != ""]
    parts = []
    for row in lacking.to_dict("records"):
        sites = row["unmeasured"].split(", ")
        shown = ", ".join(dict.fromkeys(sites[:4])) + (", …" if len(sites) > 4 else "")
        parts.append(
            f"{row['subject']} with {row['variant']}, {row['phase']}: {len(sites)} of "
            f"{row['site_count']} ({shown})"
        )
    more = f"; and {len(parts) - 6} more" if len(parts) > 6 else ""
    return (
        "† and hatched: sites without a measured layer are not in the sum and fall to the rest. "
        f"{'; '.join(parts[:6])}{more}."
        if parts
        else ""
    )


def _left_out(rows: pd.DataFrame, subjects: list[str]) -> str:
    absent = rows[~rows["subject"].isin(subjects)]
    parts = [
        f"{subject} ({', '.join(statuses.unique())})"
        for subject, statuses in absent["status"].groupby(absent["subject"], sort=False)
    ]
    return f"Left out, no case measured: {', '.join(parts)}." if parts else ""


def _draw_bar(page: Page, left: float, height: float, norm: LogNorm, totals: pd.DataFrame) -> None:
    axes = page.axes(left + 0.1, _PANEL_TITLE, 0.15, max(height - _PANEL_TITLE - _STAGES, 1.0))
    bar = Colorbar(axes, ScalarMappable(norm, COLOURS))
    bar.outline.set_visible(False)
    low = max(min(totals["overhead"].min(), 0.8), norm.vmin or 0)
    high = min(max(totals["overhead"].max(), 2.0), norm.vmax or np.inf)
    axes.set_ylim(low, high)
    ratio_axis(axes.yaxis, low, high)
    axes.set_ylabel("time / original network's", size=8.5)


FIGURE = NetworkFigure(
    name="network_sites",
    heading="Where in the network the time goes",
    reading=(
        "A strip is a network from its first activation to its last: the line climbs where the "
        "layers measured alone say time is lost; the diamond is what the whole network lost."
    ),
    shows="A strip of cumulated extra time along the depth for each network and activation",
    draw=network_sites,
)
