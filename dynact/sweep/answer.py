"""What a sweep found, in a few lines: one for each activation, or network with another one."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, nan, prod
from statistics import median

from dynact.activations import REFERENCE
from dynact.schema.alike import SETTINGS_FIELDS, SHAPE_FIELDS, USUAL, place_of_group
from dynact.schema.cases import PHASES, Case, NetworkCase
from dynact.schema.digits import NO_FIGURE, measured_ratio, ratio_with_interval, two_digits
from dynact.schema.prefix import with_prefix
from dynact.schema.rows import NetworkRow, Row
from dynact.timing import format_ns
from dynact.timing.visits import Estimate, OfCase, degrees, over_cases

# So that the default sweep has them all.
MOST_LINES = 12


@dataclass
class _Line:
    """What one subject costs, by phase."""

    name: str
    baseline: str
    found: dict[str, Estimate] = field(default_factory=dict)
    at: dict[str, Row | NetworkRow] = field(default_factory=dict)
    """The rows whose times, and memory kept for backward, are shown."""
    remark: str = ""

    @property
    def cost(self) -> float:
        """What lines are sorted by: the ratio of the last phase that was measured."""
        return next((self.found[p].middle for p in reversed(PHASES) if p in self.found), inf)


def answer_of_layers(rows: Sequence[Row]) -> list[str]:
    """Return what each activation costs, the cheapest first, below its baseline.

    Ratios are means over shapes as `over_cases` takes them; times and memory are of the largest
    shape. Of several groups of settings it is the main one, see `place_of_group`.

    Parameters
    ----------
    rows
        Of layers, measured or not.
    """
    groups = defaultdict(list)
    for row in rows:
        if row.status == "ok":
            groups[tuple(getattr(row.case, name) for name in SETTINGS_FIELDS)].append(row)
    if not groups:
        return []
    main, *others = sorted(
        (dict(zip(SETTINGS_FIELDS, key, strict=True)) for key in groups),
        key=lambda settings: _place(settings, groups[tuple(settings.values())]),
    )
    of_main = groups[tuple(main.values())]
    largest = max(map(_shape, of_main), key=lambda shape: (prod(shape), shape))
    shapes = len(set(map(_shape, of_main)))
    lines = [
        _layer_line(name, of_one, largest, shapes) for name, of_one in _by_subject(of_main).items()
    ]
    size = "x".join(map(str, largest))
    over = f"at {size}"
    if shapes > 1:
        over = f"mean of {shapes} shapes; time, and memory kept for backward, at {size}"
    unusual = [main[n] for n in ("mode", "memory_format") if main[n] != USUAL[n]]
    settings = ", ".join(map(str, [f"batch {main['batch']}", main["dtype"], *unusual]))
    return [f"layers, {settings}: {over}", *_table(lines, Case.table), *_beside(main, others)]


def answer_of_networks(rows: Sequence[NetworkRow]) -> list[str]:
    """Return what networks with other activations cost, each network as it is above them."""
    ok = [row for row in rows if row.status == "ok"]
    if not ok:
        return []
    settings = {row.case: _network_settings(row.case) for row in ok}
    shared = set.intersection(*map(set, settings.values()))
    lines: dict[tuple[str, str], _Line] = {}
    for row in ok:
        own = [word for word in settings[row.case] if word not in shared]
        network = ", ".join([row.case.network, *own, "as it is"])
        placed = "" if row.case.placement == "all" else f", {row.case.placement}"
        name = f"  {_subject(row.case)}{placed}"
        line = lines.setdefault((network, name), _Line(name, network))
        line.found[row.case.phase] = _estimate(row)
        line.at[row.case.phase] = row
    title = ", ".join(word for word in settings[ok[0].case] if word in shared)
    return [f"networks, {title}", *_table([*lines.values()], NetworkCase.table)]


def _place(settings: Mapping[str, object], rows: Sequence[Row]) -> tuple[int, int, int, int]:
    return place_of_group(settings, len(set(map(_shape, rows))), len(rows))


def _shape(row: Row) -> tuple[int, ...]:
    return tuple(getattr(row.case, name) for name in SHAPE_FIELDS)


def _by_subject(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[_subject(row.case)].append(row)
    return found


def _subject(case: Case | NetworkCase) -> str:
    """Return an activation as it is asked for, and the implementation where that is another."""
    return case.activation if case.impl == REFERENCE else f"{case.activation} {case.impl}"


def _layer_line(name: str, rows: Sequence[Row], largest: tuple[int, ...], shapes: int) -> _Line:
    line = _Line(name, f"{rows[0].case.baseline} (baseline)")
    fewest = shapes
    for phase in PHASES:
        of_phase = [row for row in rows if row.case.phase == phase]
        if of_phase:
            line.found[phase] = over_cases(
                [OfCase(_estimate(row), _degrees(row), row.occurrences or 1) for row in of_phase]
            )
            at_largest = [row for row in of_phase if _shape(row) == largest]
            line.at.update(zip([phase], at_largest, strict=False))
            fewest = min(fewest, len(of_phase))
    if fewest < shapes:
        line.remark = f"{fewest} of {shapes} shapes"
    return line


def _estimate(row: Row | NetworkRow) -> Estimate:
    assert row.overhead
    return Estimate(row.overhead, row.overhead_lo, row.overhead_hi)


def _degrees(row: Row) -> float:
    # Rows of versions before visits have an interval that is taken for a normal one.
    return inf if row.observations is None else degrees(row.observations)


def _network_settings(case: NetworkCase) -> list[str]:
    """Return what a network was measured with, in words, the same for both phases."""
    words = [f"batch {case.batch}", case.taken, case.dtype]
    if case.loss:
        words.append(f"loss {case.loss}")
    if case.replaced:
        words.append(f"for {case.replaced}")
    return words


def _beside(main: Mapping[str, object], others: Iterable[Mapping[str, object]]) -> list[str]:
    """Return which other settings were measured, in a line; none where there are none."""
    words: dict[str, None] = {}
    for other in others:
        for name, value in other.items():
            if value != main[name]:
                words[f"batch {value}" if name == "batch" else str(value)] = None
    return [f"also measured, and on the page: {', '.join(words)}"] if words else []


def _table(lines: Sequence[_Line], file: str) -> list[str]:
    """Return lines as a table, those of one baseline below it; the middle is left out if long."""
    ordered = sorted(lines, key=lambda line: (line.cost, line.name))
    shown, gone = ordered, 0
    if len(ordered) > MOST_LINES:
        # One is for what says so.
        cheapest, gone = MOST_LINES // 2, len(ordered) - MOST_LINES + 1
        shown = ordered[:cheapest] + ordered[cheapest + gone :]
    phases = [phase for phase in PHASES if any(phase in line.found for line in lines)]
    kept = ["kept"] if "training" in phases else []
    cells = [["", *(cell for phase in phases for cell in (phase, "")), *kept, ""]]
    for baseline in dict.fromkeys(line.baseline for line in lines):
        below = [line for line in shown if line.baseline == baseline]
        if below:
            all_of_it = [line for line in lines if line.baseline == baseline]
            cells.append(_baseline_cells(baseline, all_of_it, phases))
            cells += [_cells(line, phases) for line in below]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    if gone:
        text.append(f"… and {gone} more between cheapest and dearest: on the page and in {file}")
    return text


def _baseline_cells(name: str, lines: Sequence[_Line], phases: Sequence[str]) -> list[str]:
    cells = [name]
    for phase in phases:
        times = [line.at[phase].baseline_time_ns for line in lines if phase in line.at]
        known = [time for time in times if time is not None]
        cells += ["", format_ns(median(known)) if known else NO_FIGURE]
    if "training" in phases:
        trained = [line.at["training"] for line in lines if "training" in line.at]
        kept = [row.baseline_saved_for_backward_bytes for row in trained]
        known_kept = [nbytes for nbytes in kept if nbytes is not None]
        cells.append(with_prefix(known_kept[0], "B") if known_kept else NO_FIGURE)
    return [*cells, ""]


def _cells(line: _Line, phases: Sequence[str]) -> list[str]:
    cells = [line.name]
    for phase in phases:
        # One interval has room beside everything else: that of what lines are sorted by.
        shown = ratio_with_interval if phase == phases[-1] else measured_ratio
        ends = (nan if end is None else end for end in line.found.get(phase, (nan, nan, nan)))
        row = line.at.get(phase)
        cells += [shown(*ends), format_ns(row.time_ns) if row and row.time_ns else NO_FIGURE]
    if "training" in phases:
        cells.append(_kept(line.at.get("training")))
    return [*cells, line.remark]


def _kept(row: Row | NetworkRow | None) -> str:
    """Return how many times the baseline's bytes are kept for backward."""
    if row is None or row.saved_for_backward_bytes is None:
        return NO_FIGURE
    if not row.baseline_saved_for_backward_bytes:
        return with_prefix(row.saved_for_backward_bytes, "B")
    ratio = row.saved_for_backward_bytes / row.baseline_saved_for_backward_bytes
    return f"{two_digits(ratio)}×" if ratio else "0"
