"""What each operator of a step reads and writes, in their order."""

from dataclasses import dataclass
from typing import Any

import torch

from dynact.cost import TrafficCounter
from dynact.schema.cases import Case
from dynact.worker.device import Device
from dynact.worker.workload import Fixed, call_of, draw_gradient, draw_input, prepared, watched_mode

_BY_ANOTHER_NAME = {"aten::new_zeros": "aten::zeros"}
"""What autograd calls where its work is watched, and what else: both write zeros, no more."""


@dataclass(frozen=True)
class Moved:
    """What an operator reads and writes, each distinct input and output once."""

    name: str
    """As it was counted, such as ``"aten::add"``."""
    bytes: int

    def by(self, name: str) -> int | None:
        """Return the bytes of an operator that ran in its place, ``None`` of quite another.

        Where its operators are watched, autograd calls none that writes into its input; one that
        does so moves the same.
        """
        same = name in (self.name, f"{self.name}_", _BY_ANOTHER_NAME.get(self.name))
        return self.bytes if same else None


def moved_bytes(case: Case, device: Device) -> list[Moved]:
    """Return what each operator of a step reads and writes, in the order they run.

    Of the eager formulation. The profiler tells no outputs.
    """
    gradient = draw_gradient(case, device)
    with watched_mode(case):
        call = call_of(
            prepared(case.activation, case, device), Fixed(draw_input(case, device)), gradient
        )
        with _InOrder() as traffic:
            call()
    counted: list[Moved] = traffic.of_each_call
    return counted


class _InOrder(TrafficCounter):  # type: ignore[no-untyped-call]
    of_each_call: list[Moved]

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
            self.of_each_call.append(Moved(func._schema.name, moved))
        return result
