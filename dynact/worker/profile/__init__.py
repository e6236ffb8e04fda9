"""Where a step's time and memory go, by the profiler: a trace, four tables, a memory timeline."""

from dynact.worker.profile.events import read_trace
from dynact.worker.profile.memory_page import memory_page
from dynact.worker.profile.own_trace import OwnTrace, own_trace
from dynact.worker.profile.profiled import Profiled, profile_case, ready_step
from dynact.worker.profile.record import record
from dynact.worker.profile.snapshot import memory_snapshot
from dynact.worker.profile.steps import steps_of
from dynact.worker.profile.store import store, store_failure
from dynact.worker.profile.tables import Tables, tables_of
from dynact.worker.profile.traffic_by_operator import OperatorTraffic, traffic_of_operators

__all__ = [
    "OperatorTraffic",
    "OwnTrace",
    "Profiled",
    "Tables",
    "memory_page",
    "memory_snapshot",
    "own_trace",
    "profile_case",
    "read_trace",
    "ready_step",
    "record",
    "steps_of",
    "store",
    "store_failure",
    "tables_of",
    "traffic_of_operators",
]
