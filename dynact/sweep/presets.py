"""The cases of a preset, and which of them matter most where time is short."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise, product
from math import inf, prod
from typing import Any

from dynact.activations import REFERENCE, implementations
from dynact.networks.architectures import IMAGE_SIZE, TIMM, architecture
from dynact.schema.cases import MEMORY_FORMATS, PHASES, Case, NetworkCase

PRESETS = ("smoke", "quick", "standard", "full")
# One of each kind, and those the project is about.
HEADLINE = ("prelu", "silu", "se", "acon_c", "frelu", "dyrelu_a", "dyrelu_b", "dyrelu_c")
# A DY-ReLU training step needs about 9 × its input; twice that leaves room for cached blocks.
PEAK_OVER_INPUT = 16
# Fields of a grid that say together which layers it has.
_OF_LAYERS = ("activations", "impls", "compared", "own_impls")
# Those that a sweep can have fewer of, and whether the largest size is the first: small layers, but
# of a batch that keeps a device busy. Where two have equally many, the first gets the next.
_SIZE_AXES = {"channels": False, "batches": True, "resolutions": False}


@dataclass(frozen=True)
class Grid:
    """The cases of all combinations of its axes."""

    activations: tuple[str, ...] = HEADLINE
    impls: tuple[str, ...] | None = None
    """Those of them that an activation has; None for all that the compared have, and otherwise the
    reference."""
    compared: tuple[str, ...] = ("dyrelu_b",)
    """They show what the maths costs, and what the way it is written."""
    own_impls: tuple[tuple[str, str], ...] = ()
    """Activations, each with the user's own implementation of it, ``"pkg.mod:Class"``."""
    phases: tuple[str, ...] = PHASES
    modes: tuple[str, ...] = ("eager",)
    dtypes: tuple[str, ...] = ("float32",)
    memory_formats: tuple[str, ...] = ("contiguous",)
    batches: tuple[int, ...] = (1,)
    channels: tuple[int, ...] = (64,)
    resolutions: tuple[tuple[int, int], ...] = ((28, 28),)
    """(height, width) in pixels."""

    def __len__(self) -> int:
        others = (f.name for f in fields(self) if f.name not in _OF_LAYERS)
        return len(self.layers()) * prod(len(getattr(self, name)) for name in others)

    def layers(self) -> list[tuple[str, str]]:
        """Return the activations, each with one of its implementations."""
        known = [
            (name, impl)
            for name in self.activations
            for impl in impls_of(name, self.impls, self.compared)
        ]
        return _with_own(known, self.own_impls)

    def cases(self, device: str, baseline: str) -> Iterator[Case]:
        """Yield the cases, a shape's activations together."""
        axes = (
            self.phases, self.modes, self.dtypes, self.memory_formats, self.batches,
            self.channels, self.resolutions, self.layers(),
        )  # fmt: skip
        for phase, mode, dtype, memory_format, batch, channels, size, layer in product(*axes):
            (height, width), (name, impl) = size, layer
            yield Case(
                name, impl, phase, mode, dtype, memory_format, batch, channels, height, width,
                device, baseline,
            )  # fmt: skip


