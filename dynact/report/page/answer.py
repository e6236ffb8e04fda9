"""The page's answer: one sentence, and a line for each activation of the main group."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynact.report.data.digits import measured_ratios
from dynact.report.data.names import count_range, ratio_or_none
from dynact.report.data.omissions import absence, uncounted_operators
from dynact.report.data.settings_groups import SettingsGroup
from dynact.schema.digits import measured_interval, measured_ratio


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


@dataclass(frozen=True)
class Line:
    """What one activation costs."""

    name: str
    overheads: list[Overhead]
    costs: list[str]


@dataclass(frozen=True)
class Answer:
    """What each activation costs, cheapest in the first phase on top."""

    finding: str
    phases: list[str]
    costs: list[str]
    """What the columns after the overheads show."""
    lines: list[Line]


def answer(main: SettingsGroup) -> Answer:
    """Return the finding and the ranked table of the main group."""
    measured = main.means[main.means["ok"] > 0].to_dict("index")
    reach = np.log(main.means["overhead"].max())
    costs = _costs(main)
    return Answer(
        finding=_finding(main),
        phases=main.phases,
        costs=list(costs),
        lines=[
            Line(
                main.names[activation],
                [
                    _overhead(measured[phase, activation], reach)
                    if (phase, activation) in measured
                    else Overhead(absence(main.of_phase(phase).rows, activation))
                    for phase in main.phases
                ],
                [column[i] for column in costs.values()],
            )
            for i, activation in enumerate(main.ranked)
        ],
    )


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


def _overhead(mean: dict[Any, Any], reach: float) -> Overhead:
    figures = mean["overhead"], mean["overhead_lo"], mean["overhead_hi"]
    return Overhead(
        ratio=measured_ratio(*figures),
        known=True,
        interval=measured_interval(*figures),
        measured="" if mean["ok"] == mean["cases"] else f"{mean['ok']:.0f}/{mean['cases']:.0f}",
        bar=max(float(np.log(mean["overhead"]) / reach), 0.0) if reach > 0 else 0.0,
    )


def _costs(main: SettingsGroup) -> dict[str, list[str]]:
    """Return the columns that no clock is needed for, but for the last ones, by their heading."""
    ok, order, counted, floors = main.ok, main.ranked, main.cost_ratios, main.times_over_floor
    lacking = uncounted_operators(ok)
    memory, label = (
        ("saved_for_backward_bytes", f"kept for backward, ×\u00a0{main.baseline}")
        if "training" in main.phases
        else ("peak_bytes", f"peak memory, ×\u00a0{main.baseline}")
    )
    ratios = counted.groupby(level="activation").first().reindex(order)
    # The last phase is training where there is any.
    kept = counted[counted.index.get_level_values("phase") == main.phases[-1]].droplevel("phase")
    columns = {
        label: [ratio_or_none(ratio) for ratio in kept[memory].reindex(order)],
        "parameters": [count_range(ok["parameters"][ok["activation"] == a]) for a in order],
        f"FLOPs, ×\u00a0{main.baseline}": [
            "≥ " * (a in lacking) + ratio_or_none(ratio) for a, ratio in ratios["flops"].items()
        ],
    }
    for phase in main.phases:
        columns[f"time ÷ floor, {phase}"] = [
            ratio_or_none(floors.get((phase, activation), np.nan)) for activation in order
        ]
    return columns
