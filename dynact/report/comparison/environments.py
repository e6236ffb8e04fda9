"""In what the environments of two runs differ."""

from typing import Any

import pandas as pd

# Says when and for what a run was made, not how it was measured.
_LEFT_OUT = ("command", "started", "settings.run")
# Above all others.
_FIRST = ("device", "host", "threads", "clock.cache", "clock.name", "versions.torch")
# Two times are of the same thing only if these are the same.
_TIMES_NEED = {
    "device": "device.name",
    "CPU model": "host.cpu",
    "state of the caches": "clock.cache",
    "clock": "clock.name",
}
# What runs had that do not say.
_BEFORE = {"clock.cache": "warm"}
NONE = "–"


def environment_differences(
    reference: dict[str, Any], later: dict[str, Any]
) -> dict[str, tuple[str, str]]:
    """Return what differs, by its dotted name, as the reference has it and as the later has it.

    Parameters
    ----------
    reference, later
        As `load_environment` returns them.
    """
    one, other = _flat(reference), _flat(later)
    names = [name for name in dict.fromkeys((*one, *other)) if not name.startswith(_LEFT_OUT)]
    names.sort(key=lambda name: not name.startswith(_FIRST))
    return {
        name: pair
        for name in names
        if len(set(pair := (one.get(name, NONE), other.get(name, NONE)))) > 1
    }


def times_refused(reference: dict[str, Any], later: dict[str, Any]) -> str:
    """Return why times of two runs are not compared, empty where they may be."""
    one, other = _flat(reference), _flat(later)
    for what, name in _TIMES_NEED.items():
        pair = one.get(name, NONE), other.get(name, NONE)
        if pair[0] != pair[1]:
            return f"another {what}, {pair[0]!r} against {pair[1]!r}"
    return ""


def _flat(environment: dict[str, Any]) -> dict[str, str]:
    """Return all values as text, by dotted names."""
    (flat,) = pd.json_normalize([environment]).to_dict("records")
    return _BEFORE | {
        str(name): " ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in flat.items()
        if isinstance(value, list) or not pd.isna(value)
    }
