"""Rows: a case and what was found of it, each column declared once with its unit and meaning."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from dynact.schema.cases import CASE_TYPES, AnyCase, Case, KnownPair, NetworkCase, SiteCase
from dynact.schema.columns import Column, column_of, described

STATUSES = ("ok", "oom", "timeout", "crashed", "error", "unsupported", "wrong")


def column(label: str, unit: str, meaning: str) -> Any:
    """Declare a figure; it is None in a row that has none."""
    return field(default=None, metadata=described(label, unit, meaning))


@dataclass(frozen=True)
class Measured:
    """A case and what timing it found; figures are ``None`` unless ``status`` is ``"ok"``."""

    case: AnyCase
    status: str = field(
        metadata=described("status", "", f"How the case ended: {', '.join(STATUSES)}.")
    )
    message: str = field(
        default="",
        metadata=described(
            "message",
            "",
            "Why the status is not `ok`, or what could not be counted, in one line.",
        ),
    )
    time_ns: float | None = column(
        "time",
        "ns",
        "Time of one call, a forward pass or a training step, while little else disturbs: the "
        "lower quartile of a visit's blocks, the median over visits.",
    )
    time_p20_ns: float | None = column(
        "time, p20", "ns", "The 20th percentile of that time over visits."
    )
    time_p80_ns: float | None = column(
        "time, p80", "ns", "The 80th percentile of that time over visits."
    )
    baseline_time_ns: float | None = column(
        "baseline’s time", "ns", "The same of one call of the baseline."
    )
    host_share: float | None = column(
        "host share",
        "×",
        "On an accelerator, the host's time to queue a call over `time_ns`. Far below 1 the device "
        "decides; about 1 it waits for its host, and the time is that of queueing. From cold "
        "caches, of what the flush before the call leaves to be queued.",
    )
    baseline_host_share: float | None = column(
        "baseline’s host share", "×", "The same of the baseline."
    )
    device_time_ns: float | None = column(
        "device’s time",
        "ns",
        "On an accelerator, the time of one call that was queued before it began, so that nothing "
        "of the host is in it, the median over visits. Missing where a call cannot be queued "
        "ahead: its host waits for a result, or it has more kernels than the queue has room for.",
    )
    baseline_device_time_ns: float | None = column(
        "baseline’s device’s time", "ns", "The same of the baseline."
    )
    device_overhead: float | None = column(
        "device’s overhead",
        "×",
        "The device's time over the baseline's, within each visit that has both, and over "
        "observations as `overhead` is, whose interval alone decides when visits end.",
    )
    device_overhead_lo: float | None = column(
        "device’s 95 % from", "×", "Lower end of the 95 % interval of `device_overhead`."
    )
    device_overhead_hi: float | None = column("device’s to", "×", "Upper end of that interval.")
    overhead: float | None = column(
        "overhead",
        "×",
        "The target's time over the baseline's, within each visit, and its geometric mean over "
        "observations; of ten or more, trimmed by a fifth at either end.",
    )
    overhead_lo: float | None = column(
        "95 % from",
        "×",
        "Lower end of the 95 % interval of `overhead`, from the scatter between visits; none of "
        "one visit alone.",
    )
    overhead_hi: float | None = column("to", "×", "Upper end of that interval.")
    visits: int | None = column(
        "visits",
        "count",
        "How often it was measured, at moments spread over the sweep; none in runs of versions "
        "before, whose interval is of one visit and holds within the run.",
    )
    processes: int | None = column(
        "processes", "count", "How many processes made them: memory lies elsewhere in each."
    )
    observations: int | None = column(
        "observations",
        "count",
        "Of how many independent ones the interval is: of the means of processes, each of which "
        "made some of the visits; of fewer than three, of visits.",
    )
    disturbed_visits: int | None = column(
        "disturbed visits",
        "count",
        "During how many of them other programs, or the system, took time away, or which are out "
        "of line with the others by a factor of three. Figures are of the others, if these are "
        "five or more.",
    )
    failed_visits: int | None = column(
        "failed visits", "count", "How many visits more there were, that found nothing."
    )
    pairs: int | None = column("pairs", "count", "Pairs of blocks timed, target and baseline.")
    converged: bool | None = column(
        "converged",
        "",
        "Whether the interval, at 99 % as it is looked at after each pass, became as narrow as "
        "asked for before time ran out.",
    )
    speed_drift: float | None = column(
        "speed drift",
        "×",
        "The device's time per call in the last third of the case over that in the first: above 1 "
        "it became slower.",
    )
    cache: str | None = column(
        "cache", "", "The state of the caches that each timed call started from: `warm` or `cold`."
    )
    clock: str | None = column(
        "clock",
        "",
        "What was read: `wall`; `event`, an accelerator's time stamps, gaps between kernels "
        "included; or `device`, these of calls that were queued before they began.",
    )
    counting_s: float | None = column(
        "counting", "s", "Spent in counting, after timing and apart from it."
    )
    timing_s: float | None = column("timing", "s", "Spent in timed or settling calls.")
    case_s: float | None = column("case", "s", "Spent in timing it, set-up and warm-up included.")
    compile_s: float | None = column(
        "compiling",
        "s",
        "Spent in it by torch.compile, in the process where that took longest: later ones find "
        "code in its cache. Missing where nothing was compiled, or for another case before.",
    )
    session: str | None = column(
        "session", "", "When the session that measured it started (ISO 8601, local time)."
    )
    elapsed_s: float | None = column(
        "elapsed", "s", "From that session's start until the row was stored."
    )

    def record(self) -> dict[str, Any]:
        """Return the row as one flat mapping, the case's id and values first."""
        figures = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "case"}
        return {"case_id": self.case.id, **asdict(self.case), **figures}


