"""What an accelerator's caching allocator did during a step, for torch's memory viewer."""

import pickle

from dynact.timing.clock import Call
from dynact.worker.device import Device
from dynact.worker.profile.record import publishable


def memory_snapshot(step: Call, device: Device) -> bytes | None:
    """Return a pickled snapshot of the allocator with the history of one call.

    Without the folders in its stacks; ``None`` where the device's allocator keeps no history.
    """
    snapshot = device.allocations_of(step)
    return None if snapshot is None else pickle.dumps(publishable(snapshot))
