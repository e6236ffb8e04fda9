"""Points of trainings on disk: append, and go on where a run was stopped."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from dynact.schema.learning import POINTS, Point, ended_points
from dynact.schema.run_folder import LockedFolder


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
        return {(point["activation"], point["seed"]) for point in ended_points(self.folder)}
