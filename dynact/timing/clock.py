"""Clocks: how long a block of calls takes on a device, from a stated cache state."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from itertools import repeat
from statistics import median
from typing import Any, Protocol, Self

Call = Callable[[], object]

# Of the host's time, to be queued while a device is held: queues have room for some thousand
# kernels (CUDA's for 1024), and to queue one takes 2 µs at least.
HELD_NS = 1e6
# To queue one call: that are more kernels than a queue has room for, or its host waits in it.
LONGEST_QUEUEING_NS = 20e6
# How often the time to queue a block to hold a device, and for which part of the calls. The second
# only if the first was too short, or the queue too full: a graph queues many kernels by one call.
# What cannot be queued ahead is held in vain.
HOLDS = ((2, 1), (8, 8))
# Of a device's own time from cold caches, as each is of one call: their median is told.
COLD_READINGS = 5
# To queue a block ahead that has to be: others may take a host away for a moment.
TRIES = 3


class NotQueuedError(NotImplementedError):
    """Calls cannot be queued before they begin; the message is one line for the user."""


class Clock(ABC):
    """Times blocks of calls, each block from the same cache state.

    Parameters
    ----------
    flush
        Empties the device's caches. Without it the clock is "warm": one untimed call of the same
        side goes directly before each block. With it the clock is "cold": a flush goes directly
        before each timed call, and each block is of one call.
    """

    name: str
    """What is read, for the record: ``"wall"``, ``"event"`` or ``"device"``."""
    min_block_ns: float
    """A block at least this long is not distorted by the clock's own resolution and cost."""
    warm_up_ns: float = 0.0
    """The work after which a device that was idle is as fast as it stays."""

    def __init__(self, flush: Call | None = None) -> None:
        self._flush = flush

    @property
    def cache(self) -> str:
        """The state every timed call starts from: ``"warm"`` or ``"cold"``."""
        return "cold" if self._flush else "warm"

    @property
    def warm(self) -> Self:
        """The same clock without a flush."""
        return self.flushed_by(None)

    def flushed_by(self, flush: Call | None) -> Self:
        """Return this clock with another flush, or none."""
        clock = copy(self)
        clock._flush = flush
        return clock

    def rewarmed_by(self, call: Call) -> Self:
        """Return this clock with an untimed call after each flush.

        What it reads of that call is read as a cold clock does, and differs from what that reads
        by the caches alone.
        """
        flush = self._flush or _nothing

        def rewarm() -> None:
            flush()
            call()

        return self.flushed_by(rewarm)

    def call_ns(self, call: Call, calls: int) -> float:
        """Return the mean duration in ns of one call, out of a block of ``calls``."""
        if self._flush is None:
            call()
            return self._block_ns(call, calls) / calls
        total_ns = 0.0
        for _ in range(calls):
            self._flush()
            total_ns += self._block_ns(call, 1)
        return total_ns / calls

    def work_ns(self, call: Call, calls: int) -> float:
        """Return the ns that a block of calls lasts, to whom its state and its host do not matter.

        For a device to be warmed up.
        """
        return calls * self.call_ns(call, calls)

    def queueing_ns(self, call: Call) -> float | None:
        """Call once, untimed, and return the ns of queueing the work that the device waits for.

        ``None`` where the host does the work itself, or has no part in what is read.
        """
        call()
        return None

    def device_ns(self, _call: Call, _calls: int) -> float | None:
        """Return the mean duration in ns of one call without any waiting for the host.

        ``None`` where that is not to be told beside what is read.
        """
        return None

    def now_s(self) -> float:
        """Return the seconds of the host's monotonic clock, for deadlines."""
        return time.perf_counter()

    @abstractmethod
    def _block_ns(self, call: Call, calls: int) -> float:
        """Return the duration in ns of ``calls`` calls back to back, all work done."""


def _nothing() -> None:
    pass


class WallClock(Clock):
    """The host's own clock, for work that is done when the call returns (CPU)."""

    name = "wall"
    min_block_ns = 100e3  # two readings cost about 0.1 µs: 0.1 % of a block

    def _block_ns(self, call: Call, calls: int) -> float:
        block = repeat(None, calls)
        start = time.perf_counter_ns()
        for _ in block:
            call()
        return time.perf_counter_ns() - start


class Event(Protocol):
    """What the event clock needs of a ``torch.Event``."""

    def record(self) -> None:
        """Queue a time stamp behind the work queued so far."""

    def query(self) -> bool:
        """Return whether the device has come to it."""

    def elapsed_time(self, end_event: Any, /) -> float:
        """Return the ms from this time stamp to that one."""


class EventSource(Protocol):
    """What the event clock needs of a device."""

    def event(self) -> Event:
        """Return a new event that can be timed."""

    def synchronize(self) -> None:
        """Wait until all queued work is done."""

    def hold(self, duration_ns: float) -> None:
        """Queue something that keeps the device busy for about so long."""