# Of layers and of networks alike: label, unit and help.
_PARAMETERS = ("parameters", "count", "Elements that learn, those of normalisation included.")
_UNCOUNTED_OPS = (
    "operators that FLOPs lack",
    "",
    "Operators that `flops` lacks; empty if it has them all.",
)
_PEAK_SOURCE = (
    "source of the peak",
    "",
    "Where `peak_bytes` is from: `allocator`, the device's own statistics, or `tracker`, the "
    "tensors' storages.",
)
_SAVED_FOR_BACKWARD = (
    "kept for backward",
    "bytes",
    "What autograd keeps from forward to backward, parameters aside; 0 in inference.",
)


@dataclass(frozen=True)
class Row(Measured):
    """What was found of a single layer."""

    case: Case
    occurrences: int | None = column(
        "occurrences",
        "count",
        "How often this shape occurs in the networks that shapes were taken from.",
    )
    parameters: int | None = column(*_PARAMETERS)
    parameters_normalisation: int | None = column(
        "parameters of normalisation",
        "count",
        "Scales and shifts of normalisation layers, which papers leave out.",
    )
    buffers: int | None = column(
        "buffers", "count", "Elements that do not learn: running statistics, constants."
    )
    flops: int | None = column(
        "FLOPs", "count", "Of one forward pass in eval mode, in both phases, as papers count."
    )
    flops_fvcore_default: int | None = column(
        "FLOPs, fvcore’s default", "count", "What fvcore says of the same pass, unaided."
    )
    flops_by_operator: dict[str, int] | None = column(
        "FLOPs by operator", "", "Parts of `flops` by operator, the largest first."
    )
    uncounted_ops: list[str] | None = column(*_UNCOUNTED_OPS)
    baseline_flops: int | None = column("baseline’s FLOPs", "count", "The baseline's `flops`.")
    traffic_floor_bytes: int | None = column(
        "least bytes moved",
        "bytes",
        "The least that an implementation of what is timed must read and write.",
    )
    traffic_eager_bytes: int | None = column(
        "bytes moved",
        "bytes",
        "What the operators of the eager formulation read and write, each on its own.",
    )
    operator_calls: int | None = column(
        "operator calls",
        "count",
        "Calls of operators of the eager formulation that read or write: one launch each on an "
        "accelerator, or more.",
    )
    baseline_traffic_eager_bytes: int | None = column(
        "baseline’s bytes moved", "bytes", "The baseline's `traffic_eager_bytes`."
    )
    data_dependent: bool | None = column(
        "data dependent",
        "",
        "Whether the host reads values off tensors: such work is counted as for this input.",
    )
    saved_for_backward_bytes: int | None = column(*_SAVED_FOR_BACKWARD)
    saved_input_bytes: int | None = column(
        "kept input", "bytes", "The part of `saved_for_backward_bytes` that is the input itself."
    )
    saved_output_bytes: int | None = column(
        "kept output", "bytes", "The part of `saved_for_backward_bytes` that is the output itself."
    )
    baseline_saved_for_backward_bytes: int | None = column(
        "baseline’s kept for backward", "bytes", "The baseline's `saved_for_backward_bytes`."
    )
    peak_bytes: int | None = column(
        "peak memory",
        "bytes",
        "The most allocated at once above input, parameters and, in training, output gradient.",
    )
    peak_source: str | None = column(*_PEAK_SOURCE)
    baseline_peak_bytes: int | None = column(
        "baseline’s peak memory", "bytes", "The baseline's `peak_bytes`."
    )
    fits_cache: bool | None = column(
        "fits the cache",
        "",
        "Whether input and output fit, both together, into the device's last-level cache, an "
        "accelerator's L2; missing where its size is not known.",
    )
    bandwidth_bytes_per_s: float | None = column(
        "bandwidth",
        "bytes/s",
        "The fastest this device was seen to move tensors of the output's size or larger.",
    )
    peak_flops_per_s: float | None = column(
        "peak arithmetic", "FLOP/s", "The rate of this device's matrix product in the case's dtype."
    )
    floor_time_ns: float | None = column(
        "least time",
        "ns",
        "The longer of moving `traffic_floor_bytes` and doing `flops` at those rates, and no less "
        "than the smallest copy takes.",
    )


