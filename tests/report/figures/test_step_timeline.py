"""What is drawn agrees with the tables."""

from dataclasses import replace

import matplotlib.colors
import pytest
from matplotlib.collections import PolyCollection

from dynact.report.data.profile import Profile
from dynact.report.figures.step_timeline import step_timeline
from tests.report.figures.reading import texts
from tests.report.figures.steps_sample import OPERATORS


def test_on_an_accelerator_a_block_is_a_kernel(on_cuda: Profile) -> None:
    words = texts(step_timeline(on_cuda, "")).replace("\n", " ")

    assert "kernel by kernel (8x64x56x56-float32-cuda:0)" in words
    assert "6.5 ms, 3 kernels" in words
    assert "the device waits for the host" in words
    assert "time since its first kernel began (ms)" in words
    assert "operator" not in words


def test_a_strip_shows_each_operator_where_it_ran(profile: Profile) -> None:
    figure = step_timeline(profile, "")

    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ReLU", "DY-ReLU-B"]
    blocks = {}
    for collection in axes.collections:
        assert isinstance(collection, PolyCollection)
        colour = matplotlib.colors.to_hex(collection.get_facecolor()[0])
        for path in collection.get_paths():
            (left, top), (right, bottom) = path.vertices.min(axis=0), path.vertices.max(axis=0)
            blocks[(round(left, 3), round(right - left, 3))] = (top, bottom, colour)
    assert set(blocks) == {(start / 1e6, length / 1e6) for *_, start, length in OPERATORS}
    # ReLU's forward stands above its line, its backward below; the same kind has one colour.
    relu_forward, relu_backward = blocks[0.0, 0.4], blocks[0.5, 0.6]
    assert relu_forward[1] <= 0 <= relu_backward[0]
    assert relu_forward[2] == relu_backward[2] == blocks[15.0, 20.0][2]
    assert blocks[5.3, 9.0][2] != relu_forward[2]
    assert "1.1 ms, 2 operators" in texts(figure)
    assert "35 ms, 4 operators" in texts(figure)


def test_what_is_of_no_pass_stands_on_the_line(profile: Profile) -> None:
    timeline = profile.timeline.assign(part="other")

    figure = step_timeline(replace(profile, timeline=timeline), "")

    (axes,) = figure.axes
    strips = [path.get_extents() for one in axes.collections for path in one.get_paths()]
    middles = {round((strip.ymin + strip.ymax) / 2, 6) for strip in strips}
    assert len(strips) == len(OPERATORS)
    assert middles == {0, 1}
    assert "below it backward, on it what is neither" in texts(figure).replace("\n", " ")
    assert "neither" not in texts(step_timeline(profile, ""))


def test_a_disturbed_step_does_not_stretch_the_axis(profile: Profile) -> None:
    """DY-ReLU-B's 34.3 ms of operators end after 35 ms; it takes a tenth without the profiler."""
    steps = profile.steps.assign(untraced_ns=3.43e6)

    figure = step_timeline(replace(profile, steps=steps), "")

    (axes,) = figure.axes
    assert axes.get_xlim() == pytest.approx((0, 1.01 * 3.5))
    assert [text.get_text() for text in axes.texts] == [
        "1.1 ms, 2 operators", "35 ms, 4 operators, cut off",
    ]  # fmt: skip
