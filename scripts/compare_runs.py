"""Compare runs case by case, or cases of one run that differ in one field.

What is found goes into the folder of the later run, comparisons/, and into its page.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Works from a checkout too, where dynact is not installed.
sys.path.insert(0, str(ROOT))

from dynact.report.comparison.comparison import (  # noqa: E402
    DEFAULT_MARGIN,
    Comparison,
    ComparisonError,
    compare_two_runs,
    compare_within,
)
from dynact.report.comparison.pairs import BETWEEN  # noqa: E402
from dynact.report.comparison.section import (  # noqa: E402
    section_of,
    section_text,
    title_of,
)
from dynact.report.comparison.store import write_comparison  # noqa: E402
from dynact.report.comparison.verdicts import slower_by  # noqa: E402
from dynact.report.data.trust import percent  # noqa: E402
from dynact.report.page.page import write_page  # noqa: E402
from dynact.report.run import Run  # noqa: E402
from dynact.schema.digits import ratio_with_interval  # noqa: E402
from dynact.schema.run_folder import LATEST, RunError, find_run  # noqa: E402
from dynact.sweep.listing import add_list  # noqa: E402
from dynact.sweep.one_line_parser import OneLineParser  # noqa: E402

_NAMED = 10


def share(text: str) -> float:
    """Return the share that ``5%`` is."""
    try:
        value = float(text.removesuffix("%")) / 100
    except ValueError:
        value = 0.0
    if not (text.endswith("%") and 0 < value <= 1):
        raise argparse.ArgumentTypeError(
            f"takes a share above 0 and up to 100 %, such as 5%, got {text!r}"
        )
    return value


def slower_share(text: str) -> float:
    """Return the share that ``slower:5%`` is."""
    verdict, _, amount = text.partition(":")
    if verdict != "slower":
        raise argparse.ArgumentTypeError(f"takes slower:SHARE, such as slower:5%, got {text!r}")
    return share(amount)


def main() -> None:
    """Run the command line."""
    parser = OneLineParser(description=__doc__)
    add = parser.add_argument
    add("runs", nargs="*", metavar="RUN", help="names in reports/, or paths: the first is the"
        " reference, each other is compared with it; with --between only one (default: the"
        " latest)")  # fmt: skip
    add("--between", choices=BETWEEN, help="compare cases of one run that differ in this alone")
    add("--margin", type=share, default=DEFAULT_MARGIN, metavar="SHARE", help="a case is the same"
        " if all of its 95%% interval is within this (default: 5%%)")  # fmt: skip
    add("--fail-on", type=slower_share, metavar="slower:SHARE", help="exit with 1 if a case is"
        " slower by more than that: it can be told to be slower, at a false discovery rate of 5%%"
        " over all cases of a comparison, and the ratio itself, not all of its interval, is above"
        " 1.05 for slower:5%%. Exit with 2 if no case has an interval on both sides, so that"
        " nothing can be told")  # fmt: skip
    add_list(parser.add_argument)
    options = parser.parse_args()
    folder = ROOT / "reports"
    try:
        runs = _runs(options.runs, options.between, folder)
        # All of them before the first is written: a mistake leaves nothing behind.
        made = _comparisons(runs, options.between, options.margin)
        for run, comparison in made:
            folder = run.folder
            print(section_text(section_of(comparison)))
            print(*map(os.path.relpath, write_comparison(folder, comparison)), sep="\n")
        for run in {id(run): run for run, _ in made}.values():
            if len(run.rows):
                folder = run.folder
                print(os.path.relpath(write_page(run)))
        too_slow = options.fail_on is not None and _report_slower(made, options.fail_on)
    except (RunError, ComparisonError) as error:
        parser.error(str(error))
    except OSError as error:
        parser.cannot_write(error, folder)
    sys.exit(1 if too_slow else 0)


def _runs(names: Sequence[str], between: str | None, reports: Path) -> list[Run]:
    """Return the runs that are named, each once."""
    if between and len(names) > 1:
        raise ComparisonError(
            f"--between {between} compares cases of one run, got {len(names)}: {', '.join(names)}"
        )
    if not between and len(names) < 2:
        raise ComparisonError(
            "name two runs or more, the first is the reference; or one with --between "
            f"{'|'.join(BETWEEN)}"
        )
    folders: dict[Path, str] = {}
    for name in names or [LATEST]:
        folder = find_run(name, reports).resolve()
        if folder in folders:
            raise ComparisonError(f"{folders[folder]!r} and {name!r} are the same run")
        folders[folder] = name
    return [Run(folder) for folder in folders]


def _comparisons(
    runs: Sequence[Run], between: str | None, margin: float
) -> list[tuple[Run, Comparison]]:
    """Return each comparison and the run whose folder it goes to."""
    first, *others = runs
    if between:
        return [(first, comparison) for comparison in compare_within(first, between, margin)]
    return [(run, compare_two_runs(first, run, margin)) for run in others]


def _report_slower(made: Sequence[tuple[Run, Comparison]], share: float) -> bool:
    """Say which cases are slower by more than a share; return whether any is."""
    if all(comparison.cases["p"].isna().all() for _, comparison in made):
        raise ComparisonError(
            "--fail-on: nothing can be told, no case has an interval on both sides (of two visits "
            "or more)"
        )
    found = False
    for _, comparison in made:
        slower = slower_by(comparison.cases, share).sort_values("ratio", ascending=False)
        found |= len(slower) > 0
        print(f"{title_of(comparison)}: {len(slower)} slower by more than {percent(share)}")
        for line in slower.head(_NAMED).to_dict("records"):
            interval = ratio_with_interval(line["ratio"], line["ratio_lo"], line["ratio_hi"])
            print(f"  {line['case_id']}: {interval}")
        if len(slower) > _NAMED:
            print(f"  and {len(slower) - _NAMED} more")
    return found


if __name__ == "__main__":
    main()
