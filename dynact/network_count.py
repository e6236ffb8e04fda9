"""From a network case to counts: what both networks cost without a clock."""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from dynact.cost import (
    MemoryTracker,
    count_flops,
    count_parameters,
    saved_for_backward,
    tensors_in,
)
from dynact.device import Device
from dynact.network_cases import NetworkCase
from dynact.networks.prepared import Images, call_of_network, draw_images, pair_of
from dynact.networks.sites import Site
from dynact.redact import error_line

Figures = dict[str, Any]
Part = Callable[[nn.Module, NetworkCase, Device], Figures]


def count_network(case: NetworkCase, device: Device) -> Figures:
    """Return what a network case costs without a clock, by the names of a row's figures.

    What cannot be counted is left out, and ``message`` says why, in one line.
    """
    start_s = time.perf_counter()
    pair = pair_of(case, device)
    figures: Figures = {
        "sites": _listed(swap.site for swap in pair.swaps if not swap.kept_because),
        "kept_sites": _listed(swap.site for swap in pair.swaps if swap.kept_because),
    }
    faults = []
    for prefix, network in (("", pair.swapped), ("baseline_", pair.original)):
        for name, part in _PARTS.items():
            try:
                found = part(network, case, device)
            except Exception as error:
                faults.append(f"{prefix}{name} not counted: {error_line(error)}")
            else:
                figures |= {f"{prefix}{figure}": value for figure, value in found.items()}
    try:
        device.release_memory()
    except RuntimeError as error:
        faults.append(error_line(error))
    known = {name: value for name, value in figures.items() if name not in _OF_THE_SWAPPED_ALONE}
    seconds = time.perf_counter() - start_s
    return known | {"message": "; ".join(faults), "counting_s": seconds}


_OF_THE_SWAPPED_ALONE = ("baseline_uncounted_ops", "baseline_peak_source")


def _listed(sites: Iterable[Site]) -> str:
    return " ".join(f"{site.name}={site.original}:{_shape(site)}" for site in sites)


def _shape(site: Site) -> str:
    sides = (site.channels, site.height, site.width)
    return "x".join(str(side) for side in sides if side is not None)


def _parameters(network: nn.Module, _case: NetworkCase, _device: Device) -> Figures:
    return {"parameters": count_parameters(network).learnable}


def _arithmetic(network: nn.Module, case: NetworkCase, device: Device) -> Figures:
    # Of one image: arithmetic grows with the batch and with nothing else.
    image = _one_tensor(draw_images(case, 1, device))
    flops = count_flops(network, image)
    return {
        "flops": flops.total,
        "uncounted_ops": ", ".join(flops.uncounted_ops),
        "macs": count_flops(network, image, "mac").total,
    }


def _memory(network: nn.Module, case: NetworkCase, device: Device) -> Figures:
    """Return the peak at the case's batch, and how all memory grows with the batch."""
    other = max(case.batch // 2, 1) if case.batch > 1 else 2
    (peak, source), (other_peak, _) = (
        _peak(network, case, batch, device) for batch in (case.batch, other)
    )
    there = sum(t.nbytes for t in (*network.parameters(), *network.buffers()))
    images = case.input_bytes // case.batch
    per_image = (peak - other_peak) / (case.batch - other) + images
    fixed = there + peak + images * case.batch - per_image * case.batch
    return {
        "peak_bytes": peak,
        "peak_source": source,
        "memory_fixed_bytes": fixed,
        "memory_per_image_bytes": per_image,
    }


def _peak(network: nn.Module, case: NetworkCase, batch: int, device: Device) -> tuple[int, str]:
    images = draw_images(case, batch, device)
    # Not inference mode: there, operators made of others show as one.
    mode: AbstractContextManager[object] = (
        nullcontext() if case.phase == "training" else torch.no_grad()
    )
    with mode:
        call = call_of_network(case, network, images)
        call()
        peak = device.peak_bytes(call)
        if peak is not None:
            return peak, "allocator"
        there = (*network.parameters(), *network.buffers(), *tensors_in(images))
        with MemoryTracker(there) as tracker:
            call()
        return tracker.peak_bytes, "tracker"


def _saved(network: nn.Module, case: NetworkCase, device: Device) -> Figures:
    if case.phase == "inference":
        return {"saved_for_backward_bytes": 0}
    images = _one_tensor(draw_images(case, case.batch, device))
    return {"saved_for_backward_bytes": saved_for_backward(network, images).total}


def _one_tensor(images: Images) -> Tensor:
    if isinstance(images, Tensor):
        return images
    raise ValueError("a detector takes a list of images, and in training their objects")


_PARTS: dict[str, Part] = {
    "parameters": _parameters,
    "arithmetic": _arithmetic,
    "memory": _memory,
    "saved for backward": _saved,
}
