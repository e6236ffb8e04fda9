"""What is measured and counted of a case, as the parent stores it, without a process of its own."""

from dataclasses import dataclass
from typing import Any

from dynact.schema.cases import AnyCase, Case, NetworkCase
from dynact.schema.rows import Measured, new_row
from dynact.worker.compare import compare_workload
from dynact.worker.counts import count_workload
from dynact.worker.device import Device
from dynact.worker.layer import LayerWorkload
from dynact.worker.network import NetworkWorkload
from dynact.worker.workload import Workload


@dataclass(frozen=True)
class Measurement:
    """A row, and the samples behind it."""

    row: Measured
    samples_ns: tuple[float, ...]


def measure(case: AnyCase, device: Device, **limits: float) -> Measurement:
    answer = compare_workload(workload_of(case, device), device, **limits)
    return Measurement(
        new_row(case, answer.status, answer.message, **answer.figures), answer.samples_ns
    )


def count(case: AnyCase, device: Device) -> dict[str, Any]:
    answer = count_workload(workload_of(case, device), device)
    return answer.figures | {"message": answer.message}


def workload_of(case: AnyCase, device: Device) -> Workload:
    if isinstance(case, Case):
        return LayerWorkload(case, device)
    assert isinstance(case, NetworkCase)
    return NetworkWorkload(case, device)
