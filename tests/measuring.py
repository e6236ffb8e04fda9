"""What is measured and counted of a case, as the parent stores it, without a process of its own."""

from dataclasses import dataclass, field, fields
from typing import Any

from dynact.schema.cases import AnyCase, Case, NetworkCase
from dynact.schema.visits import Visit
from dynact.worker.counts import count_workload
from dynact.worker.device import Device
from dynact.worker.kept import Kept
from dynact.worker.layer import LayerWorkload
from dynact.worker.network import NetworkWorkload
from dynact.worker.visit import visit_workload
from dynact.worker.workload import Workload

BRIEFLY_S = 0.02
# What a visit's fields say beside what the parent knows of it.
AT_TIMES = (
    *("foreign_processes", "foreign_memory_bytes", "clock_mhz", "temperature_c", "slowdowns"),
    *("host_share", "baseline_host_share", "device_time_ns", "baseline_device_time_ns"),
    "compile_s",
)
FOUND = tuple(
    each.name for each in fields(Visit) if each.default is None and each.name not in AT_TIMES
)


@dataclass
class Bench:
    """A device, and what is kept between visits of it."""

    device: Device
    kept: Kept = field(default_factory=lambda: Kept(2**30))

    def visit(self, case: AnyCase, seconds: float = BRIEFLY_S) -> Visit:
        answer = visit_workload(workload_of(case, self.device, self.kept), self.device, seconds)
        return Visit(
            case.table, case.id, 1, answer.status, answer.message, seconds, "session", 0.0,
            **answer.figures,
        )  # fmt: skip


def visit(case: AnyCase, device: Device, seconds: float = BRIEFLY_S) -> Visit:
    """Return the first visit of a case."""
    return Bench(device).visit(case, seconds)


def count(case: AnyCase, device: Device) -> dict[str, Any]:
    answer = count_workload(workload_of(case, device, Kept.on(device)), device)
    return answer.figures | {"message": answer.message}


def workload_of(case: AnyCase, device: Device, kept: Kept) -> Workload:
    if isinstance(case, Case):
        return LayerWorkload(case, device, kept)
    assert isinstance(case, NetworkCase)
    return NetworkWorkload(case, device, kept)
