"""What each operator of a step reads and writes, in their order."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from dynact.cases import Case
from dynact.cost import TrafficCounter
from dynact.device import Device
from dynact.layers import Fixed, call_of, draw_gradient, draw_input, prepared


def moved_bytes(case: Case, device: Device) -> list[int]:
    """Return the bytes that each operator of a step reads and writes, in the order they run.

    Of the eager formulation, each distinct input and output once. The profiler tells no outputs.
    """
    gradient = draw_gradient(case, device)
    mode: AbstractContextManager[object] = (
        nullcontext() if gradient is not None else torch.no_grad()
    )
    with mode:
        call = call_of(
            prepared(case.activation, case, device), Fixed(draw_input(case, device)), gradient
        )
        with _InOrder() as traffic:
            call()
    counted: list[int] = traffic.of_each_call
    return counted


class _InOrder(TrafficCounter):  # type: ignore[no-untyped-call]
    of_each_call: list[int]

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
        if self.bytes > before:
            self.of_each_call.append(self.bytes - before)
        return result
