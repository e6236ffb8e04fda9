"""Draw the overhead figures of a run and write its tables, its page and its dashboards."""

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Works from a checkout too, where dynact is not installed.
sys.path.insert(0, str(ROOT))

from dynact.report.data.baseline_mode import BASELINE_MODES  # noqa: E402
from dynact.report.data.budget import DEFAULT, Budget, budget_of  # noqa: E402
from dynact.report.data.trust import not_trustworthy  # noqa: E402
from dynact.report.figures.declaration import (  # noqa: E402
    LayerFigure,
    NetworkFigure,
    ProfileFigure,
    RunFigure,
)
from dynact.report.figures.files import FORMATS  # noqa: E402
from dynact.report.figures.registry import figures_of  # noqa: E402
from dynact.report.render import ChoiceError, render  # noqa: E402
from dynact.report.run import Run  # noqa: E402
from dynact.report.tables.fitting import fitting  # noqa: E402
from dynact.report.tensorboard import write_dashboards  # noqa: E402
from dynact.schema.run_folder import RunError, find_run  # noqa: E402
from dynact.sweep.listing import add_list  # noqa: E402
from dynact.sweep.one_line_parser import OneLineParser  # noqa: E402
from dynact.sweep.options import parse_multiple  # noqa: E402


def names(text: str) -> list[str]:
    """Split a comma list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def memory(text: str) -> Budget:
    """Read a size such as 24GiB."""
    try:
        return budget_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def multiple(text: str) -> float:
    """Read a multiple of a time such as 1.5x."""
    try:
        return parse_multiple(text, "--at-most")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main() -> None:
    """Run the command line."""
    parser = OneLineParser(description=__doc__)
    parser.add_argument("run", nargs="?", help="a name in reports/, or a path; default: the latest")
    parser.add_argument(
        "--figures",
        type=names,
        help=f"some of {', '.join(figures_of(LayerFigure))}; where an activation was measured in "
        f"several ways, of {', '.join(figures_of(RunFigure))}; where networks were measured, of "
        f"{', '.join(figures_of(NetworkFigure))}; where steps were traced, of "
        f"{', '.join(figures_of(ProfileFigure))}; comma list, default: all",
    )
    parser.add_argument(
        "--format",
        type=names,
        default="png,svg",
        help=f"some of {','.join(FORMATS)}; default: %(default)s",
    )
    parser.add_argument(
        "--baseline-mode",
        choices=BASELINE_MODES,
        default=BASELINE_MODES[0],
        help="in tables that mix modes, ratios are over the eager baseline (the default), or over "
        "the one of the same mode",
    )
    parser.add_argument(
        "--memory",
        type=memory,
        default=DEFAULT,
        metavar="SIZE",
        help="for which the largest batch of whole networks is computed, such as 24GiB; default: "
        f"{DEFAULT.name}",
    )
    parser.add_argument(
        "--at-most",
        type=multiple,
        metavar="RATIO",
        help="say which activations take so long at most, such as 1.5x the baseline's time, and "
        "which miss it by least: here, in summary.md and in the page",
    )
    add_list(parser.add_argument)
    options = parser.parse_args()
    folder = ROOT / "reports"
    try:
        folder = find_run(options.run, folder)
        run = Run(folder)
        written = render(
            run,
            options.figures,
            options.format,
            options.baseline_mode,
            options.memory,
            options.at_most,
        )
        written.append(write_dashboards(run))
    except (RunError, ChoiceError) as error:
        parser.error(str(error))
    except OSError as error:
        parser.cannot_write(error, folder)
    for path in written:
        print(os.path.relpath(path))
    if options.at_most is not None:
        if not_trustworthy(run.gates):
            print("\nRATIOS NOT TRUSTWORTHY HERE AND NOW: known ratios were not found")
        for part in fitting(run.main, options.at_most):
            print("", part.heading, part.text, part.table.text(), sep="\n")


if __name__ == "__main__":
    main()
