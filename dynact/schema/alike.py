"""Which cases are alike enough to share a picture, and which of several such groups comes first."""

from collections.abc import Mapping

SETTINGS_FIELDS = ("mode", "dtype", "memory_format", "batch", "baseline", "device")
SHAPE_FIELDS = ("channels", "height", "width")

USUAL = {
    "impl": "reference",
    "mode": "eager",
    "dtype": "float32",
    "memory_format": "contiguous",
    "baseline": "relu",
}


def place_of_group(
    settings: Mapping[str, object], shapes: int, cases: int
) -> tuple[int, int, int, int]:
    """Return what to sort groups of equal `SETTINGS_FIELDS` by, the main one first.

    That is the one with most distinct shapes, among equals with most cases, then with the most
    usual settings, then with the largest batch, which a device is busiest with: the order in which
    rows were stored has no part in it.
    """
    unusual = sum(settings[name] != USUAL[name] for name in USUAL if name in settings)
    return -shapes, -cases, unusual, -int(str(settings["batch"]))
