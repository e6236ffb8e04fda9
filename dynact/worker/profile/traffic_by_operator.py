"""The bytes that each operator of a step reads and writes, in the order they run."""

from dataclasses import dataclass
from typing import Any

import torch

from dynact.cost import TrafficCounter
from dynact.schema.cases import Case
from dynact.worker.device import Device
from dynact.worker.layer import call_of, feed_of, prepared
from dynact.worker.modes import watched_mode

# What autograd calls where its operators are watched, and what elsewhere: it moves the same.
_BY_ANOTHER_NAME = {
    "aten::new_zeros": "aten::zeros",
    "aten::index_put": "aten::_index_put_impl_",
}


@dataclass(frozen=True)
class OperatorTraffic:
    """The bytes that one call of an operator reads and writes."""

    name: str
    """As it was counted, such as ``"aten::add"``."""
    bytes: int
    """Of each distinct input and output, once."""

    def by(self, name: str) -> int | None:
        """Return the bytes of an operator that ran in its place, ``None`` of quite another.

        Where its operators are watched, autograd calls none that writes into its input; one that
        does so moves the same.
        """
        same = name in (self.name, f"{self.name}_", _BY_ANOTHER_NAME.get(self.name))
        return self.bytes if same else None


def traffic_of_operators(case: Case, device: Device) -> list[OperatorTraffic]:
    """Return the bytes that each operator of a step reads and writes, in the order they run.

    Counted on the eager formulation: the profiler tells no outputs.
    """
    with watched_mode(case):
        call = call_of(prepared(case, device), feed_of(case, device))
        call()  # what a layer sets up at its first is none of a step's
        with _InOrder() as counter:
            call()
    return list(counter.of_each_call)


class _InOrder(TrafficCounter):  # type: ignore[no-untyped-call]
    of_each_call: list[OperatorTraffic]

    def __init__(self) -> None:
        super().__init__()
        self.of_each_call = []

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        before = self.bytes
        result = super().__torch_dispatch__(func, types, args, kwargs)
        moved = self.bytes - before
        if moved:
            self.of_each_call.append(OperatorTraffic(func._schema.name, moved))
        return result
