"""What the activations cost without a clock, as tables."""

from typing import Any

import pandas as pd

from dynact.report.aggregate import cost_ratios, geometric_means, times_over_floor
from dynact.report.markdown import LONGEST_MESSAGE, NO_FIGURE, escaped, table
from dynact.report.names import cell_ratio, display_name, display_names, with_prefix
from dynact.report.slices import Slice

_DEPENDENT = "its work depends on the input's values: counted as for this input"


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
    return "\n\n".join(["## What it costs without a clock", _meaning(baseline), *tables])


def ceilings(record: dict[str, Any] | None) -> str:
    """Return a section on the rates that a run measured of its device, empty for an old run."""
    if record is None:
        return ""
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
        "forward pass in eval mode, a multiply-add counted as two; *fvcore* is what that counter "
        "reports of it by default. *Bytes* are what the plain formulation reads and writes, "
        "operator by operator. *Kept* is what stays in memory from forward to backward, parameters "
        f"aside; where that decides the batch, 3× {baseline}'s fits 3× fewer samples. *Peak* is "
        "the most that is allocated at once above input, parameters and output gradient. *Time ÷ "
        "floor* is the median of the measured time over the least that this device needs, at its "
        "measured rates, to move what must be moved and to do the arithmetic."
    )


def _table(rows: pd.DataFrame, phase: str, baseline: str) -> str:
    ok = rows[rows["status"] == "ok"]
    order = [str(activation) for activation in geometric_means(rows).loc[phase].index]
    ratios = cost_ratios(rows).droplevel("phase").reindex(order)
    floors = times_over_floor(rows).droplevel("phase").reindex(order)
    columns = {
        "parameters": [_range(ok, activation, "parameters") for activation in order],
        f"FLOPs (× {baseline})": map(_ratio, ratios["flops"]),
        f"fvcore (× {baseline})": map(_ratio, ratios["flops_fvcore_default"]),
        f"bytes (× {baseline})": map(_ratio, ratios["traffic_eager_bytes"]),
        "kernels": [_range(ok, activation, "kernels") for activation in order],
        f"kept (× {baseline})": map(_ratio, ratios["saved_for_backward_bytes"]),
        f"peak (× {baseline})": map(_ratio, ratios["peak_bytes"]),
        "time ÷ floor": map(_ratio, floors),
    }
    if phase != "training":
        del columns[f"kept (× {baseline})"]
    names = display_names(order)
    lines = zip([escaped(names[a]) for a in order], *columns.values(), strict=True)
    return table(["activation", *columns], lines)


def _range(ok: pd.DataFrame, activation: str, count: str) -> str:
    counts = ok.loc[ok["activation"] == activation, count].dropna().astype(int)
    if counts.empty:
        return NO_FIGURE
    ends = sorted({counts.min(), counts.max()})
    return "–".join(f"{end:,}" for end in ends)


def _ratio(ratio: float) -> str:
    if pd.isna(ratio):
        return NO_FIGURE
    return cell_ratio(ratio) if ratio else "0"


def uncounted(rows: pd.DataFrame) -> str:
    """Return a table of what could not be counted in ok rows, empty if all could."""
    ok = rows[rows["status"] == "ok"]
    gaps = pd.DataFrame(
        {
            "activation": ok["activation"],
            "phase": ok["phase"],
            "operators": ok["uncounted_ops"].fillna("").astype(str),
            "message": [
                "; ".join(filter(None, (_DEPENDENT * depends, message)))
                for depends, message in zip(
                    ok["data_dependent"].eq(True), ok["message"].fillna(""), strict=True
                )
            ],
        }
    )
    gaps = gaps[(gaps["operators"] != "") | (gaps["message"] != "")]
    if gaps.empty:
        return ""
    names = display_names(rows["activation"])
    lines = [
        [
            escaped(names[str(activation)]),
            str(phase),
            escaped(str(operators)) or NO_FIGURE,
            str(len(group)),
            escaped(str(message)[:LONGEST_MESSAGE]),
        ]
        for (activation, phase, operators, message), group in gaps.groupby(list(gaps.columns))
    ]
    header = ["activation", "phase", "operators that FLOPs lack", "cases", "message"]
    return "Measured, but not all of it counted:\n\n" + table(header, lines)
