"""A session of measuring: which cases, in what time, and every row on disk before the next."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from dynact.schema.cases import Case, choice, fits, preset, thin, unique_cases
from dynact.schema.limits import Ceilings
from dynact.schema.network_cases import NetworkCase
from dynact.schema.run_folder import (
    NETWORK_ROWS,
    ROWS,
    SITE_ROWS,
    AnyCase,
    Measured,
    Row,
    RunFolder,
)
from dynact.sweep.interrupt import interrupt_deferred
from dynact.sweep.networks import Shape, at_shapes
from dynact.sweep.worker import Welcome

SECONDS_BESIDE_TIMING = {"eager": 0.1, "compile": 20.0}
"""Set-up and warm-up of a usual case; compiling both sides, forward and backward."""

SECONDS_BESIDE_A_NETWORK = 3.0
"""Making a small network twice, replacing its activations and counting."""

PATIENCE = {SITE_ROWS: 0.3}
"""A site is one of many terms of a sum, and wants the less precision."""


class Bench(Protocol):
    """What measures: `dynact.sweep.worker.Worker`, or `dynact.worker.serve.InProcess`."""

    welcome: Welcome

    def measure(self, case: AnyCase, patience: float = 1.0) -> tuple[Measured, list[float]]:
        """Return the case's row and its samples in ns, in that share of ``max_seconds``."""

    def count(self, case: AnyCase) -> dict[str, Any]:
        """Return the figures of the case's row that need no clock."""

    def check(self, case: Case) -> None:
        """Try the case's layer once."""

    def run_gate(self) -> tuple[dict[str, Any], list[float]]:
        """Return the gate's verdict and samples."""

    def measure_ceilings(self) -> dict[str, Any]:
        """Return what `dynact.schema.limits.Ceilings` is made of."""

    def networks(self) -> dict[str, int]:
        """Return the networks there are, and the image size in pixels each is made for."""

    def shapes_in(self, network: str, image_size: int) -> dict[Shape, int]:
        """Return how often a network calls an activation at each shape."""

    def sites(self, case: NetworkCase) -> list[dict[str, Any]]:
        """Return where a case replaces activations: the fields of `dynact.networks.Site`."""

    def close(self) -> None:
        """Let go of the device."""


@dataclass(frozen=True)
class Plan:
    """The cases of a sweep."""

    cases: tuple[Case, ...]
    max_seconds: float
    too_large: int
    """Cases left out because the device's memory could not hold their tensors."""

    def seconds(self, cases: Iterable[AnyCase]) -> float:
        """Return about how long some cases take, if none converges early."""
        beside = (
            SECONDS_BESIDE_A_NETWORK
            if isinstance(case, NetworkCase)
            else SECONDS_BESIDE_TIMING[case.mode]
            for case in cases
        )
        return sum(self.max_seconds + seconds for seconds in beside)

    def own_layers(self) -> list[Case]:
        """Return the smallest case of each layer that is the user's own."""
        own: dict[str, Case] = {}
        for case in sorted(self.cases, key=lambda case: case.input_bytes):
            if ":" in case.activation:
                own.setdefault(case.activation, case)
        return list(own.values())


def plan(
    preset_name: str,
    axes: Mapping[str, tuple[Any, ...]],
    welcome: Welcome,
    *,
    own_layers: tuple[str, ...] = (),
    shapes: Iterable[Shape] | None = None,
    baseline: str,
    max_seconds: float,
    budget_s: float | None,
) -> Plan:
    """Return the cases of a preset, with the user's own values for some of its axes.

    Parameters
    ----------
    axes
        Values for fields of `dynact.schema.cases.Grid`.
    own_layers
        The user's own, ``"pkg.mod:Class"``, beside those of the grids.
    shapes
        To take in place of all channels and resolutions.
    budget_s
        Thin the sizes so that the whole takes at most so long.

    Raises
    ------
    ValueError
        If a name or a value is unknown, or the budget is too small.
    """
    for name in (*axes.get("activations", ()), baseline):
        choice("activation", name, welcome.activations)
    for name in own_layers:
        if not re.fullmatch(r"[\w.]+:\w+", name):
            raise ValueError(f"--activation-from takes PKG.MOD:CLASS, got {name!r}")
    asked = [
        replace(grid, **axes)
        for grid in preset(preset_name, welcome.activations, welcome.device != "cpu")
    ]
    grids = tuple(replace(grid, activations=grid.activations + own_layers) for grid in asked)
    if shapes is not None:
        grids = at_shapes(grids[0], shapes)
    if budget_s is not None:
        beside = (SECONDS_BESIDE_TIMING[mode] for grid in grids for mode in grid.modes)
        modes = sum(len(grid.modes) for grid in grids)
        grids = thin(grids, int(budget_s / (max_seconds + sum(beside) / modes)))
    cases = unique_cases(grids, welcome.device, baseline)
    fitting = tuple(case for case in cases if fits(case, welcome.memory_bytes))
    if not fitting:
        raise ValueError(
            f"none of {len(cases)} cases fits into the {welcome.memory_bytes / 2**30:.1f} GiB of "
            f"{welcome.device}; name smaller sizes"
        )
    return Plan(fitting, max_seconds, len(cases) - len(fitting))


