"""A comparison in words and tables of text, as the page and Markdown show it."""

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from dynact.report.comparison.comparison import Comparison
from dynact.report.comparison.pairs import OF_THE_BASELINE
from dynact.report.comparison.subjects import subjects, subjects_in_order
from dynact.report.comparison.verdicts import (
    FALSE_DISCOVERY_RATE,
    FASTER,
    SAME,
    SLOWER,
    VERDICTS,
)
from dynact.report.data.trust import percent
from dynact.report.tables.markdown import escaped
from dynact.report.tables.table import Table
from dynact.schema.digits import NO_FIGURE, ratio_with_interval, two_digits

HEADINGS = {
    "layers": "Single layers",
    "sites": "Layers at the networks’ shapes",
    "networks": "Whole networks",
}
# Of the baseline's times in two runs, in median over cases. Two runs of the same code on a shared
# machine, two hours apart, had 1.2, and their overheads differed by 5 % (median of 176 cases).
SAME_STATE_WITHIN = 1.1
NOTHING_DIFFERS = "Nothing that was recorded of the environments differs."
_CALLED_SHOWN = 40
_CALLED_FIGURES = (
    *("overhead_ratio", "time_ratio", "baseline_time_ratio"),
    *("reference_overhead", "overhead"),
)
_NAMED = 5


@dataclass(frozen=True)
class TitledTable:
    """A table of text under a heading."""

    heading: str
    table: Table


@dataclass(frozen=True)
class Section:
    """A comparison as it is shown; text that is not escaped."""

    title: str
    finding: str
    differences: Table | None
    """None where nothing that was recorded differs."""
    caveats: list[str]
    """What is to be known before any verdict is believed."""
    reading: list[str]
    """How to read figures and tables."""
    tables: list[TitledTable]
    figures: dict[str, str]
    """By the name, without ending, of its file: what one sees in it."""
    origin: str
    """As in `Comparison`."""

    def record(self) -> dict[str, Any]:
        """Return it as plain values that `section_of_record` makes it of again."""
        return asdict(self)


def section_of_record(record: dict[str, Any]) -> Section:
    """Return the section of a `Section.record`.

    Raises
    ------
    TypeError, KeyError
        If it is none, or one of another version.
    """
    differences = record["differences"]
    return Section(
        **record
        | {
            "differences": Table(**differences) if differences else None,
            "tables": [TitledTable(t["heading"], Table(**t["table"])) for t in record["tables"]],
        }
    )


def section_of(comparison: Comparison) -> Section:
    """Return what there is to say of a comparison."""
    tables = []
    for kind, pairs in comparison.tables.items():
        tables.append(TitledTable(HEADINGS[kind], _by_subject(pairs.cases)))
        called = pairs.cases[pairs.cases["verdict"].isin([SLOWER, FASTER])]
        if len(called):
            tables.append(
                TitledTable(_called_heading(kind, len(called)), _called(called, comparison))
            )
    return Section(
        title=title_of(comparison),
        finding=finding(comparison),
        differences=_differences(comparison),
        caveats=_caveats(comparison),
        reading=_reading(comparison),
        tables=tables,
        figures={
            kind: f"{HEADINGS[kind]}: each case’s ratio of {comparison.measure}s on a log scale, a "
            f"line for each activation. {_counts(pairs.cases, comparison.margin)}."
            for kind, pairs in comparison.tables.items()
        },
        origin=comparison.origin,
    )


def title_of(comparison: Comparison) -> str:
    """Return who is compared with whom."""
    sides = f"{comparison.later} against {comparison.reference}"
    return f"{comparison.field.replace('_', ' ')}: {sides}" if comparison.field else sides


def finding(comparison: Comparison) -> str:
    """Return how many cases got which verdict, in a sentence."""
    cases = comparison.cases
    same = cases["verdict"] == SAME
    told = int((same & (cases["p_adjusted"] <= FALSE_DISCOVERY_RATE)).sum())
    little = f" Of the same, {told:,} can be told apart, by less than that." if told else ""
    return (
        f"Of {len(cases):,} cases, {comparison.later} compared with {comparison.reference}: "
        f"{_counts(cases, comparison.margin)}.{little}"
    )


