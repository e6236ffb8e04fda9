"""How large the last-level caches are that the host's processors share."""

import os
import sys
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")


def last_level_bytes(threads: int, cpus: Path = CPUS) -> int | None:
    """Return the bytes of the last-level caches that so many threads use at once.

    A cache may serve some of the processors alone, and a thread uses one cache: of several, as
    many count as there are threads. ``None`` where the system does not tell, as systems other than
    Linux and some virtual machines do not.

    Parameters
    ----------
    cpus
        Of Linux's sysfs: "Documentation/ABI/testing/sysfs-devices-system-cpu" of the kernel.
    """
    if sys.platform != "linux":
        return None
    # By the processors that share it: the same one is listed with each of them.
    found: dict[str, int] = {}
    for cpu in os.sched_getaffinity(0):
        levels = [
            (int(_told(index, "level")), index)
            for index in (cpus / f"cpu{cpu}" / "cache").glob("index*")
            if _told(index, "size") and _told(index, "type") != "Instruction"
        ]
        if levels:
            _, last = max(levels)
            found[_told(last, "shared_cpu_list")] = 1024 * int(_told(last, "size").rstrip("K"))
    return sum(sorted(found.values())[-threads:]) or None


def _told(index: Path, name: str) -> str:
    file = index / name
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""
