"""Figures of traces: what is drawn agrees with the tables."""

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from dynact.report.data.profile import Traces
from dynact.report.figures.of_profile import TRACED
from tests.report.trace_tables import build_traces


def case(activation: str, phase: str = "training") -> str:
    return f"{activation}-{phase}-8x64x56x56-float32-cpu"


OPERATORS = [
    # activation, kernel, kind, part, start, duration
    ("relu", "aten::relu", "pointwise", "forward", 0, 400_000),
    ("relu", "aten::threshold_backward", "pointwise", "backward", 500_000, 600_000),
    ("dyrelu_b", "aten::mean", "reduction", "forward", 0, 300_000),
    ("dyrelu_b", "aten::mul", "pointwise", "forward", 300_000, 5_000_000),
    ("dyrelu_b", "aten::max", "reduction", "forward", 5_300_000, 9_000_000),
    ("dyrelu_b", "aten::mul", "pointwise", "backward", 15_000_000, 20_000_000),
]
MEMORY = [
    # activation, at, allocated, part
    ("relu", 10, 1_000_000, "forward"), ("relu", 500_001, 2_000_000, "backward"),
    ("relu", 1_200_000, 0, "backward"),
    # On an accelerator the host is ahead: backward allocates long before its first kernel runs,
    # and what forward leaves is freed when Python is done with it.
    ("dyrelu_b", 10, 4_000_000, "forward"), ("dyrelu_b", 4_000_000, 5_000_000, "forward"),
    ("dyrelu_b", 5_000_000, 3_000_000, "other"), ("dyrelu_b", 6_000_000, 8_000_000, "backward"),
    ("dyrelu_b", 35_000_000, 0, "other"),
]  # fmt: skip


@pytest.fixture
def traces() -> Traces:
    calls = [(case(a), a, "training", *rest) for a, *rest in OPERATORS]
    # An inference case beside them, which none of the figures shows.
    other = (case("relu", "inference"), "relu", "inference", *OPERATORS[0][1:5], 10**12)
    return build_traces([*calls, other], [(case(a), *rest) for a, *rest in MEMORY])


def texts(figure: Figure) -> str:
    return "\n".join(
        text.get_text() for part in (figure, *figure.axes) for text in part.findobj(match=_is_text)
    )


def _is_text(artist: object) -> bool:
    return hasattr(artist, "get_text")


def test_bars_are_the_operators_times(traces: Traces) -> None:
    figure = TRACED["time_by_operator"](traces, "caption")

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


def test_what_is_small_goes_together(traces: Traces) -> None:
    more = pd.DataFrame(
        [(case("relu"), f"aten::op{i}", "other", "forward", 1_000 + i) for i in range(12)],
        columns=["case_id", "operator", "kind", "part", "time_ns"],
    )
    many = Traces(traces.steps, pd.concat([traces.kernels, more]), traces.timeline, traces.memory)
    figure = TRACED["time_by_operator"](many, "")

    entries = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert len(entries) == 9
    assert entries[-1] == "other"
    width = sum(bar.get_width() for bar in figure.axes[0].patches)  # type: ignore[attr-defined]
    expected = many.of(many.kernels).query("part == 'forward'")["time_ns"].sum() / 1e6
    assert width == pytest.approx(expected)


BINARY = (
    "void at::native::vectorized_elementwise_kernel<4, at::native::BinaryFunctor<float, float, "
    "float, at::native::binary_internal::{}Functor<float> >, std::array<char*, 3ul> >(int, "
    "at::native::BinaryFunctor<float, float, float, at::native::binary_internal::{}Functor<float> "
    ">, std::array<char*, 3ul>)"
)
"""The name of one of PyTorch's CUDA kernels, as a profiler gives it."""


@pytest.fixture
def on_cuda() -> Traces:
    """Steps of two layers, whose kernels' names differ somewhere in their middle."""
    a, b = (f"{name}-training-8x64x56x56-float32-cuda:0" for name in ("frelu", "dyrelu_b"))
    mul, add = (BINARY.format(name, name) for name in ("Mul", "Add"))
    traces = build_traces(
        [
            (a, "frelu", "training", mul, "pointwise", "forward", 0, 1_000_000),
            (a, "frelu", "training", add, "pointwise", "forward", 2_000_000, 3_000_000),
            (a, "frelu", "training", mul, "pointwise", "backward", 6_000_000, 500_000),
            (b, "dyrelu_b", "training", mul, "pointwise", "forward", 0, 10_000_000),
            (b, "dyrelu_b", "training", add, "pointwise", "backward", 11_000_000, 7_000_000),
        ]
    )
    traces.kernels["operator"] = traces.kernels["kernel"].map({mul: "aten::mul", add: "aten::add"})
    return traces


