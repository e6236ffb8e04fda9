"""Networks on the device: the largest batch that rows tell is the largest that it takes."""

import pytest
import torch
from sim_backend import configure

from dynact.worker.device import open_device
from dynact.worker.network import call_of_network, draw_images, pair_of
from tests.measuring import count, visit
from tests.sweeping import network_case_of

MEMORY = 64 * 2**20


@pytest.mark.parametrize("activation", ["frelu", "dyrelu_b"])
def test_the_largest_batch_fits_and_a_larger_does_not(activation: str) -> None:
    device = open_device("sim:0")
    case = network_case_of(activation, phase="training", device="sim:0", network="lenet")
    told = count(case, device)
    assert told["peak_source"] == "allocator"
    largest = int((MEMORY - told["memory_fixed_bytes"]) // told["memory_per_image_bytes"])
    network = pair_of(case, device).swapped
    configure(0, memory_bytes=MEMORY)
    try:
        call_of_network(case, network, draw_images(case, int(0.99 * largest), device))()
        with pytest.raises(torch.OutOfMemoryError):
            call_of_network(case, network, draw_images(case, int(1.01 * largest), device))()
    finally:
        configure(0, memory_bytes=2**30)


def test_what_does_not_fit_is_a_row() -> None:
    device = open_device("sim:0")
    case = network_case_of("frelu", phase="training", device="sim:0", batch=2048)
    configure(0, memory_bytes=MEMORY)
    try:
        told = visit(case, device)
    finally:
        configure(0, memory_bytes=2**30)
    assert (told.status, told.overhead) == ("oom", None)
    assert visit(network_case_of("frelu", device="sim:0"), device).status == "ok"
