"""One side compared with another: their cases in pairs, and what is to be known of both."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from dynact.report.comparison.environments import environment_differences, times_refused
from dynact.report.comparison.pairs import (
    Pairs,
    pairs_between_runs,
    pairs_within_run,
)
from dynact.report.comparison.verdicts import judge
from dynact.report.comparison.welch import ratios
from dynact.report.data.caveats import gate_failed
from dynact.report.data.settings_groups import USUAL
from dynact.report.run import Run
from dynact.schema.cases import Case, NetworkCase, SiteCase
from dynact.schema.run_folder import GATES, folder_name

DEFAULT_MARGIN = 0.05
# What a comparison is made of, in either run.
FILES = (Case.table, SiteCase.table, NetworkCase.table, GATES)


class ComparisonError(ValueError):
    """What cannot be compared; the message is one line for the user."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What two sides say of the same cases."""

    reference: str
    """What that side is called: a run, or a value of ``field``."""
    later: str
    field: str
    """In which the cases of one run differ, empty where two runs are compared."""
    folder: str
    """Its own, in the later run's comparisons."""
    origin: str
    """What of the later run it is made of, as `Run.origin`."""
    started: tuple[str, str]
    """When the reference's run and the later run were started."""
    margin: float
    tables: dict[str, Pairs]
    """By kind: layers, sites, networks, those with a pair. The cases have what `verdicts.judge`
    finds over all tables, and ``time_ratio`` and ``baseline_time_ratio``, NaN where times are
    refused."""
    differences: dict[str, tuple[str, str]]
    """Of the environments, and of fields that set all cases of one side apart from the other's."""
    times_refused: str
    """Why times are not compared; empty where they are."""
    untrusted: list[str]
    """The runs whose known ratios were not found."""
    resolutions: dict[str, float]
    """The share from which on each run tells a difference, where it says one."""

    @property
    def cases(self) -> pd.DataFrame:
        """The pairs of all tables."""
        return pd.concat([pairs.cases for pairs in self.tables.values()], ignore_index=True)


def compare_two_runs(reference: Run, later: Run, margin: float = DEFAULT_MARGIN) -> Comparison:
    """Compare a run with another, case by case.

    Parameters
    ----------
    reference, later
        Two runs, whichever versions wrote them.
    margin
        As for `verdicts.judge`.

    Raises
    ------
    ComparisonError
        If no case was measured in both.
    """
    one, other = _frames(reference), _frames(later)
    refused = times_refused(reference.environment, later.environment)
    tables = {kind: pairs_between_runs(one[kind], other[kind]) for kind in one}
    names = reference.folder.resolve().name, later.folder.resolve().name
    if not any(len(pairs.cases) for pairs in tables.values()):
        sides = " and ".join(
            f"{name!r} has {_first(frames)}"
            for name, frames in zip(names, (one, other), strict=True)
        )
        raise ComparisonError(f"no case was measured in both runs: {sides}")
    of_cases = {k: v for pairs in tables.values() for k, v in pairs.differing.items()}
    return Comparison(
        *names,
        field="",
        folder=folder_name(f"against-{names[0]}"),
        origin=later.origin(FILES),
        started=(reference.environment["started"], later.environment["started"]),
        margin=margin,
        tables=_judged(tables, margin, times=not refused),
        differences=of_cases | environment_differences(reference.environment, later.environment),
        times_refused=refused,
        untrusted=[
            name
            for name, run in zip(names, (reference, later), strict=True)
            if gate_failed(run.gates)
        ],
        resolutions=_resolutions(dict(zip(names, (reference, later), strict=True))),
    )


def compare_within(run: Run, field: str, margin: float = DEFAULT_MARGIN) -> list[Comparison]:
    """Compare the cases of a run that differ in one field alone.

    Parameters
    ----------
    run
        Whichever version wrote it.
    field
        One of `pairs.BETWEEN`.
    margin
        As for `verdicts.judge`.

    Returns
    -------
    list of Comparison
        Of each other value with the usual one, or where that was not measured with the first.

    Raises
    ------
    ComparisonError
        If all cases have one value, or none differ in nothing else.
    """
    name = run.folder.resolve().name
    frames = {kind: rows for kind, rows in _frames(run).items() if field in rows}
    measured = pd.concat([rows[rows["status"] == "ok"][field] for rows in frames.values()])
    values = sorted(map(str, measured.unique()), key=lambda value: (value != USUAL[field], value))
    if len(values) < 2:
        has = f"all cases have {field} {values[0]}" if values else "it has no measured case"
        raise ComparisonError(f"run {name!r} has nothing to compare between {field}: {has}")
    made = []
    for value in values[1:]:
        tables = {
            kind: pairs_within_run(rows, field, values[0], value) for kind, rows in frames.items()
        }
        if not any(len(pairs.cases) for pairs in tables.values()):
            continue
        made.append(
            Comparison(
                values[0],
                value,
                field=field,
                folder=folder_name(f"between-{field}-{value}"),
                origin=run.origin(FILES),
                started=(run.environment["started"],) * 2,
                margin=margin,
                tables=_judged(tables, margin, times=True),
                differences={field: (values[0], value)},
                times_refused="",
                untrusted=[name] if gate_failed(run.gates) else [],
                resolutions=_resolutions({name: run}),
            )
        )
    if not made:
        raise ComparisonError(
            f"run {name!r} has no two cases that differ in {field} alone "
            f"({field}: {', '.join(values)})"
        )
    return made


def _frames(run: Run) -> dict[str, pd.DataFrame]:
    return {"layers": run.rows, "sites": run.sites, "networks": run.networks}


def _judged(tables: dict[str, Pairs], margin: float, *, times: bool) -> dict[str, Pairs]:
    """Return the tables with a verdict on each pair: over all pairs, whichever table has them."""
    every = {kind: ratios(_reference_side(p.cases), p.cases) for kind, p in tables.items()}
    judged = judge(pd.concat(every), margin)
    found = {}
    for kind, pairs in tables.items():
        if kind not in judged.index.get_level_values(0):
            continue
        cases = pairs.cases.join(judged.loc[kind])
        for name in ("time", "baseline_time"):
            of_time = _number(cases[f"{name}_ns"]) / _number(cases[f"reference_{name}_ns"])
            cases[f"{name}_ratio"] = of_time if times else float("nan")
        found[kind] = replace(pairs, cases=cases)
    return found


def _reference_side(cases: pd.DataFrame) -> pd.DataFrame:
    names = ("overhead", "overhead_lo", "overhead_hi", "visits")
    return pd.DataFrame({name: cases[f"reference_{name}"] for name in names})


def _number(cells: "pd.Series[Any]") -> "pd.Series[float]":
    return pd.to_numeric(cells).astype(float)


def _resolutions(runs: Mapping[str, Run]) -> dict[str, float]:
    """Return what the last session of each run says, if any does."""
    said = {name: [gate.get("resolution") for gate in run.gates] for name, run in runs.items()}
    return {name: last[-1] for name, last in said.items() if last and last[-1] is not None}


def _first(frames: dict[str, pd.DataFrame]) -> str:
    measured = pd.concat([rows[rows["status"] == "ok"]["case_id"] for rows in frames.values()])
    return f"{len(measured)} ({measured.iloc[0]}, …)" if len(measured) else "none"
