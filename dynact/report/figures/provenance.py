"""What a figure was drawn from: it says so itself, so that copying a run changes nothing."""

import hashlib
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from dynact.report.figures.files import PNG_KEY
from dynact.report.figures.of_layers import FIGURES
from dynact.report.figures.of_networks import NETWORK_FIGURES
from dynact.report.figures.of_profile import TRACED

_ROWS = ("rows.jsonl", "gates.jsonl")
_NETWORKS = ("network_rows.jsonl", "site_rows.jsonl", "gates.jsonl")
_TRACES = ("traces/steps.csv", "traces/kernels.csv", "traces/timeline.csv", "traces/memory.csv")


def origins(run_folder: Path) -> dict[str, str]:
    """Return by name of a figure what it is drawn from in this run, as it is now."""
    kinds = ((FIGURES, _ROWS), (NETWORK_FIGURES, _NETWORKS), (TRACED, _TRACES))
    return {name: _origin(run_folder, files) for names, files in kinds for name in names}


def origin_of(png: Path) -> str | None:
    """Return what a figure was drawn from, or None where it does not say."""
    try:
        with Image.open(png) as image:
            origin: str | None = image.info.get(PNG_KEY)
    except UnidentifiedImageError:
        return None
    return origin


def _origin(run_folder: Path, names: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for path in (run_folder / name for name in names):
        # Of each, so that no line can wander from one file to the next unseen.
        digest.update(hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest())
    return f"{' '.join(names)}, sha256 {digest.hexdigest()}"
