"""What activations cost in whole networks, as tables: records for the page, and Markdown."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from dynact.networks.published import DYRELU, DYRELU_FLOPS_CLAIM, PAPERS_IMAGE_SIZE
from dynact.report.data.aggregate import hold_between_runs
from dynact.report.data.budget import DEFAULT, Budget
from dynact.report.data.digits import measured_ratios, one_visit_note, range_note
from dynact.report.data.fewer_sites import FORETOLD, FewerSites, fewer_sites
from dynact.report.data.kept_sites import kept_sites_notes
from dynact.report.data.names import cell_ratio, resolution
from dynact.report.data.network_frames import (
    counted_image_size,
    extra_with_range,
    mark_note,
    memory_ratios,
    paper_note,
)
from dynact.report.data.omissions import absence
from dynact.report.data.prediction import REST, Prediction, lacking_range_note
from dynact.report.data.within import budget_sentences, with_given_up
from dynact.report.run import Run
from dynact.report.tables.markdown import escaped
from dynact.report.tables.table import Table
from dynact.schema.digits import NO_FIGURE, ratio_with_interval
from dynact.schema.placement import SITES
from dynact.schema.prefix import rate, with_prefix

# Networks that are spoken of before all else.
_MOST_NETWORKS = 5
# Sites to give up, in a cell.
_MOST_SITES = 4
# More images a step do not make a difference any more, and nobody has tried them.
_MANY_IMAGES = 10_000


class Extra(NamedTuple):
    """An extra time of a call, and its range as `predict` gives it."""

    ns: float
    lo_ns: float
    hi_ns: float


@dataclass(frozen=True)
class Speed:
    """One phase of a network with an activation, beside the original; None where not measured.

    The ends of an interval that there is not are NaN.
    """

    status: str
    overhead: float | None = None
    overhead_lo: float | None = None
    overhead_hi: float | None = None
    mark: str = ""
    """Of what `mark_note` explains."""
    images_per_s: float | None = None
    original_images_per_s: float | None = None
    predicted: Extra | None = None
    measured: Extra | None = None
    rest: Extra | None = None
    original_share: float | None = None
    """Of the time of the original network its activations that are replaced, each measured alone;
    of those in `unmeasured_sites` nothing is in it."""
    share: float | None = None
    """The same of the new activations in theirs."""
    unmeasured_sites: str = ""


@dataclass(frozen=True)
class NetworkRecord:
    """A network with an activation in one placement; counts are of one image, in inference."""

    network: str
    activation: str
    image_size: int
    """Height and width of the images of all that was timed, and of the memory."""
    counted_image_size: int | None
    """Height and width of the image that MACs and FLOPs are of; None where nothing was counted."""
    inference: Speed
    training: Speed
    parameters: int | None
    original_parameters: int | None
    macs: int | None
    original_macs: int | None
    flops: int | None
    original_flops: int | None
    uncounted_ops: list[str]
    memory_ratio: float | None
    """Of a training step: bytes that one more image takes, or else the peaks."""
    memory_ratio_is_of_peaks: bool
    memory_per_image_bytes: float | None
    """By what all memory of a training step grows with each image."""
    original_memory_per_image_bytes: float | None
    largest_batch: int | None
    """Images of a training step that fit the budget, computed."""
    original_largest_batch: int | None


_CALLS: dict[str, Callable[[NetworkRecord], Speed]] = {
    "a call in inference": lambda record: record.inference,
    "a training step": lambda record: record.training,
}


@dataclass(frozen=True)
class NetworkSection:
    """What is known of one network."""

    network: str
    findings: list[str]
    """What keeping a budget took."""
    tables: list[Table]
    notes: list[str]


def network_records(run: Run, budget: Budget = DEFAULT) -> list[NetworkRecord]:
    """Return one record for each network, activation and placement, in the rows' order."""
    rows = run.labelled_networks.join(memory_ratios(run.networks))
    rows["counted_image_size"] = counted_image_size(rows).astype(int)
    return [
        _record(str(subject), str(variant), part, run.prediction, budget)
        for (subject, variant), part in rows.groupby(["subject", "variant"], sort=False)
    ]


