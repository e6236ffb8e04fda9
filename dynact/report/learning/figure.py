"""What each activation does to learning: a curve, and a table in words and numbers."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from dynact.report.data.names import display_names, shortened
from dynact.report.figures.files import write_figure
from dynact.report.figures.style import INK, QUIET, Page, nothing_to_draw, series_looks, styled
from dynact.report.learning.findings import BASELINE, findings, mean_interval
from dynact.report.learning.points import load_points
from dynact.report.tables.markdown import escaped, table
from dynact.schema.digits import NO_FIGURE, measured_ratio, ratio_with_interval
from dynact.schema.learning import POINTS
from dynact.schema.run_folder import load_environment

HEADER = (
    "activation",
    "in",
    "parameters",
    "accuracy",
    "against ReLU, seed by seed",
    "training an epoch",
    "overhead, × ReLU's time",
)
DATA_NAMES = {"digits": "scikit-learn's digits", "cifar10": "CIFAR-10"}

# Lengths in inches.
_PLOT = 4.6
_LEAST_HEIGHT = 3.2
_LABEL = 0.42
_LEFT = 0.75
_AXIS_LABELS = 0.45
_LONGEST_NAME = 24


@styled
def write_learning(folder: Path) -> list[Path]:
    """Write the figure and the table of a run of trainings, from what is stored.

    Returns
    -------
    list of Path
        The table as CSV and Markdown, the figure as PNG and SVG. The same points give the same
        bytes.
    """
    points, environment = load_points(folder), load_environment(folder)
    found = findings(points)
    csv, markdown = folder / "table.csv", folder / "table.md"
    found.to_csv(csv, lineterminator="\n")
    markdown.write_text(_markdown(points, found, environment), encoding="utf-8")
    (folder / "figures").mkdir(exist_ok=True)
    figure = learning_curve(points, environment)
    drawn = write_figure(folder / "figures", ("png", "svg"), POINTS, "learning", figure)
    return [csv, markdown, *drawn]


@styled
def learning_curve(points: pd.DataFrame, environment: dict[str, Any]) -> Figure:
    """Draw the accuracy on images never trained on against the time spent in training.

    Parameters
    ----------
    points
        Of ended trainings, as `points.load_points` returns them; at least one.
    environment
        Of the run; ``settings``, ``device``, ``threads``, ``versions`` and ``started`` are told.

    Returns
    -------
    Figure
        A line for each activation, through the means over its seeds after each epoch, with a
        band for the 95 % interval and a dot for each seed; beside its end the name, the
        last accuracy and what may be said of it. Trainings that diverged are not drawn.
    """
    every = findings(points)
    found = every[every["seeds"] > 0]
    title, caption = _title(points, environment), _caption(environment)
    if found.empty:
        return nothing_to_draw(title, points.groupby(["activation", "seed"]).tail(1), caption)

    labels = _labels(found)
    height = max(_LEAST_HEIGHT, _LABEL * len(found))
    page = Page(
        title,
        [
            "Line: mean over seeds, before training and after each epoch; band: its 95 % interval; "
            "dots: single seeds.",
            *reading_notes(every),
            caption,
        ],
        width=_LEFT + _PLOT + _labels_width(labels.values()),
        body=0.1 + height + _AXIS_LABELS,
    )
    axes = page.axes(_LEFT, 0.1, _PLOT, height)
    looks = _looks(found.index)
    finished = _finished(points)
    ends = [
        _draw_activation(axes, finished[finished["activation"] == activation], look)
        for activation, look in looks.items()
    ]
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0), min(high, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_xlabel("time spent in training (s)")
    axes.set_ylabel("accuracy on images never trained on")
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    heights = _apart([axes.transLimits.transform(end)[1] for end in ends], _LABEL / height)
    for activation, end, at in zip(looks, ends, heights, strict=True):
        _write_label(axes, labels[activation], end, at, looks[activation]["color"])
    return page.figure


def table_lines(found: pd.DataFrame) -> list[list[str]]:
    """Return the cells below `HEADER`, a line for each activation of `findings`."""
    names = display_names(found.index)
    return [
        [
            names[activation],
            f"{line['replaced']} of {line['sites']} places",
            f"{line['parameters']:,}",
            _accuracy(line),
            _difference(line),
            _seconds(line),
            _ratio(line),
        ]
        for activation, line in _lines(found)
    ]


def reading_notes(found: pd.DataFrame) -> list[str]:
    """Return what is to be known when reading the findings."""
    if (found["seeds"] <= 1).all():
        notes = ["One seed: there is no interval, and no difference can be told from chance."]
    else:
        notes = [
            "Intervals (95 %, Student's t) cover other seeds, that is first weights and order of "
            "images; not other data, learning rates or numbers of epochs. Better or worse: the "
            "interval of the difference in accuracy to ReLU, seed by seed, excludes 0. Compared is "
            "after the same epochs, not the same time."
        ]
    if found["difference_lo"].notna().sum() > 1:
        notes.append(
            "Each holds by itself: of 20 activations equal to ReLU, one is expected to look "
            "different."
        )
    lost = found[found["diverged"] > 0]
    if len(lost):
        names = display_names(found.index)
        each = (
            f"{names[str(activation)]} with {n} of {n + m} seeds"
            for activation, n, m in zip(lost.index, lost["diverged"], lost["seeds"], strict=True)
        )
        notes.append(f"Diverged, and left out of means and curves: {', '.join(each)}.")
    return notes


def _markdown(points: pd.DataFrame, found: pd.DataFrame, environment: dict[str, Any]) -> str:
    cells = [[escaped(cell) for cell in line] for line in table_lines(found)]
    notes = [escaped(note) for note in (*reading_notes(found), _caption(environment))]
    heading = f"# {escaped(_title(points, environment))}"
    return "\n\n".join([heading, table(HEADER, cells), *notes]) + "\n"


def _title(points: pd.DataFrame, environment: dict[str, Any]) -> str:
    settings = environment["settings"]
    epochs, seeds = settings["epochs"], points["seed"].nunique()
    return (
        f"What the activation does to LeNet's learning of {DATA_NAMES[settings['data']]} "
        f"in {epochs} epoch{'s' if epochs > 1 else ''} ({seeds} seed{'s' if seeds > 1 else ''})"
    )


def _caption(environment: dict[str, Any]) -> str:
    """Return how was trained, where and when."""
    settings, threads = environment["settings"], environment["threads"]
    return (
        f"{settings['train_images']:,} images to learn from, {settings['test_images']:,} to test, "
        f"the same for all; SGD, learning rate {settings['learning_rate']}, momentum "
        f"{settings['momentum']}, batch {settings['batch_size']}. Measured on "
        f"{environment['device']['name']}, {threads} thread{'s' if threads != 1 else ''}, "
        f"torch {environment['versions']['torch']}, {environment['started'][:10]}."
    )


def _looks(activations: pd.Index) -> dict[str, dict[str, Any]]:
    """Return how to draw each activation: ReLU in ink, like the baseline of every figure."""
    looks = series_looks(name for name in display_names(activations) if name != BASELINE)
    if BASELINE in activations:
        looks[BASELINE] = {"color": INK, "linestyle": "-", "marker": "."}
    return looks


def _finished(points: pd.DataFrame) -> pd.DataFrame:
    failed = points[points["status"] != "ok"][["activation", "seed"]]
    with_end = points.merge(failed, how="left", indicator="end")
    return with_end[with_end["end"] == "left_only"]


def _draw_activation(axes: Axes, points: pd.DataFrame, look: dict[str, Any]) -> tuple[float, float]:
    """Draw an activation's seeds, mean and interval; return where its line ends."""
    axes.plot(
        points["train_s"],
        points["accuracy"].astype(float),
        linestyle="none",
        marker="o",
        markersize=3.2,
        markeredgewidth=0,
        color=look["color"],
        alpha=0.4,
    )
    of_epochs = points.groupby("epoch")
    seconds = of_epochs["train_s"].mean()
    means, low, high = np.transpose(
        [mean_interval(accuracies.astype(float)) for _, accuracies in of_epochs["accuracy"]]
    )
    axes.fill_between(
        seconds, low.clip(0, 1), high.clip(0, 1), color=look["color"], alpha=0.18, linewidth=0
    )
    axes.plot(seconds, means, linewidth=1.6, markersize=4.5, **look)
    return float(seconds.iloc[-1]), float(means[-1])


