"""What the activations cost without a clock, as tables."""

from typing import Any

from dynact.report.data.names import (
    count_range,
    ratio_or_none,
)
from dynact.report.data.omissions import formulation, uncounted_operators, unwatched
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.tables.markdown import escaped, table
from dynact.schema.cases import Case
from dynact.schema.prefix import with_prefix
from dynact.schema.rows import columns_of

_LABELS = {column.name: column.label for column in columns_of(Case.table)}


def costs(main: SettingsGroup) -> str:
    """Return a section with a table for each phase of the main group, empty for an old run."""
    if main.ok[["parameters", "flops", "traffic_eager_bytes", "peak_bytes"]].isna().all(axis=None):
        return ""
    baseline = escaped(main.baseline)
    tables = [
        f"### {phase.capitalize()}\n\n{_table(part, baseline)}"
        for phase, part in main.by_phase.items()
    ]
    notes = [_meaning(baseline), formulation(main.rows), escaped(unwatched(main.rows))]
    meaning = " ".join(filter(None, notes))
    return "\n\n".join(["## What it costs without a clock", meaning, *tables])


def ceilings(record: dict[str, Any] | None) -> str:
    """Return a section on the rates that a run measured of its device, empty for an old run."""
    if record is None:
        return ""
    if "message" in record:
        return f"## What this device can do\n\nNot measured: {escaped(record['message'])}"
    # Every third size tells the caches apart.
    copies = [[c["bytes"], c["bytes_per_s"]] for c in record["copies"]][::3]
    lines = [
        *([f"moving {with_prefix(size, 'B')}", with_prefix(rate, "B/s")] for size, rate in copies),
        *(
            [f"matrix product, {dtype}", with_prefix(rate, "FLOP/s")]
            for dtype, rate in record["flops_per_s"].items()
        ),
    ]
    return (
        "## What this device can do\n\nMeasured once in this run, the fastest of several blocks; "
        "of moving, the faster of a copy and of adding two, bytes read and bytes written.\n\n"
        + table(["what", "rate"], lines)
    )


def _meaning(baseline: str) -> str:
    return (
        f"Multiples are of {baseline}'s, geometric means over shapes. *Parameters* and *operator "
        "calls* are counts, from the least to the most over the shapes; a call is of an operator "
        "of the plain formulation that reads or writes, one launch on an accelerator. *FLOPs* are "
        "of one forward pass in eval mode, a multiply-add counted as two (≥: some operators could "
        "not be counted); *FLOPs, fvcore’s default* is what that counter reports of it by default. "
        "*Bytes moved* are what the plain formulation reads and writes, operator by operator. "
        "*Kept for backward* is what stays in memory from forward to backward, parameters aside; "
        f"where that decides the batch, 3× {baseline}'s fits 3× fewer samples, taken alone: in a "
        "network, what a neighbour keeps anyway (the next convolution keeps its input) is not kept "
        "twice. *Peak memory* is the most that is allocated at once above input, parameters and "
        "output gradient. *Time ÷ floor* is the median of the measured time over the least that "
        "this device needs, at its measured rates, to move what must be moved and to do the "
        "arithmetic."
    )


def _table(part: SettingsGroup, baseline: str) -> str:
    ok, order = part.ok, part.ranked
    ratios = part.cost_ratios.droplevel("phase").reindex(order)
    floors = part.times_over_floor.droplevel("phase").reindex(order)
    lacking = uncounted_operators(ok)
    cells = {
        "parameters": [count_range(ok["parameters"][ok["activation"] == a]) for a in order],
        "flops": [
            "≥ " * (a in lacking) + ratio_or_none(ratio) for a, ratio in ratios["flops"].items()
        ],
        "flops_fvcore_default": map(ratio_or_none, ratios["flops_fvcore_default"]),
        "traffic_eager_bytes": map(ratio_or_none, ratios["traffic_eager_bytes"]),
        "operator_calls": [count_range(ok["operator_calls"][ok["activation"] == a]) for a in order],
        "saved_for_backward_bytes": map(ratio_or_none, ratios["saved_for_backward_bytes"]),
        "peak_bytes": map(ratio_or_none, ratios["peak_bytes"]),
    }
    if part.phase != "training":
        del cells["saved_for_backward_bytes"]
    headings = [_LABELS[name] + f" (× {baseline})" * (name in ratios) for name in cells]
    activations = [escaped(part.names[a]) for a in order]
    lines = zip(activations, *cells.values(), map(ratio_or_none, floors), strict=True)
    return table(["activation", *headings, "time ÷ floor"], lines)
