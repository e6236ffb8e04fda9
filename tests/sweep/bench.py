"""A bench that measures nothing and answers as it is told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dynact.schema.messages import Answer, Request, WorkerInfo
from dynact.schema.rows import figures_of

ENVIRONMENT = {
    "device": {"type": "cpu", "name": "Some CPU"}, "threads": 1, "versions": {"torch": "2.14.1"},
}  # fmt: skip
INFO = WorkerInfo(device="cpu", is_accelerator=False, free_bytes=2**34, environment=ENVIRONMENT)
LIMITS = {
    # A small copy stays in cache.
    "copies": [{"bytes": 1_000, "bytes_per_s": 1e10}, {"bytes": 10_000_000, "bytes_per_s": 1e9}],
    "flops_per_s": {"float32": 1e9},
    "case_s": 0.1,
}
VISITED = {
    "time_ns": 2e3, "baseline_time_ns": 1e3, "overhead": 2.0, "pairs": 4, "cache": "warm",
    "clock": "wall", "timing_s": 0.05, "visit_s": 0.06, "steal_share": 0.0, "other_share": 0.01,
}  # fmt: skip
COUNTED = {"flops": 3_000, "traffic_floor_bytes": 1_000, "counting_s": 0.5}
SITES = [
    {
        "number": 1,
        "name": "features.2",
        "original": "relu",
        "channels": 6,
        "height": 28,
        "width": 28,
    },
    {
        "number": 2,
        "name": "features.5",
        "original": "relu",
        "channels": 16,
        "height": 10,
        "width": 10,
    },
]
STRUCTURE = {"module": "Net()", "parameter conv.weight": "8x3x3x3"}


def counted(request: Request) -> Answer:
    """Answer with the counts that the case's table has."""
    assert request.case
    known = figures_of(request.case.table)
    return Answer(figures={name: figure for name, figure in COUNTED.items() if name in known})


Reply = Answer | Callable[[Request], Answer]
USUAL: dict[str, Reply] = {
    "visit": Answer(figures=VISITED),
    "count": counted,
    "check": Answer(figures={"structure": STRUCTURE}),
    "limits": Answer(figures=LIMITS),
    "shapes": Answer(figures={"shapes": [[6, 28, 28, 1], [16, 10, 10, 1]]}),
    "sites": Answer(figures={"sites": SITES}),
}


@dataclass
class FakeBench:
    """Answers each verb with what it holds for it, else as a bench does where all is well."""

    answers: dict[str, Reply] = field(default_factory=dict)
    info: WorkerInfo = INFO
    asked: list[Request] = field(default_factory=list)
    closed: bool = False
    renewed_after: list[int] = field(default_factory=list)
    """How many visits had been asked for whenever a fresh process was."""

    def ask(self, request: Request) -> Answer:
        self.asked.append(request)
        reply = self.answers.get(request.verb, USUAL.get(request.verb))
        assert reply is not None, request
        return reply(request) if callable(reply) else reply

    def renew(self) -> None:
        self.renewed_after.append(len(self.requests("visit")))

    def close(self) -> None:
        self.closed = True

    @property
    def verbs(self) -> list[str]:
        return [request.verb for request in self.asked]

    def requests(self, verb: str) -> list[Any]:
        return [request for request in self.asked if request.verb == verb]
