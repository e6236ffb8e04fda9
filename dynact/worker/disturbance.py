"""How much time others took away while a visit was made: the system, and other programs."""

import time

import psutil


class Disturbance:
    """Watches the host from when it is made.

    The system counts in steps of 1/100 s, so that shares of a visit of 0.1 s are coarse.
    """

    def __init__(self) -> None:
        self._start_s = time.perf_counter()
        self._then = _seconds()

    def shares(self) -> dict[str, float]:
        """Return what was taken since, in processors.

        ``steal_share`` by a hypervisor, where it says so; ``other_share`` by other processes.
        """
        steal_s, other_s = (now - then for now, then in zip(_seconds(), self._then, strict=True))
        wall_s = time.perf_counter() - self._start_s
        return {
            "steal_share": max(steal_s, 0.0) / wall_s,
            "other_share": max(other_s, 0.0) / wall_s,
        }


def _seconds() -> tuple[float, float]:
    """Return the seconds so far that were stolen, and that other processes worked."""
    system = psutil.cpu_times()
    steal_s: float = getattr(system, "steal", 0.0)
    waiting_s = system.idle + getattr(system, "iowait", 0.0) + steal_s
    return steal_s, sum(system) - _counted_twice(system) - waiting_s - time.process_time()


def _counted_twice(system: object) -> float:
    # Linux counts what guests of a hypervisor take among "user" and "nice" too.
    return sum(getattr(system, name, 0.0) for name in ("guest", "guest_nice"))
