"""How fast a call can be: the fastest of several blocks, as whatever disturbs only slows."""

from math import ceil

from dynact.timing.clock import Call, Clock

LEAST_READINGS = 3


def fastest_ns(call: Call, clock: Clock, seconds: float = 0.0) -> float:
    """Return the duration in ns of one call in the fastest block.

    Parameters
    ----------
    call
        Warm: compiled, autotuned, allocated.
    seconds
        Go on reading for so long; there are always `LEAST_READINGS` blocks that are long enough
        for the clock, or of one call each from cold caches.
    """
    deadline_s = clock.now_s() + seconds
    calls, reading_ns = 1, clock.call_ns(call, 1)
    while clock.cache == "warm" and reading_ns * calls < clock.min_block_ns:
        # A clock too coarse for the block may read 0: then only growing the block helps.
        missing = clock.min_block_ns / (reading_ns * calls) if reading_ns > 0 else 10
        calls = ceil(calls * min(max(missing, 1.5), 10))
        reading_ns = clock.call_ns(call, calls)
    readings = [reading_ns]
    while len(readings) < LEAST_READINGS or clock.now_s() < deadline_s:
        readings.append(clock.call_ns(call, calls))
    return min(readings)
