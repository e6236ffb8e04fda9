"""What tells whether a device's times can be trusted: its clocks, and other ways of timing."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from dynact.timing import fastest_ns
from dynact.timing.clock import Call
from dynact.worker.captured import Replay
from dynact.worker.device import Device

REST_S = 1.0
RAMP_S = 2.0
# What readings of an undisturbed device stay within, and what ways of timing agree to.
STEADY = 0.05
CALLS = 20
# Of a tensor of single precision: longer than any launch, in any device's memory.
ELEMENTS = 32 * 256 * 56 * 56
ELEMENTS_ON_HOST = 2 * 128 * 28 * 28


@dataclass(frozen=True)
class Reading:
    """How long a call took, so long after the first."""

    after_s: float
    call_ns: float


def ramp(device: Device) -> list[Reading]:
    """Time a matrix product over and over, after a rest: a device's clocks rise with its work."""
    rows = device.matrix_rows // 4
    factor = torch.randn(rows, rows, device=device.torch_device)
    product = torch.empty_like(factor)

    def multiply() -> None:
        torch.mm(factor, factor, out=product)

    multiply()
    device.synchronize()
    time.sleep(REST_S)
    start_s = device.clock.now_s()
    readings = []
    while (after_s := device.clock.now_s() - start_s) < RAMP_S:
        readings.append(Reading(after_s, device.clock.call_ns(multiply, CALLS)))
    return readings


def settled(readings: Sequence[Reading]) -> tuple[float, float | None]:
    """Return the time of a call at the end, and after how long calls stayed at it.

    That is the median of the last half, and the seconds from which nine of ten readings are
    within `STEADY` of it; None where they never are.
    """
    last_ns = median(reading.call_ns for reading in readings[len(readings) // 2 :])
    near = [abs(reading.call_ns / last_ns - 1) <= STEADY for reading in readings]
    for i, reading in enumerate(readings):
        if near[i] and sum(near[i:]) >= 0.9 * len(near[i:]):
            return last_ns, reading.after_s
    return last_ns, None


@dataclass(frozen=True)
class Way:
    """What one way of timing found of a call."""

    name: str
    time_ns: float | None
    why: str = ""
    """Why there is no time."""
    is_expected: bool = True
    """Whether the device has what it needs, as far as torch knows."""


def by_each_way(device: Device) -> Iterator[Way]:
    """Yield how long a large ReLU takes by the clock and by what knows of no clock.

    By "held device", calls that were queued before they began; by "graph", replays of a graph of
    `CALLS` calls, which leave the host nothing to do; by "profiler", what it says of the kernels.
    A host has its clock alone.
    """
    elements = ELEMENTS if device.is_accelerator else ELEMENTS_ON_HOST
    x = torch.randn(elements, device=device.torch_device)
    y = torch.empty_like(x)

    def relu() -> None:
        torch.clamp(x, min=0, out=y)

    with torch.inference_mode():
        relu()
        yield Way(device.clock.name, fastest_ns(relu, device.clock, 0.2))
        if not device.is_accelerator:
            return
        # Beside the host's own there is something to profile.
        is_profiled = len(device.profiler_activities()) > 1
        for name, way, is_expected in (
            ("held device", _held, True),
            ("graph", _by_graph, device.has_graphs),
            ("profiler", _by_profiler, is_profiled),
        ):
            try:
                yield Way(name, way(relu, device))
            except Exception as error:
                why = f"{type(error).__name__}: {error}".splitlines()[0]
                yield Way(name, None, why, is_expected)


def _held(call: Call, device: Device) -> float:
    device_ns = device.clock.device_ns(call, CALLS)
    if device_ns is None:
        raise ValueError("its calls cannot be queued ahead")
    return device_ns


def _by_graph(call: Call, device: Device) -> float:
    def block() -> None:
        for _ in range(CALLS):
            call()

    replay = Replay(block, device)
    try:
        replay.capture()
        return fastest_ns(replay, device.clock, 0.2) / CALLS
    finally:
        replay.release()


def _by_profiler(call: Call, device: Device) -> float:
    with torch.profiler.profile(activities=device.profiler_activities()) as profile:
        for _ in range(CALLS):
            call()
        device.synchronize()
    times_us: list[float] = [
        event.time_range.elapsed_us()
        for event in profile.events() or ()
        if event.device_type.name != "CPU"
    ]
    if len(times_us) != CALLS:
        raise ValueError(f"it shows {len(times_us)} kernels of {CALLS} calls")
    return median(times_us) * 1e3
