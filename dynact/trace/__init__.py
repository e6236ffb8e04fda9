"""Where a step's time and memory go, by the profiler: a trace, four tables, a memory timeline."""

from dynact.trace.memory_page import memory_page
from dynact.trace.moved import Moved, moved_bytes
from dynact.trace.record import record
from dynact.trace.snapshot import memory_snapshot
from dynact.trace.store import store, store_failure
from dynact.trace.tables import Tables, tables_of
from dynact.trace.traced import Traced, ready_step, trace_case

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
