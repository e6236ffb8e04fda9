"""What NVIDIA's management library says of a device that may be slowed."""

from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

import torch

# Of NVML's reasons for a clock below the highest (nvml.h, "ClocksEventReasons"): those that others
# or the cooling give. Idling, a power limit and clocks set by hand are no disturbance.
SLOWDOWNS = {
    "hardware slowdown": "nvmlClocksEventReasonHwSlowdown",
    "too hot (software)": "nvmlClocksEventReasonSwThermalSlowdown",
    "too hot (hardware)": "nvmlClocksEventReasonHwThermalSlowdown",
    "power brake": "nvmlClocksEventReasonHwPowerBrakeSlowdown",
}


def condition_of(device: torch.device) -> Callable[[], dict[str, Any]]:
    """Return what tells a device's condition, by names of `dynact.schema.visits.Visit`.

    It returns ``foreign_processes``, ``clock_mhz`` of the multiprocessors and ``slowdowns``, each
    as far as the device says so: nothing at all of other makers' devices, or without the library.
    """
    if device.type != "cuda" or torch.version.hip:
        return dict
    try:
        import pynvml
    except ImportError:
        return dict
    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except pynvml.NVMLError:
        return dict
    return lambda: _condition(pynvml, handle)


def _condition(nvml: ModuleType, handle: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # A part of a device, or an old one, tells some of it.
    with suppress(nvml.NVMLError):
        # This process is one of them; in a container its number is another there.
        working = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        found["foreign_processes"] = max(len(working) - 1, 0)
    with suppress(nvml.NVMLError):
        found["clock_mhz"] = nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)
    with suppress(nvml.NVMLError):
        reasons = nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
        found["slowdowns"] = [
            said for said, name in SLOWDOWNS.items() if reasons & getattr(nvml, name)
        ]
    return found
