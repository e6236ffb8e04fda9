"""What is drawn agrees with the tables."""

from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.figure import Figure

from dynact.report.data.profile import Profile
from dynact.report.figures.time_by_operator import time_by_operator
from tests.report.figures.reading import texts
from tests.report.figures.steps_sample import case


def drawn_ms(figure: Figure) -> list[float]:
    return sorted(
        bar.get_width()  # type: ignore[attr-defined]
        for axes in figure.axes
        for bar in axes.patches
        if bar.get_width() > 0  # type: ignore[attr-defined]
    )


def test_bars_are_the_operators_times(profile: Profile) -> None:
    figure = time_by_operator(profile, "caption")

    forward, backward, _legend = figure.axes
    assert [axes.get_title() for axes in (forward, backward)] == ["forward", "backward"]
    assert [label.get_text() for label in forward.get_yticklabels()] == ["ReLU", "DY-ReLU-B"]
    for axes, sums in ((forward, (0.4, 14.3)), (backward, (0.6, 20.0))):
        drawn = [0.0, 0.0]
        for bar in axes.patches:
            drawn[round(bar.get_y() + bar.get_height() / 2)] += bar.get_width()  # type: ignore[attr-defined]
        assert drawn == pytest.approx(sums)
        assert axes.get_xlim() == forward.get_xlim()
    shown = texts(figure)
    for word in ("400 µs", "14.3 ms", "20 ms", "the layer's one operator", "max", "caption"):
        assert word in shown


def test_what_is_small_goes_together(profile: Profile) -> None:
    more = pd.DataFrame(
        [(case("relu"), f"aten::op{i}", "other", "forward", 1_000 + i) for i in range(12)],
        columns=["case_id", "operator", "kind", "part", "time_ns"],
    )
    many = Profile(
        profile.steps, pd.concat([profile.kernels, more]), profile.timeline, profile.memory
    )
    figure = time_by_operator(many, "")

    entries = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert len(entries) == 9
    assert entries[-1] == "other"
    width = sum(bar.get_width() for bar in figure.axes[0].patches)  # type: ignore[attr-defined]
    expected = many.of(many.kernels).query("part == 'forward'")["time_ns"].sum() / 1e6
    assert width == pytest.approx(expected)


def test_kernels_of_an_accelerator_are_told_apart_by_their_operators(on_cuda: Profile) -> None:
    figure = time_by_operator(on_cuda, "")

    assert drawn_ms(figure) == pytest.approx([0.5, 1, 3, 7, 10])
    entries = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert sorted(entries) == ["add", "mul"]
    words = texts(figure).replace("\n", " ")
    assert "kernels, by the operator that launched them" in words
    assert "profiler's own cost" not in words


def test_operators_that_read_the_same_when_shortened_are_numbered(on_cuda: Profile) -> None:
    # As of a library whose operators were not told apart from their kernels.
    on_cuda.kernels["operator"] = on_cuda.kernels["kernel"]

    figure = time_by_operator(on_cuda, "")

    assert drawn_ms(figure) == pytest.approx([0.5, 1, 3, 7, 10])
    first, second = (text.get_text() for text in figure.axes[-1].get_legend().get_texts())
    assert (first[-4:], second[-4:]) == (" (1)", " (2)")
    assert first[:-4] == second[:-4]


def test_an_operator_may_be_called_as_all_others_together(on_cuda: Profile) -> None:
    more = on_cuda.kernels.head(1)
    many = [more.assign(operator=f"op{i}") for i in range(9)]
    kernels = pd.concat([on_cuda.kernels, more.assign(operator="other", time_ns=10**9), *many])

    figure = time_by_operator(Profile(on_cuda.steps, kernels, on_cuda.timeline, on_cuda.memory), "")

    entries = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert len(entries) == 9
    assert sum(drawn_ms(figure)) == pytest.approx(kernels["time_ns"].sum() / 1e6)


def test_steps_of_one_setting_stand_side_by_side(profile: Profile) -> None:
    elsewhere = "dyrelu_b-training-1x8x7x7-float32-cpu"
    other = profile.steps.query("activation == 'dyrelu_b'").assign(case_id=elsewhere)
    steps = pd.concat([other, profile.steps])
    slow = profile.kernels.head(1).assign(case_id=elsewhere, time_ns=10**12)
    mixed = Profile(steps, pd.concat([slow, profile.kernels]), profile.timeline, profile.memory)

    assert mixed.setting == "8x64x56x56-float32-cpu"
    assert set(mixed.of(mixed.kernels)["case_id"]) == {case("relu"), case("dyrelu_b")}
    assert mixed.activations == ["relu", "dyrelu_b"]
    assert mixed.setting in texts(time_by_operator(mixed, ""))


def test_a_line_goes_from_the_sum_of_low_times_to_that_of_high_ones(profile: Profile) -> None:
    def lines(of: Profile) -> list[list[list[float]]]:
        figure = time_by_operator(of, "")
        # Of NaN there is no segment.
        return [
            [ends[:, 0].tolist() for ends in axes.collections[0].get_segments() if len(ends)]  # type: ignore[attr-defined]
            for axes in figure.axes[:2]
        ]

    # 0.8 and 1.4 times the medians, as the sample says.
    forward, backward = lines(profile)
    assert forward == [pytest.approx([0.32, 0.56]), pytest.approx([11.44, 20.02])]
    assert backward == [pytest.approx([0.48, 0.84]), pytest.approx([16, 28])]

    former = profile.kernels.assign(time_p20_ns=float("nan"), time_p80_ns=float("nan"))
    assert lines(replace(profile, kernels=former)) == [[], []]


@pytest.mark.parametrize(("untraced_ms", "reach_ms"), [(20.0, 20.0), (3.43, 2.0)])
def test_a_disturbed_step_does_not_stretch_the_axis(
    profile: Profile, untraced_ms: float, reach_ms: float
) -> None:
    """Of 34.3 ms, 20 of them backward: less than twice as long, and ten times as long."""
    steps = profile.steps.assign(untraced_ns=1e6 * untraced_ms)

    figure = time_by_operator(replace(profile, steps=steps), "")

    assert figure.axes[0].get_xlim() == pytest.approx((0, 1.05 * reach_ms))
    beside = [text.get_text() for axes in figure.axes[:2] for text in axes.texts]
    cut = ", cut off" * (untraced_ms < 17)
    assert beside == ["400 µs", f"14.3 ms{cut}", "600 µs", f"20 ms{cut}"]
