"""From a network case to counts: what both networks cost without a clock."""

import copy
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from dynact.cost import (
    MemoryTracker,
    count_flops,
    count_parameters,
    saved_for_backward,
)
from dynact.networks.architectures import host
from dynact.networks.sites import Site
from dynact.schema.network_cases import NetworkCase
from dynact.schema.redact import error_line
from dynact.worker.counter_cache import Figures, Part, Parts
from dynact.worker.device import Device
from dynact.worker.network_workload import Pair, call_of_network, draw_images, pair_of
from dynact.worker.workload import watched_mode

Count = Callable[[nn.Module, NetworkCase, Device], Figures]

ITSELF = ""
"""In place of an activation: the network keeps its own."""
LARGE_BATCHES = (4096, 8192)
"""At which activations far outweigh gradients, as they do where a batch fills a device.

Before, gradients come on top: what is found here is short by no more than these.
"""
_PARTS = Parts(most=500)
"""More than a sweep has, in little memory."""


def count_network(case: NetworkCase, device: Device) -> Figures:
    """Return what a network case costs without a clock, by the names of a row's figures.

    What cannot be counted is left out, and ``message`` says why, in one line.
    """
    start_s = time.perf_counter()
    pair = functools.cache(lambda: pair_of(case, device))
    figures, faults = _PARTS.count(
        [*_parts(case, lambda: pair().swapped, device), _sites(case, pair)]
    )
    itself = replace(case, activation=ITSELF, placement="all")
    of_itself, other_faults = _PARTS.count(_parts(itself, lambda: pair().original, device))
    beside = {
        f"baseline_{name}": value
        for name, value in of_itself.items()
        if name not in ("uncounted_ops", "peak_source", "counted_image_size")
    }
    faults += [f"of the original: {fault}" for fault in other_faults]
    try:
        device.release_memory()
    except RuntimeError as error:
        faults.append(error_line(error))
    seconds = time.perf_counter() - start_s
    said = {"message": "; ".join(faults), "counting_s": seconds}
    return figures | beside | said


def _parts(case: NetworkCase, network: Callable[[], nn.Module], device: Device) -> Iterator[Part]:
    # What papers state is of one image of the network's own size, whatever is timed.
    as_stated = replace(case, phase="inference", batch=1, image_size=host(case.network).image_size)
    parts: list[tuple[str, Count, NetworkCase]] = [
        ("parameters", _parameters, as_stated),
        ("arithmetic", _arithmetic, as_stated),
        ("peak memory", _peak, case),
        ("memory by the image", _memory, replace(case, batch=1)),
        ("saved for backward", _saved, case),
    ]

    def counting(count: Count, of_case: NetworkCase) -> Callable[[], Figures]:
        return lambda: count(network(), of_case, device)

    for name, count, of_case in parts:
        yield name, (of_case, device), counting(count, of_case)


def _sites(case: NetworkCase, pair: Callable[[], Pair]) -> Part:
    def listed() -> Figures:
        swaps = pair().swaps
        return {
            "sites": " ".join(_listed(s.site) for s in swaps if not s.kept_because),
            "kept_sites": "; ".join(
                f"{_listed(s.site)} – {s.kept_because}" for s in swaps if s.kept_because
            ),
        }

    return "sites", replace(case, phase="inference", batch=1), listed


def _listed(site: Site) -> str:
    sides = (site.channels, site.height, site.width)
    shape = "x".join(str(side) for side in sides if side is not None)
    return f"{site.name}={site.original}:{shape}"


def _parameters(network: nn.Module, _case: NetworkCase, _device: Device) -> Figures:
    return {"parameters": count_parameters(network).learnable}


def _arithmetic(network: nn.Module, case: NetworkCase, device: Device) -> Figures:
    image = draw_images(case, 1, device)
    flops = count_flops(network, image)
    return {
        "flops": flops.total,
        "uncounted_ops": ", ".join(flops.uncounted_ops),
        "macs": flops.multiply_accumulates,
        "counted_image_size": case.image_size,
    }


def _peak(network: nn.Module, case: NetworkCase, device: Device) -> Figures:
    call = call_of_network(case, network, draw_images(case, case.batch, device))
    with watched_mode(case):
        # What libraries set up at their first call is none of the network's.
        device.peak_bytes(call)
        peak = device.peak_bytes(call)
    if peak is not None:
        return {"peak_bytes": peak, "peak_source": "allocator"}
    on_meta, images = _on_meta(network, case, case.batch)
    return {"peak_bytes": _tracked(case, on_meta, images), "peak_source": "tracker"}


def _memory(network: nn.Module, case: NetworkCase, _device: Device) -> Figures:
    """Return how all memory grows with the batch."""
    totals = []
    for batch in LARGE_BATCHES:
        on_meta, images = _on_meta(network, case, batch)
        there = (*on_meta.parameters(), *on_meta.buffers(), images)
        totals.append(_tracked(case, on_meta, images) + sum(tensor.nbytes for tensor in there))
    (fewer, more), (less, most) = LARGE_BATCHES, totals
    per_image = (most - less) / (more - fewer)
    return {"memory_fixed_bytes": less - fewer * per_image, "memory_per_image_bytes": per_image}


def _saved(network: nn.Module, case: NetworkCase, _device: Device) -> Figures:
    if case.phase == "inference":
        return {"saved_for_backward_bytes": 0}
    saved = saved_for_backward(*_on_meta(network, case, case.batch))
    return {"saved_for_backward_bytes": saved.total}


def _on_meta(network: nn.Module, case: NetworkCase, batch: int) -> tuple[nn.Module, Tensor]:
    """Return a copy of a network and its images where neither takes memory or time."""
    images = torch.empty(
        (batch, 3, case.image_size, case.image_size),
        dtype=getattr(torch, case.dtype),
        device="meta",
    )
    return copy.deepcopy(network).to("meta"), images


def _tracked(case: NetworkCase, network: nn.Module, images: Tensor) -> int:
    there = (*network.parameters(), *network.buffers(), images)
    with watched_mode(case), MemoryTracker(there) as tracker:
        call_of_network(case, network, images)()
    peak: int = tracker.peak_bytes
    return peak
