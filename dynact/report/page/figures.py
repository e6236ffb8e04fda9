"""The figures of a run's main slice and traces, with what a reader needs to read each."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from dynact.report.data.names import display_names
from dynact.report.data.network_frames import setting
from dynact.report.data.profile import Traces
from dynact.report.data.settings_groups import Slice, describe
from dynact.report.figures.of_networks import NETWORK_FIGURES
from dynact.report.figures.of_profile import TRACED
from dynact.report.figures.provenance import origin_of


@dataclass(frozen=True)
class Explanation:
    """What stands around a figure, whatever the run."""

    heading: str
    reading: str
    shows: str
    """What one sees, for someone who does not."""


EXPLANATIONS = {
    "overhead_ranking": Explanation(
        "Overhead over all shapes",
        "A diamond is an activation’s mean over the shapes, a dot one shape; 2× takes twice as "
        "long as the baseline.",
        "Overhead of each activation on a log scale, a panel for each phase",
    ),
    "promise": Explanation(
        "What counting promises, and what the clock says",
        "The band reaches from the arithmetic to the measured time: where it is long, FLOPs do "
        "not tell the cost.",
        "FLOPs, bytes moved and time of each activation as multiples of the baseline’s",
    ),
    "overhead_heatmap": Explanation(
        "Overhead at every shape",
        "A cell is one shape: the darker the red, the dearer; look along a row for channels, "
        "along a column for resolution.",
        "A heat map of the overhead over channels and resolution for each activation",
    ),
    "time_scaling": Explanation(
        "Time against resolution",
        "Parallel lines keep their ratio at every size; lines that are flat at the left are paid "
        "per call, not per pixel.",
        "Time against the number of positions, a panel for each channel count, a line for each "
        "activation and the baseline",
    ),
    "roofline": Explanation(
        "Distance from the device’s limits",
        "A point is a case: the farther below its roof, the more time goes into something other "
        "than the bytes and FLOPs that are needed.",
        "Arithmetic rate against arithmetic intensity of each case, under the device’s measured "
        "roofs",
    ),
    "memory": Explanation(
        "Memory at the largest input",
        "A bar is the most that is allocated at once; what is kept for backward bears on how many "
        "samples fit.",
        "Stacked bars of the memory each activation needs, by what it is for",
    ),
    "arithmetic": Explanation(
        "Where the arithmetic goes",
        "A bar is all FLOPs for one input element by operator; the black mark is what fvcore "
        "reports by default.",
        "Stacked bars of the FLOPs of each activation, by operator",
    ),
    "network_heatmap": Explanation(
        "Whole networks: slow-down and memory",
        "A cell is a network with the activation in it, against the same network with its own: "
        "the darker the red, the dearer.",
        "A heat map of networks and activations: time in inference and training, and memory",
    ),
    "network_sites": Explanation(
        "Where in the network the time goes",
        "A strip is a network from its first activation to its last: the line climbs where the "
        "layers measured alone say time is lost; the diamond is what the whole network lost.",
        "A strip of cumulated extra time along the depth for each network and activation",
    ),
    "tradeoff": Explanation(
        "What papers say is gained, and what it costs here",
        "Up is better, right is dearer: from the original network to the published accuracy at "
        "the slow-down measured here.",
        "Published accuracy against measured slow-down, a line for each activation",
    ),
    "time_by_operator": Explanation(
        "Where the time of a training step goes",
        "A bar is one step’s operators, forward and backward apart: on a CPU with the profiler’s "
        "own cost in it, on an accelerator the time of the kernels that they launched.",
        "Stacked bars of the time of one training step by operator, a bar for each activation",
    ),
    "step_timeline": Explanation(
        "One training step, piece by piece",
        "A block is one operator, on an accelerator one kernel, its colour the kind of work; in "
        "blanks the device waits for the host: for views, allocation, dispatch and the profiler.",
        "A strip of one training step for each activation, on a common time axis",
    ),
    "step_memory": Explanation(
        "Memory over one training step",
        "The dashed line is what is held when the forward pass is over: output and what is kept.",
        "Allocated bytes over one training step, a panel for each activation",
    ),
}


@dataclass(frozen=True)
class PageFigure:
    """One embedded figure."""

    heading: str
    reading: str
    alternative: str
    png: str
    """In base64."""
    width: int
    height: int


def page_figures(
    folder: Path,
    origin_by_name: Mapping[str, str],
    main: Slice,
    traces: Traces | None,
    networks: pd.DataFrame,
) -> list[PageFigure]:
    """Return the figures of the main slice and of traces that are there as PNG.

    One that was drawn from anything but ``origin_by_name`` says, such as earlier rows, is left
    out: it would contradict the tables beside it.

    Parameters
    ----------
    folder
        The run's figures/.
    origin_by_name, main, traces, networks
        As `drawn.origins`, `slices.slices`, `traces.load_traces` and `results.load_network_rows`
        return them.
    """
    phases = [str(phase) for phase in sorted(main.rows["phase"].unique())]
    figures = []
    for name, explanation in EXPLANATIONS.items():
        for phase in ("", *phases):
            path = folder / f"{name}{'_' * bool(phase)}{phase}.png"
            if path.is_file() and origin_of(path) == origin_by_name[name]:
                if traces is not None and name in TRACED:
                    which, where = traces.activations, f"one training step, {traces.setting}"
                elif name in NETWORK_FIGURES:
                    which, where = list(networks["activation"]), setting(networks)
                else:
                    which, where = list(main.rows["activation"]), describe(main.rows)
                figures.append(_figure(path, explanation, phase, where, which))
    return figures


def _figure(
    path: Path, explanation: Explanation, phase: str, setting: str, activations: list[str]
) -> PageFigure:
    with Image.open(path) as image:
        width, height = image.size
    where = f"{phase}, {setting}" if phase else setting
    which = ", ".join(display_names(activations).values())
    return PageFigure(
        f"{explanation.heading}, {phase}" if phase else explanation.heading,
        explanation.reading,
        f"{explanation.shows} ({where}). Activations: {which}.",
        base64.b64encode(path.read_bytes()).decode("ascii"),
        width,
        height,
    )
