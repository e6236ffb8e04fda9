"""What a figure was drawn from: it says so itself, so that copying a run changes nothing."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from dynact.report.figures.files import PNG_KEY


def origin_of(png: Path) -> str | None:
    """Return what a figure was drawn from, as `Run.origin`, or None where it does not say."""
    try:
        with Image.open(png) as image:
            origin: str | None = image.info.get(PNG_KEY)
    except UnidentifiedImageError:
        return None
    return origin
