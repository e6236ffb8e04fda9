"""What the activations cost without a clock, as tables."""

from typing import Any

import pandas as pd

from dynact.report.data.aggregate import cost_ratios, geometric_means, times_over_floor
from dynact.report.data.names import (
    count_range,
    display_name,
    display_names,
    ratio_or_none,
    with_prefix,
)
from dynact.report.data.omissions import formulation, uncounted_operators
from dynact.report.data.settings_groups import Slice
from dynact.report.tables.markdown import escaped, table


def costs(main: Slice) -> str:
    """Return a section with a table for each phase of the main slice, empty for an old run."""
    ok = main.rows[main.rows["status"] == "ok"]
    if ok[["parameters", "flops", "traffic_eager_bytes", "peak_bytes"]].isna().all(axis=None):
        return ""
    baseline = escaped(display_name(main.rows["baseline"].iloc[0]))
    tables = [
        f"### {str(phase).capitalize()}\n\n{_table(rows, str(phase), baseline)}"
        for phase, rows in main.rows.groupby("phase")
    ]
    meaning = f"{_meaning(baseline)} {formulation(main.rows)}".rstrip()
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
        *([f"copy of {with_prefix(size, 'B')}", with_prefix(rate, "B/s")] for size, rate in copies),
        *(
            [f"matrix product, {dtype}", with_prefix(rate, "FLOP/s")]
            for dtype, rate in record["flops_per_s"].items()
        ),
    ]
    return (
        "## What this device can do\n\nMeasured once in this run, the fastest of several blocks; "
        "a copied byte is read and written.\n\n" + table(["what", "rate"], lines)
    )


def _meaning(baseline: str) -> str:
    return (
        f"Multiples are of {baseline}'s, geometric means over shapes. *Parameters* and *kernels* "
        "are counts, from the least to the most over the shapes; a kernel is an operator of the "
        "plain formulation that reads or writes, one launch on an accelerator. *FLOPs* are of one "
        "forward pass in eval mode, a multiply-add counted as two (≥: some operators could not be "
        "counted); *fvcore* is what that counter reports of it by default. *Bytes* are what the "
        "plain formulation reads and writes, operator by operator. *Kept* is what stays in memory "
        "from forward to backward, parameters aside; where that decides the batch, 3× "
        f"{baseline}'s fits 3× fewer samples, taken alone: in a network, what a neighbour keeps "
        "anyway (the next convolution keeps its input) is not kept twice. *Peak* is the most that "
        "is allocated at once above input, parameters and output gradient. *Time ÷ floor* is the "
        "median of the measured time over the least that this device needs, at its measured "
        "rates, to move what must be moved and to do the arithmetic."
    )


def _table(rows: pd.DataFrame, phase: str, baseline: str) -> str:
    ok = rows[rows["status"] == "ok"]
    order = [str(activation) for activation in geometric_means(rows).loc[phase].index]
    ratios = cost_ratios(rows).droplevel("phase").reindex(order)
    floors = times_over_floor(rows).droplevel("phase").reindex(order)
    lacking = uncounted_operators(ok)
    columns = {
        "parameters": [count_range(ok["parameters"][ok["activation"] == a]) for a in order],
        f"FLOPs (× {baseline})": [
            "≥ " * (a in lacking) + ratio_or_none(ratio) for a, ratio in ratios["flops"].items()
        ],
        f"fvcore (× {baseline})": map(ratio_or_none, ratios["flops_fvcore_default"]),
        f"bytes (× {baseline})": map(ratio_or_none, ratios["traffic_eager_bytes"]),
        "kernels": [count_range(ok["kernels"][ok["activation"] == a]) for a in order],
        f"kept (× {baseline})": map(ratio_or_none, ratios["saved_for_backward_bytes"]),
        f"peak (× {baseline})": map(ratio_or_none, ratios["peak_bytes"]),
        "time ÷ floor": map(ratio_or_none, floors),
    }
    if phase != "training":
        del columns[f"kept (× {baseline})"]
    names = display_names(order)
    lines = zip([escaped(names[a]) for a in order], *columns.values(), strict=True)
    return table(["activation", *columns], lines)