def network_sections(run: Run, budget: Budget = DEFAULT) -> list[NetworkSection]:
    """Return what is known of each network: speed, costs, and prediction beside measurement."""
    by_network: dict[str, list[NetworkRecord]] = {}
    for record in network_records(run, budget):
        by_network.setdefault(record.network, []).append(record)
    rows = with_given_up(run.labelled_networks, run.within)
    curves = fewer_sites(run)
    findings = budget_sentences(run)
    return [
        NetworkSection(
            name,
            findings.get(name, []),
            [
                *_tables(records, budget),
                *_to_give_up([curve for curve in curves if curve.subject == name]),
            ],
            [*kept_sites_notes(rows[rows["subject"] == name]), *_unmeasured(records)],
        )
        for name, records in by_network.items()
    ]


def network_findings(run: Run) -> list[str]:
    """Return a sentence for each network on what activations make of its time, at all sites.

    Where a network has no such row, it is of those that there are.
    """
    said = []
    for subject, rows in run.labelled_networks.groupby("subject", sort=False):
        everywhere = rows[~rows["placement"].str.startswith(SITES)]
        shown = everywhere if len(everywhere) else rows
        ok = shown[shown["status"] == "ok"].sort_values("overhead", kind="stable")
        parts = []
        for phase, line in ok.groupby("phase"):
            ends = [
                f"{ratio} ({variant})"
                for ratio, variant in zip(measured_ratios(line), line["variant"], strict=True)
            ]
            spread = ends[0] if len(ends) == 1 else f"from {ends[0]} to {ends[-1]}"
            parts.append(f"{phase} takes {spread} the time")
        found = ", ".join(parts) or "nothing could be measured: every case failed"
        said.append(f"{subject}, compared with its own activations: {found}.")
    more = len(said) - _MOST_NETWORKS
    return [*said[:_MOST_NETWORKS], *([f"And {more} more."] if more > 0 else [])]


def network_notes(run: Run, budget: Budget = DEFAULT) -> list[str]:
    """Return what a reader of these tables has to know."""
    placed = paper_note(run.labelled_networks["variant"])
    marks = mark_note(run.labelled_networks["mark"])
    ok = run.networks[run.networks["status"] == "ok"]
    within = "" if hold_between_runs(ok) else " within this run"
    notes = [
        _meaning(run.network_setting, within), placed, range_note(ok),
        one_visit_note(ok, "network"), marks,
    ]  # fmt: skip
    meaning = " ".join(filter(None, notes))
    ranges = f"{_RANGES} {lacking_range_note(run.prediction.totals)}".rstrip()
    largest = _largest_batch_note(budget)
    foretold = FORETOLD if fewer_sites(run) else ""
    return [meaning, ranges, REST, largest, *filter(None, [foretold, _claim(run.networks)])]


def networks_markdown(run: Run, budget: Budget = DEFAULT) -> str:
    """Return a section of Markdown on all networks, empty without rows."""
    if run.networks.empty:
        return ""
    meaning, *others = map(escaped, network_notes(run, budget))
    parts = ["## In whole networks", meaning]
    for section in network_sections(run, budget):
        parts.append(f"### {escaped(section.network)}")
        parts += map(escaped, section.findings)
        parts += [part.markdown() for part in section.tables]
        parts += map(escaped, section.notes)
    return "\n\n".join([*parts, *others])


