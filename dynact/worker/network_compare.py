"""From a network case to a row: the network with another activation against itself."""

from dynact.schema.network_cases import NetworkCase
from dynact.timing import Comparison, compare
from dynact.worker.compare import Measurement, measured
from dynact.worker.device import Device
from dynact.worker.network_workload import call_of_network, draw_images, pair_of
from dynact.worker.workload import WARM_UP_CALLS, grad_mode


def measure_network(
    case: NetworkCase, device: Device, *, precision: float, max_seconds: float
) -> Measurement:
    """Measure a network against the same one with its own activations.

    Both are called the same way on one shared batch of images. Inference is eval mode under
    inference mode; training is train mode, forward and backward of the task's loss, without an
    optimiser; images require no gradient. Whatever goes wrong becomes the row's status.
    """
    return measured(case, device, lambda: _compare(case, device, precision, max_seconds))


def _compare(case: NetworkCase, device: Device, precision: float, max_seconds: float) -> Comparison:
    pair = pair_of(case, device)
    images = draw_images(case, case.batch, device)
    with grad_mode(case):
        calls = [
            call_of_network(case, network, images) for network in (pair.swapped, pair.original)
        ]
        for call in calls:
            for _ in range(WARM_UP_CALLS):
                call()
        target, baseline = calls
        return compare(
            target, baseline, clock=device.clock, precision=precision, max_seconds=max_seconds
        )
