"""The page's answer: one sentence, and a line for each activation of the main group."""

from dataclasses import dataclass, replace

import numpy as np

from dynact.report.data.digits import measured_ratios
from dynact.report.data.names import count_range, display_names, ratio_or_none
from dynact.report.data.omissions import absence, uncounted_operators
from dynact.report.data.settings_groups import SettingsGroup
from dynact.schema.digits import NO_FIGURE, measured_interval, measured_ratio


@dataclass(frozen=True)
class Overhead:
    """One activation's overhead in one phase, in words."""

    ratio: str
    """``2.61×`` in the digits of `measured_ratio`, or why there is none."""
    known: bool = False
    interval: str = ""
    measured: str = ""
    """How many of its shapes were measured, where not all were."""
    bar: float = 0.0
    """Length from 1× to the largest overhead of the table on a log scale, 0 to 1."""
    of_device: str = ""
    """That of the device alone, where the host decided."""
    impl: str = ""
    """The name of the implementation, where it is another than the line's."""


@dataclass(frozen=True)
class Cost:
    """What one activation costs without a clock, in words."""

    text: str
    other: str = ""
    """That of the fastest other implementation with its name, where it differs."""


@dataclass(frozen=True)
class Line:
    """What one activation costs."""

    name: str
    overheads: list[Overhead]
    """One for each of the table's columns of them, without a text where there is none to show."""
    costs: list[Cost]


@dataclass(frozen=True)
class Answer:
    """What each activation costs, cheapest in the first phase on top.

    Implementations stand in their reference's line.
    """

    finding: str
    overheads: list[tuple[str, str]]
    """The columns of overheads: heading, and phase."""
    costs: list[str]
    """What the columns after the overheads show."""
    lines: list[Line]
    has_others: bool
    """Whether any line has another implementation."""


def answer(main: SettingsGroup) -> Answer:
    """Return the finding and the ranked table of the main group."""
    fastest = _fastest_others(main)
    beside = [a for a in main.ranked if _reference_of(a) in main.names]
    shown = [a for a in main.ranked if a not in beside]
    names, costs = display_names(shown), _costs(main)
    headings = ["overhead", "fastest other way"] if beside else ["overhead"]
    return Answer(
        finding=_finding(main),
        overheads=[(f"{heading}, {phase}", phase) for phase in main.phases for heading in headings],
        costs=[cost.heading for cost in costs],
        lines=[
            Line(
                names[activation],
                [
                    overhead
                    for phase in main.phases
                    for overhead in (
                        _overhead(main, phase, activation),
                        _other_overhead(main, phase, fastest[phase].get(activation, "")),
                    )[: len(headings)]
                ],
                [_cost(cost, activation, fastest.get(cost.phase, {})) for cost in costs],
            )
            for activation in shown
        ],
        has_others=bool(beside),
    )


def _reference_of(subject: str) -> str:
    """Return beside which reference an implementation stands; empty for a reference."""
    name, _, impl = subject.partition(" ")
    return name if impl else ""


def _impl(subject: str) -> str:
    """Return the implementation's name, or that of its class; empty for a reference."""
    return subject.partition(" ")[2].rpartition(":")[2]


def _fastest_others(main: SettingsGroup) -> dict[str, dict[str, str]]:
    """Return by phase and reference the implementation beside it that takes least time."""
    found: dict[str, dict[str, str]] = {}
    for phase in main.phases:
        found[phase] = {}
        # The cheapest comes first, what failed last.
        for subject in map(str, main.means_of(phase).index):
            found[phase].setdefault(_reference_of(subject), subject)
    return found


def _finding(main: SettingsGroup) -> str:
    parts = []
    for phase in main.phases:
        means = main.means_of(phase).dropna(subset="overhead")
        if len(means):
            ratios = zip(measured_ratios(means), means.index, strict=True)
            ends = [f"{ratio} ({main.names[str(a)]})" for ratio, a in ratios]
            spread = ends[0] if len(ends) == 1 else f"from {ends[0]} to {ends[-1]}"
            parts.append(f"{phase} takes {spread} the time")
    if not parts:
        return "Nothing could be measured: every case failed."
    return f"Compared with {main.baseline}, {', '.join(parts)}."


def _overhead(main: SettingsGroup, phase: str, subject: str) -> Overhead:
    measured = main.means[main.means["ok"] > 0].to_dict("index")
    if (phase, subject) not in measured:
        return Overhead(absence(main.of_phase(phase).rows, subject))
    mean, reach = measured[phase, subject], np.log(main.means["overhead"].max())
    figures = mean["overhead"], mean["overhead_lo"], mean["overhead_hi"]
    return Overhead(
        ratio=measured_ratio(*figures) + main.mark_of(phase, subject),
        known=True,
        interval=measured_interval(*figures),
        of_device=main.device_alone(phase, subject),
        measured="" if mean["ok"] == mean["cases"] else f"{mean['ok']:.0f}/{mean['cases']:.0f}",
        bar=max(float(np.log(mean["overhead"]) / reach), 0.0) if reach > 0 else 0.0,
    )


def _other_overhead(main: SettingsGroup, phase: str, subject: str) -> Overhead:
    if not subject:
        return Overhead("")
    # A bar in a column of another width would be of another scale.
    return replace(_overhead(main, phase, subject), impl=_impl(subject), bar=0.0)


@dataclass(frozen=True)
class _Column:
    """A column that no clock is needed for, but for those of times over the floor."""

    heading: str
    cells: dict[str, str]
    """By activation."""
    phase: str = ""
    """Whose figures they are, where an implementation's may be another than its reference's."""


def _cost(column: _Column, activation: str, fastest: dict[str, str]) -> Cost:
    other = fastest.get(activation, "")
    if not other or column.cells[other] in (column.cells[activation], NO_FIGURE):
        return Cost(column.cells[activation])
    return Cost(column.cells[activation], f"{column.cells[other]} {_impl(other)}")


def _costs(main: SettingsGroup) -> list[_Column]:
    ok, order, counted, floors = main.ok, main.ranked, main.cost_ratios, main.times_over_floor
    lacking = uncounted_operators(ok)
    memory, label = (
        ("saved_for_backward_bytes", f"kept for backward, ×\u00a0{main.baseline}")
        if "training" in main.phases
        else ("peak_bytes", f"peak memory, ×\u00a0{main.baseline}")
    )
    ratios = counted.groupby(level="activation").first().reindex(order)
    # The last phase is training where there is any.
    last = main.phases[-1]
    kept = counted[counted.index.get_level_values("phase") == last].droplevel("phase")
    return [
        _Column(
            label, {str(a): ratio_or_none(r) for a, r in kept[memory].reindex(order).items()}, last
        ),
        _Column(
            "parameters",
            {a: count_range(ok["parameters"][ok["activation"] == a]) for a in order},
        ),
        _Column(
            f"FLOPs, ×\u00a0{main.baseline}",
            {str(a): "≥ " * (a in lacking) + ratio_or_none(r) for a, r in ratios["flops"].items()},
        ),
        *(
            _Column(
                f"time ÷ floor, {phase}",
                {a: ratio_or_none(floors.get((phase, a), np.nan)) for a in order},
                phase,
            )
            for phase in main.phases
        ),
    ]
