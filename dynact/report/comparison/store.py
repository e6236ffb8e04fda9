"""A comparison in the later run's folder: files to read, and what the run's page shows of it."""

import json
from pathlib import Path

import pandas as pd

from dynact.report.comparison.comparison import Comparison
from dynact.report.comparison.figure import comparison_figure
from dynact.report.comparison.pairs import Pairs
from dynact.report.comparison.section import (
    HEADINGS,
    Section,
    section_markdown,
    section_of,
    section_of_record,
    title_of,
)
from dynact.report.figures.files import write_figure
from dynact.report.figures.style import styled

COMPARISONS = "comparisons"
_SECTION = "section.json"


@styled
def write_comparison(run_folder: Path, comparison: Comparison) -> list[Path]:
    """Write a comparison into a folder of its own in the later run's.

    Returns
    -------
    list of Path
        comparison.md; for each table a CSV file of all its cases, and a figure as PNG and SVG. The
        same rows give the same bytes. What the run's page needs lies beside them.
    """
    folder = run_folder / COMPARISONS / comparison.folder
    folder.mkdir(parents=True, exist_ok=True)
    section = section_of(comparison)
    markdown = folder / "comparison.md"
    markdown.write_text(section_markdown(section), encoding="utf-8")
    written = [markdown]
    for kind, pairs in comparison.tables.items():
        csv = folder / f"{kind}.csv"
        _csv_lines(pairs, comparison).to_csv(csv, index=False, lineterminator="\n")
        figure = comparison_figure(
            pairs.cases,
            comparison.measure,
            comparison.margin,
            f"{HEADINGS[kind]}: {title_of(comparison)}",
            _caption(comparison),
        )
        written += [csv, *write_figure(folder, ("png", "svg"), comparison.origin, kind, figure)]
    record = json.dumps(section.record(), ensure_ascii=False, indent=1) + "\n"
    # Last: the page shows no comparison whose files are not all there.
    (folder / _SECTION).write_text(record, encoding="utf-8")
    return written


def stored_sections(run_folder: Path) -> dict[str, Section | None]:
    """Return what was compared with a run, or within it, by folder.

    It is None where what is stored cannot be read, as what another version wrote.
    """
    paths = sorted((run_folder / COMPARISONS).glob(f"*/{_SECTION}"))
    return {path.parent.name: _section(path) for path in paths}


def _section(path: Path) -> Section | None:
    try:
        return section_of_record(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError):
        return None


def _csv_lines(pairs: Pairs, comparison: Comparison) -> pd.DataFrame:
    """Return all cases of a table: the pairs, then those that only one side measured."""
    alone = [
        {"case_id": case_id, "verdict": f"measured in {side} alone"}
        for side, ids in (
            (comparison.reference, pairs.only_reference),
            (comparison.later, pairs.only_later),
        )
        for case_id in ids
    ]
    lines = pairs.cases.sort_values("case_id", kind="stable")
    first = ["case_id", "verdict", "ratio", "ratio_lo", "ratio_hi", "p", "p_adjusted"]
    # Whole numbers stay so beside lines that have none.
    lines = lines[[*first, *(name for name in lines if name not in first)]].convert_dtypes()
    return pd.concat([lines, pd.DataFrame(alone, columns=["case_id", "verdict"])])


def _caption(comparison: Comparison) -> str:
    then, now = (time[:16].replace("T", " ") for time in comparison.started)
    doubt = ""
    if comparison.untrusted:
        names = " and ".join(comparison.untrusted)
        doubt = f"RATIOS NOT TRUSTWORTHY in {names} (known ratios were not found). "
    if comparison.field:
        return f"{doubt}Cases of one run, started {now}, that differ in this alone."
    return f"{doubt}{comparison.reference} was started {then}, {comparison.later} {now}."
