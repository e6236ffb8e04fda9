"""Labels that are drawn together stand each in its place, size and colour."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dynact.report.figures.outlined import Label, OutlinedTexts

# By name, with the channels that their ink darkens.
INKS = {"red": [1, 2], "blue": [0, 1]}


@pytest.mark.parametrize("text", ["8", "31×", "3–7×"])
def test_labels_stand_where_they_belong_and_nowhere_else(text: str) -> None:
    figure = Figure(figsize=(4, 4), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 4), ylim=(4, 0))
    axes.set_axis_off()
    labels = [
        Label(0.5, 0.5, text, 10, "red"), Label(2.5, 0.5, text, 10, "red"),
        Label(0.5, 2.5, text, 10, "blue"), Label(2.5, 2.5, text, 20, "red"),
    ]  # fmt: skip

    axes.add_artist(OutlinedTexts(labels))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()

    pixels = np.asarray(canvas.buffer_rgba()).astype(int)[:, :, :3]
    boxes = {}
    for label in labels:
        # Of 100 pixels a unit, each label has two units to itself.
        top, left = (100 * int(at - 0.5) for at in (label.y, label.x))
        part = pixels[top : top + 200, left : left + 200]
        inked = part[:, :, INKS[label.colour]].max(axis=2) < 128
        lines, columns = np.nonzero(inked)
        # In the middle of the first of the two.
        assert (lines.min() + lines.max()) / 2 == pytest.approx(50, abs=3)
        assert (columns.min() + columns.max()) / 2 == pytest.approx(50, abs=3)
        boxes[label] = np.ptp(columns) + 1
        other = part[:, :, ({0, 1, 2} - set(INKS[label.colour])).pop()]
        assert other.min() > 250
    small, alike, blue, large = boxes.values()
    assert small == pytest.approx(alike, abs=1)
    assert small == pytest.approx(blue, abs=1)
    assert large == pytest.approx(2 * small, abs=3)