class Sweep:
    """Measures cases one after the other, and stores each row before the next.

    Parameters
    ----------
    started
        When the session's process did: start-up counts as the sweep's time.
    occurrences
        How often networks have a shape, where the shapes come from networks.
    """

    def __init__(
        self,
        bench: Bench,
        run: RunFolder,
        started: datetime,
        occurrences: Mapping[Shape, int] | None = None,
    ) -> None:
        self.run = run
        self.rows: dict[str, list[Measured]] = {ROWS: [], SITE_ROWS: [], NETWORK_ROWS: []}
        """This session's by the file they went to, in the order measured."""
        self.latest: Measured
        self.gates: list[dict[str, Any]] = []
        self._bench = bench
        self._started = started
        self._session = started.isoformat(timespec="seconds")
        self._ceilings: Ceilings | None = None
        self._occurrences = occurrences or {}

    def measure(self, case: AnyCase, file: str = ROWS) -> tuple[Measured, list[float]]:
        """Return the case's row, which is on disk, and its samples in ns.

        Parameters
        ----------
        file
            Of the run folder, one of `dynact.schema.run_folder`' ``…ROWS``: where the row goes.

        Raises
        ------
        KeyboardInterrupt
            After the row is stored, if Ctrl-C came meanwhile; a second one ends it at once.
        """
        with interrupt_deferred():
            ceilings = self._ceilings = self._ceilings or self._known_ceilings()
            row, samples_ns = self._bench.measure(case, PATIENCE.get(file, 1.0))
            if row.status == "ok":
                row = replace(row, **self._bench.count(case))
            if isinstance(row, Row):
                shape = row.case.channels, row.case.height, row.case.width
                row = replace(row, occurrences=self._occurrences.get(shape))
                if row.status == "ok":
                    floor = ceilings.figures(
                        row.case.input_bytes, row.case.dtype, row.traffic_floor_bytes, row.flops
                    )
                    row = replace(row, **floor)
            elapsed_s = (datetime.now() - self._started).total_seconds()
            row = replace(row, session=self._session, elapsed_s=elapsed_s)
            self.run.append(row, file)
            self.rows[file].append(row)
            self.latest = row
        return row, samples_ns

    @property
    def measured(self) -> int:
        """How many cases this session has measured."""
        return sum(map(len, self.rows.values()))

    def run_gate(self) -> tuple[dict[str, Any], list[float]]:
        """Return the gate's verdict, which is on disk, and its samples in ns."""
        with interrupt_deferred():
            verdict, samples_ns = self._bench.run_gate()
            verdict = {"session": self._session, **verdict}
            self.run.append_gate(verdict)
            self.gates.append(verdict)
        return verdict, samples_ns

    def _known_ceilings(self) -> Ceilings:
        record = self.run.ceilings()
        if record is None:
            try:
                found = self._bench.measure_ceilings()
            except ValueError as error:
                # Rows without a floor are still rows.
                found = {"copies": [], "flops_per_s": {}, "case_s": 0.0, "message": str(error)}
            record = {"session": self._session, **found}
            self.run.store_ceilings(record)
        return Ceilings.of(record)

    def close(self) -> None:
        """Let go of the device and the run folder."""
        self._bench.close()
        self.run.close()
