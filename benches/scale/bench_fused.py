"""What the fused implementations take beside ReLU: `pytest benches/scale/bench_fused.py`."""

from collections.abc import Iterator
from statistics import geometric_mean, median
from typing import Any

import pytest

from dynact.schema.cases import AnyCase, Case, NetworkCase
from dynact.schema.messages import Request
from dynact.schema.settings import Settings
from dynact.sweep.presets import preset, unique_cases
from dynact.sweep.session import ask_or_raise
from dynact.sweep.worker import Worker

# Of 6.4 and 3.2 MB: beyond, what is moved decides, and not what is launched.
LARGE = ((8, 64, 56, 56), (2, 512, 28, 28))
# At those, × eager ReLU, one thread, on a CPU: in inference, in training.
MOST = {
    "prelu": (1.1, 1.6),
    "se": (1.8, 3.0),
    "acon_c": (3.0, 3.5),
    "frelu": (5.0, 9.0),
    "dyrelu_a": (2.2, 2.6),
    "dyrelu_b": (2.2, 2.6),
    "dyrelu_c": (3.5, 4.5),
}
PHASES = ("inference", "training")
# Over the quick grid, where launches count too: × ReLU, and how many times the reference.
MOST_OF_DYRELU_B = {"inference": 6.0, "training": 5.0}
LEAST_GAIN = {"inference": 12.0, "training": 7.0}
# MobileNetV2 in training with DY-ReLU-B at every activation, × the original: today's reference
# takes 2.9 times as long.
MOST_IN_MOBILENET = 1.5
VISITS = 5
VISIT_S = 0.4
# A step of it is tenths of a second.
NETWORK_VISIT_S = 4.0


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """Start a process that measures."""
    worker = Worker(Settings(device="cpu", threads=1))
    yield worker
    worker.close()


def overhead(worker: Worker, case: AnyCase, seconds: float = VISIT_S) -> float:
    """Return the median of a few visits."""
    request = Request("visit", case, {"seconds": seconds})
    found: list[float] = [ask_or_raise(worker, request).figures["overhead"] for _ in range(VISITS)]
    return median(found)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", MOST)
def bench_large_inputs(benchmark: Any, worker: Worker, name: str, phase: str) -> None:
    """Multiples of ReLU where memory traffic decides."""

    def measure() -> dict[str, float]:
        return {
            f"{impl} at {'x'.join(map(str, shape))}": overhead(
                worker,
                Case(name, impl, phase, "eager", "float32", "contiguous", *shape, "cpu", "relu"),
            )
            for shape in LARGE
            for impl in ("reference", "fused")
        }

    found = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info |= found
    fused = [ratio for what, ratio in found.items() if what.startswith("fused")]
    assert max(fused) <= MOST[name][PHASES.index(phase)], found


@pytest.mark.parametrize("phase", PHASES)
def bench_dyrelu_b_over_the_quick_grid(benchmark: Any, worker: Worker, phase: str) -> None:
    """Multiples of ReLU, and of the reference, over sizes that users have."""
    cases = [
        case
        for case in unique_cases(preset("quick", (), False), "cpu", "relu")
        if (case.activation, case.phase) == ("dyrelu_b", phase)
    ]

    def measure() -> dict[str, float]:
        return {
            impl: geometric_mean(overhead(worker, c) for c in cases if c.impl == impl)
            for impl in ("reference", "lines", "fused")
        }

    found = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info |= found
    assert found["fused"] <= MOST_OF_DYRELU_B[phase], found
    assert found["reference"] / found["fused"] >= LEAST_GAIN[phase], found


def bench_dyrelu_b_in_mobilenet(benchmark: Any, worker: Worker) -> None:
    """Multiples of the original network, at the size that papers count at."""

    def measure() -> dict[str, float]:
        return {
            impl: overhead(
                worker,
                NetworkCase(
                    "mobilenet_v2", "dyrelu_b", "all", "training", "float32", 2, 224, "cpu", impl
                ),
                NETWORK_VISIT_S,
            )
            for impl in ("reference", "fused")
        }

    found = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info |= found
    assert found["fused"] <= MOST_IN_MOBILENET, found
