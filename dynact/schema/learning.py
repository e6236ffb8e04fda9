"""What a training is measured by, and what is on disk of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynact.schema.run_folder import load_environment, read_records

POINTS = "learning.jsonl"


@dataclass(frozen=True)
class Point:
    """What was found after an epoch of a training; epoch 0 is before the first step."""

    activation: str
    seed: int
    epoch: int
    status: str
    """``"ok"``, or ``"diverged"``: the loss was not finite, and the training ended there."""
    accuracy: float | None
    """Share of the test images whose class is found; ``None`` unless ``status`` is ``"ok"``."""
    train_s: float
    """Seconds spent in training so far, testing not included."""
    parameters: int
    """Elements of the network that learn."""
    replaced: int
    """How many of the network's activations this one took the place of; the others are ReLU."""
    sites: int
    """How many it has."""
    message: str = ""
    """Why the status is not ``"ok"``."""


def ended_points(folder: Path) -> list[dict[str, Any]]:
    """Return the points of all ended trainings, as stored and in that order.

    A training that was cut short is not among them, and of one that was begun anew only the last
    attempt is.
    """
    epochs = load_environment(folder)["settings"]["epochs"]
    latest: dict[tuple[str, int, int], dict[str, Any]] = {}
    for point in read_records(folder / POINTS):
        key = point["activation"], point["seed"], point["epoch"]
        latest.pop(key, None)
        latest[key] = point
    ended = {
        (activation, seed)
        for (activation, seed, epoch), point in latest.items()
        if epoch == epochs or point["status"] != "ok"
    }
    return [point for key, point in latest.items() if key[:2] in ended]