def _record(
    subject: str, variant: str, rows: pd.DataFrame, prediction: Prediction, budget: Budget
) -> NetworkRecord:
    ok = rows[rows["status"] == "ok"]
    trained = rows[(rows["phase"] == "training") & (rows["status"] == "ok")]

    def count(column: str) -> int | None:
        known = ok[column].dropna()
        return int(known.iloc[0]) if len(known) else None

    return NetworkRecord(
        network=subject,
        activation=variant,
        image_size=int(rows["image_size"].iloc[0]),
        counted_image_size=count("counted_image_size"),
        inference=_speed(rows, "inference", variant, prediction),
        training=_speed(rows, "training", variant, prediction),
        parameters=count("parameters"),
        original_parameters=count("baseline_parameters"),
        macs=count("macs"),
        original_macs=count("baseline_macs"),
        flops=count("flops"),
        original_flops=count("baseline_flops"),
        uncounted_ops=list(ok["uncounted_ops"].explode().dropna().unique()),
        memory_ratio=_number(trained["ratio"]),
        memory_ratio_is_of_peaks=bool(trained["of_peaks"].any()),
        memory_per_image_bytes=_number(trained["memory_per_image_bytes"]),
        original_memory_per_image_bytes=_number(trained["baseline_memory_per_image_bytes"]),
        largest_batch=_largest_batch(trained, "", budget),
        original_largest_batch=_largest_batch(trained, "baseline_", budget),
    )


def _speed(rows: pd.DataFrame, phase: str, variant: str, prediction: Prediction) -> Speed:
    rows = rows[rows["phase"] == phase]
    totals = prediction.totals[prediction.totals["case_id"].isin(rows["case_id"])]
    if totals.empty:
        return Speed(absence(rows.assign(activation=rows["variant"]), variant))
    row = totals.iloc[0]
    return Speed(
        status="ok",
        overhead=float(row["overhead"]),
        overhead_lo=float(row["overhead_lo"]),
        overhead_hi=float(row["overhead_hi"]),
        mark=str(rows["mark"].iloc[0]),
        images_per_s=float(row["batch"] / row["time_ns"] * 1e9),
        original_images_per_s=float(row["batch"] / row["baseline_time_ns"] * 1e9),
        predicted=_extra(row, "predicted"),
        measured=_extra(row, "measured"),
        rest=_extra(row, "rest"),
        original_share=_known(row["original_share"]),
        share=_known(row["share"]),
        unmeasured_sites=row["unmeasured"],
    )


def _extra(row: "pd.Series[Any]", name: str) -> Extra | None:
    extra = Extra(*(float(row[f"{name}{end}_ns"]) for end in ("", "_lo", "_hi")))
    return None if math.isnan(extra.ns) else extra


