"""Networks on the device: the largest batch that rows tell is the largest that it takes."""

import pytest
import sim_backend
import torch
from sim_backend import configure, machine
from torch import nn

from dynact import measure_network
from dynact.networks import swap_activations
from dynact.networks.passes import same_random_numbers
from dynact.schema.cases import PHASES
from dynact.worker.device import open_device
from dynact.worker.modes import grad_mode
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


@pytest.mark.parametrize("launch_ns", [10.0, 5e3, 1e6])
@pytest.mark.parametrize("phase", PHASES)
def test_the_hosts_share_of_a_networks_time_is_told(phase: str, launch_ns: float) -> None:
    device = open_device("sim:0")
    case = network_case_of("frelu", phase=phase, device="sim:0", network="lenet")
    configure(0, launch_ns=launch_ns)
    pair = pair_of(case, device)
    shares = []
    with grad_mode(case):
        for network in (pair.swapped, pair.baseline):
            call = call_of_network(case, network, draw_images(case, case.batch, device))
            call()
            machine.keep_diary(True)
            call()
            machine.keep_diary(False)
            queueing_ns = len(machine.diary()) * launch_ns
            kernels_ns = sum(kernel.end_ns - kernel.start_ns for kernel in machine.diary())
            shares.append(queueing_ns / max(queueing_ns, kernels_ns))
    found = visit(case, device)
    configure(0, launch_ns=5e3)
    assert [found.host_share, found.baseline_host_share] == pytest.approx(shares, rel=0.01)


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


@pytest.mark.parametrize("index", [0, 1])
def test_no_random_number_is_drawn_where_a_network_is_and_other_devices_are_not_touched(
    index: int, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    touched = set()
    kept = sim_backend.set_rng_state

    def noted(state: torch.Tensor, device: int) -> None:
        touched.add(device)
        kept(state, device)

    monkeypatch.setattr(sim_backend, "set_rng_state", noted)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(0.5)).to(f"sim:{index}")
    images = torch.randn(2, 3, 8, 8, device=f"sim:{index}")
    before = sim_backend.get_rng_state(index)

    swap_activations(network, "dyrelu_b", example_input=images)
    measure_network(network, "frelu", example_input=images, seconds=0.01)

    assert torch.equal(sim_backend.get_rng_state(index), before)
    assert touched == {index}
    assert not [warning for warning in recwarn if "fork_rng" in str(warning.message)]


def test_a_network_of_the_host_touches_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim_backend, "get_rng_state", None)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    swapped, _ = swap_activations(network, "frelu", example_input=torch.randn(2, 3, 8, 8))
    assert swapped(torch.randn(2, 3, 8, 8)).shape == (2, 8, 6, 6)


def test_without_a_network_it_is_the_current_device_s_numbers_that_are_kept() -> None:
    torch.accelerator.set_device_index(1)
    try:
        torch.manual_seed(3)
        with same_random_numbers(seed=0):
            first = torch.randn(5, device="sim:1")
        after = torch.randn(5, device="sim:1")
        torch.manual_seed(3)
        assert torch.equal(after, torch.randn(5, device="sim:1"))
        torch.manual_seed(0)
        assert torch.equal(first, torch.randn(5, device="sim:1"))
    finally:
        torch.accelerator.set_device_index(0)
