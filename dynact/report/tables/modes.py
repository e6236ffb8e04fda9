"""What another mode than the eager one, such as torch.compile, makes of each activation."""

from collections.abc import Iterable

import pandas as pd

from dynact.report.data.aggregate import geometric_means
from dynact.report.data.baseline_mode import (
    EAGER,
    BaselineMode,
    against_eager,
    slower_baseline,
)
from dynact.report.data.names import ratio_or_none
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.run import Run
from dynact.report.tables.markdown import escaped, table
from dynact.schema.alike import SETTINGS_FIELDS, SHAPE_FIELDS
from dynact.schema.digits import NO_FIGURE
from dynact.timing import format_ns

_KEYS = ["activation", "phase", *SHAPE_FIELDS]


def beside_eager(groups: Iterable[SettingsGroup]) -> list[SettingsGroup]:
    """Return those groups that `modes` sets beside each other."""
    return [group for pair in _pairs(groups) if pair[1] for group in pair if group]


def modes(run: Run, baseline_mode: BaselineMode) -> str:
    """Return a table for each group of another mode, beside its eager twin; Markdown.

    It is empty where the run is of the eager mode alone. A group without a twin has no table: a
    sentence says what its ratios are over.
    """
    parts = []
    for group, twin in _pairs(run.groups):
        mode = group.rows["mode"].iloc[0]
        if twin:
            parts.append(_beside_eager(group, twin, run, baseline_mode))
        else:
            parts.append(
                f"{_settings(group)}: this run has no eager times beside these, so their ratios "
                f"are over {escaped(group.baseline)} in the mode {mode}, which may be slower than "
                f"the eager one; `--modes {EAGER},{mode}` measures both."
            )
    return "\n\n".join(["## Modes", *parts]) if parts else ""


def _pairs(
    groups: Iterable[SettingsGroup],
) -> list[tuple[SettingsGroup, SettingsGroup | None]]:
    """Return each group of another mode, and the eager one that agrees in everything else."""
    by_settings = {tuple(g.rows.iloc[0][list(SETTINGS_FIELDS)]): g for g in groups}
    place = SETTINGS_FIELDS.index("mode")
    return [
        (group, by_settings.get((*settings[:place], EAGER, *settings[place + 1 :])))
        for settings, group in by_settings.items()
        if settings[place] != EAGER
    ]


def _beside_eager(
    group: SettingsGroup, twin: SettingsGroup, run: Run, baseline_mode: BaselineMode
) -> str:
    mode, baseline = group.rows["mode"].iloc[0], escaped(group.baseline)
    shared = group.ok[_KEYS].merge(twin.ok[_KEYS])
    there, eager = group.ok.merge(shared), twin.ok.merge(shared)
    over = f"{mode} {baseline}"
    if baseline_mode == EAGER:
        there, over = against_eager(there, run.rows), f"eager {baseline}"
    means, eager_means = geometric_means(there), geometric_means(eager)
    lines = [
        [
            f"{escaped(group.names[str(activation)])}, {phase}",
            *(
                cell
                for of_mode in (eager_means, means)
                for cell in _ratio_and_time(of_mode, (phase, activation))
            ),
            str(means["ok"].get((phase, activation), 0)),
        ]
        for phase, activation in group.means.index
    ]
    header = [
        "activation",
        f"eager, × eager {baseline}",
        "eager time",
        f"{mode}, × {over}",
        f"{mode} time",
        "shapes",
    ]
    return " ".join(
        [
            f"{_settings(group)}: overhead, geometric mean, and median time over the shapes that "
            "both modes measured.",
            escaped(slower_baseline(group, run.rows)),
        ]
    ).rstrip() + ("\n\n" + table(header, lines))


def _ratio_and_time(means: pd.DataFrame, key: tuple[str, str]) -> tuple[str, str]:
    if key not in means.index:
        return NO_FIGURE, NO_FIGURE
    return ratio_or_none(means["overhead"][key]), format_ns(means["time_ns"][key])


def _settings(group: SettingsGroup) -> str:
    return f"**{escaped(group.description)}**"
