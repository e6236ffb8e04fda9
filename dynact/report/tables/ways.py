"""What of an activation's cost is the maths, and what the way it is written, in words."""

import math

from dynact import activations
from dynact.report.data.names import cell_ratio, display_name
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.data.ways import COMPILED, Ways, as_words
from dynact.report.run import Run
from dynact.schema.digits import ratio_with_interval

# Whose reference stacks K lines.
_STACKED = ("dyrelu_a", "dyrelu_b", "dyrelu_c")


def ways_sentences(run: Run) -> list[str]:
    """Return a line for each activation of the main group that has several implementations.

    It says what each of them costs, and of the reference's cost how much is the way it is written:
    the reference over the cheapest of the others, with its 95 % interval.
    """
    names = dict.fromkeys(name for of_phase in run.ways.values() for name in of_phase)
    lines = []
    for name in names:
        by_phase = {phase: of[name] for phase, of in run.ways.items() if name in of}
        ways = {way.name for of in by_phase.values() for way in of.dearest_first}
        if len(ways - {COMPILED}) > 1:
            lines.append(" ".join(_sentences(name, by_phase, run.main)))
    return lines


def _sentences(name: str, by_phase: dict[str, Ways], main: SettingsGroup) -> list[str]:
    said: list[str] = []
    for phase, ways in by_phase.items():
        if said:
            costs = [f"{way.text} ({_short(way.name)})" for way in ways.dearest_first]
            lead = f"In {phase}, {', '.join(costs)}"
        else:
            dearest, *others = ways.dearest_first
            costs = [f"{way.text} {_written(name, way.name)}" for way in others]
            how = _written(name, dearest.name)
            lead = f"{display_name(name)} costs {dearest.text} {main.baseline} in {phase} {how}"
            lead = ", ".join([lead, *costs])
        if ways.shapes < main.shapes:
            lead += f" (at {ways.shapes} of {main.shapes} shapes, those where all were measured)"
        said.append(f"{lead}{_split(ways)}.")
    return said


def _short(way: str) -> str:
    return way.rpartition(":")[2]


def _written(name: str, way: str) -> str:
    if way == activations.REFERENCE and name in _STACKED:
        return "as lines stacked and a max (reference)"
    return as_words(way)


def _split(ways: Ways) -> str:
    """Return what of the reference's cost is the maths, and how little that could take."""
    parts = []
    if not math.isnan(ways.writing[0]):
        parts.append(f": {_of_reference(ways)}")
    if not math.isnan(ways.floor):
        floor = cell_ratio(ways.floor)
        parts.append(f"; the least bytes and arithmetic, in one short call, would take {floor}")
    return "".join(parts)


def _of_reference(ways: Ways) -> str:
    ratio, low, _ = ways.writing
    # Without an interval the ratio itself decides.
    if not (ratio if math.isnan(low) else low) > 1:
        return "none of the others can be told to be faster than the reference"
    by_name = {way.name: way.text for way in ways.dearest_first}
    reference = by_name.pop(activations.REFERENCE)
    *_, cheapest = by_name.values()
    return (
        f"of {reference}, the way it is written is {ratio_with_interval(*ways.writing)}, the maths "
        f"at most {cheapest}"
    )
