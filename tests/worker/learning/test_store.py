"""Points on disk: what ended is kept and found again, what was cut short is not counted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynact.report.learning.points import COLUMNS, load_points
from dynact.schema.cases import Case
from dynact.schema.learning import POINTS, Point
from dynact.schema.run_folder import LockedFolder, RunError, RunFolder
from dynact.worker.learning.store import LearningFolder

EPOCHS = 2


def open_run(folder: Path, **settings: Any) -> LearningFolder:
    environment = {
        "started": "2026-03-01T10:00:00", "settings": {"epochs": EPOCHS, **settings},
        "threads": 1, "device": {"type": "cpu", "name": "Some CPU"},
        "versions": {"torch": "2.14.1"},
    }  # fmt: skip
    return LearningFolder(folder, environment)


def training(activation: str, seed: int, epochs: int = EPOCHS) -> list[Point]:
    return [
        Point(activation, seed, epoch, "ok", 0.1 + 0.2 * epoch, 1.5 * epoch, 62_006, 4, 4)
        for epoch in range(epochs + 1)
    ]


def store(folder: Path, points: list[Point]) -> set[tuple[str, int]]:
    run = open_run(folder)
    for point in points:
        run.append(point)
    ended = run.ended()
    run.close()
    return ended


def test_what_is_appended_is_loaded(tmp_path: Path) -> None:
    points = [*training("relu", 0), *training("frelu", 0)]
    assert store(tmp_path, points) == {("relu", 0), ("frelu", 0)}
    table = load_points(tmp_path)
    assert tuple(table.columns) == COLUMNS
    assert [Point(**record) for record in table.to_dict("records")] == points


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_training_cut_short_is_done_again_and_counts_once(tmp_path: Path, epochs: int) -> None:
    whole = training("relu", 0)
    assert store(tmp_path, [*whole, *training("relu", 1, epochs)]) == {("relu", 0)}
    assert len(load_points(tmp_path)) == len(whole)
    again = [replace(point, train_s=9.0 * point.epoch) for point in training("relu", 1)]
    assert store(tmp_path, again) == {("relu", 0), ("relu", 1)}
    table = load_points(tmp_path)
    assert list(table[table["seed"] == 1]["train_s"]) == [0, 9, 18]
    assert len(table) == 2 * len(whole)


def test_a_training_that_diverged_has_ended(tmp_path: Path) -> None:
    points = training("relu", 0, epochs=0)
    points.append(replace(points[0], epoch=1, status="diverged", accuracy=None, message="nan"))
    assert store(tmp_path, points) == {("relu", 0)}
    assert list(load_points(tmp_path)["status"]) == ["ok", "diverged"]


def test_a_line_that_was_being_written_is_dropped(tmp_path: Path) -> None:
    store(tmp_path, training("relu", 0))
    path = tmp_path / "learning.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert load_points(tmp_path).empty
    assert store(tmp_path, training("relu", 0)) == {("relu", 0)}
    assert len(load_points(tmp_path)) == EPOCHS + 1


def test_other_settings_are_refused_in_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    store(tmp_path / "run", training("relu", 0))
    before = (tmp_path / "run/learning.jsonl").read_bytes()
    with pytest.raises(RunError, match=r"^cannot resume run 'run', .*: settings\.batch_size was"):
        open_run(tmp_path / "run", batch_size=8)
    assert (tmp_path / "run/learning.jsonl").read_bytes() == before


def test_a_run_of_trainings_is_not_the_latest_sweep(tmp_path: Path) -> None:
    store(tmp_path / "run", training("relu", 0))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def open_sweep(folder: Path) -> RunFolder:
    return RunFolder(folder, resume=False, environment={"started": "now"})


@pytest.mark.parametrize(("held", "opened"), [(POINTS, open_sweep), (Case.table, open_run)])
def test_runs_of_two_kinds_do_not_share_a_folder(
    tmp_path: Path, held: str, opened: Callable[[Path], LockedFolder]
) -> None:
    (tmp_path / held).write_text("{}\n")
    (tmp_path / "environment.json").write_text("{}")
    with pytest.raises(RunError, match=rf"is of another kind, it has {held}; name another"):
        opened(tmp_path)
    assert (tmp_path / "environment.json").read_text() == "{}"
