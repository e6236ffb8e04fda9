"""The allocator's history of a step, as far as a device keeps one."""

import pickle
from typing import Any

from dynact.timing.clock import Call
from dynact.worker.device import Cpu
from dynact.worker.profile import memory_snapshot


class Recalling(Cpu):
    """A device whose allocator says in which file it was called, and when."""

    def allocations_of(self, call: Call) -> Any | None:
        before = list(CALLS)
        call()
        frames = [{"filename": "/home/ada/layer.py", "line": 7}]
        return {"device_traces": [[{"frames": frames, "size": len(CALLS) - len(before)}]]}


CALLS: list[str] = []


def test_a_snapshot_is_of_one_step_without_folders() -> None:
    dumped = memory_snapshot(lambda: CALLS.append("step"), Recalling())

    assert dumped is not None
    frames = [{"filename": "layer.py", "line": 7}]
    assert pickle.loads(dumped) == {"device_traces": [[{"frames": frames, "size": 1}]]}


def test_the_host_keeps_no_history() -> None:
    assert memory_snapshot(lambda: None, Cpu()) is None
