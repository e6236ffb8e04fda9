"""A made-up profile whose tables agree with each other, as those of a real one do."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dynact.report.data.profile import Profile
from dynact.schema.profile import columns, table_path

CALL = ["case_id", "activation", "phase", "kernel", "kind", "part", "start_ns", "duration_ns"]
ALLOCATION = ["case_id", "at_ns", "allocated_bytes", "part"]


def build_profile(
    calls: Sequence[tuple[object, ...]], memory: Sequence[tuple[object, ...]] = ()
) -> Profile:
    """Return the profile of calls (``CALL``) and of further lines of memory.csv (``ALLOCATION``).

    As on a CPU: a kernel is its own operator. Of a case's fields only its device and mode are as
    its id says.
    """
    table = pd.DataFrame(calls, columns=CALL)
    cases = table.groupby(["case_id", "activation", "phase"], sort=False)["duration_ns"]
    steps = cases.agg(step_ns="sum", operators="size").reset_index()
    folders = "tensorboard/" + steps["case_id"]
    on_accelerator = steps["case_id"].str.contains("-cuda:0")
    compiled = steps["case_id"].str.contains("-(?:cpu|cuda:0)-compile")
    steps = steps.assign(
        impl="reference", mode=compiled.map({True: "compile", False: "eager"}), dtype="float32",
        memory_format="contiguous", batch=8, channels=64, height=56, width=56,
        device=on_accelerator.map({True: "cuda:0", False: "cpu"}), baseline="relu",
        on_accelerator=on_accelerator, steps=16, steps_taken=7,
        steps_disturbed=1, tries=1, step_p20_ns=0.9 * steps["step_ns"],
        step_p80_ns=1.2 * steps["step_ns"], timeline_lines=steps["operators"],
        untraced_ns=steps["step_ns"] / 1.25, coverage=0.97,
        trace=folders + "/trace.pt.trace.json.gz", memory_page=folders + "/memory.html",
        memory_snapshot=None,
    )  # fmt: skip
    grouped = table.groupby(["case_id", "kernel", "kind", "part"], sort=False)["duration_ns"]
    kernels = grouped.agg(calls="size", time_ns="sum").reset_index()
    total_ns = steps.set_index("case_id")["step_ns"].loc[kernels["case_id"]].to_numpy()
    traffic_bytes = 1000 * kernels["calls"]
    rate = traffic_bytes / kernels["time_ns"] * 1e9
    kernels = kernels.assign(
        time_p20_ns=0.8 * kernels["time_ns"], time_p80_ns=1.4 * kernels["time_ns"],
        operator=kernels["kernel"], share=kernels["time_ns"] / total_ns,
        input_shapes="8x64x56x56 64, 3", bytes=traffic_bytes,
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
    return Profile(
        steps,
        kernels,
        table[["case_id", "start_ns", "duration_ns", "kernel", "kind", "part"]],
        allocations,
    )


def write_tables(run: Path, profile: Profile) -> None:
    """Store them as profile_traces.py does."""
    (run / "traces").mkdir(exist_ok=True)
    tables = vars(profile)
    for name in tables if len(profile.failed) else tables.keys() - {"failed"}:
        lines = tables[name][columns(name)]
        lines.to_csv(table_path(run, name), index=False, lineterminator="\n")
