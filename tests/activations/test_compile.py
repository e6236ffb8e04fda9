"""Every own activation in one graph: compiled and exported, equal to eager."""

import copy
import io
from collections.abc import Iterator

import pytest
import torch

from tests.activations.samples import OWN, channels_in, layer, normal

own = pytest.mark.parametrize("name", OWN)


@pytest.fixture(autouse=True)
def fresh_dynamo() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@own
@pytest.mark.parametrize("training", [False, True])
def test_one_graph_gives_the_same_values_and_gradients(name: str, training: bool) -> None:
    eager = layer(name, 3).train(training)
    module = copy.deepcopy(eager)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = normal(2, channels_in(name, 3), 4, 3).to(memory_format=torch.channels_last)
    eager_x, compiled_x = x.clone().requires_grad_(), x.clone().requires_grad_()

    y, compiled_y = eager(eager_x), compiled(compiled_x)
    y.square().sum().backward()
    compiled_y.square().sum().backward()

    # float64; the graph may add in another order.
    torch.testing.assert_close(compiled_y, y, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(compiled_x.grad, eager_x.grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(module.state_dict(), eager.state_dict(), rtol=1e-11, atol=1e-11)
    assert compiled_y.stride() == y.stride()


@pytest.mark.parametrize("name", ["frelu", "dyrelu_c"])
def test_generated_code_gives_the_same_values(name: str) -> None:
    module, x = layer(name, 3), normal(2, 3, 4, 3)
    compiled = torch.compile(module, fullgraph=True)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(x), module(x), rtol=1e-11, atol=1e-11)


@own
def test_export_survives_a_file_and_another_batch_size(name: str) -> None:
    module, x = layer(name, 3), normal(2, channels_in(name, 3), 4, 5)
    batch = torch.export.Dim("batch", max=64)
    program = torch.export.export(module, (x,), dynamic_shapes={"x": {0: batch}})
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)

    exported = torch.export.load(file).module()

    larger = normal(5, channels_in(name, 3), 4, 5, seed=7)
    torch.testing.assert_close(exported(larger), module(larger), rtol=1e-11, atol=1e-11)
