"""Made-up traces whose tables agree with each other, as those of real ones do."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dynact.report.data.profile import Traces

CALL = ["case_id", "activation", "phase", "kernel", "kind", "part", "start_ns", "duration_ns"]
ALLOCATION = ["case_id", "at_ns", "allocated_bytes", "part"]


def build_traces(
    calls: Sequence[tuple[object, ...]], memory: Sequence[tuple[object, ...]] = ()
) -> Traces:
    """Return the traces of calls (``CALL``) and of further lines of memory.csv (``ALLOCATION``).

    As on a CPU: a kernel is its own operator.
    """
    table = pd.DataFrame(calls, columns=CALL)
    cases = table.groupby(["case_id", "activation", "phase"], sort=False)["duration_ns"]
    steps = cases.agg(step_ns="sum", operators="size").reset_index()
    folders = "tensorboard/" + steps["case_id"]
    steps = steps.assign(
        steps=16, untraced_ns=steps["step_ns"] / 1.25, coverage=0.97,
        trace=folders + "/trace.pt.trace.json.gz", memory_page=folders + "/memory.html",
        memory_snapshot=None,
    )  # fmt: skip
    grouped = table.groupby(["case_id", "kernel", "kind", "part"], sort=False)["duration_ns"]
    kernels = grouped.agg(calls="size", time_ns="sum").reset_index()
    total_ns = steps.set_index("case_id")["step_ns"].loc[kernels["case_id"]].to_numpy()
    moved = 1000 * kernels["calls"]
    rate = moved / kernels["time_ns"] * 1e9
    kernels = kernels.assign(
        operator=kernels["kernel"], share=kernels["time_ns"] / total_ns,
        input_shapes="8x64x56x56 64, 3", bytes=moved,
        bandwidth_bytes_per_s=rate, ceiling_bytes_per_s=4 * rate, occupancy_percent=None,
        registers_per_thread=None,
    )  # fmt: skip
    allocations = pd.DataFrame(
        [
            line
            for case_id in steps["case_id"]
            for line in [
                (case_id, 0, 0, "forward"),
                *(line for line in memory if line[0] == case_id),
            ]
        ],
        columns=ALLOCATION,
    )
    lines = allocations.groupby("case_id").size()
    steps = steps.assign(memory_lines=lines.reindex(steps["case_id"]).to_numpy())
    return Traces(
        steps,
        kernels,
        table[["case_id", "start_ns", "duration_ns", "kernel", "kind", "part"]],
        allocations,
    )


def write_tables(run: Path, traces: Traces) -> None:
    """Store them as profile_traces.py does."""
    (run / "traces").mkdir(exist_ok=True)
    tables = vars(traces)
    for name in tables if len(traces.failed) else tables.keys() - {"failed"}:
        tables[name].to_csv(run / f"traces/{name}.csv", index=False, lineterminator="\n")
