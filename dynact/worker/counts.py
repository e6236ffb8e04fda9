"""What both sides of a workload cost without a clock."""

import time

from dynact.schema.messages import Answer
from dynact.schema.redact import error_line
from dynact.schema.rows import figures_of
from dynact.worker.counter_cache import CounterCache
from dynact.worker.device import Device
from dynact.worker.workload import Workload

BASELINE = "baseline_"
# As many as the quick sweep has, in little memory.
CACHE = CounterCache(most=2000)


def count_workload(workload: Workload, device: Device) -> Answer:
    """Count target and baseline.

    Returns
    -------
    Answer
        Figures by the names of a row's; of the baseline those that its row has as ``baseline_…``.
        What cannot be counted is left out, or None beside the target's, and the message says why,
        in one line.
    """
    start_s = time.perf_counter()
    wanted = figures_of(workload.case.table)
    found, errors = CACHE.count(workload.target_counters())
    of_baseline, its_errors = CACHE.count(workload.baseline_counters())
    errors += [f"of the baseline: {error}" for error in its_errors]
    figures = {name: figure for name, figure in found.items() if name in wanted}
    for name in set(found) | set(of_baseline):
        if f"{BASELINE}{name}" in wanted:
            figures[f"{BASELINE}{name}"] = of_baseline.get(name)
    try:
        device.release_memory()
    except RuntimeError as error:
        errors.append(error_line(error))
    seconds = time.perf_counter() - start_s
    return Answer("ok", "; ".join(errors), figures | {"counting_s": seconds})