@dataclass(frozen=True)
class NetworkRow(Measured):
    """What was found of a network whose activations were replaced.

    The baseline is the same network with its own activations.
    """

    case: NetworkCase
    parameters: int | None = column(*_PARAMETERS)
    baseline_parameters: int | None = column(
        "original’s parameters", "count", "The original network's `parameters`."
    )
    flops: int | None = column("FLOPs", "count", "Of one image's forward pass in eval mode.")
    baseline_flops: int | None = column(
        "original’s FLOPs", "count", "The original network's `flops`."
    )
    macs: int | None = column(
        "MACs",
        "count",
        "Multiply-accumulates of the same pass, of convolutions and matrix products alone.",
    )
    baseline_macs: int | None = column("original’s MACs", "count", "The original network's `macs`.")
    uncounted_ops: list[str] | None = column(*_UNCOUNTED_OPS)
    peak_bytes: int | None = column(
        "peak memory", "bytes", "The most allocated at once above images and parameters."
    )
    peak_source: str | None = column(*_PEAK_SOURCE)
    baseline_peak_bytes: int | None = column(
        "original’s peak memory", "bytes", "The original network's `peak_bytes`."
    )
    saved_for_backward_bytes: int | None = column(*_SAVED_FOR_BACKWARD)
    baseline_saved_for_backward_bytes: int | None = column(
        "original’s kept for backward",
        "bytes",
        "The original network's `saved_for_backward_bytes`.",
    )
    memory_fixed_bytes: float | None = column(
        "fixed memory",
        "bytes",
        "Of all memory, that of parameters included, what does not grow with the batch. At large "
        "batches: a small one may need more, by no more than the gradients take.",
    )
    memory_per_image_bytes: float | None = column(
        "memory by the image", "bytes", "By what all memory grows with each image of the batch."
    )
    baseline_memory_fixed_bytes: float | None = column(
        "original’s fixed memory", "bytes", "The original network's `memory_fixed_bytes`."
    )
    baseline_memory_per_image_bytes: float | None = column(
        "original’s memory by the image",
        "bytes",
        "The original network's `memory_per_image_bytes`.",
    )
    counted_image_size: int | None = column(
        "counted image size",
        "pixels",
        "Height and width of the image that `flops` and `macs` are of: the network's own size.",
    )
    sites: list[dict[str, Any]] | None = column(
        "sites",
        "",
        "What was replaced, in order of depth: its number among all calls of activations, from 1, "
        "name, original activation, channels (0 where unknown); height and width of maps "
        "(N, C, H, W) or (N, H, W, C), else null; its samples for each of the network's (0 where "
        "unknown) or, where they do not grow with the batch, "
        "for all; positions, the sizes of all other dimensions; and memory format. The layer that "
        "is measured for it has as many elements and the same memory format: tokens (N, L, C) are "
        "its maps of L × 1, clips (N, C, T, H, W) those of (T·H) × W.",
    )
    kept_sites: list[dict[str, Any]] | None = column(
        "kept sites", "", "What kept its activation, as in `sites`, and the reason."
    )


