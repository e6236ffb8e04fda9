"""A network with another activation in it: made, called, and compared with itself."""

import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from dynact import activations, timing
from dynact.cost import tensors_in
from dynact.networks.architectures import architecture, create, example_input
from dynact.networks.loss import backward_of
from dynact.networks.passes import (
    Example,
    copied,
    copy_what_it_writes_into,
    run_pass,
)
from dynact.networks.sites import Site
from dynact.networks.structure import ACTIVATION, structure_of
from dynact.networks.swap import Names, Swap, swap_to_compare
from dynact.schema.cases import Case, NetworkCase
from dynact.schema.redact import error_line
from dynact.schema.sites import site_case
from dynact.worker import counters
from dynact.worker.counter_cache import Counter, Figures
from dynact.worker.device import Device
from dynact.worker.kept import Kept
from dynact.worker.layer import SEED, check_again, check_once, prepared
from dynact.worker.modes import grad_mode, watched_mode
from dynact.worker.plain import plain
from dynact.worker.step import step_of, warm_pair

# In place of an activation: the network keeps its own.
ITSELF = ""
# Of a batch, to find activations with: a pass in training, of twice as many, takes memory.
FEW = 2
# At which activations far outweigh gradients, as they do where a batch fills a device. Before,
# gradients come on top: what is found here is short by no more than these.
LARGE_BATCHES = (4096, 8192)
# Of code that needs values, and so takes memory and time: up to which batch it is tried, and how
# well growth with the batch is to be known at the least.
MOST = 32
PRECISION = 0.1


class NetworkWorkload:
    """A network against the same one with its own activations.

    Both are called the same way on one shared batch of images. Inference is eval mode under
    inference mode; training is train mode, forward and `loss.backward_of`, without an
    optimiser; images require no gradient.
    """

    def __init__(self, case: NetworkCase, device: Device, kept: Kept) -> None:
        self.case = case
        self._device = device
        self._kept = kept

    @contextmanager
    def ready(self) -> Iterator[timing.Pair]:
        """Yield both networks made, their new layers checked, and warm."""
        networks = self._networks()
        for layer_case in _new_layers(self.case, networks.pair.swaps):
            check_once(layer_case, self._device, self._kept)
        yield networks.to_visit
        networks.check_again()

    def _networks(self) -> "_Networks":
        return self._kept.get(self.case, lambda: _Networks(self.case, self._device))

    def target_counters(self) -> list[Counter]:
        """Return what is counted of the network with the activation, and where it was placed."""
        of_any_phase = replace(self.case, phase="inference")
        return [
            *self._counters(self.case, lambda: self._networks().pair.swapped),
            Counter("sites", of_any_phase, lambda: sites_of(self._networks().pair.swaps)),
        ]

    def baseline_counters(self) -> list[Counter]:
        """Return the same of the network as it is, whatever the activation."""
        itself = replace(
            self.case, activation=ITSELF, placement="all", impl="reference", replaced=""
        )
        return self._counters(itself, lambda: self._networks().pair.original)

    def _counters(self, case: NetworkCase, network: Callable[[], nn.Module]) -> list[Counter]:
        device = self._device
        memory = [
            Counter("peak memory", (case, device), lambda: _peak(network(), case, device)),
            Counter("saved for backward", (case, device), lambda: _saved(network(), case, device)),
        ]
        if case.impl not in activations.PLAIN:
            # What is generated shows no operators.
            shown = replace(case, impl=activations.REFERENCE)
            return [*self._shown(shown, lambda: pair_of(shown, device).swapped), *memory]
        one_image = replace(case, batch=1)
        by_image = Counter(
            "memory by the image",
            (one_image, device),
            lambda: _memory(network(), one_image, device),
        )
        return [*self._shown(case, network), *memory, by_image]

    def _shown(self, case: NetworkCase, network: Callable[[], nn.Module]) -> list[Counter]:
        """Return what is counted of the operators that a network shows."""
        device = self._device
        # What papers state is of one image of the network's own size, whatever is timed.
        own_size = architecture(case.network).image_size or case.image_size
        stated = replace(case, phase="inference", batch=1)
        if not case.sample:
            stated = replace(stated, image_size=own_size)
        return [
            Counter("parameters", (stated, device), lambda: counters.parameters(network())),
            Counter("arithmetic", (stated, device), lambda: _arithmetic(network(), stated, device)),
        ]


