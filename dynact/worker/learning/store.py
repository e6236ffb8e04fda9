"""Points of trainings on disk: append, go on where a run was stopped, load."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from dynact.schema.run_folder import LockedFolder, load_environment, read_rows
from dynact.worker.learning.training import Point

POINTS = "learning.jsonl"
COLUMNS = tuple(field.name for field in fields(Point))


class LearningFolder(LockedFolder):
    """A run of trainings that is being written; opened again, it is gone on with.

    Parameters
    ----------
    environment
        What the points depend on; ``environment["settings"]["epochs"]`` says when a training
        has ended.

    Raises
    ------
    RunError
        If it is in use, cannot be written, or has points of another environment.
    """

    def __init__(self, folder: Path, environment: dict[str, Any]) -> None:
        super().__init__(folder, POINTS, environment)

    def append(self, point: Point) -> None:
        """Store a point; it is on disk when this returns.

        Raises
        ------
        RunError
            If it cannot be written (a full disk); the points before it stay whole.
        """
        self.append_record(asdict(point))

    def ended(self) -> set[tuple[str, int]]:
        """Return the activation and seed of each training that needs no more epochs."""
        points = load(self.folder)
        return set(zip(points["activation"], points["seed"], strict=True))


def load(folder: Path) -> pd.DataFrame:
    """Return the points of all ended trainings, one line each, with the columns `COLUMNS`.

    A training that was cut short is not among them, and of one that was begun anew only the last
    attempt is.
    """
    points = read_rows(folder / POINTS, COLUMNS)
    training = ["activation", "seed"]
    points = points.drop_duplicates([*training, "epoch"], keep="last")
    epochs = load_environment(folder)["settings"]["epochs"]
    ends = points[(points["epoch"] == epochs) | (points["status"] != "ok")]
    return points.merge(ends[training])
