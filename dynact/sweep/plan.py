"""What a sweep measures: the cases that its options ask for, as far as the device can hold them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from dynact import activations
from dynact.schema.cases import AnyCase, Case, KnownPair, NetworkCase, SiteCase
from dynact.schema.messages import WorkerInfo
from dynact.schema.settings import Settings
from dynact.sweep.networks import Shape, at_shapes
from dynact.sweep.presets import Grid, fits, growth, preset, unique_cases
from dynact.sweep.progress import Kind

# Of a case's time by its table: a site is one of many terms of a sum, and wants less precision.
# Known pairs are large, and what they tell is of all cases.
TIME_SHARES = {SiteCase.table: 0.3, KnownPair.table: 3.0}
# Set-up, warm-up and settling of a usual case, over all passes; compiling both sides, forward and
# backward; capturing both, for each visit.
SECONDS_BESIDE_TIMING = {"eager": 0.3, "compile": 20.0, "graph": 0.5}
# An implementation in each process, and compiling it, which serves many shapes.
SECONDS_TO_VERIFY = 3.0
# Making a small network twice, replacing its activations and counting.
SECONDS_BESIDE_A_NETWORK = 3.0
# By the option that names them.
SIZES: dict[str, Callable[[Case], tuple[int, ...]]] = {
    "batches": lambda case: (case.batch,),
    "channels": lambda case: (case.channels,),
    "resolutions": lambda case: (case.height, case.width),
}


@dataclass(frozen=True)
class Plan:
    """The cases of a sweep."""

    cases: tuple[Case, ...]
    max_seconds: float
    too_large: int
    """Cases left out because the device's memory could not hold their tensors."""
    steps: tuple[tuple[Case, ...], ...] = ()
    """The cases of a size together, in the order in which they matter where time is short."""
    ends: int = 0
    """After so many of these every axis of sizes has its ends."""

    def seconds(self, cases: Iterable[AnyCase]) -> float:
        """Return about how long some cases take, if none converges early."""
        return sum(
            TIME_SHARES.get(case.table, 1.0) * self.max_seconds + _beside_timing(case)
            for case in cases
        )

    def foreseen(self, seconds: float, among: Iterable[Case]) -> list[Case]:
        """Return which of some cases there is about time for, in so long."""
        asked, found = set(among), list[Case]()
        for whole in self.steps:
            step = [case for case in whole if case in asked]
            seconds -= self.seconds(step)
            if seconds < 0:
                break
            found += step
        return found

    def first(self, among: Iterable[AnyCase]) -> list[AnyCase]:
        """Return those of some cases that a limited time goes to first: all but sizes between."""
        later = {case for step in self.steps[self.ends :] for case in step}
        return [case for case in among if case not in later]


def plan(
    preset_name: str,
    axes: Mapping[str, tuple[Any, ...]],
    info: WorkerInfo,
    *,
    own_layers: tuple[str, ...] = (),
    own_impls: tuple[tuple[str, str], ...] = (),
    shapes: Iterable[Shape] | None = None,
    baseline: str,
    settings: Settings,
) -> Plan:
    """Return the cases of a preset, with the user's own values for some of its axes.

    Parameters
    ----------
    axes
        Values for fields of `dynact.sweep.presets.Grid`.
    own_layers
        The user's own, ``"pkg.mod:Class"``, beside those of the grids.
    own_impls
        Activations, each with the user's own implementation of it.
    shapes
        To take in place of all channels and resolutions.

    Raises
    ------
    ValueError
        If nothing fits into the device's memory, or graphs are asked for of one that has none.
    """
    if "graph" in axes.get("modes", ()) and not info.has_graphs:
        raise ValueError(
            f"--modes graph: torch captures no graphs on {info.device}; leave graph out of --modes"
        )
    asked = [
        replace(grid, **axes)
        for grid in preset(preset_name, activations.names(), info.is_accelerator)
    ]
    grids = tuple(
        replace(grid, activations=grid.activations + own_layers, own_impls=own_impls)
        for grid in asked
    )
    if shapes is not None:
        grids = at_shapes(grids[0], shapes)
    cases = unique_cases(grids, info.device, baseline)
    fitting = tuple(case for case in cases if fits(case, info.free_bytes))
    if not fitting:
        raise ValueError(
            f"none of {len(cases)} cases fits into the {info.free_bytes / 2**30:.1f} GiB that are "
            f"free on {info.device}; name smaller sizes"
        )
    steps, ends = _steps(grids, fitting, info.device, baseline)
    return Plan(fitting, settings.max_seconds, len(cases) - len(fitting), steps, ends)


def _steps(
    grids: Sequence[Grid], cases: Iterable[Case], device: str, baseline: str
) -> tuple[tuple[tuple[Case, ...], ...], int]:
    """Return the cases of each size in the order in which sizes matter, and how many are ends."""
    left, growing = set(cases), growth(grids)
    steps: list[tuple[Case, ...]] = []
    ends = 0
    for number, added in enumerate(growing.steps, start=1):
        sizes = defaultdict(list)
        for case in unique_cases(added, device, baseline):
            if case in left:
                left.remove(case)
                sizes[case.batch, case.channels, case.height, case.width].append(case)
        # The cheapest first: a slow device may have no time for the others.
        steps += [tuple(sizes[size]) for size in sorted(sizes, key=prod)]
        if number == growing.ends:
            ends = len(steps)
    return tuple(steps), ends


def left_out(cases: Iterable[Case], measured: Iterable[Case]) -> str:
    """Return which sizes of some cases were not measured: the values that no other case has.

    Others that were not measured are counted behind them.
    """
    kept = set(measured)
    gone = [case for case in cases if case not in kept]
    parts = []
    for name, size in SIZES.items():
        lost = {size(case) for case in gone} - {size(case) for case in kept}
        gone = [case for case in gone if size(case) not in lost]
        if lost:
            parts.append(f"{name} {', '.join(map(_size_name, sorted(lost)))}")
    if gone:
        parts.append(f"{len(gone)} cases of other sizes")
    return "; ".join(parts)


def _size_name(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size if len(set(size)) > 1 else size[:1]))


def own_layers(cases: Iterable[Case]) -> list[Case]:
    """Return the smallest case of each layer or implementation that is the user's own."""
    own: dict[tuple[str, str], Case] = {}
    for case in sorted(cases, key=lambda case: case.input_bytes):
        if ":" in case.activation + case.impl:
            own.setdefault((case.activation, case.impl), case)
    return list(own.values())


def compiles(case: AnyCase) -> bool:
    """Return whether a case's first visit may compile something."""
    return case.impl not in activations.PLAIN or getattr(case, "mode", "") == "compile"


def kind(case: AnyCase) -> Kind:
    """Return of which kind a case is to who wants to know how long it takes to be made."""
    name = case.network if isinstance(case, NetworkCase) else case.table
    return Kind(name, compiles(case))


def _beside_timing(case: AnyCase) -> float:
    if isinstance(case, NetworkCase):
        return SECONDS_BESIDE_A_NETWORK
    return _beside_a_layer(case.impl, case.mode)


def _beside_a_layer(impl: str, mode: str) -> float:
    verified = 0.0 if impl in activations.PLAIN else SECONDS_TO_VERIFY
    return SECONDS_BESIDE_TIMING[mode] + verified
