"""Python's half of the simulated accelerator: `torch.sim`, loaded by torch's own autoload."""

import importlib.util
import json
import os
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

# The path of the compiled half.
LIBRARY = "SIM_LIBRARY"
# The name of torch's module of another device, as mps, to have no function that it has not; and
# what the device lacks as well: "kernels" in traces, "doubles", "statistics" of its allocator.
LIKE = "SIM_LIKE"
LACKS = "SIM_LACKS"
# What torch asks of any device that it does not know by name, whatever other modules have.
ASKED_BY_TORCH = ("_is_in_bad_fork", "manual_seed_all", "get_amp_supported_dtype")
ASKED_BY_OTHERS = (
    "is_available", "is_initialized", "device_count", "current_device", "get_rng_state",
    "set_rng_state", "mem_get_info", "get_device_name", "get_device_properties",
)  # fmt: skip
STATISTICS = (
    "_accelerator_getDeviceStats", "_accelerator_resetPeakStats", "_accelerator_getMemoryInfo",
)  # fmt: skip
# A JSON list, a mapping for each device, of what a process's cost models have other than default,
# and beside of `TOLD_L2`.
MODELS = "SIM_MODELS"
# What a device's properties say of its L2, where that is not all of its cache: as of an MI300X,
# whose larger cache behind the L2 torch does not tell of.
TOLD_L2 = "told_l2_bytes"
_told_l2: dict[int, int] = {}


def _compiled_half() -> ModuleType:
    spec = importlib.util.spec_from_file_location("simulated_accelerator", os.environ[LIBRARY])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


machine = _compiled_half()


def load() -> None:
    """Make the device known to torch, in this process and for good."""
    torch.utils.rename_privateuse1_backend("sim")
    like = os.environ.get(LIKE)
    torch._register_device_module("sim", _as_far_as(like) if like else sys.modules[__name__])
    if "statistics" in os.environ.get(LACKS, ""):
        for name in STATISTICS:
            setattr(torch._C, name, _refused)
    # By which a clock tells how long its host queues. Other clocks, as of deadlines, stay real.
    time.perf_counter_ns = lambda: int(machine.host_ns())
    for device, model in enumerate(json.loads(os.environ.get(MODELS, "[]"))):
        if TOLD_L2 in model:
            _told_l2[device] = model.pop(TOLD_L2)
        configure(device, **model)


def _as_far_as(like: str) -> ModuleType:
    """Return a module that has of this one's functions those that another device's has."""
    module = ModuleType(__name__)
    for name in (*ASKED_BY_OTHERS, *ASKED_BY_TORCH):
        if name in ASKED_BY_TORCH or hasattr(getattr(torch, like), name):
            setattr(module, name, globals()[name])
    return module


def _refused(*_arguments: object) -> None:
    raise RuntimeError("Allocator for sim is not a DeviceAllocator.")


def configure(device: int, **values: float) -> None:
    """Change a device's cost model; the names are those of machine.h."""
    model = machine.model(device)
    for name, value in values.items():
        setattr(model, name, value)


# What follows is asked by torch or by whoever knows other accelerators' modules.


def is_available() -> bool:
    return True


def is_initialized() -> bool:
    return True


def device_count() -> int:
    return int(machine.device_count())


def current_device() -> int:
    return torch.accelerator.current_device_index()


def _is_in_bad_fork() -> bool:
    return False


def manual_seed_all(seed: int) -> None:
    for index in range(device_count()):
        _generator(index).manual_seed(seed)


def get_rng_state(device: Any = "sim") -> torch.Tensor:
    return _generator(device).get_state()


def set_rng_state(state: torch.Tensor, device: Any = "sim") -> None:
    _generator(device).set_state(state)


def _generator(device: Any) -> torch.Generator:
    index = device if isinstance(device, int) else torch.device(device).index
    return torch._C._accelerator_getDefaultGenerator(current_device() if index is None else index)


def get_amp_supported_dtype() -> list[torch.dtype]:
    return [torch.bfloat16, torch.float16]


def mem_get_info(device: Any = None) -> tuple[int, int]:
    return torch.accelerator.get_memory_info(device)


def get_device_name(device: Any = None) -> str:
    return f"simulated accelerator {torch.device(device).index or 0}"


def get_device_properties(device: Any = None) -> SimpleNamespace:
    index = torch.device(device).index or 0
    l2_bytes = _told_l2.get(index, int(machine.model(index).l2_bytes))
    return SimpleNamespace(name=get_device_name(device), L2_cache_size=l2_bytes)
