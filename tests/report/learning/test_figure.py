"""The figure and the table of an experiment on learning: they show what was found, and no more."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from dynact.report.learning.figure import (
    HEADER,
    learning_curve,
    reading_notes,
    table_lines,
    write_learning,
)
from dynact.report.learning.findings import findings
from dynact.schema.learning import Point
from dynact.worker.learning.store import LearningFolder

ENVIRONMENT = {
    "started": "2026-03-01T10:00:00",
    "device": {"type": "cpu", "name": "Some CPU"},
    "threads": 1,
    "versions": {"torch": "2.14.1"},
    "settings": {
        "data": "digits", "train_images": 1437, "test_images": 360, "epochs": 2,
        "batch_size": 4, "learning_rate": 0.001, "momentum": 0.9,
    },
}  # fmt: skip
FINAL = {"relu": [0.80, 0.84, 0.79], "frelu": [0.93, 0.95, 0.94], "dyrelu_b": [0.81, 0.83, 0.80]}


def make_points(
    final: dict[str, Sequence[float]] | None = None, lost: Sequence[tuple[str, int]] = ()
) -> list[Point]:
    points = []
    for i, (activation, accuracies) in enumerate((final or FINAL).items()):
        for seed, accuracy in enumerate(accuracies):
            for epoch in range(3):
                # Saturates, and takes longer the later it is named.
                here = 0.1 + (accuracy - 0.1) * (0, 0.7, 1)[epoch]
                train_s = epoch * (i + 1 + 0.1 * seed)
                diverged = (activation, seed) in lost and epoch == 1
                status, value = ("diverged", None) if diverged else ("ok", here)
                points.append(
                    Point(activation, seed, epoch, status, value, train_s, 62_006 + i, 4 - i, 4)
                )
                if diverged:
                    break
    return points


def frame(points: Sequence[Point]) -> pd.DataFrame:
    return pd.DataFrame(points)


def drawn(figure: Figure) -> Figure:
    FigureCanvasAgg(figure).draw()
    return figure


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


def notes(figure: Figure) -> str:
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


def test_lines_go_through_the_means_and_bands_hold_the_intervals() -> None:
    points = frame(make_points())
    (axes,) = learning_curve(points, ENVIRONMENT).axes
    found = findings(points)
    lines = [line for line in axes.lines if line.get_linestyle() != "None"]
    assert len(lines) == len(FINAL)
    means = {name: np.mean(values) for name, values in FINAL.items()}
    for name, mean in means.items():
        (line,) = [line for line in lines if line.get_ydata()[-1] == pytest.approx(mean)]
        seconds = points[points["activation"] == name].groupby("epoch")["train_s"].mean()
        assert list(line.get_xdata()) == pytest.approx(list(seconds))
        (band,) = [
            band for band in axes.collections
            if to_rgb(band.get_facecolor()[0][:3]) == to_rgb(line.get_color())
        ]  # fmt: skip
        at_end = [y for x, y in band.get_paths()[0].vertices if x == pytest.approx(seconds.max())]
        own = found.loc[name]
        assert (min(at_end), max(at_end)) == pytest.approx((own["accuracy_lo"], own["accuracy_hi"]))


def test_labels_say_what_the_intervals_support() -> None:
    labels = texts(learning_curve(frame(make_points()), ENVIRONMENT))
    assert any(label.startswith("FReLU  94.0 % (") for label in labels)
    (better,) = [label for label in labels if label.startswith("better; ")]
    # The times are (2.0, 2.1, 2.2) / (1.0, 1.1, 1.2).
    ratio = math.exp(np.log([2 / 1, 2.1 / 1.1, 2.2 / 1.2]).mean())
    assert better.endswith(f" {ratio:.1f}× ReLU's time")
    assert any(label.startswith("no difference shown; ") for label in labels)


@pytest.mark.parametrize("count", [2, 5, 14])
def test_labels_of_equal_accuracies_stay_apart_and_on_the_page(count: int) -> None:
    names = [
        "relu", "frelu", "dyrelu_a", "dyrelu_b", "dyrelu_c", "se", "silu", "gelu", "mish", "acon_c",
        "meta_acon_c", "maxout", "prelu", "some.package:AnActivationWithAVeryLongNameIndeed",
    ]  # fmt: skip
    figure = drawn(learning_curve(frame(make_points(
        {name: [0.95, 0.96, 0.951] for name in names[:count]})), ENVIRONMENT))  # fmt: skip
    boxes = [t.get_window_extent() for axes in figure.axes for t in axes.texts if t.get_text()]
    assert len(boxes) == 2 * count
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_it_says_what_was_trained_where_and_what_the_interval_is_of() -> None:
    said = notes(learning_curve(frame(make_points()), ENVIRONMENT))
    for words in (
        "digits", "3 seeds", "2 epochs", "1,437 images", "360", "0.001", "batch 4", "Some CPU",
        "1 thread,", "2.14.1", "2026-03-01", "cover other seeds", "not the same time",
        "holds by itself",
    ):  # fmt: skip
        assert words in said
    assert "One seed" not in said
    assert "iverged" not in said


def test_one_seed_has_no_interval_and_says_so() -> None:
    points = frame(make_points({"relu": [0.8], "frelu": [0.95]}))
    figure = learning_curve(points, ENVIRONMENT)
    assert "One seed: there is no interval" in notes(figure)
    assert "cover other seeds" not in notes(figure)
    assert "FReLU  95.0 %" in texts(figure)
    lines = [dict(zip(HEADER, line, strict=True)) for line in table_lines(findings(points))]
    assert lines[1]["accuracy"] == "95.0 %"
    assert lines[1]["against ReLU, seed by seed"] == (
        "+15.0 points: not compared: one seed has no interval"
    )


def test_that_several_comparisons_are_made_is_said_of_several_alone() -> None:
    one, two = (
        reading_notes(findings(frame(make_points({name: FINAL[name] for name in names}))))
        for names in (("relu", "frelu"), FINAL)
    )
    assert not any("holds by itself" in note for note in one)
    assert any("holds by itself" in note for note in two)


def test_the_table_reads_as_it_was_found() -> None:
    points = frame(make_points({"relu": [0.80, 0.84, 0.79], "frelu": [0.70, 0.75, 0.68]}))
    relu, frelu = (dict(zip(HEADER, line, strict=True)) for line in table_lines(findings(points)))
    assert relu["activation"] == "ReLU"
    assert relu["against ReLU, seed by seed"] == "compared with"
    assert relu["overhead, × ReLU's time"] == "–"
    assert (relu["in"], frelu["in"]) == ("4 of 4 places", "3 of 4 places")
    assert frelu["parameters"] == "62,007"
    assert frelu["accuracy"].startswith("71.0 % (")
    assert frelu["against ReLU, seed by seed"].startswith("−10.0 points (−1")
    assert frelu["against ReLU, seed by seed"].endswith("): worse")
    assert frelu["training an epoch"].startswith("2.10 s (")


def test_what_diverged_is_named_and_not_drawn() -> None:
    points = frame(make_points(lost=[("frelu", 1), *(("dyrelu_b", seed) for seed in range(3))]))
    figure = learning_curve(points, ENVIRONMENT)
    said = notes(figure)
    assert "Diverged, and left out of means and curves" in said
    assert "FReLU with 1 of 3 seeds" in said
    assert "DY-ReLU-B with 3 of 3 seeds" in said
    assert not any("DY-ReLU-B" in text for text in texts(figure))
    assert any(text.startswith("FReLU  93.5 %") for text in texts(figure))
    assert not any("better" in text for text in texts(figure))


def test_nothing_but_divergence_is_a_line_in_place_of_a_figure() -> None:
    lost = [(name, seed) for name in FINAL for seed in range(3)]
    figure = learning_curve(frame(make_points(lost=lost)), ENVIRONMENT)
    assert any(text.startswith("Nothing to draw") for text in texts(figure))


def write_run(folder: Path, points: Sequence[Point]) -> Path:
    environment: dict[str, Any] = ENVIRONMENT
    run = LearningFolder(folder, environment)
    for point in points:
        run.append(point)
    run.close()
    return folder


def test_what_is_written_follows_from_the_points(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", make_points())
    written = write_learning(folder)
    names = [path.relative_to(folder).as_posix() for path in written]
    assert names == ["table.csv", "table.md", "figures/learning.png", "figures/learning.svg"]
    contents = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_learning(folder)] == contents
    table = pd.read_csv(written[0], index_col="activation")
    assert table["accuracy"]["frelu"] == pytest.approx(0.94)
    assert table["verdict"]["frelu"] == "better"
    markdown = written[1].read_text(encoding="utf-8")
    for note in reading_notes(findings(frame(make_points()))):
        assert note.split(",")[0] in markdown
    assert markdown.count("\n| ") == 2 + len(FINAL)