class _Networks:
    """Two networks to be counted and compared; warm once they are."""

    def __init__(self, case: NetworkCase, device: Device) -> None:
        self.pair = pair_of(case, device)
        self._case = case
        self._device = device
        self._images: tuple[Example, ...] = ()
        self._looks = 0

    @property
    def kept_bytes(self) -> int:
        """What both take, and the images once there are."""
        tensors = [
            *tensors_in(self._images),
            *(
                tensor
                for network in (self.pair.original, self.pair.baseline, self.pair.swapped)
                for tensor in (*network.parameters(), *network.buffers())
            ),
        ]
        return sum(tensor.nbytes for tensor in tensors)

    @functools.cached_property
    def to_visit(self) -> timing.Pair:
        """The calls of both on the same images."""
        case, device = self._case, self._device
        images = draw_images(case, case.batch, device)
        self._images = (images,)
        target, baseline = (
            call_of_network(case, network, images)
            for network in (self.pair.swapped, self.pair.baseline)
        )
        return warm_pair(target, baseline, case, device)

    def check_again(self) -> None:
        """Raise WrongError if a layer that was timed does not do what its reference does."""
        if self._case.impl == activations.REFERENCE:
            return
        self._looks += 1
        for case, layer in _new_layers(self._case, self.pair.swaps).items():
            reference = prepared(replace(case, impl=activations.REFERENCE), self._device)
            check_again(layer, reference, case, self._device, self._looks)


@dataclass(frozen=True)
class Pair:
    """A network as it is, and with another activation; equal in all that they share."""

    original: nn.Module
    baseline: nn.Module
    """The original as it is timed: its calls are handed out as those of the swapped one are."""
    swapped: nn.Module
    swaps: tuple[Swap, ...]
    """What became of each activation, in order of depth."""


def pair_of(case: NetworkCase, device: Device) -> Pair:
    """Return both networks on the device, in the case's dtype and mode, with random weights.

    Raises
    ------
    PlacementError
        If neither the activation's paper nor its code has it in this network, as asked for.
    ValueError
        If the network cannot take such images, the activation cannot be made, the network does not
        call what is to be replaced, or nothing can be replaced in it.
    """
    torch.manual_seed(SEED)
    original = create(case.network)
    if architecture(case.network).is_own:
        original.to(device.torch_device, getattr(torch, case.dtype))
        images = _few_images(case, original, device)
        copy_what_it_writes_into(original, images)
    else:
        images = example_input(case.network, 1, case.image_size, case.sample)
    new: Names = case.activation
    if case.replaced:
        new = dict.fromkeys(case.replaced.split("+"), case.activation)
    swapped, baseline, swaps = swap_to_compare(
        original, new, case.placement, example_input=images, impl=case.impl
    )
    for network in (original, baseline, swapped):
        network.to(device.torch_device, getattr(torch, case.dtype))
        network.train(case.phase == "training")
    return Pair(original, baseline, swapped, tuple(swaps))


