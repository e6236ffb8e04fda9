"""Where a step's time and memory go, by the profiler: a trace for TensorBoard and four tables."""

from dynact.trace.moved import moved_bytes
from dynact.trace.record import record
from dynact.trace.store import store
from dynact.trace.tables import Tables, tables_of

__all__ = ["Tables", "moved_bytes", "record", "store", "tables_of"]
