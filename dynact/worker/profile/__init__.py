"""Where a step's time and memory go, by the profiler: a trace, four tables, a memory timeline."""

from dynact.worker.profile.memory_page import memory_page
from dynact.worker.profile.profiled import Traced, ready_step, trace_case
from dynact.worker.profile.record import record
from dynact.worker.profile.snapshot import memory_snapshot
from dynact.worker.profile.store import store, store_failure
from dynact.worker.profile.tables import Tables, tables_of
from dynact.worker.profile.traffic_by_operator import Moved, moved_bytes

__all__ = [
    "Moved",
    "Tables",
    "Traced",
    "memory_page",
    "memory_snapshot",
    "moved_bytes",
    "ready_step",
    "record",
    "store",
    "store_failure",
    "tables_of",
    "trace_case",
]