def drawn_ms(figure: Figure) -> list[float]:
    return sorted(
        bar.get_width()  # type: ignore[attr-defined]
        for axes in figure.axes
        for bar in axes.patches
        if bar.get_width() > 0  # type: ignore[attr-defined]
    )


def test_kernels_of_an_accelerator_are_told_apart_by_their_operators(on_cuda: Traces) -> None:
    figure = TRACED["time_by_operator"](on_cuda, "")

    assert drawn_ms(figure) == pytest.approx([0.5, 1, 3, 7, 10])
    entries = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert sorted(entries) == ["add", "mul"]
    words = texts(figure).replace("\n", " ")
    assert "kernels, by the operator that launched them" in words
    assert "profiler's own cost" not in words


def test_operators_that_read_the_same_when_shortened_are_numbered(on_cuda: Traces) -> None:
    # As of a library whose operators were not told apart from their kernels.
    on_cuda.kernels["operator"] = on_cuda.kernels["kernel"]

    figure = TRACED["time_by_operator"](on_cuda, "")

    assert drawn_ms(figure) == pytest.approx([0.5, 1, 3, 7, 10])
    first, second = (text.get_text() for text in figure.axes[-1].get_legend().get_texts())
    assert (first[-4:], second[-4:]) == (" (1)", " (2)")
    assert first[:-4] == second[:-4]


def test_an_operator_may_be_called_as_all_others_together(on_cuda: Traces) -> None:
    more = on_cuda.kernels.head(1)
    many = [more.assign(operator=f"op{i}") for i in range(9)]
    kernels = pd.concat([on_cuda.kernels, more.assign(operator="other", time_ns=10**9), *many])

    figure = TRACED["time_by_operator"](
        Traces(on_cuda.steps, kernels, on_cuda.timeline, on_cuda.memory), ""
    )

    entries = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert len(entries) == 9
    assert sum(drawn_ms(figure)) == pytest.approx(kernels["time_ns"].sum() / 1e6)


def test_on_an_accelerator_a_block_is_a_kernel(on_cuda: Traces) -> None:
    words = texts(TRACED["step_timeline"](on_cuda, "")).replace("\n", " ")

    assert "kernel by kernel (8x64x56x56-float32-cuda:0)" in words
    assert "6.5 ms, 3 kernels" in words
    assert "the device waits for the host" in words
    assert "time since its first kernel began (ms)" in words
    assert "operator" not in words


def test_a_strip_shows_each_operator_where_it_ran(traces: Traces) -> None:
    figure = TRACED["step_timeline"](traces, "")

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


def test_memory_is_drawn_over_the_step_with_what_is_held(traces: Traces) -> None:
    figure = TRACED["step_memory"](traces, "")

    relu, dyrelu = figure.axes
    assert (relu.get_title(), dyrelu.get_title()) == ("ReLU", "DY-ReLU-B")
    assert relu.get_ylim() == dyrelu.get_ylim()
    for axes, peak, held in ((relu, 2.0, 1.0), (dyrelu, 8.0, 3.0)):
        curve, dashed = axes.lines
        assert np.max(curve.get_ydata()) == pytest.approx(peak)  # type: ignore[arg-type]
        assert list(dashed.get_ydata()) == pytest.approx([held, held])  # type: ignore[arg-type]


def test_steps_of_one_setting_stand_side_by_side(traces: Traces) -> None:
    elsewhere = "dyrelu_b-training-1x8x7x7-float32-cpu"
    other = traces.steps.query("activation == 'dyrelu_b'").assign(case_id=elsewhere)
    steps = pd.concat([other, traces.steps])
    slow = traces.kernels.head(1).assign(case_id=elsewhere, time_ns=10**12)
    mixed = Traces(steps, pd.concat([slow, traces.kernels]), traces.timeline, traces.memory)

    assert mixed.setting == "8x64x56x56-float32-cpu"
    assert set(mixed.of(mixed.kernels)["case_id"]) == {case("relu"), case("dyrelu_b")}
    assert mixed.activations == ["relu", "dyrelu_b"]
    assert mixed.setting in texts(TRACED["time_by_operator"](mixed, ""))


@pytest.mark.parametrize("name", TRACED)
def test_without_a_training_step_a_figure_says_so(traces: Traces, name: str) -> None:
    inference_only = Traces(
        traces.steps[traces.steps["phase"] == "inference"],
        traces.kernels,
        traces.timeline,
        traces.memory,
    )

    figure = TRACED[name](inference_only, "")

    assert "no training step was traced" in texts(figure)
