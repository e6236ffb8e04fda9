"""A layer compiled by itself: how many graphs there are, of what, and what they compute."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters as of_dynamo

from dynact.activations import create
from dynact.worker.compiled import compile_alone
from tests.worker.graphs import Graphs

pytestmark = pytest.mark.usefixtures("fresh_dynamo")

SHAPE = (2, 3, 4, 5)
# More than dynamo makes of one piece of code before it falls back to eager.
SHAPES = [(batch, 3, 4, width) for batch in (1, 2, 3) for width in (1, 2, 5, 6)]


def compiled(layer: nn.Module, shape: tuple[int, ...] = SHAPE) -> nn.Module:
    compile_alone(layer, torch.randn(shape))
    return layer


def captured() -> int:
    """How many graphs dynamo says it has captured so far."""
    return int(of_dynamo["stats"]["unique_graphs"])


@pytest.mark.parametrize("name", ["relu", "prelu", "silu", "dyrelu_b"])
def test_it_computes_what_the_layer_does(graphs: Graphs, name: str) -> None:
    torch.manual_seed(0)
    layer = create(name, 3).eval()
    x = torch.randn(SHAPE)
    expected = layer(x)

    compile_alone(layer, x)

    torch.testing.assert_close(layer(x), expected)
    assert graphs.calls == [2]


def test_so_it_does_in_generated_code_forward_and_backward() -> None:
    torch.manual_seed(0)
    layer, eager = nn.PReLU(), nn.PReLU()
    x, gradient = torch.randn(SHAPE, requires_grad=True), torch.randn(SHAPE)
    alike = x.detach().clone().requires_grad_()

    compile_alone(layer, x)
    layer(x).backward(gradient)
    eager(alike).backward(gradient)

    torch.testing.assert_close(x.grad, alike.grad)
    torch.testing.assert_close(layer.weight.grad, eager.weight.grad)


def test_two_of_a_class_have_a_graph_each(graphs: Graphs) -> None:
    first, second = compiled(nn.ReLU()), compiled(nn.ReLU())
    assert graphs.shapes == [SHAPE, SHAPE]

    for number, layer in enumerate((first, second)):
        before = graphs.calls.copy()
        layer(torch.randn(SHAPE))
        assert [now - then for now, then in zip(graphs.calls, before, strict=True)] == [
            int(number == 0), int(number == 1),
        ]  # fmt: skip


@pytest.mark.parametrize("training", [False, True])
def test_however_many_there_are_each_graph_is_of_one_shape(graphs: Graphs, training: bool) -> None:
    def input_of(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, requires_grad=training)

    before = captured()
    layers = []
    for shape in SHAPES:
        layers.append(nn.ReLU().train(training))
        compile_alone(layers[-1], input_of(shape))
    # No symbol stands for a size, and nothing fell back to eager.
    assert graphs.shapes == SHAPES
    assert captured() - before == len(SHAPES)

    for layer, shape in zip(layers, SHAPES, strict=True):
        layer(input_of(shape))
    assert graphs.calls == [2] * len(SHAPES)
    assert captured() - before == len(SHAPES)


def test_in_inference_mode_there_is_one_graph_too(graphs: Graphs) -> None:
    with torch.inference_mode():
        layer = compiled(nn.ReLU())
        layer(torch.randn(SHAPE))

    assert graphs.calls == [2]


class HalfCompiled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        torch._dynamo.graph_break()
        return y + 1


def test_a_layer_of_two_graphs_is_refused(graphs: Graphs) -> None:
    with pytest.raises(torch._dynamo.exc.Unsupported, match="graph_break"):
        compiled(HalfCompiled())

    assert graphs.shapes == []


def test_a_compiler_that_compiles_nothing_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(forward: Any, **_how: Any) -> Any:
        return forward

    monkeypatch.setattr(torch, "compile", leave)

    with pytest.raises(
        RuntimeError, match=r"^torch.compile captured no graph of PReLU: this would run eager code$"
    ):
        compiled(nn.PReLU())


def test_a_graph_of_another_layer_is_no_graph_of_this_one(
    graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled(nn.ReLU())
    assert captured() > 0
    monkeypatch.setattr(torch, "compile", lambda forward, **_how: forward)

    with pytest.raises(RuntimeError, match=r"captured no graph of ReLU"):
        compiled(nn.ReLU())
    assert len(graphs.shapes) == 1
