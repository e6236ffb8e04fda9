"""What of an activation's cost is the maths, and what the way it is written."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dynact import activations
from dynact.report.data.aggregate import geometric_means
from dynact.report.data.baseline_mode import EAGER, against_eager
from dynact.report.data.names import without_subjects
from dynact.report.data.settings_groups import SettingsGroup
from dynact.schema.alike import SHAPE_FIELDS
from dynact.schema.digits import measured_ratio

# The reference under torch.compile.
COMPILED = "compiled"

_RATIO = ["overhead", "overhead_lo", "overhead_hi"]


@dataclass(frozen=True)
class Way:
    """One way to write an activation."""

    name: str
    """Its implementation, or ``COMPILED``."""
    ratio: float
    """Geometric mean over the shapes of its time over the baseline's."""
    text: str
    """That ratio in the digits that it has."""


@dataclass(frozen=True)
class Ways:
    """The ways to write one activation in one phase, at the shapes where all were measured."""

    dearest_first: list[Way]
    shapes: int
    writing: tuple[float, float, float]
    """The reference over the cheapest of the others, and its 95 % interval; NaN without one."""
    floor: float
    """The least time on this device over the baseline's, geometric mean; NaN where unknown."""


def ways_of(main: SettingsGroup, run: pd.DataFrame) -> dict[str, dict[str, Ways]]:
    """Return by phase and activation the ways to write it, where there are several.

    Parameters
    ----------
    main
        A group of rows: its implementations are ways.
    run
        All rows of its run: the reference compiled, over the eager baseline, is another way where
        it has every shape of the others.
    """
    compiled = _compiled(main, run)
    found: dict[str, dict[str, Ways]] = {}
    for phase, part in main.by_phase.items():
        of_phase = compiled[compiled["phase"] == phase]
        names = without_subjects(part.ok)["activation"]
        found[phase] = {}
        for name, rows in part.ok.groupby(names):
            also = of_phase[of_phase["activation"] == f"{name} {COMPILED}"]
            # Most have one alone, and its mean is known.
            if rows["activation"].nunique() > 1 or len(also):
                found[phase][str(name)] = _ways(rows, also)
        found[phase] = {a: of for a, of in found[phase].items() if len(of.dearest_first) > 1}
    return found


def as_words(way: str) -> str:
    """Return how an activation is written: ``as the reference``, ``fused``, ``as MyClass``."""
    if way in (COMPILED, "fused"):
        return way
    words = {activations.REFERENCE: "the reference", "lines": "elementwise lines"}
    return f"as {words.get(way, way.rpartition(':')[2])}"


def _compiled(main: SettingsGroup, run: pd.DataFrame) -> pd.DataFrame:
    """Return the references that were compiled in the same settings, over the eager baseline."""
    first = main.rows.iloc[0]
    there = (run["mode"] == "compile") & (run["status"] == "ok")
    there &= (run["impl"] == activations.REFERENCE) & (first["mode"] == EAGER)
    for field in ("dtype", "memory_format", "batch", "baseline", "device"):
        there &= run[field] == first[field]
    rows = against_eager(run[there], run).dropna(subset="overhead")
    return rows.assign(activation=rows["activation"] + f" {COMPILED}")


def _ways(ok: pd.DataFrame, compiled: pd.DataFrame) -> Ways:
    """Return the ways of one activation in one phase."""
    shape = list(SHAPE_FIELDS)
    # Means over other shapes say something else.
    measured = ok.groupby(shape)["activation"].transform("nunique")
    ok = ok[measured == ok["activation"].nunique()]
    shapes = ok[shape].drop_duplicates()
    floor = ok["floor_time_ns"].astype(float) / ok["baseline_time_ns"].astype(float)
    # As of the ratios' means: where one shape's is unknown, so is theirs.
    weight = ok["occurrences"].astype(float).fillna(1.0)
    logs = np.log(floor.where(floor > 0))
    least = float(np.exp(np.average(logs, weights=weight))) if len(ok) else math.nan
    compiled = compiled.merge(shapes)
    if len(compiled) == len(shapes):
        ok = pd.concat([ok, compiled], ignore_index=True)
    means = geometric_means(ok).droplevel("phase")[::-1]
    return Ways(
        [
            Way(
                str(subject).partition(" ")[2] or activations.REFERENCE,
                float(mean["overhead"]),
                measured_ratio(*mean[_RATIO]),
            )
            for subject, mean in means.iterrows()
        ],
        len(shapes),
        _writing(ok, means),
        least,
    )


def _writing(ok: pd.DataFrame, means: pd.DataFrame) -> tuple[float, float, float]:
    """Return the mean of the reference over that of the cheapest other way, with its interval."""
    is_other = means.index.str.contains(" ")
    if is_other.all() or not is_other.any():
        return np.nan, np.nan, np.nan
    cheapest = ok["activation"] == means["overhead"][is_other].idxmin()
    both = ok[cheapest | ~ok["activation"].str.contains(" ")]
    turned, ratios = cheapest[both.index], both[_RATIO].astype(float)
    inverse = 1 / ratios[["overhead", "overhead_hi", "overhead_lo"]].set_axis(_RATIO, axis=1)
    # The mean logarithm of reference and 1 / other is half that of reference / other.
    pooled = both.assign(activation="", **ratios.mask(turned, inverse))
    ratio, low, high = geometric_means(pooled)[_RATIO].iloc[0] ** 2
    return float(ratio), float(low), float(high)