_CASE_ID = Column("case_id", "id", "", "The case in one word, equal only for equal cases.")
_ROWS: dict[str, type[Measured]] = {
    KnownPair.table: Measured,
    Case.table: Row,
    SiteCase.table: Row,
    NetworkCase.table: NetworkRow,
}


def new_row(case: AnyCase, status: str, message: str = "", **figures: Any) -> Measured:
    """Return the kind of row that a case gets."""
    return _ROWS[case.table](case, status, message, **figures)


def figures_of(table: str) -> tuple[str, ...]:
    """Return the names of all columns of a table but the case's, in their order."""
    return tuple(f.name for f in fields(_ROWS[table]) if f.name != "case")


def columns_of(table: str) -> tuple[Column, ...]:
    """Return what is declared of each column of a table, in the order of `Measured.record`."""
    return (
        _CASE_ID,
        *(column_of(f) for f in fields(CASE_TYPES[table])),
        *(column_of(f) for f in fields(_ROWS[table]) if f.name != "case"),
    )


def columns_markdown() -> str:
    """Return docs/columns.md."""
    tables = {
        f"Of a layer: {Case.table}, {SiteCase.table}, table.csv": Case.table,
        f"Of a network: {NetworkCase.table}": NetworkCase.table,
        f"Of what is known before: {KnownPair.table}": KnownPair.table,
    }
    parts = [
        "# What each column of a run's rows is",
        "Written by `python -m dynact.schema.rows > docs/columns.md`: change a declaration in "
        "`dynact/schema`, then run it. A figure is null where there is none.",
    ]
    for heading, table in tables.items():
        lines = [f"| `{c.name}` | {c.unit} | {c.help} |" for c in columns_of(table)]
        parts += [
            f"## {heading}",
            "\n".join(["| column | unit | what it is |", "|---|---|---|", *lines]),
        ]
    return "\n\n".join(parts) + "\n"


# How columns were called before.
_FORMER_NAMES = {"kernels": "operator_calls"}


def upgraded(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored row as this version stores it, whichever version wrote it."""
    row = {_FORMER_NAMES.get(name, name): value for name, value in record.items()}
    for name, parse in _FORMER_TEXTS.items():
        if isinstance(row.get(name), str):
            row[name] = parse(row[name])
    return row


def _counts(text: str) -> dict[str, int]:
    """Return what ``"conv:3612672 batch_norm:401408"`` says."""
    return {
        operator: int(count)
        for operator, _, count in (part.rpartition(":") for part in text.split())
    }


def _words(text: str) -> list[str]:
    """Return what ``"aten::cumsum, aten::sort"`` says."""
    return text.split(", ") if text else []


def _sites(text: str) -> list[dict[str, Any]]:
    """Return what ``"features.0.2=relu6:32x112x112 fc.1=relu:120"`` says."""
    return [_site(part) for part in text.split()]


def _kept_sites(text: str) -> list[dict[str, Any]]:
    """Return what ``"fc1.relu=relu:120 – why; fc2.relu=relu:84 – why"`` says."""
    kept = []
    # A reason is a library's message and may hold the separator itself.
    for entry in re.split(r"; (?=\S+=\w+:\d)", text) if text else []:
        sites, _, reason = entry.partition(" – ")
        kept += [_site(part) | {"reason": reason} for part in sites.split()]
    return kept


def _site(text: str) -> dict[str, Any]:
    name, _, rest = text.rpartition("=")
    original, _, shape = rest.rpartition(":")
    channels, height, width = [*map(int, shape.split("x")), None, None][:3]
    return {
        "name": name, "original": original, "channels": channels, "height": height, "width": width
    }  # fmt: skip


# Lists were texts with a grammar of their own before.
_FORMER_TEXTS = {
    "flops_by_operator": _counts,
    "uncounted_ops": _words,
    "sites": _sites,
    "kept_sites": _kept_sites,
}


if __name__ == "__main__":
    print(columns_markdown(), end="")