class EventClock(Clock):
    """A device's own time stamps, for work that is queued (CUDA, XPU and other accelerators).

    The time from the first call's start to the last one's end, gaps between kernels included
    where the host cannot queue them fast enough: what a network in eager mode gets. The settling
    call gives the host a head start, so that it does not count the queueing of the first kernel.

    A flush gives it one as long as the flush itself: from cold caches the time is the device's own
    as far as a call is queued by then.
    """

    name = "event"
    min_block_ns = 200e3  # events resolve about 0.5 µs: 0.5 % of a block is left to the median
    warm_up_ns = 50e6  # an H200 raises its clock from 345 to 1980 MHz once it has work

    def __init__(self, device: EventSource, flush: Call | None = None) -> None:
        super().__init__(flush)
        self._device = device

    def call_ns(self, call: Call, calls: int) -> float:
        """Return the mean duration in ns of one call, out of a block of ``calls``."""
        # Or what is queued from before would give the host more of a head start than the settling
        # call does, and a block that waits for its host would read too short.
        self._device.synchronize()
        return super().call_ns(call, calls)

    def queueing_ns(self, call: Call) -> float:
        """Call once, untimed, and return the ns of queueing the work that the device waits for.

        That is all of it, or what is left of it when a flush ends.
        """
        # A queue that is full (CUDA's, of some thousand kernels) makes a host wait that is far
        # ahead of its device: what is told is of a queue that is empty.
        self._device.synchronize()
        if self._flush is None:
            return self._host_ns_of(call)
        start, end = self._device.event(), self._device.event()
        start.record()
        queueing_ns = self._host_ns_of(self._flush)
        end.record()
        queueing_ns += self._host_ns_of(call)
        self._device.synchronize()
        return max(queueing_ns - start.elapsed_time(end) * 1e6, 0.0)

    def device_ns(self, call: Call, calls: int) -> float | None:
        """Return the mean duration in ns of one call without any waiting for the host.

        The device is held until a block of calls, ``calls`` or as many as the queue has room for,
        is queued, so that no time of the host is in it. ``None`` where that cannot be: the host has
        to wait for what a call finds, or the queue has no room for one.
        """
        self._device.synchronize()
        queueing_ns = max(self._host_ns_of(call), 1.0)
        if queueing_ns > LONGEST_QUEUEING_NS:
            self._device.synchronize()
            return None
        settle, readings = call, 1
        if self._flush is None:
            calls = max(min(int(HELD_NS / queueing_ns), calls), 1)
        else:
            settle, readings, calls = self._flush, COLD_READINGS, 1
        found_ns: list[float] = []
        while len(found_ns) < readings:
            held_ns = self._held_ns(call, calls, queueing_ns, settle)
            if held_ns is None:
                return None
            found_ns.append(held_ns)
        return median(found_ns)

    def _held_ns(self, call: Call, calls: int, queueing_ns: float, settle: Call) -> float | None:
        for hold, part in HOLDS:
            calls = max(calls // part, 1)
            start, end = self._device.event(), self._device.event()
            self._device.hold(hold * (calls + 1) * queueing_ns)
            # What holds it may have emptied its caches, or left something in them.
            settle()
            start.record()
            for _ in repeat(None, calls):
                call()
            end.record()
            was_held = not start.query()
            self._device.synchronize()
            if was_held:
                return start.elapsed_time(end) * 1e6 / calls
        return None

    def _host_ns_of(self, call: Call) -> float:
        start_ns = self._host_ns()
        call()
        return self._host_ns() - start_ns

    def _host_ns(self) -> float:
        return time.perf_counter_ns()

    def _block_ns(self, call: Call, calls: int) -> float:
        # New events for every block: their difference is a float of ms and would lose digits
        # against an origin far in the past.
        start, end = self._device.event(), self._device.event()
        start.record()
        for _ in repeat(None, calls):
            call()
        end.record()
        # Without waiting, a host that runs ahead would queue work far beyond its time budget.
        self._device.synchronize()
        return start.elapsed_time(end) * 1e6


class EagerClock(EventClock):
    """The event clock where what the device takes without its host is not asked for."""

    def device_ns(self, _call: Call, _calls: int) -> float | None:
        """Return None: it is not read."""
        return None


class DeviceClock(Clock):
    """What an accelerator takes without any waiting for its host, in the place of eager time.

    Each block is queued before it begins, see `EventClock.device_ns`.

    Parameters
    ----------
    events
        Of the device, warm or cold.
    """

    name = "device"
    warm_up_ns = EventClock.warm_up_ns

    def __init__(self, events: EventClock) -> None:
        super().__init__(events._flush)
        self.min_block_ns = events.min_block_ns
        self._events = events

    def flushed_by(self, flush: Call | None) -> Self:
        """Return this clock with another flush, or none."""
        return type(self)(self._events.flushed_by(flush))

    def call_ns(self, call: Call, calls: int) -> float:
        """Return the mean duration in ns of one call, out of a block of at most ``calls``.

        Raises
        ------
        NotQueuedError
            If calls cannot be queued ahead.
        """
        # Settled where the device is held.
        return self._block_ns(call, calls) / calls

    def work_ns(self, call: Call, calls: int) -> float:
        """Return the ns that a block of calls lasts, queued while it runs."""
        # Of short ones only some can be queued ahead.
        return self._events.work_ns(call, calls)

    def now_s(self) -> float:
        """Return the seconds of the events' clock."""
        return self._events.now_s()

    def _block_ns(self, call: Call, calls: int) -> float:
        for _ in range(TRIES):
            held_ns = self._events.device_ns(call, calls)
            if held_ns is not None:
                return calls * held_ns
        raise NotQueuedError(
            "its calls cannot be queued before they begin, to time the device alone: the host "
            "waits for a result, or they have more kernels than the queue has room for"
        )
