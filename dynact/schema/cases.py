"""What to measure: a case, the axes it is drawn from, the presets, and thinning to a budget."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from math import inf, prod
from typing import Any

PHASES = ("inference", "training")
MODES = ("eager", "compile")
DTYPES = ("float32", "float16", "bfloat16", "float64")
MEMORY_FORMATS = ("contiguous", "channels_last")
PRESETS = ("smoke", "quick", "standard", "full")
HEADLINE = ("prelu", "silu", "se", "acon_c", "frelu", "dyrelu_a", "dyrelu_b", "dyrelu_c")
"""The activations of the default sweep: one of each kind, and those the project is about."""

BYTES_PER_ELEMENT = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
PEAK_OVER_INPUT = 16
"""A DY-ReLU training step needs about 9 × its input; twice that leaves room for cached blocks."""


def choice(kind: str, value: str, known: Sequence[str]) -> str:
    """Return ``value`` if it is known.

    Raises
    ------
    ValueError
        If it is not: one line that names near names, or all of them where none is near.
    """
    if value in known:
        return value
    near = difflib.get_close_matches(value, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from: {', '.join(known)}"
    raise ValueError(f"unknown {kind} {value!r}; {hint}")


@dataclass(frozen=True)
class Case:
    """One measurement: an activation and all that its cost depends on. Nothing but values."""

    activation: str
    """A name of the registry, or ``"pkg.mod:Class"`` for a user's own layer."""
    impl: str
    """The formulation; ``"reference"`` is the plain one."""
    phase: str
    """``"inference"`` (eval, inference mode) or ``"training"`` (train, forward and backward)."""
    mode: str
    """``"eager"`` or ``"compile"``."""
    dtype: str
    memory_format: str
    batch: int
    channels: int
    height: int
    width: int
    device: str
    baseline: str
    """The activation it is compared with, under the same conditions."""

    def __post_init__(self) -> None:
        for kind, known in (
            ("phase", PHASES),
            ("mode", MODES),
            ("dtype", DTYPES),
            ("memory_format", MEMORY_FORMATS),
        ):
            choice(kind, getattr(self, kind), known)
        for size in ("batch", "channels", "height", "width"):
            if getattr(self, size) < 1:
                raise ValueError(f"{size} must be at least 1, got {getattr(self, size)}")

    @property
    def id(self) -> str:
        """A readable name, equal only for equal cases; what differs from the usual comes last."""
        shape = f"{self.batch}x{self.channels}x{self.height}x{self.width}"
        unusual = [
            value
            for value, usual in (
                (self.mode, "eager"),
                (self.memory_format, "contiguous"),
                (f"impl_{self.impl}", "impl_reference"),
                (f"vs_{self.baseline}", "vs_relu"),
            )
            if value != usual
        ]
        return "-".join([self.activation, self.phase, shape, self.dtype, self.device, *unusual])

    @property
    def input_bytes(self) -> int:
        """Bytes of the input tensor."""
        elements = self.batch * self.channels * self.height * self.width
        return elements * BYTES_PER_ELEMENT[self.dtype]


CASE_FIELDS = tuple(field.name for field in fields(Case))


@dataclass(frozen=True)
class Grid:
    """The cases of all combinations of its axes."""

    activations: tuple[str, ...] = HEADLINE
    impls: tuple[str, ...] = ("reference",)
    phases: tuple[str, ...] = PHASES
    modes: tuple[str, ...] = ("eager",)
    dtypes: tuple[str, ...] = ("float32",)
    memory_formats: tuple[str, ...] = ("contiguous",)
    batches: tuple[int, ...] = (1,)
    channels: tuple[int, ...] = (64,)
    resolutions: tuple[tuple[int, int], ...] = ((28, 28),)
    """(height, width) in pixels."""

    def __len__(self) -> int:
        return prod(len(getattr(self, field.name)) for field in fields(self))

    def cases(self, device: str, baseline: str) -> Iterator[Case]:
        """Yield the cases, a shape's activations together."""
        axes = (
            self.phases, self.modes, self.dtypes, self.memory_formats, self.batches,
            self.channels, self.resolutions, self.activations, self.impls,
        )  # fmt: skip
        for phase, mode, dtype, memory_format, batch, channels, (
            height,
            width,
        ), name, impl in product(*axes):
            yield Case(
                name, impl, phase, mode, dtype, memory_format, batch, channels, height, width,
                device, baseline,
            )  # fmt: skip


def preset(name: str, all_activations: tuple[str, ...], on_accelerator: bool) -> tuple[Grid, ...]:
    """Return the grids of a preset.

    The channels and resolutions are among those at which activations occur in MobileNetV2 and V3
    and ResNet-50 at 224 × 224, though not all their pairs are.

    Raises
    ------
    ValueError
        If the preset is unknown.
    """
    choice("preset", name, PRESETS)
    if name == "smoke":
        return (
            Grid(
                activations=("prelu", "frelu", "dyrelu_b"),
                batches=(2,),
                channels=(16, 32),
                resolutions=((14, 14), (7, 7)),
            ),
        )
    if name == "quick":
        shapes = Grid(
            batches=(2,), channels=(32, 128, 512), resolutions=((28, 28), (14, 14), (7, 7))
        )
        return shapes, replace(shapes, batches=(1, 8), channels=(128,), resolutions=((14, 14),))
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
            modes=MODES,
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


def thin(grids: Sequence[Grid], most_cases: int) -> tuple[Grid, ...]:
    """Return the grids with evenly fewer sizes, so that they hold at most ``most_cases``.

    The longest of the size axes (batches, channels, resolutions) gives up one value at a time;
    every axis keeps its ends, and everything but sizes is kept whole.

    Raises
    ------
    ValueError
        If the ends alone are more cases than that.
    """
    thinned = list(grids)
    while (total := sum(len(grid) for grid in thinned)) > most_cases:
        length, index, axis = max(
            (len(getattr(grid, axis)), index, axis)
            for index, grid in enumerate(thinned)
            for axis in ("batches", "channels", "resolutions")
        )
        if length <= 2:
            raise ValueError(
                f"budget for {most_cases} cases is too small: the ends of every axis are {total};"
                " raise --budget or name fewer activations, phases or sizes"
            )
        # From all the values: thinning what is thinned would leave uneven gaps.
        fewer = _evenly(getattr(grids[index], axis), length - 1)
        thinned[index] = replace(thinned[index], **{axis: fewer})
    return tuple(thinned)


def _evenly(values: Sequence[Any], count: int) -> tuple[Any, ...]:
    step = (len(values) - 1) / (count - 1)
    return tuple(values[round(i * step)] for i in range(count))
