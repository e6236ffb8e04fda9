"""Traces as torch's profiler writes them on a GPU, made up, so that what is true of them is known.

A host's threads call operators and launch; a device works later. Times are in µs.
"""

import gzip
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Event = dict[str, Any]
# A kernel's name, when it begins and how long it takes.
Kernel = tuple[str, float, float]

HOST, AUTOGRAD, LOADER, STREAM = 100, 101, 102, 7
# As torch names a kernel.
VECTORIZED = (
    "void at::native::vectorized_elementwise_kernel<4, at::native::BinaryFunctor<float, float, "
    "float, at::native::binary_internal::MulFunctor<float> >, std::array<char*, 3ul> >(int, "
    "at::native::BinaryFunctor<float, float, float, at::native::binary_internal::MulFunctor<float>"
    " >, std::array<char*, 3ul>)"
)
NODE = "autograd::engine::evaluate_function: "


class Kineto:
    """A trace under construction."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._numbers = itertools.count(1)
        self._correlations = itertools.count(5001)

    def span(
        self, name: str, category: str, ts: float, dur: float, tid: int = HOST, **args: Any
    ) -> None:
        self._add(ph="X", cat=category, name=name, pid=1, tid=tid, ts=ts, dur=dur, args=args)

    def step(self, number: int, ts: float, dur: float) -> None:
        self.span(f"ProfilerStep#{number}", "user_annotation", ts, dur)

    def layer(self, ts: float, dur: float) -> None:
        self.span("nn.Module: FReLU_0", "python_function", ts, dur)

    def operator(
        self,
        name: str,
        ts: float,
        dur: float,
        tid: int = HOST,
        sequence: int | None = None,
        dims: Iterable[Iterable[int]] = (),
        has_number: bool = True,
    ) -> int | None:
        """Add a call of an operator and return its number, if it is to have one."""
        number = next(self._numbers) if has_number else None
        args: dict[str, Any] = {"Record function id": 0, "Ev Idx": len(self.events)}
        if number is not None:
            args["External id"] = number
        if sequence is not None:
            args["Sequence number"] = sequence
        if dims:
            args["Input Dims"] = [list(shape) for shape in dims]
        self.span(name, "cpu_op", ts, dur, tid, **args)
        return number

    def differentiated(self, ts: float, tid: int = HOST) -> None:
        """Add the begin of an arrow from a forward operator to its node."""
        self._add(
            ph="s", id=next(self._numbers), pid=1, tid=tid, ts=ts, cat="fwdbwd", name="fwdbwd"
        )

    def launch(
        self,
        ts: float,
        *kernels: Kernel,
        by: int | None = None,
        tid: int = HOST,
        call: str = "cudaLaunchKernel",
        category: str = "kernel",
        correlation: int | None = None,
    ) -> None:
        """Add a launch, of all kernels of a graph at once, by an operator's number if any."""
        correlation = next(self._correlations) if correlation is None else correlation
        number = {} if by is None else {"External id": by}
        of_driver = call.startswith("cu") and not call.startswith("cuda")
        called = "cuda_driver" if of_driver else "cuda_runtime"
        self.span(call, called, ts, 2, tid, cbid=211, correlation=correlation, **number)
        self._add(ph="s", id=correlation, pid=1, tid=tid, ts=ts, cat="ac2g", name="ac2g")
        for name, start, dur in kernels:
            self.work(name, start, dur, category, correlation=correlation, **number)
            self._add(
                ph="f", id=correlation, pid=0, tid=STREAM, ts=start, cat="ac2g", name="ac2g", bp="e"
            )

    def work(self, name: str, ts: float, dur: float, category: str = "kernel", **args: Any) -> None:
        """Add what a device did, without its launch."""
        self._add(
            ph="X", cat=category, name=name, pid=0, tid=STREAM, ts=ts, dur=dur,
            args={"device": 0, "stream": STREAM, "registers per thread": 16, **args},
        )  # fmt: skip

    def memory(self, ts: float, size: int, tid: int = HOST, on_host: bool = False) -> None:
        args = {"Bytes": size, "Device Type": 0 if on_host else 1, "Device Id": 0}
        self._add(
            ph="i", cat="cpu_instant_event", s="t", name="[memory]", pid=1, tid=tid, ts=ts,
            args=args,
        )  # fmt: skip

    def write(self, path: Path, **others: Any) -> Path:
        """Write a file, packed if its name ends in .gz, with other keys behind the events."""
        before = {"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "A GPU"}]}
        text = json.dumps({**before, "traceEvents": self.events, **others}, indent=2)
        content = text.encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path

    def _add(self, **event: Any) -> None:
        self.events.append(event)


def training(steps: int, operators: int) -> Kineto:
    """Return a trace with so many steps of so many operators, each of one kernel of 20 µs."""
    made = Kineto()
    for number in range(steps):
        begin = 50.0 * operators * number
        made.step(number, begin, 50 * operators)
        made.layer(begin, 50 * operators)
        for ts in (begin + 50 * i for i in range(operators)):
            # With the stack that a profiler with stacks writes of each.
            for depth in range(3):
                name = f"torch/nn/modules/module.py({1700 + depth}): _call_impl"
                made.span(name, "python_function", ts + depth, 40 - 2 * depth)
            by = made.operator("aten::mul", ts + 5, 20, dims=[(32, 64, 56, 56), (64,)])
            made.launch(ts + 10, (VECTORIZED, ts + 200, 20), by=by)
    return made
