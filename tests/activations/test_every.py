"""What holds for every activation: values, shapes, dtypes, layout, gradients, state."""

import copy
import io
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from dynact.activations import create, names
from tests.activations.oracles import ORACLES
from tests.activations.samples import (
    CHECKED,
    OWN,
    PER_ELEMENT,
    channels_in,
    dims_of,
    layer,
    normal,
    state_of,
)

every = pytest.mark.parametrize("name", names())
own = pytest.mark.parametrize("name", OWN)
checked = pytest.mark.parametrize("name", CHECKED)

# float64 against a float64 oracle that adds in another order.
EXACT = {"rtol": 1e-11, "atol": 1e-11}


def hidden(channels: int, reduction: int) -> int:
    return max(1, channels // reduction)


def meta_hidden(channels: int) -> int:
    return max(16, channels // 16)


def eca_kernel(channels: int) -> int:
    """Return the odd number nearest to (log2 C + 1)/2; of two as near, the larger."""
    exact = (math.log2(channels) + 1) / 2
    return min(range(13, 0, -2), key=lambda odd: abs(odd - exact))


PARAMETERS = {
    **dict.fromkeys(("relu", "leaky_relu", "relu6", "sigmoid", "silu", "gelu"), lambda _c: 0),
    **dict.fromkeys(("mish", "hardswish", "identity", "relu_inplace"), lambda _c: 0),
    **dict.fromkeys(("swiglu", "geglu"), lambda _c: 0),
    **dict.fromkeys(("gelu_tanh", "quick_gelu", "elu", "softplus", "squared_relu"), lambda _c: 0),
    **dict.fromkeys(("funnel_maxpool", "funnel_avgpool"), lambda _c: 0),
    "prelu": lambda c: c,
    "frelu": lambda c: 9 * c + 2 * c + c,
    "frelu_light": lambda c: 6 * c + 4 * c,
    "dyrelu_a": lambda c: (h := hidden(c, 8)) * c + h + 4 * h + 4,
    "dyrelu_b": lambda c: (h := hidden(c, 8)) * c + h + 4 * c * h + 4 * c,
    "dyrelu_c": lambda c: (h := hidden(c, 8)) * c + h + 4 * c * h + 4 * c + c + 1,
    "se": lambda c: 2 * c * (h := hidden(c, 16)) + h + c,
    "maxout": lambda c: 2 * c * c + 2 * c,
    "acon_c": lambda c: 3 * c,
    "meta_acon_c": lambda c: 2 * c + 2 * c * (h := meta_hidden(c)) + h + c,
    **dict.fromkeys(("star_relu", "apa", "aglu", "xielu"), lambda _c: 2),
    "dyt": lambda c: 2 * c + 1,
    "derf": lambda c: 2 * c + 2,
    "dwconv_bn_relu": lambda c: 9 * c + 2 * c,
    "dyrelu_dyhead": lambda c: (h := hidden(c, 4)) * c + h + 4 * c * h + 4 * c,
    "eca": eca_kernel,
    "grn": lambda c: 2 * c,
    "group_rational": lambda c: 6 + 4 * math.gcd(c, 8),
    "dy_shift_max": lambda c: (h := max(4, c // 8)) * c + h + 4 * c * h + 4 * c,
    "series_act": lambda c: 49 * c + 2 * c,
    "meta_acon_c_bn": lambda c: 2 * c + 2 * c * (h := meta_hidden(c)) + h + c + 2 * h + 2 * c,
    "layer_norm": lambda c: 2 * c,
}


@every
@given(data=st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_values_at_any_shape(name: str, data: st.DataObject) -> None:
    dims = data.draw(st.sampled_from(dims_of(name)))
    channels = data.draw(st.integers(1, 9))
    shape = (data.draw(st.integers(1, 3)), channels_in(name, channels))
    shape += tuple(data.draw(st.integers(1, 5)) for _ in range(dims - 2))
    seed = data.draw(st.integers(0, 2**16))
    module, x = layer(name, channels, seed), normal(*shape, seed=seed + 1)
    expected = torch.from_numpy(ORACLES[name](x.numpy(), state_of(module)))

    y = module(x)

    assert y.shape == (shape[0], channels, *shape[2:])
    torch.testing.assert_close(y, expected, **EXACT)


@every
@pytest.mark.parametrize("channels", [1, 2, 3, 7, 8, 15, 16, 17, 64, 100, 256, 512])
def test_parameter_count_has_its_closed_form(name: str, channels: int) -> None:
    module = create(name, channels)
    assert sum(p.numel() for p in module.parameters()) == PARAMETERS[name](channels)


@every
@pytest.mark.parametrize("training", [False, True])
def test_gradients_of_input_and_parameters(name: str, training: bool) -> None:
    module = layer(name, 3).train(training)
    keys = [key for key, _ in module.named_parameters()]
    x = normal(2, channels_in(name, 3), 3, 2).requires_grad_()

    def call(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        named = dict(zip(keys, parameters, strict=True))
        # A layer that writes into its input may not write into a leaf.
        return torch.func.functional_call(module, named, (x.clone(),))

    assert torch.autograd.gradcheck(call, (x, *module.parameters()))


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    module, x = layer(name, 6), normal(2, channels_in(name, 6), 5, 4)
    low, x_low = copy.deepcopy(module).to(dtype), x.to(dtype)

    y = low(x_low)

    assert y.dtype == dtype
    # Parameters are rounded as the low module has them; what is left is a handful of roundings
    # of intermediates, each at most eps of a value that is at most a few times the largest one.
    expected = copy.deepcopy(low).double()(x_low.double())
    scale = max(1.0, expected.abs().max().item(), x.abs().max().item())
    bound = 8 * torch.finfo(dtype).eps * scale
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=bound)


@own
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_autocast_keeps_the_dtype(name: str, dtype: torch.dtype) -> None:
    module, x = create(name, 6), normal(2, channels_in(name, 6), 5, 4, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        assert module(x).dtype == dtype


@own
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_an_accelerators_autocast_keeps_the_dtype(name: str, dtype: torch.dtype) -> None:
    # It widens powers, exponentials and softplus, which the CPU's does not. Tensors without
    # values pass through it on any machine, where torch.autocast asks for a GPU.
    was_enabled, was_dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        with FakeTensorMode(), torch.device("cuda"):
            x = torch.empty(2, channels_in(name, 6), 5, 4, dtype=dtype)
            assert torch.exp(x).dtype == torch.float32
            assert create(name, 6)(x).dtype == dtype
    finally:
        torch.set_autocast_enabled("cuda", was_enabled)
        torch.set_autocast_dtype("cuda", was_dtype)


@every
@pytest.mark.parametrize(
    ("weights", "layout"),
    # With channels_last weights torch's own convolutions answer channels_last to any input.
    [
        (torch.contiguous_format, torch.contiguous_format),
        (torch.contiguous_format, torch.channels_last),
        (torch.channels_last, torch.channels_last),
    ],
)
def test_memory_format_is_kept(
    name: str, weights: torch.memory_format, layout: torch.memory_format
) -> None:
    module, x = layer(name, 6), normal(2, channels_in(name, 6), 5, 4)
    expected = module(x)

    y = module.to(memory_format=weights)(x.to(memory_format=layout))

    assert y.stride() == torch.empty(2, 6, 5, 4).to(memory_format=layout).stride()
    torch.testing.assert_close(y, expected, **EXACT)


@every
def test_state_is_parameters_and_batch_norm_statistics(name: str) -> None:
    module = create(name, 5)
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    state = {key for key in module.state_dict() if not key.endswith(statistics)}
    assert state == {key for key, _ in module.named_parameters()}


@every
def test_state_survives_a_file(name: str) -> None:
    module, x = layer(name, 5), normal(2, channels_in(name, 5), 4, 3)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)

    other = layer(name, 5, seed=99)
    other.load_state_dict(torch.load(file))

    torch.testing.assert_close(other(x), module(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    "name", [n for n in names() if any(True for _ in create(n, 5).parameters())]
)
def test_a_copy_is_equal_and_apart(name: str) -> None:
    module, x = layer(name, 5), normal(2, 5, 4, 3)
    before = module(x)
    twin = copy.deepcopy(module)
    torch.testing.assert_close(twin(x), before, rtol=0, atol=0)

    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)

    torch.testing.assert_close(module(x), before, rtol=0, atol=0)
    assert not torch.equal(twin(x), before)


@checked
def test_wrong_channels_are_refused(name: str) -> None:
    right = channels_in(name, 4)
    with pytest.raises(
        ValueError,
        match=rf"^input must be of shape .*\(N, {right}, H, W\), got \(2, 5, 3, 3\)$",
    ):
        create(name, 4)(normal(2, 5, 3, 3))


@checked
def test_wrong_dimensions_are_refused(name: str) -> None:
    module = create(name, 4).double()
    for dims in set(range(1, 6)) - set(dims_of(name)):
        shape = (2, channels_in(name, 4), 3, 3, 3)[:dims]
        with pytest.raises(ValueError, match=r"^input must be of shape .*, got \(2,"):
            module(normal(*shape))


@pytest.mark.parametrize("name", PER_ELEMENT)
def test_a_layer_of_each_element_alone_takes_any_shape(name: str) -> None:
    module, x = layer(name, 4), normal(2, 3, 2, 2, 3)
    torch.testing.assert_close(module(x).flatten(), module(x.flatten()), **EXACT)


# Full-size tensors kept for the backward pass, × the input's bytes in float32; an int64 argmax
# counts twice for each element.
SAVED = {"relu": 1, "frelu": 3, "dyrelu_a": 3, "dyrelu_b": 3, "dyrelu_c": 4, "acon_c": 3, "se": 1}


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_saved_for_backward(name: str, layout: torch.memory_format) -> None:
    module = create(name, 16)
    x = normal(4, 16, 12, 10, dtype=torch.float32).to(memory_format=layout).requires_grad_()
    size = x.untyped_storage().nbytes()
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = module(x)

    assert y.requires_grad
    assert sum(n for n in kept.values() if n >= size) == SAVED[name] * size