def impls_of(
    name: str, asked: tuple[str, ...] | None, compared: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return which implementations of an activation, or a user's layer, to measure."""
    if ":" in name:
        return (REFERENCE,)
    known = implementations(name)
    if asked is None:
        return known if name in compared else (REFERENCE,)
    return tuple(impl for impl in asked if impl in known)


def _with_own(
    known: list[tuple[str, str]], own_impls: tuple[tuple[str, str], ...]
) -> list[tuple[str, str]]:
    # A user's own stands beside what it is to do.
    beside = [(name, REFERENCE) for name, _ in own_impls]
    return list(dict.fromkeys([*known, *beside, *own_impls]))


def preset(name: str, all_activations: tuple[str, ...], on_accelerator: bool) -> tuple[Grid, ...]:
    """Return the grids of a preset.

    The channels and resolutions are among those at which activations occur in MobileNetV2 and V3
    and ResNet-50 at 224 × 224, though not all their pairs are.

    Parameters
    ----------
    name
        One of `PRESETS`.
    """
    if name == "smoke":
        return (
            Grid(
                activations=("prelu", "frelu", "dyrelu_b"),
                impls=(REFERENCE,),
                batches=(2,),
                channels=(16, 32),
                resolutions=((14, 14), (7, 7)),
            ),
        )
    if name == "quick":
        shapes = Grid(
            batches=(2,), channels=(32, 128, 512), resolutions=((28, 28), (14, 14), (7, 7))
        )
        along = replace(shapes, batches=(1, 8), channels=(128,), resolutions=((14, 14),))
        if on_accelerator:
            # Of smaller ones a fast device is done before its host has queued the next.
            shapes = Grid(
                batches=(32,), channels=(64, 256, 512), resolutions=((56, 56), (28, 28), (14, 14))
            )
            along = replace(shapes, batches=(8, 128), channels=(256,), resolutions=((28, 28),))
        # FReLU's is compiled for every height and width.
        of_one_size = replace(
            shapes, activations=("frelu",), compared=("frelu",), resolutions=((28, 28),)
        )
        return shapes, replace(along, impls=(REFERENCE,)), of_one_size
    dtypes = ("float32", "bfloat16") if on_accelerator else ("float32",)
    standard = Grid(
        activations=all_activations,
        dtypes=dtypes,
        batches=(1, 8, 32),
        channels=(16, 32, 64, 128, 256, 512, 1024),
        resolutions=((112, 112), (56, 56), (28, 28), (14, 14), (7, 7)),
    )
    if name == "standard":
        return (standard,)
    return (
        replace(
            standard,
            modes=("eager", "compile"),
            dtypes=("float32", "float16", "bfloat16"),
            memory_formats=MEMORY_FORMATS,
        ),
    )


def unique_cases(grids: Iterable[Grid], device: str, baseline: str) -> list[Case]:
    """Return the cases of all grids, each once, in order."""
    return list(dict.fromkeys(case for grid in grids for case in grid.cases(device, baseline)))


def fits(case: Case, memory_bytes: float = inf) -> bool:
    """Return whether the case's tensors, by a generous estimate, fit into a device's memory."""
    return case.input_bytes * PEAK_OVER_INPUT <= memory_bytes


@dataclass(frozen=True)
class Growth:
    """The cases of some grids, in steps: where time is short, the last are left out."""

    steps: tuple[tuple[Grid, ...], ...]
    """What each adds: the first has one size of each axis, each further one adds one to an axis.

    The ends of all axes come first, then always the middle of the widest gap. Everything but sizes
    is whole in each."""
    ends: int
    """After so many of them, every axis has its ends."""


def growth(grids: Sequence[Grid]) -> Growth:
    """Return the sizes of some grids in the order in which they matter.

    The axis (batches, channels, resolutions) that has fewest is the next to get one.
    """
    orders = [
        {axis: _ends_first(getattr(grid, axis), down) for axis, down in _SIZE_AXES.items()}
        for grid in grids
    ]
    taken = [dict.fromkeys(_SIZE_AXES, 1) for _ in grids]

    def sizes(index: int) -> dict[str, Any]:
        return {axis: tuple(orders[index][axis][:count]) for axis, count in taken[index].items()}

    steps = [tuple(replace(grid, **sizes(index)) for index, grid in enumerate(grids))]
    ends = 1
    while further := [
        (taken[index][axis], index, axis)
        for index, order in enumerate(orders)
        for axis in _SIZE_AXES
        if taken[index][axis] < len(order[axis])
    ]:
        count, index, axis = min(further, key=lambda one: one[:2])
        taken[index][axis] += 1
        added = {axis: (orders[index][axis][count],)}
        steps.append((replace(grids[index], **sizes(index) | added),))
        if count == 1:
            ends = len(steps)
    return Growth(tuple(steps), ends)


def _ends_first(values: Sequence[Any], is_largest_first: bool) -> list[Any]:
    """Return the values with both ends first, then always the middle of the widest gap."""
    ordered = sorted(values, reverse=is_largest_first)
    chosen = list(dict.fromkeys([0, len(ordered) - 1]))
    while len(chosen) < len(ordered):
        low, high = max(pairwise(sorted(chosen)), key=lambda gap: gap[1] - gap[0])
        chosen.append((low + high) // 2)
    return [ordered[index] for index in chosen]


@dataclass(frozen=True)
class NetworkGrid:
    """The network cases of all combinations of its axes."""

    networks: tuple[str, ...]
    activations: tuple[str, ...] = ("frelu", "dyrelu_b")
    placements: tuple[str, ...] = ("all",)
    phases: tuple[str, ...] = PHASES
    dtypes: tuple[str, ...] = ("float32",)
    batches: tuple[int, ...] = (2,)
    image_size: int = 48
    """A network whose own size is smaller gets that."""
    impls: tuple[str, ...] = (REFERENCE,)
    """Those of them that an activation has."""
    own_impls: tuple[tuple[str, str], ...] = ()
    """As of a `Grid`."""
    timm_image_size: int | None = None
    """Of networks of timm; by default their own."""
    own_image_size: int = IMAGE_SIZE
    """Of the user's own networks; so are sample and loss, as of a `NetworkCase`."""
    own_sample: str = ""
    own_loss: str = ""
    replaced: str = ""
    """As of a `NetworkCase`."""

    def cases(self, device: str) -> Iterator[NetworkCase]:
        """Yield the cases, a network's together."""
        known = [(name, impl) for name in self.activations for impl in impls_of(name, self.impls)]
        layers = _with_own(known, self.own_impls)
        axes = (
            self.networks, self.dtypes, self.batches, self.placements, layers, self.phases,
        )  # fmt: skip
        for network, dtype, batch, placement, (activation, impl), phase in product(*axes):
            size, sample, loss = self._taken_by(network)
            yield NetworkCase(
                network, activation, placement, phase, dtype, batch, size, device, impl, sample,
                loss, self.replaced,
            )  # fmt: skip

    def _taken_by(self, network: str) -> tuple[int, str, str]:
        declared = architecture(network)
        if not declared.is_own:
            asked = self.image_size
            if network.startswith(TIMM):
                asked = self.timm_image_size or declared.image_size or asked
            size = declared.size_for(asked)
            sample = declared.sample(size)
            return 0 if sample else size, sample, ""
        size = 0 if self.own_sample else self.own_image_size
        return size, self.own_sample, self.own_loss


def network_preset(name: str, on_accelerator: bool) -> NetworkGrid:
    """Return the networks of a preset: small ones at a reduced size where it has to be quick."""
    if name == "smoke":
        return NetworkGrid(("lenet",))
    networks = (
        ("lenet", "mobilenet_v2", "resnet18")
        if name == "quick"
        else ("mobilenet_v2", "resnet18", "resnet50")
    )
    if on_accelerator:
        return NetworkGrid(networks, batches=(32,), image_size=224)
    return NetworkGrid(networks, image_size=48 if name == "quick" else 224)