def _labels(found: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return what stands beside each line's end: name and accuracy, and what may be said."""
    names = display_names(found.index)
    labels = {}
    for activation, line in _lines(found):
        heading = f"{shortened(names[activation], _LONGEST_NAME)}  {_accuracy(line)}"
        if activation == BASELINE:
            claim = f"{_seconds(line)} an epoch"
        elif np.isnan(line["overhead"]):
            claim = line["verdict"]
        else:
            ratio = measured_ratio(line["overhead"], line["overhead_lo"], line["overhead_hi"])
            claim = f"{line['verdict']}; {ratio} ReLU's time"
        labels[activation] = heading, claim
    return labels


def _labels_width(labels: Iterable[tuple[str, str]]) -> float:
    # Of a character in DejaVu Sans: 9 pt bold, and 8 pt.
    longest = max(max(0.085 * len(heading), 0.066 * len(claim)) for heading, claim in labels)
    return 0.35 + longest


def _apart(positions: Sequence[float], gap: float) -> list[float]:
    """Return positions in [0, 1], in the same order and near the given, at least a gap apart."""
    order = np.argsort(positions, kind="stable")
    apart = np.asarray(positions, dtype=float)[order]
    for i in range(len(apart)):
        apart[i] = max(apart[i], gap / 2 if i == 0 else apart[i - 1] + gap)
    for i in reversed(range(len(apart))):
        apart[i] = min(apart[i], 1 - gap / 2 if i == len(apart) - 1 else apart[i + 1] - gap)
    placed = np.empty_like(apart)
    placed[order] = apart
    return list(placed)


def _write_label(
    axes: Axes, label: tuple[str, str], end: tuple[float, float], height: float, colour: str
) -> None:
    """Write two lines right of the plot, led to from where the activation's line ends."""
    x = 1.05
    axes.annotate(
        "",
        end,
        xytext=(x - 0.01, height),
        textcoords="axes fraction",
        arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.4},
    )
    heading, claim = label
    write = functools.partial(
        axes.annotate, xy=(x, height), xycoords="axes fraction", textcoords="offset points"
    )
    write(heading, xytext=(0, 1), va="bottom", size=9, weight="bold", color=colour)
    write(claim, xytext=(0, -1), va="top", size=8, color=QUIET)


