"""A run as text: every row as CSV, and a summary to read."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from dynact.report.data.aggregate import geometric_means
from dynact.report.data.baseline_mode import BaselineMode
from dynact.report.data.budget import DEFAULT, Budget
from dynact.report.data.caveats import doubts, failures, gaps, visited
from dynact.report.data.digits import means_note, measured_ratios
from dynact.report.data.efficiency import efficiency
from dynact.report.data.host import marked_means_note, whose_time
from dynact.report.data.names import with_subjects
from dynact.report.data.own_inputs import own_inputs
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.run import Run
from dynact.report.tables.costs import ceilings, costs
from dynact.report.tables.fitting import fitting
from dynact.report.tables.markdown import escaped, table
from dynact.report.tables.modes import beside_eager, modes
from dynact.report.tables.networks import network_findings, networks_markdown
from dynact.report.tables.verdict import verdict
from dynact.report.tables.ways import ways_sentences
from dynact.report.tables.why_slow import why_slow
from dynact.schema.alike import SETTINGS_FIELDS, SHAPE_FIELDS
from dynact.schema.digits import NO_FIGURE, ratio_with_interval, two_digits
from dynact.timing import format_ns


def write_csv(rows: pd.DataFrame, path: Path) -> None:
    """Write all rows and columns, ordered by case whatever order they were measured in.

    A cell that is a list or a mapping is written as JSON.
    """
    by = ["activation", "impl", "phase", *SETTINGS_FIELDS, *SHAPE_FIELDS, "case_id"]
    texts = {
        str(name): cells.map(_json_cell)
        for name, cells in rows.items()
        if any(isinstance(cell, dict | list) for cell in cells)
    }
    ordered = rows.assign(**texts).sort_values(by, kind="stable")
    ordered.to_csv(path, index=False, lineterminator="\n")


def summary_markdown(
    run: Run,
    baseline_mode: BaselineMode = "eager",
    budget: Budget = DEFAULT,
    at_most: float | None = None,
) -> str:
    """Return the findings of a run with a row of a layer or a network, in Markdown.

    Parameters
    ----------
    baseline_mode
        Of what a time in another mode than the eager one is a multiple, in the table of modes.
    budget
        The memory for which the largest batch of whole networks is computed.
    at_most
        A multiple of the baseline's time, of which it is said which activations keep it.
    """
    has_layers = bool(run.groups)
    sections = [
        "# What each activation costs",
        whose_time(run.main.rows if has_layers else run.networks),
        *map(escaped, ways_sentences(run) if has_layers else network_findings(run)),
        _verdict(run.gates),
        visited([run.rows, run.networks, run.sites]),
        *(_fitting(run.main, at_most) if has_layers and at_most is not None else ()),
        *(_of_layers(run, baseline_mode) if has_layers else ()),
        networks_markdown(run, budget),
        _caveats(with_subjects(run.rows)) if has_layers else "",
        ceilings(run.limits),
        _environment(run.environment),
        _efficiency(run),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _of_layers(run: Run, baseline_mode: BaselineMode) -> list[str]:
    main, *others = run.groups
    batches = [s for s in others if _differs(s, main) == ["batch"]]
    by_mode = beside_eager(run.groups)
    beyond = [s for s in others if s not in batches and s not in by_mode]
    return [
        *_ranking(main),
        costs(main),
        _beside("Other batch sizes", main, batches),
        _beside("Other settings", main, beyond),
        modes(run, baseline_mode),
        _why_slow(run),
    ]


def _fitting(main: SettingsGroup, at_most: float) -> list[str]:
    return [
        f"## {escaped(part.heading)}\n\n{escaped(part.text)}\n\n{part.table.markdown()}"
        for part in fitting(main, at_most)
    ]


def _why_slow(run: Run) -> str:
    lines = [f"- {escaped(sentence)}" for sentence in why_slow(run).values()]
    return "\n".join(["## Why it takes so long", "", *lines]) if lines else ""


def _json_cell(cell: object) -> object:
    return json.dumps(cell, ensure_ascii=False) if isinstance(cell, dict | list) else cell


def _verdict(gates: list[dict[str, Any]]) -> str:
    said = verdict(gates)
    parts = [f"**{said.headline}** {said.text}", *map(escaped, said.messages)]
    return "\n\n".join([*parts, *(part.markdown() for part in said.tables)])


def _of_host(main: SettingsGroup, phase: str, activation: str) -> str:
    alone = main.device_alone(phase, activation)
    return main.mark_of(phase, activation) + (f" device alone {alone}" if alone else "")


def _ranking(main: SettingsGroup) -> list[str]:
    baseline = escaped(main.baseline)
    header = [
        "activation",
        f"overhead ({main.interval})",
        "min–max over shapes",
        "median time",
        "shapes measured",
    ]
    sections = []
    for phase, table_of_phase in main.means.groupby(level="phase"):
        lines = [
            [
                escaped(main.names[str(activation)]),
                ratio_with_interval(mean["overhead"], mean["overhead_lo"], mean["overhead_hi"])
                + f" {_of_host(main, str(phase), str(activation))}".rstrip(),
                NO_FIGURE
                if mean["ok"] == 0
                else f"{two_digits(mean['smallest'])}–{two_digits(mean['largest'])}×",
                NO_FIGURE if pd.isna(mean["time_ns"]) else format_ns(mean["time_ns"]),
                f"{mean['ok']}/{mean['cases']}",
            ]
            for activation, mean in table_of_phase.droplevel("phase").to_dict("index").items()
        ]
        sections.append(
            f"## {str(phase).capitalize()}\n\nTime as a multiple of {baseline}'s, geometric mean "
            f"over shapes ({escaped(main.description)}). {main.interval_note} "
            f"{means_note(table_of_phase)} {marked_means_note(main.of_phase(str(phase)).ok)} "
            f"{escaped(own_inputs(main.of_phase(str(phase)).rows))}".rstrip()
            + f"\n\n{table(header, lines)}"
        )
    return sections


def _beside(heading: str, main: SettingsGroup, others: list[SettingsGroup]) -> str:
    """Compare groups with the main one, at the shapes that both measured."""
    if not others:
        return ""
    keys = ["phase", "activation", *SHAPE_FIELDS]
    columns: dict[str, dict[Any, str]] = {}
    for other in others:
        shared = other.ok[keys].merge(main.ok[keys])
        here, there = (geometric_means(group.ok.merge(shared)) for group in (other, main))
        plural = "s" if other.shapes > 1 else ""
        pairs = zip(measured_ratios(here), measured_ratios(there.reindex(here.index)), strict=True)
        cells = [f"{ratio} ({beside})" for ratio, beside in pairs]
        heading_of = f"{escaped(_setting(other, main))} ({other.shapes} shape{plural})"
        columns[heading_of] = dict(zip(here.index, cells, strict=True))
    lines = [
        [f"{escaped(main.names[activation])}, {phase}"]
        + [column.get((phase, activation), NO_FIGURE) for column in columns.values()]
        for phase, activation in main.means.index
    ]
    return (
        f"## {heading}\n\nOverhead there, and in brackets in the tables above, over the shapes "
        "that both measured.\n\n" + table(["activation", *columns], lines)
    )


def _differs(one: SettingsGroup, other: SettingsGroup) -> list[str]:
    return [f for f in SETTINGS_FIELDS if one.rows[f].iloc[0] != other.rows[f].iloc[0]]


def _setting(one: SettingsGroup, other: SettingsGroup) -> str:
    return ", ".join(f"{f} {one.rows[f].iloc[0]}" for f in _differs(one, other))


def _caveats(rows: pd.DataFrame) -> str:
    parts = ["## Not converged, unsteady, failed, not counted", doubts(rows)]
    failed, not_counted = failures(rows), gaps(rows)
    if len(failed):
        parts.append(_table_of(failed, first="first at"))
    if len(not_counted):
        parts.append("Measured, but not all of it counted:")
        parts.append(_table_of(not_counted, operators="operators that FLOPs lack"))
    return "\n\n".join(parts)


def _table_of(lines: pd.DataFrame, **headings: str) -> str:
    cells = [[escaped(str(cell)) or NO_FIGURE for cell in line] for line in lines.to_numpy()]
    return table([headings.get(column, column) for column in map(str, lines)], cells)


def _environment(environment: dict[str, Any]) -> str:
    lines = [
        [escaped(key), escaped(_flat(value))]
        for key, value in environment.items()
        if value is not None
    ]
    return "## Environment\n\n" + table(["what", "value"], lines)


def _flat(value: object) -> str:
    if isinstance(value, dict):
        known = {key: entry for key, entry in value.items() if entry is not None}
        return ", ".join(f"{key} {_flat(entry)}" for key, entry in known.items())
    if isinstance(value, list):
        return " ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def _efficiency(run: Run) -> str:
    if run.visits.empty and run.rows["visits"].notna().any():
        # A copy without them does not tell when sessions began.
        return ""
    counted = pd.concat([run.rows, run.networks, run.sites])
    spent = efficiency(counted, run.visits, run.gates, run.limits)
    if not spent.wall_s > 0:
        return ""
    parts = {
        "timed or settling calls": spent.timing_s,
        "start-up until the first case": spent.startup_s,
        "set-up of cases": spent.setup_s,
        "counting": spent.counting_s,
        "ceilings of the device": spent.ceilings_s,
        "everything else": spent.rest_s,
        "wall time of the sweep": spent.wall_s,
    }
    lines = [
        [what, f"{seconds:.1f} s", f"{seconds / spent.wall_s:.1%}"]
        for what, seconds in parts.items()
    ]
    share = f"{spent.timing_s / spent.wall_s:.1%}"
    return (
        f"## Efficiency\n\n{share} of the sweep's wall time went into timed or settling calls.\n\n"
        + table(["part", "time", "share"], lines)
    )
