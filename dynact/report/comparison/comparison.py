"""One side compared with another: their cases in pairs, and what is to be known of both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from dynact.report.comparison.environments import environment_differences, times_refused
from dynact.report.comparison.pairs import (
    FIGURES,
    OF_THE_BASELINE,
    Pairs,
    pairs_between_runs,
    pairs_within_run,
)
from dynact.report.comparison.verdicts import judge
from dynact.report.comparison.welch import log_overheads, log_times, ratios
from dynact.report.data.names import without_subjects
from dynact.report.data.trust import not_trustworthy
from dynact.report.run import Run
from dynact.schema.alike import USUAL
from dynact.schema.cases import Case, NetworkCase, SiteCase
from dynact.schema.run_folder import GATES, folder_name
from dynact.schema.visits import VISITS

DEFAULT_MARGIN = 0.05
_TABLES = {"layers": Case.table, "sites": SiteCase.table, "networks": NetworkCase.table}
# What a comparison is made of, in either run.
FILES = (Case.table, SiteCase.table, NetworkCase.table, VISITS, GATES)


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
    measure: str
    """What is judged, ``"overhead"`` or ``"time"``."""
    tables: dict[str, Pairs]
    """By kind: layers, sites, networks, those with a pair. The cases have ``ratio``, its interval
    and what `verdicts.judge` finds of it over all tables; and whichever is judged
    ``overhead_ratio``, ``time_ratio`` and ``baseline_time_ratio``, the first two with the ends
    ``_lo`` and ``_hi`` of their intervals. Those of times are NaN where times are refused."""
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

    Overheads are judged; times where the runs as a whole are of another mode, dtype or memory
    format, which the baseline is measured under too, unless times are refused.

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
    names = _names(reference, later)
    if not any(len(pairs.cases) for pairs in tables.values()):
        sides = " and ".join(
            f"{name!r} has {_first(frames)}"
            for name, frames in zip(names, (one, other), strict=True)
        )
        raise ComparisonError(f"no case was measured in both runs: {sides}")
    of_cases = {k: v for pairs in tables.values() for k, v in pairs.differing.items()}
    measure = "overhead" if refused else _measure(of_cases)
    return Comparison(
        *names,
        field="",
        folder=folder_name(f"against-{reference.folder.resolve().name}"),
        origin=later.origin(FILES),
        started=(reference.environment["started"], later.environment["started"]),
        margin=margin,
        measure=measure,
        tables=_judged(tables, (reference, later), margin, measure, times=not refused),
        differences=of_cases | environment_differences(reference.environment, later.environment),
        times_refused=refused,
        untrusted=[
            name
            for name, run in zip(names, (reference, later), strict=True)
            if not_trustworthy(run.gates)
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
        What is judged is as in `compare_two_runs`.

    Raises
    ------
    ComparisonError
        If all cases have one value, or none differ in nothing else.
    """
    name, measure = run.folder.resolve().name, _measure([field])
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
                measure=measure,
                tables=_judged(tables, (run, run), margin, measure, times=True),
                differences={field: (values[0], value)},
                times_refused="",
                untrusted=[name] if not_trustworthy(run.gates) else [],
                resolutions=_resolutions({name: run}),
            )
        )
    if not made:
        raise ComparisonError(
            f"run {name!r} has no two cases that differ in {field} alone "
            f"({field}: {', '.join(values)})"
        )
    return made


def _names(reference: Run, later: Run) -> tuple[str, str]:
    """Return what runs are called; those of one name, in two folders, by their start too."""
    one, other = reference.folder.resolve().name, later.folder.resolve().name
    if one != other:
        return one, other
    then, now = (run.environment["started"][:16].replace("T", " ") for run in (reference, later))
    return f"{one} of {then}", f"{other} of {now}"


def _frames(run: Run) -> dict[str, pd.DataFrame]:
    rows = run.rows, *map(without_subjects, (run.sites, run.networks))
    return dict(zip(_TABLES, rows, strict=True))


def _measure(differing: Iterable[str]) -> str:
    return "time" if set(differing) & set(OF_THE_BASELINE) else "overhead"


def _judged(
    tables: dict[str, Pairs], runs: tuple[Run, Run], margin: float, measure: str, *, times: bool
) -> dict[str, Pairs]:
    """Return the tables with a verdict on each pair: over all pairs, whichever table has them."""
    with_ratios = {
        kind: _with_ratios(pairs.cases, kind, runs, times=times)
        for kind, pairs in tables.items()
        if len(pairs.cases)
    }
    every = pd.concat(with_ratios)
    ends = {f"{measure}_ratio{end}": f"ratio{end}" for end in ("", "_lo", "_hi")}
    judged = judge(every[[*ends, f"{measure}_p"]].set_axis([*ends.values(), "p"], axis=1), margin)
    return {
        kind: replace(
            tables[kind],
            cases=cases.drop(columns=["overhead_p", "time_p"]).join(judged.loc[kind]),
        )
        for kind, cases in with_ratios.items()
    }


def _with_ratios(
    cases: pd.DataFrame, kind: str, runs: tuple[Run, Run], *, times: bool
) -> pd.DataFrame:
    """Return cases with the ratio, interval and probability of either measure."""
    sides = [_side(cases, "reference_"), _side(cases, "")]
    of_overheads = ratios(*map(log_overheads, sides)).add_prefix("overhead_")
    of_times = ratios(
        *(
            log_times(side, run.visits[run.visits["table"] == _TABLES[kind]])
            for side, run in zip(sides, runs, strict=True)
        )
    ).add_prefix("time_")
    before, after = (pd.to_numeric(side["baseline_time_ns"]).astype(float) for side in sides)
    of_times["baseline_time_ratio"] = after / before
    return cases.join(of_overheads).join(of_times if times else of_times * float("nan"))


def _side(cases: pd.DataFrame, prefix: str) -> pd.DataFrame:
    return cases[[f"{prefix}{name}" for name in ("case_id", *FIGURES)]].set_axis(
        ["case_id", *FIGURES], axis=1
    )


def _resolutions(runs: Mapping[str, Run]) -> dict[str, float]:
    """Return what the last session of each run says, if any does."""
    said = {name: [gate.get("resolution") for gate in run.gates] for name, run in runs.items()}
    return {name: last[-1] for name, last in said.items() if last and last[-1] is not None}


def _first(frames: dict[str, pd.DataFrame]) -> str:
    measured = pd.concat([rows[rows["status"] == "ok"]["case_id"] for rows in frames.values()])
    return f"{len(measured)} ({measured.iloc[0]}, …)" if len(measured) else "none"
