"""What activations cost in whole networks, as tables: records for the page, and Markdown."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from dynact.networks.published import DYRELU, DYRELU_FLOPS_CLAIM, PAPERS_IMAGE_SIZE
from dynact.report.data.aggregate import hold_between_runs
from dynact.report.data.digits import one_visit_note, range_note
from dynact.report.data.kept_sites import kept_sites_notes
from dynact.report.data.names import resolution, with_prefix
from dynact.report.data.network_frames import (
    PAPER_NOTE,
    counted_image_size,
    extra_with_range,
    mark_note,
    memory_ratios,
)
from dynact.report.data.omissions import absence
from dynact.report.data.prediction import REST, Prediction, lacking_range_note
from dynact.report.run import Run
from dynact.report.tables.markdown import escaped
from dynact.report.tables.table import Table
from dynact.schema.digits import NO_FIGURE, ratio_with_interval

# The memory for which the largest batch is computed.
BUDGET_BYTES = 16 * 10**9


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
    largest_batch: int | None
    """Images of a training step that fit `BUDGET_BYTES`, computed."""
    original_largest_batch: int | None


_CALLS: dict[str, Callable[[NetworkRecord], Speed]] = {
    "a call in inference": lambda record: record.inference,
    "a training step": lambda record: record.training,
}


@dataclass(frozen=True)
class NetworkSection:
    """What is known of one network."""

    network: str
    tables: list[Table]
    notes: list[str]


def network_records(run: Run) -> list[NetworkRecord]:
    """Return one record for each network, activation and placement, in the rows' order."""
    rows = run.labelled_networks.join(memory_ratios(run.networks))
    rows["counted_image_size"] = counted_image_size(rows).astype(int)
    return [
        _record(str(subject), str(variant), part, run.prediction)
        for (subject, variant), part in rows.groupby(["subject", "variant"], sort=False)
    ]


def network_sections(run: Run) -> list[NetworkSection]:
    """Return what is known of each network: speed, costs, and prediction beside measurement."""
    by_network: dict[str, list[NetworkRecord]] = {}
    for record in network_records(run):
        by_network.setdefault(record.network, []).append(record)
    rows = run.labelled_networks
    return [
        NetworkSection(
            name,
            _tables(records),
            [*kept_sites_notes(rows[rows["subject"] == name]), *_unmeasured(records)],
        )
        for name, records in by_network.items()
    ]


def network_notes(run: Run) -> list[str]:
    """Return what a reader of these tables has to know."""
    placed = bool((run.networks["placement"] != "all").any())
    marks = mark_note(run.labelled_networks["mark"])
    ok = run.networks[run.networks["status"] == "ok"]
    within = "" if hold_between_runs(ok) else " within this run"
    notes = [
        _meaning(run.network_setting, within), PAPER_NOTE * placed, range_note(ok),
        one_visit_note(ok, "network"), marks,
    ]  # fmt: skip
    meaning = " ".join(filter(None, notes))
    ranges = f"{_RANGES} {lacking_range_note(run.prediction.totals)}".rstrip()
    return [meaning, ranges, REST, _LARGEST_BATCH, *filter(None, [_claim(run.networks)])]


def networks_markdown(run: Run) -> str:
    """Return a section of Markdown on all networks, empty without rows."""
    if run.networks.empty:
        return ""
    meaning, *others = map(escaped, network_notes(run))
    parts = ["## In whole networks", meaning]
    for section in network_sections(run):
        parts.append(f"### {escaped(section.network)}")
        parts += [part.markdown() for part in section.tables]
        parts += map(escaped, section.notes)
    return "\n\n".join([*parts, *others])


def _record(
    subject: str, variant: str, rows: pd.DataFrame, prediction: Prediction
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
        largest_batch=_largest_batch(trained, ""),
        original_largest_batch=_largest_batch(trained, "baseline_"),
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
        unmeasured_sites=row["unmeasured"],
    )


def _extra(row: "pd.Series[Any]", name: str) -> Extra | None:
    extra = Extra(*(float(row[f"{name}{end}_ns"]) for end in ("", "_lo", "_hi")))
    return None if math.isnan(extra.ns) else extra


def _largest_batch(rows: pd.DataFrame, prefix: str) -> int | None:
    fixed, per_image = (
        _number(rows[f"{prefix}memory_{part}_bytes"]) for part in ("fixed", "per_image")
    )
    if fixed is None or per_image is None or per_image <= 0:
        return None
    return max(int((BUDGET_BYTES - fixed) // per_image), 0)


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
        "Memory is what one more image takes in a training step (with a star: the ratio of "
        "the peaks at this batch)."
    )


def _budget() -> str:
    return with_prefix(BUDGET_BYTES, "B")


_RANGES = (
    "The range of a measured extra time is its 95 % interval. That of a sum takes all of its sites "
    "to err to the same side, and that of the rest adds both: they are wider than 95 %."
)
_LARGEST_BATCH = (
    f"The largest batch is computed, not tried, for the original as for the new: the most images n "
    "of the timed size for which memory_fixed_bytes + n × memory_per_image_bytes (for the original "
    f"baseline_memory_fixed_bytes and so on) does not exceed {_budget()}. For another memory, put "
    "its bytes there; the figures are in the training rows of network_rows.jsonl."
)


def _tables(records: list[NetworkRecord]) -> list[Table]:
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
                f"FLOPs{counted} (extra)", "memory, training", f"largest batch in {_budget()}",
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
            header = [f"extra time of {call}", "predicted: sum of the sites", "measured", "rest"]
            tables.append(Table(header, lines))
    return tables


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
    return [predicted + "†" * bool(speed.unmeasured_sites), measured, rest]


def _original(records: list[NetworkRecord]) -> list[list[str]]:
    """Return the original network's line, none where no case of it was counted."""
    record = next((r for r in records if r.original_parameters is not None), None)
    if record is None:
        return []
    counts = (record.original_parameters, record.original_macs, record.original_flops)
    cells = [NO_FIGURE if count is None else with_prefix(count, "") for count in counts]
    batches = [b for r in records if (b := r.original_largest_batch) is not None]
    return [["(original)", *cells, "1×", _whole(batches[0] if batches else None)]]


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
        f"{_rate(speed.images_per_s)} ({_rate(speed.original_images_per_s)})",
    ]


def _rate(images_per_s: float) -> str:
    return f"{images_per_s:.3g}" if images_per_s < 1000 else f"{images_per_s:,.0f}"


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
    return f"{record.memory_ratio:.2f}×" + "*" * record.memory_ratio_is_of_peaks


def _whole(count: int | None) -> str:
    return NO_FIGURE if count is None else f"{count:,}"


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
