"""Which points of trainings count: of those that ended, and of the last attempt alone."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dynact.schema.learning import POINTS, Point, ended_points

EPOCHS = 2


def training(activation: str, seed: int, epochs: int = EPOCHS) -> list[Point]:
    return [
        Point(activation, seed, epoch, "ok", 0.1 + 0.2 * epoch, 1.5 * epoch, 62_006, 4, 4)
        for epoch in range(epochs + 1)
    ]


def diverged(activation: str, seed: int, epoch: int) -> Point:
    return Point(activation, seed, epoch, "diverged", None, 1.0, 62_006, 4, 4, "inf at step 1")


def found(folder: Path, *points: Point, torn: str = "") -> list[Point]:
    """Store points as a run has them, and return those that count."""
    environment = {
        "started": "2026-03-01T10:00:00", "settings": {"epochs": EPOCHS}, "threads": 1,
        "device": {"type": "cpu", "name": "Some CPU"}, "versions": {"torch": "2.14.1"},
    }  # fmt: skip
    (folder / "environment.json").write_text(json.dumps(environment))
    lines = "".join(json.dumps(asdict(point)) + "\n" for point in points)
    (folder / POINTS).write_text(lines + torn)
    return [Point(**point) for point in ended_points(folder)]


def test_ended_trainings_are_there_as_stored(tmp_path: Path) -> None:
    points = [*training("relu", 0), *training("frelu", 0), *training("frelu", 1)]

    assert found(tmp_path, *points) == points


@pytest.mark.parametrize("epochs", [0, 1])
def test_one_that_was_cut_short_is_not(tmp_path: Path, epochs: int) -> None:
    whole = training("relu", 0)

    assert found(tmp_path, *whole, *training("relu", 1, epochs)) == whole


@pytest.mark.parametrize("epoch", [0, 1])
def test_one_that_diverged_has_ended(tmp_path: Path, epoch: int) -> None:
    points = [*training("relu", 0, epochs=epoch - 1), diverged("relu", 0, epoch)]

    assert found(tmp_path, *points) == points


def test_of_one_that_was_begun_anew_the_last_attempt_counts(tmp_path: Path) -> None:
    again = [replace(point, train_s=9.0 * point.epoch) for point in training("relu", 0)]

    assert found(tmp_path, *training("relu", 0, 1), *training("frelu", 0), *again) == [
        *training("frelu", 0), *again,
    ]  # fmt: skip


def test_a_line_that_was_being_written_is_not_read(tmp_path: Path) -> None:
    whole = training("relu", 0)

    assert found(tmp_path, *whole, torn='{"activation": "re') == whole


def test_there_may_be_none_yet(tmp_path: Path) -> None:
    found(tmp_path)
    (tmp_path / POINTS).unlink()

    assert ended_points(tmp_path) == []