def check_network(case: NetworkCase, device: Device) -> dict[str, str]:
    """Try a network as it is, once: make it, run it, and in training go back through it.

    Returns
    -------
    dict
        What it is made of, see `structure_of`.

    Raises
    ------
    ValueError
        If it cannot be made, fails, or calls no activation: one line that names it.
    """
    torch.manual_seed(SEED)
    network = create(case.network)
    network.to(device.torch_device, getattr(torch, case.dtype))
    network.train(case.phase == "training")
    images = draw_images(case, case.batch, device)
    call = call_of_network(case, network, images)
    try:
        # Not in inference mode at first: what a network keeps of a pass, training may come upon.
        for mode in (watched_mode, grad_mode):
            with mode(case):
                call()
    except Exception as error:
        hint = "; --loss-from takes a loss of your own" if case.phase == "training" else ""
        raise ValueError(
            f"{case.network} fails in {case.phase} on a batch of {case.batch} × {case.taken}: "
            f"{error_line(error)}{hint}"
        ) from error
    structure = structure_of(network, _few_images(case, network, device))
    if not any(part.startswith(ACTIVATION) for part in structure):
        raise ValueError(f"{case.network} calls no activation that could be replaced")
    return structure


def _few_images(case: NetworkCase, network: nn.Module, device: Device) -> Example:
    """Return what a network's activations are looked for with: two samples of the case's batch.

    Two, as one alone may lose its dimension; all of the batch where the network takes no other.
    """
    if case.batch > FEW:
        with suppress(ValueError):
            images = draw_images(case, FEW, device)
            run_pass(network, images, False, nullcontext)
            return images
    return draw_images(case, case.batch, device)


def draw_images(case: NetworkCase, batch: int, device: Device) -> Example:
    """Return a batch of what the network takes, images (batch, 3, H, W) as a rule.

    The same for every activation.
    """
    dtype = getattr(torch, case.dtype)

    def prepare(x: Tensor) -> Tensor:
        return x.to(device.torch_device, dtype if x.is_floating_point() else x.dtype)

    example = example_input(case.network, batch, case.image_size, case.sample)
    prepared: Example = tree_map_only(Tensor, prepare, example)
    return prepared


def call_of_network(case: NetworkCase, network: nn.Module, images: Example) -> Callable[[], None]:
    """Return what is timed: a forward pass, or a training step but for the optimiser."""
    training = case.phase == "training"
    return step_of(network, images, backward_of(case.network, case.loss) if training else None)


def _new_layers(case: NetworkCase, swaps: Iterable[Swap]) -> dict[Case, nn.Module]:
    """Return the case of each shape at which there is a new layer, and the last of these."""
    return {
        # Of unknown size, one sample for each of the network's.
        site_case(case, said | {"samples": said["samples"] or 1}, ""): swap.layer
        for number, swap in enumerate(swaps, start=1)
        if swap.layer is not None and (said := _said(number, swap.site))
    }


def _arithmetic(network: nn.Module, case: NetworkCase, device: Device) -> Figures:
    image = draw_images(case, 1, device)
    return counters.arithmetic(*plain(network, image)) | {"counted_image_size": case.image_size}


def _peak(network: nn.Module, case: NetworkCase, device: Device) -> Figures:
    call = call_of_network(case, network, draw_images(case, case.batch, device))
    return counters.peak(
        call, case, device, lambda: _tracked(case, *_to_watch(network, case, device))
    )


def _saved(network: nn.Module, case: NetworkCase, device: Device) -> Figures:
    return counters.saved(*plain(*_to_watch(network, case, device)), case.phase)


def _to_watch(network: nn.Module, case: NetworkCase, device: Device) -> tuple[nn.Module, Example]:
    if _runs_on_meta(case):
        return _on_meta(network, case, case.batch)
    return network, draw_images(case, case.batch, device)


def _memory(network: nn.Module, case: NetworkCase, device: Device) -> Figures:
    """Return how all memory grows with the batch."""
    if _runs_on_meta(case):
        fewer, more = LARGE_BATCHES
        less, most = (_total(case, *_on_meta(network, case, batch)) for batch in LARGE_BATCHES)
    else:
        fewer, more, less, most = _small_totals(network, case, device)
    per_image = (most - less) / (more - fewer)
    return {"memory_fixed_bytes": less - fewer * per_image, "memory_per_image_bytes": per_image}


