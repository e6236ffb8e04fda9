"""What CUDA's caching allocator did during a step, for torch's memory viewer."""

import pickle

import torch

from dynact.timing.clock import Call
from dynact.worker.device import Device
from dynact.worker.profile.record import publishable

MOST_ENTRIES = 100_000
"""Allocations and frees to keep; a step makes some hundred at most, and an entry is a few KB."""


def memory_snapshot(step: Call, device: Device) -> bytes | None:
    """Return a pickled snapshot of the allocator with the history of one call.

    It is what `torch.cuda.memory._dump_snapshot` writes, without the folders in its stacks.
    ``None`` on a device other than CUDA's (or ROCm's, which torch calls by the same name).
    """
    if device.torch_device.type != "cuda":
        return None
    memory = torch.cuda.memory
    memory._record_memory_history(max_entries=MOST_ENTRIES, stacks="python", clear_history=True)
    try:
        step()
        torch.accelerator.synchronize(device.torch_device)
        snapshot = memory._snapshot()
    finally:
        memory._record_memory_history(enabled=None)
    return pickle.dumps(publishable(snapshot))