def _largest_batch(rows: pd.DataFrame, prefix: str, budget: Budget) -> int | None:
    fixed, per_image = (
        _number(rows[f"{prefix}memory_{part}_bytes"]) for part in ("fixed", "per_image")
    )
    if fixed is None or per_image is None or per_image <= 0:
        return None
    return max(int((budget.nbytes - fixed) // per_image), 0)


def _known(share: float) -> float | None:
    return None if math.isnan(share) else float(share)


def _number(values: "pd.Series[Any]") -> float | None:
    """Return the first of a column, or None without one or where it is missing."""
    return float(values.iloc[0]) if len(values) and pd.notna(values.iloc[0]) else None


def _meaning(setting: str, within: str) -> str:
    return (
        f"The same network with its activations replaced, against the original one, paired "
        f"({setting}). In brackets behind an overhead is its 95 % interval{within}, "
        "behind an extra time its range, elsewhere the original's figure or what "
        "is added to it. Parameters are all of the network's; MACs and FLOPs are of one image in "
        "inference, at the timed size or at the one that their heading names, a MAC counted as "
        "two FLOPs, FLOPs with all element-wise work (≥: some operators could not be counted). "
        "Memory is what one more image takes in a training step, as a multiple of what it takes "
        "in the original (with a star: the ratio of the peaks at this batch). The activations' "
        "share is about: the time of all that are replaced, each measured alone, of that of the "
        "whole network, as it is → with the new ones (≥: some were not measured)."
    )


_RANGES = (
    "The range of a measured extra time is its 95 % interval. That of a sum takes all of its sites "
    "to err to the same side, and that of the rest adds both: they are wider than 95 %."
)


def _largest_batch_note(budget: Budget) -> str:
    return (
        "The largest batch is computed, not tried, for the original as for the new: the most "
        "images n of the timed size for which memory_fixed_bytes + n × memory_per_image_bytes (for "
        "the original baseline_memory_fixed_bytes and so on, all in the training rows of "
        f"network_rows.jsonl) does not exceed {budget.name}. For another memory draw the run "
        "again, with scripts/plot_overhead.py --memory 24GiB."
    )


def _tables(records: list[NetworkRecord], budget: Budget) -> list[Table]:
    speeds = [
        [
            r.activation,
            *(cell for speed in (r.inference, r.training) for cell in _speed_cells(speed)),
        ]
        for r in records
    ]
    costs = [
        [
            r.activation,
            _with_extra(r.parameters, r.original_parameters),
            _with_extra(r.macs, r.original_macs),
            ("≥ " if r.uncounted_ops else "") + _with_extra(r.flops, r.original_flops),
            _memory(r),
            _whole(r.largest_batch),
        ]
        for r in records
    ]
    counted = _counted_at(records)
    tables = [
        Table(
            [
                "activation", "overhead, inference", "images/s (original)",
                "overhead, training", "images/s (original)",
            ],
            speeds,
        ),
        Table(
            [
                "activation", "parameters (extra)", f"MACs{counted} (extra)",
                f"FLOPs{counted} (extra)", "memory an image, training",
                f"largest batch in {budget.name}",
            ],
            [*_original(records), *costs],
        ),
    ]  # fmt: skip
    for call, speed_of in _CALLS.items():
        lines = [
            [record.activation, *_extra_cells(speed)]
            for record in records
            if (speed := speed_of(record)).overhead is not None
        ]
        if lines:
            header = [
                *(f"extra time of {call}", "predicted: sum of the sites", "measured", "rest"),
                "activations’ share, about",
            ]
            tables.append(Table(header, lines))
    return tables


def _to_give_up(curves: list[FewerSites]) -> list[Table]:
    """Return which sites to give up first, and what that is foretold to make of the overhead."""
    lines = []
    for curve in curves:
        order, count = curve.giving_up.order, len(curve.sites)
        if not order:
            continue
        first = curve.sites.loc[list(order[:_MOST_SITES])].to_dict("records")
        named = [
            f"{'' if pd.isna(site['number']) else int(site['number'])} {site['name']}".lstrip()
            + f" ({extra_with_range(site['extra_ns'], math.nan, math.nan)})"
            for site in first
        ]
        more = f" and {len(order) - len(first)} more" if len(order) > len(first) else ""
        half = NO_FIGURE
        if curve.halved:
            left = cell_ratio(curve.foretold(curve.halved))
            half = f"{curve.halved} of {count}, foretold {left}"
        lines.append([f"{curve.variant}, {curve.phase}", ", ".join(named) + more, half])
    header = [
        "sites to give up first",
        "the most expensive, each measured alone",
        "for half the extra time",
    ]
    return [Table(header, lines)] if lines else []


def _counted_at(records: list[NetworkRecord]) -> str:
    """Return at which size was counted, empty where it is the timed one."""
    sizes = {r.counted_image_size for r in records if r.counted_image_size is not None}
    if sizes <= {records[0].image_size}:
        return ""
    return f" at {' and '.join(resolution(size, size) for size in sorted(sizes))}"


def _extra_cells(speed: Speed) -> list[str]:
    predicted, measured, rest = (
        NO_FIGURE if extra is None else extra_with_range(*extra)
        for extra in (speed.predicted, speed.measured, speed.rest)
    )
    return [predicted + "†" * bool(speed.unmeasured_sites), measured, rest, _shares(speed)]


def _shares(speed: Speed) -> str:
    if speed.original_share is None or speed.share is None:
        return NO_FIGURE
    least = "≥ " * bool(speed.unmeasured_sites)
    return f"{least}{100 * speed.original_share:.0f} % → {least}{100 * speed.share:.0f} %"


def _original(records: list[NetworkRecord]) -> list[list[str]]:
    """Return the original network's line, none where no case of it was counted."""
    record = next((r for r in records if r.original_parameters is not None), None)
    if record is None:
        return []
    counts = (record.original_parameters, record.original_macs, record.original_flops)
    cells = [NO_FIGURE if count is None else with_prefix(count, "") for count in counts]
    batches = [b for r in records if (b := r.original_largest_batch) is not None]
    memory = next((m for r in records if (m := r.original_memory_per_image_bytes)), None)
    cells.append("1×" + _image_bytes(memory))
    return [["(original)", *cells, _whole(batches[0] if batches else None)]]


def _speed_cells(speed: Speed) -> list[str]:
    if (
        speed.overhead is None
        or speed.overhead_lo is None
        or speed.overhead_hi is None
        or speed.images_per_s is None
        or speed.original_images_per_s is None
    ):
        return [speed.status, NO_FIGURE]
    return [
        ratio_with_interval(speed.overhead, speed.overhead_lo, speed.overhead_hi)
        + f" {speed.mark}".rstrip(),
        f"{rate(speed.images_per_s)} ({rate(speed.original_images_per_s)})",
    ]


def _with_extra(new: int | None, original: int | None) -> str:
    if new is None:
        return NO_FIGURE
    # Millions and thousands as papers give them.
    return f"{with_prefix(new, '')} ({_percent(new, original)})"


def _percent(new: int | None, original: int | None) -> str:
    if new is None or not original:
        return NO_FIGURE
    extra = 100 * (new - original) / original
    return f"{extra:+.2f} %".replace("-", "−") if abs(extra) < 10 else f"{extra:+.0f} %"


def _memory(record: NetworkRecord) -> str:
    if record.memory_ratio is None:
        return NO_FIGURE
    if record.memory_ratio_is_of_peaks:
        return f"{record.memory_ratio:.2f}×*"
    return f"{record.memory_ratio:.2f}×" + _image_bytes(record.memory_per_image_bytes)


def _image_bytes(nbytes: float | None) -> str:
    return "" if nbytes is None else f" ({with_prefix(nbytes, 'B')})"


def _whole(count: int | None) -> str:
    if count is None:
        return NO_FIGURE
    return f"{count:,}" if count <= _MANY_IMAGES else f"more than {_MANY_IMAGES:,}"


def _unmeasured(records: list[NetworkRecord]) -> list[str]:
    parts = [
        f"{record.activation} {len(sites.split(', '))} in {call}"
        for record in records
        for call, speed_of in _CALLS.items()
        if (sites := speed_of(record).unmeasured_sites)
    ]
    said = "† Sites without a measured layer are not in the sum and fall to the rest"
    return [f"{said}: {', '.join(parts)}."] if parts else []


def _claim(networks: pd.DataFrame) -> str:
    """Hold the one published figure of extra FLOPs against the count."""
    mine = networks[
        (networks["network"] == "mobilenet_v2")
        & (networks["activation"] == "dyrelu_b")
        & (networks["status"] == "ok")
        & networks["placement"].isin(["all", "paper"])
        & (networks["replaced"] == "")
    ]
    mine = mine[counted_image_size(mine) == PAPERS_IMAGE_SIZE]
    mine = mine.dropna(subset=["flops", "baseline_flops", "macs", "baseline_macs"])
    if mine.empty:
        return ""
    row = mine.iloc[0]
    flops = _percent(row["flops"], row["baseline_flops"])
    macs = _percent(row["macs"], row["baseline_macs"])
    return (
        f"MobileNetV2 with DY-ReLU-B: {flops} FLOPs and {macs} MACs counted here "
        f"(images of {resolution(PAPERS_IMAGE_SIZE, PAPERS_IMAGE_SIZE)}); the paper says "
        f"{DYRELU_FLOPS_CLAIM} FLOPs for DY-ReLU ({DYRELU.where}), the variant not named."
    )