def _small_totals(
    network: nn.Module, case: NetworkCase, device: Device
) -> tuple[int, int, int, int]:
    """Return two small batches and all memory of either, for a network that needs values."""
    # A copy: a network may keep what it made of another batch.
    small = copied(network)
    gradients = [0]
    if case.phase == "training":
        for parameter in small.parameters():
            if parameter.requires_grad:
                # At once, or all of them would outweigh the activations.
                parameter.register_post_accumulate_grad_hook(_drop_gradient)  # type: ignore[no-untyped-call]
                gradients.append(parameter.nbytes)

    def total(batch: int) -> int:
        try:
            return _total(case, small, draw_images(case, batch, device))
        except Exception:
            raise ValueError(f"it does not run on a batch of {batch}") from None

    batch = FEW
    less, most = total(batch), total(2 * batch)
    # What is found is short by no more than one gradient.
    while max(gradients) > PRECISION * (most - less):
        batch *= 2
        if batch > MOST:
            raise ValueError("its gradients outweigh its activations in small batches")
        less, most = most, total(2 * batch)
    return batch, 2 * batch, less, most


def _total(case: NetworkCase, network: nn.Module, images: Example) -> int:
    there = (*network.parameters(), *network.buffers(), *tensors_in(images))
    return _tracked(case, network, images) + sum(tensor.nbytes for tensor in there)


def _drop_gradient(parameter: Tensor) -> None:
    parameter.grad = None


def _runs_on_meta(case: NetworkCase) -> bool:
    """Whether all code is known to run on tensors without values, and to keep none of them.

    The user's own may read values, and may keep for later what it makes of them.
    """
    is_own = architecture(case.network).is_own or ":" in case.activation
    return not is_own and case.impl in activations.PLAIN


def _on_meta(network: nn.Module, case: NetworkCase, batch: int) -> tuple[nn.Module, Example]:
    """Return a copy of a network and its images where neither takes memory or time."""
    dtype = getattr(torch, case.dtype)
    (of_one, structure), (of_two, _) = (
        tree_flatten(example_input(case.network, few, case.image_size, case.sample))
        for few in (1, 2)
    )
    images: Example = tree_unflatten(
        [
            _stretched(one, two, batch, dtype) if isinstance(one, Tensor) else one
            for one, two in zip(of_one, of_two, strict=True)
        ],
        structure,
    )
    return copy.deepcopy(network).to("meta"), images


def _stretched(of_one: Tensor, of_two: Tensor, batch: int, dtype: torch.dtype) -> Tensor:
    """Return a tensor without values for a batch, of the tensors for one sample and for two."""
    shape = [
        one + (batch - 1) * (two - one) for one, two in zip(of_one.shape, of_two.shape, strict=True)
    ]
    return torch.empty(
        shape, dtype=dtype if of_one.is_floating_point() else of_one.dtype, device="meta"
    )


def _tracked(case: NetworkCase, network: nn.Module, images: Example) -> int:
    call = call_of_network(case, network, images)
    return counters.tracked_peak(call, case, network, tensors_in(images))


def sites_of(swaps: Sequence[Swap]) -> Figures:
    """Return what a row says of what was replaced, and of what was kept."""
    return {
        "sites": replaced_sites(swaps),
        "kept_sites": [
            _said(number, swap.site) | {"reason": swap.kept_because}
            for number, swap in enumerate(swaps, start=1)
            if swap.kept_because
        ],
    }


def replaced_sites(swaps: Sequence[Swap]) -> list[Figures]:
    """Return what a row says of each call that was replaced, with its number among all, from 1."""
    return [
        _said(number, swap.site)
        for number, swap in enumerate(swaps, start=1)
        if not swap.kept_because
    ]


def _said(number: int, site: Site) -> Figures:
    said = {"number": number, **asdict(site)}
    del said["obstacle"]
    extent: Figures = said.pop("extent")
    # As it is read again: JSON has no tuples.
    return said | extent | {"positions": list(site.extent.positions)}
