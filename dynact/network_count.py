"""From a network case to counts: what both networks cost without a clock."""

import copy
import functools
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
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
from dynact.networks.prepared import Images, Pair, call_of_network, draw_images, pair_of
from dynact.networks.sites import Site
from dynact.redact import error_line

Figures = dict[str, Any]

ITSELF = ""
"""In place of an activation: the network keeps its own."""
LARGE_BATCHES = (256, 512)
"""At which activations far outweigh gradients: at small ones a step needs most when it is over."""
MOST_KEPT = 500
"""Parts that are kept for later cases."""

_kept: dict[tuple[str, NetworkCase, Device], Figures] = {}


def count_network(case: NetworkCase, device: Device) -> Figures:
    """Return what a network case costs without a clock, by the names of a row's figures.

    What cannot be counted is left out, and ``message`` says why, in one line.
    """
    start_s = time.perf_counter()
    pair = functools.cache(lambda: pair_of(case, device))
    figures, faults = _counted(case, lambda: pair().swapped, device)
    itself = replace(case, activation=ITSELF, placement="all")
    of_itself, other_faults = _counted(itself, lambda: pair().original, device)
    beside = {
        f"baseline_{name}": value
        for name, value in of_itself.items()
        if name not in ("uncounted_ops", "peak_source")
    }
    faults += [f"of the original: {fault}" for fault in other_faults]
    try:
        device.release_memory()
    except RuntimeError as error:
        faults.append(error_line(error))
    seconds = time.perf_counter() - start_s
    said = {"message": "; ".join(faults), "counting_s": seconds}
    return figures | beside | _sites(case, pair, device) | said


def _counted(
    case: NetworkCase, network: Callable[[], nn.Module], device: Device
) -> tuple[Figures, list[str]]:
    """Count one part after the other; one that fails costs only its own figures."""
    in_both_phases = replace(case, phase="inference", batch=1)
    parts: list[tuple[str, Callable[[nn.Module, NetworkCase, Device], Figures], NetworkCase]] = [
        ("parameters", _parameters, in_both_phases),
        ("arithmetic", _arithmetic, in_both_phases),
        ("peak memory", _peak, case),
        ("memory by the image", _memory, replace(case, batch=1)),
        ("saved for backward", _saved, case),
    ]
    figures: Figures = {}
    faults = []
    for name, part, of_case in parts:
        known = (name, of_case, device)
        try:
            if known not in _kept:
                _kept[known] = part(network(), case, device)
            figures |= _kept[known]
        except Exception as error:
            faults.append(f"{name} not counted: {error_line(error)}")
    if len(_kept) > MOST_KEPT:
        _kept.clear()
    return figures, faults


def _sites(case: NetworkCase, pair: Callable[[], Pair], device: Device) -> Figures:
    known = ("sites", replace(case, phase="inference", batch=1), device)
    if known not in _kept:
        swaps = pair().swaps
        _kept[known] = {
            "sites": _listed(swap.site for swap in swaps if not swap.kept_because),
            "kept_sites": _listed(swap.site for swap in swaps if swap.kept_because),
        }
    return _kept[known]


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
        "macs": flops.multiply_accumulates,
    }


def _peak(network: nn.Module, case: NetworkCase, device: Device) -> Figures:
    images = draw_images(case, case.batch, device)
    call = call_of_network(case, network, images)
    with _grad_mode(case):
        call()
        peak = device.peak_bytes(call)
        if peak is not None:
            return {"peak_bytes": peak, "peak_source": "allocator"}
        return {"peak_bytes": _tracked(call, network, images), "peak_source": "tracker"}


def _memory(network: nn.Module, case: NetworkCase, device: Device) -> Figures:
    """Return how all memory grows with the batch, found on the meta device, which needs none."""
    image = _one_tensor(draw_images(case, 1, device))
    on_meta = copy.deepcopy(network).to("meta")
    parts = [*on_meta.parameters(), *on_meta.buffers()]
    totals = []
    for batch in LARGE_BATCHES:
        images = torch.empty((batch, *image.shape[1:]), dtype=image.dtype, device="meta")
        with _grad_mode(case):
            peak = _tracked(call_of_network(case, on_meta, images), on_meta, images)
        totals.append(peak + sum(tensor.nbytes for tensor in (*parts, images)))
    (fewer, more), (less, most) = LARGE_BATCHES, totals
    per_image = (most - less) / (more - fewer)
    return {"memory_fixed_bytes": less - fewer * per_image, "memory_per_image_bytes": per_image}


def _saved(network: nn.Module, case: NetworkCase, device: Device) -> Figures:
    if case.phase == "inference":
        return {"saved_for_backward_bytes": 0}
    images = _one_tensor(draw_images(case, case.batch, device))
    return {"saved_for_backward_bytes": saved_for_backward(network, images).total}


def _tracked(call: Callable[[], None], network: nn.Module, images: Images) -> int:
    with MemoryTracker((*network.parameters(), *network.buffers(), *tensors_in(images))) as tracker:
        call()
    peak: int = tracker.peak_bytes
    return peak


def _grad_mode(case: NetworkCase) -> AbstractContextManager[object]:
    # Not inference mode: there, operators made of others show as one.
    return nullcontext() if case.phase == "training" else torch.no_grad()


def _one_tensor(images: Images) -> Tensor:
    if isinstance(images, Tensor):
        return images
    raise ValueError("a detector takes a list of images, and in training their objects")
