"""Which activations keep a limit on their time, and which miss it by least."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dynact.networks.published import PUBLISHED, SOURCES
from dynact.report.data.network_frames import network_name
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.tables.table import Table
from dynact.schema.digits import NO_FIGURE, ratio_with_interval, two_digits
from dynact.timing import format_ns

# Of those that take too long, the cheapest.
MISSES_SHOWN = 3
FITS, UNTOLD, MISSES = "yes", "cannot be told", "no"


@dataclass(frozen=True)
class Fitting:
    """Which activations fit in one phase."""

    heading: str
    text: str
    """How many do, and how the table is to be read."""
    table: Table
    """Those that fit, those of which it cannot be told, and the nearest misses, by their cost."""


def fitting(main: SettingsGroup, at_most: float) -> list[Fitting]:
    """Return for each phase of a group which activations take so long at most.

    One fits if all of the 95 % interval of its mean overhead over shapes is within the limit, and
    misses it if all is above; of any other, and of one without an interval, it cannot be told.

    Parameters
    ----------
    at_most
        A multiple of the baseline's time.
    """
    return [_of_phase(part, at_most) for part in main.by_phase.values()]


def _of_phase(part: SettingsGroup, at_most: float) -> Fitting:
    limit = f"{at_most:g}×"
    means = part.means_of(part.phase)
    measured = means[means["ok"] > 0].sort_values("overhead", kind="stable")
    fits = [_fits(mean, at_most) for mean in measured.to_dict("records")]
    near = measured.index[[verdict == MISSES for verdict in fits]][:MISSES_SHOWN]
    lines = [
        _line(part, str(subject), verdict, mean)
        for verdict, (subject, mean) in zip(fits, measured.iterrows(), strict=True)
        if verdict != MISSES or subject in near
    ]
    header = [
        "activation",
        f"{limit} or less?",
        f"overhead ({part.interval})",
        "min–max over shapes",
        "median time",
        "shapes measured",
        "published",
    ]
    return Fitting(
        heading=f"{part.phase.capitalize()}: which take {limit} {part.baseline}'s time or less?",
        text=" ".join(filter(None, _sentences(part, Counter(fits), limit, lines))),
        table=Table(header, lines),
    )


def _fits(mean: dict[Any, Any], at_most: float) -> str:
    if mean["overhead_hi"] <= at_most:
        return FITS
    return MISSES if mean["overhead_lo"] > at_most else UNTOLD


def _line(part: SettingsGroup, subject: str, verdict: str, mean: "pd.Series[Any]") -> list[str]:
    return [
        part.names[subject],
        verdict,
        ratio_with_interval(mean["overhead"], mean["overhead_lo"], mean["overhead_hi"]),
        f"{two_digits(mean['smallest'])}–{two_digits(mean['largest'])}×",
        format_ns(mean["time_ns"]),
        f"{mean['ok']:.0f}/{mean['cases']:.0f}",
        _published(subject),
    ]


def _sentences(
    part: SettingsGroup, count: Counter[str], limit: str, lines: list[list[str]]
) -> list[str]:
    means = part.means_of(part.phase)
    failed = [part.names[str(subject)] for subject in means.index[means["ok"] == 0]]
    hidden = count[MISSES] - min(count[MISSES], MISSES_SHOWN)
    shapes = "its one shape" if part.shapes == 1 else f"{part.shapes} shapes"
    return [
        f"Of {count.total()} activations and ways to write them, {count[FITS]} take {limit} or "
        f"less, by their mean over {shapes} ({part.description}); {count[MISSES]} take more, of "
        f"{count[UNTOLD]} the interval does not tell.",
        f"{hidden} that take still more are left out." if hidden else "",
        f"Not measured, see what failed: {', '.join(failed)}." if failed else "",
        part.interval_note,
        _note() if any(line[-1] != NO_FIGURE for line in lines) else "",
    ]


def _published(subject: str) -> str:
    """Return by network what papers gained, as ``"ResNet-50 +1.6"``; a dash where none says."""
    gains: dict[str, list[str]] = {}
    for figure in PUBLISHED:
        if figure.activation == subject.partition(" ")[0]:
            gain = f"{figure.top1 - figure.baseline_top1:+.1f}"
            gains.setdefault(network_name(figure.network), []).append(gain)
    return ", ".join(f"{name} {'/'.join(of)}" for name, of in gains.items()) or NO_FIGURE


def _note() -> str:
    sources = "; ".join(source.where for source in SOURCES)
    return (
        "Published: points of top-1 accuracy on ImageNet over the paper's own baseline, where and "
        f"as the paper puts the activation ({sources}); nothing was trained here."
    )