def section_text(section: Section) -> str:
    """Return a section in a few lines for the terminal, without its tables."""
    differences = section.differences.lines if section.differences else []
    differs = [f"differs: {name}, {one} and {other}" for name, one, other in differences]
    differs = differs or [NOTHING_DIFFERS]
    return "\n  ".join([section.finding, *differs, *section.caveats])


def section_markdown(section: Section) -> str:
    """Return a section as a document of its own."""
    parts = [f"# {escaped(section.title)}", f"**{escaped(section.finding)}**"]
    parts.append(section.differences.markdown() if section.differences else NOTHING_DIFFERS)
    parts += map(escaped, section.caveats)
    parts += ["## How to read", "\n".join(f"- {escaped(note)}" for note in section.reading)]
    for titled in section.tables:
        parts += [f"## {escaped(titled.heading)}", titled.table.markdown()]
    return "\n\n".join(parts) + "\n"


def _counts(cases: pd.DataFrame, margin: float) -> str:
    counts = cases["verdict"].value_counts()
    words = {verdict: verdict for verdict in VERDICTS} | {SAME: f"same within {percent(margin)}"}
    return ", ".join(f"{counts.get(verdict, 0):,} {word}" for verdict, word in words.items())


def _differences(comparison: Comparison) -> Table | None:
    if not comparison.differences:
        return None
    lines = [[name, *pair] for name, pair in comparison.differences.items()]
    return Table(["what differs", comparison.reference, comparison.later], lines)


def _caveats(comparison: Comparison) -> list[str]:
    cases, said = comparison.cases, []
    if comparison.untrusted:
        said.append(
            f"RATIOS NOT TRUSTWORTHY in {' and '.join(comparison.untrusted)}: known ratios were "
            "not found there."
        )
    moved = cases["baseline_time_ratio"].median()
    same = not comparison.field and not comparison.times_refused
    if same and max(moved, 1 / moved) > SAME_STATE_WITHIN:
        said.append(
            "THE MACHINE WAS NOT IN THE SAME STATE: the baseline itself took "
            f"{two_digits(moved)}× its time in {comparison.later} (median over cases), and ratios "
            "move with it. What is called slower or faster here may be the time of day; measure "
            "both again, one directly after the other."
        )
    of_one_visit = [
        cases[f"{side}visits"].isna() & cases[f"{side}overhead_lo"].notna()
        for side in ("", "reference_")
    ]
    old = int(((of_one_visit[0] | of_one_visit[1]) & cases["p"].notna()).sum())
    if old:
        said.append(
            f"{_cases(old)} with an interval of a single visit, as earlier versions measured: it "
            "holds for that moment alone and is TOO NARROW to compare with another’s. What is "
            "called slower or faster here may be the time of day."
        )
    unknown = int(cases["p"].isna().sum())
    if unknown:
        said.append(
            f"{_cases(unknown)} with one visit, or for another reason no interval, on a side: "
            "there nothing can be told, so it is not resolved."
        )
    if comparison.times_refused:
        said.append(f"Times are not compared: {comparison.times_refused}. Overheads are.")
        said += [
            f"The baseline is of another {field.replace('_', ' ')} too: an overhead may shrink "
            "because the baseline became slower."
            for field in OF_THE_BASELINE
            if field in comparison.differences
        ]
    for side, ids in (
        (comparison.reference, [i for p in comparison.tables.values() for i in p.only_reference]),
        (comparison.later, [i for p in comparison.tables.values() for i in p.only_later]),
    ):
        if ids:
            more = f" and {len(ids) - _NAMED:,} more, in the CSV files" if len(ids) > _NAMED else ""
            said.append(
                f"{_cases(len(ids))} measured in {side} alone, and not compared: "
                f"{', '.join(ids[:_NAMED])}{more}."
            )
    return said


def _cases(count: int) -> str:
    return f"{count:,} case{'s' if count != 1 else ''}"


