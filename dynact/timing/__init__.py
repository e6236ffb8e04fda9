"""How to compare any two callables: paired, settled, balanced, with an interval."""

from dynact.timing.clock import Clock, DeviceClock, EagerClock, EventClock, WallClock
from dynact.timing.fastest import fastest_ns
from dynact.timing.paired import (
    Comparison,
    Pair,
    Readings,
    change_of_speed,
    compare,
    format_ns,
    is_steady,
)

__all__ = [
    "Clock",
    "Comparison",
    "DeviceClock",
    "EagerClock",
    "EventClock",
    "Pair",
    "Readings",
    "WallClock",
    "change_of_speed",
    "compare",
    "fastest_ns",
    "format_ns",
    "is_steady",
]
