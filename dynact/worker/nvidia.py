"""What NVIDIA's management library says of a device: how it is set up, and what slows it."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
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

    It returns ``foreign_processes``, ``foreign_memory_bytes``, ``clock_mhz`` of the
    multiprocessors, ``temperature_c`` and ``slowdowns``, each as far as the device says so: nothing
    at all of other makers' devices, or without the library.
    """
    opened = _open(device)
    return partial(_condition, *opened) if opened else dict


def set_up_of(device: torch.device) -> dict[str, Any]:
    """Return whether its memory corrects errors, whether it is a part of one, and its power limit.

    By ``ecc``, ``mig`` and ``power_limit_w``, each as far as the device says so.
    """
    opened = _open(device)
    return _set_up(*opened) if opened else {}


def _open(device: torch.device) -> tuple[ModuleType, object] | None:
    """Return the library and its handle of a device, if it is one of NVIDIA's."""
    if device.type != "cuda" or torch.version.hip:
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        # By this, not by its number: the library knows nothing of CUDA_VISIBLE_DEVICES.
        uuid = torch.cuda.get_device_properties(device).uuid
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except pynvml.NVMLError:
        return None


def _set_up(nvml: ModuleType, handle: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with suppress(nvml.NVMLError):
        found["ecc"] = bool(nvml.nvmlDeviceGetEccMode(handle)[0])
    with suppress(nvml.NVMLError):
        found["mig"] = bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    with suppress(nvml.NVMLError):
        found["power_limit_w"] = nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
    return found


def _condition(nvml: ModuleType, handle: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # A part of a device, or an old one, tells some of it.
    with suppress(nvml.NVMLError):
        found |= _others(nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    with suppress(nvml.NVMLError):
        found["clock_mhz"] = nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)
    with suppress(nvml.NVMLError):
        found["temperature_c"] = nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
    with suppress(nvml.NVMLError):
        reasons = nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
        found["slowdowns"] = [
            said for said, name in SLOWDOWNS.items() if reasons & getattr(nvml, name)
        ]
    return found


def _others(working: Sequence[Any]) -> dict[str, int]:
    """Return how many of the processes that work on a device are not this one, and their memory.

    This one is among them, or the list is not for this process to see.
    """
    if not working:
        return {}
    if len(working) == 1:
        return {"foreign_processes": 0, "foreign_memory_bytes": 0}
    found = {"foreign_processes": len(working) - 1}
    used_bytes = [one.usedGpuMemory for one in working if one.pid != os.getpid()]
    # In a container this process has another number there, and which it is is not known.
    if len(used_bytes) < len(working) and None not in used_bytes:
        found["foreign_memory_bytes"] = sum(used_bytes)
    return found