def _reading(comparison: Comparison) -> list[str]:
    margin, reference, later = comparison.margin, comparison.reference, comparison.later
    measure = comparison.measure
    within = f"{1 / (1 + margin):.3g} and {1 + margin:.3g}"
    notes = [
        f"Ratio: {measure} in {later} / {measure} in {reference}; above 1, {later} is slower. Its "
        "95 % interval is from the scatter between visits on both sides (Welch’s t on log ratios).",
        f"Same within {percent(margin)}: the interval lies between {within}. Slower, faster: else, "
        "where the difference can be told from chance, at a false discovery rate of "
        f"{percent(FALSE_DISCOVERY_RATE)} over all {_cases(len(comparison.cases))} "
        "(Benjamini–Hochberg).",
    ]
    if not comparison.times_refused:
        notes.append(_times_note(comparison))
    if comparison.resolutions:
        said = (f"{name} {percent(share)}" for name, share in comparison.resolutions.items())
        finer = " The margin is finer." if margin < max(comparison.resolutions.values()) else ""
        notes.append(f"The least difference that a run says it tells: {', '.join(said)}.{finer}")
    return notes


def _times_note(comparison: Comparison) -> str:
    time, baseline = (
        two_digits(comparison.cases[name].median())
        for name in ("time_ratio", "baseline_time_ratio")
    )
    medians = (
        f"In {comparison.later} the baseline itself took {baseline}× its time in "
        f"{comparison.reference}, and the layer or network {time}× (medians over cases)."
    )
    if comparison.measure == "time":
        return (
            f"Times are judged, not overheads: each side’s baseline is measured under its own "
            f"setting, and where it became slower every overhead shrinks. {medians}"
        )
    return (
        f"Overheads are judged, not times: what slows the whole machine down slows the baseline "
        f"too. {medians}"
    )


def _by_subject(cases: pd.DataFrame) -> Table:
    """Return how many cases of each subject and phase got which verdict."""
    header = ["activation", "phase", *VERDICTS, "ratio, mean (least to most)"]
    groups = dict(list(cases.groupby([subjects(cases), "phase"])))
    lines = []
    for subject, phase in product(subjects_in_order(cases), sorted(cases["phase"].unique())):
        part = groups.get((subject, phase))
        if part is not None:
            counts = part["verdict"].value_counts()
            lines.append(
                [subject, phase, *(str(counts.get(v, 0)) for v in VERDICTS), _span(part["ratio"])]
            )
    return Table(header, lines)


def _span(ratios: "pd.Series[float]") -> str:
    mean = float(np.exp(np.log(ratios).mean()))
    if len(ratios) == 1:
        return f"{two_digits(mean)}×"
    return f"{mean:.3g}× ({ratios.min():.3g}–{ratios.max():.3g})"


def _called_heading(kind: str, count: int) -> str:
    shown = f", the {_CALLED_SHOWN} most different of {count:,}" if count > _CALLED_SHOWN else ""
    return f"{HEADINGS[kind]} called slower or faster{shown}"


def _called(called: pd.DataFrame, comparison: Comparison) -> Table:
    far = np.log(called["ratio"]).abs().sort_values(ascending=False, kind="stable").index
    lines = [
        [
            line["case_id"],
            line["verdict"],
            *(_figure(line, name) for name in _CALLED_FIGURES),
        ]
        for line in called.loc[far[:_CALLED_SHOWN]].to_dict("records")
    ]
    header = [
        *("case", "verdict", "ratio of overheads", "ratio of times", "of baseline’s times"),
        *(f"overhead, {side}" for side in (comparison.reference, comparison.later)),
    ]
    return Table(header, lines)


def _figure(line: dict[Any, Any], name: str) -> str:
    """Return a ratio with its interval where it has one."""
    ratio, low, high = (line.get(f"{name}{end}", float("nan")) for end in ("", "_lo", "_hi"))
    if pd.isna(ratio):
        return NO_FIGURE
    return f"{two_digits(ratio)}×" if pd.isna(low) else ratio_with_interval(ratio, low, high)