def _lines(found: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    for activation, line in found.to_dict("index").items():
        yield str(activation), {str(column): value for column, value in line.items()}


def _accuracy(line: dict[str, Any]) -> str:
    if np.isnan(line["accuracy"]):
        return NO_FIGURE
    middle, low, high = (f"{100 * line[f'accuracy{end}']:.1f}" for end in ("", "_lo", "_hi"))
    return f"{middle} %" if low == "nan" else f"{middle} % ({low}–{high})"


def _difference(line: dict[str, Any]) -> str:
    if np.isnan(line["difference"]):
        return str(line["verdict"])
    middle, low, high = (
        f"{100 * line[f'difference{end}']:+.1f}".replace("-", "−") for end in ("", "_lo", "_hi")
    )
    interval = "" if np.isnan(line["difference_lo"]) else f" ({low} to {high})"
    return f"{middle} points{interval}: {line['verdict']}"


def _seconds(line: dict[str, Any]) -> str:
    if np.isnan(line["epoch_s"]):
        return NO_FIGURE
    middle, low, high = (f"{line[f'epoch_s{end}']:.2f}" for end in ("", "_lo", "_hi"))
    return f"{middle} s" if low == "nan" else f"{middle} s ({low}–{high})"


def _ratio(line: dict[str, Any]) -> str:
    return ratio_with_interval(*(line[f"overhead{end}"] for end in ("", "_lo", "_hi")))
