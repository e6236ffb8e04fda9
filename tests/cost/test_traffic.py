"""Traffic against operators counted by hand, published multiples, floors and the profiler."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd.profiler_util import FunctionEvent
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.profiler import ProfilerActivity, profile

from dynact.activations import create, least_passes, names
from dynact.cost.traffic import TrafficCounter, floor_bytes
from tests.cost.calls import OPTIONS, Call, call_of

every = pytest.mark.parametrize("name", names())
phases = pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])


def counted(call: Call) -> TrafficCounter:
    with TrafficCounter() as counter:
        call.run()
    return counter


# Operators by hand: a is (6, 5), b is (5,), both float32; bytes of an element 4.

A, B = 4 * 30, 4 * 5


def out_of_nothing(a: Tensor, _b: Tensor) -> None:
    torch.add(a, a, out=torch.empty(0))


@pytest.mark.parametrize(
    ("operate", "moved", "operators"),
    [
        (lambda a, b: a + b, A + B + A, {"add": 1}),
        (lambda a, b: a + b.expand(6, 5), A + B + A, {"add": 1}),
        (lambda a, _b: a + 1.5, A + A, {"add": 1}),
        (lambda a, _b: a * a, A + A, {"mul": 1}),
        (lambda a, _b: a * a.view(6, 5), A + A, {"mul": 1}),
        (lambda a, _b: a @ a.t(), A + 4 * 36, {"mm": 1}),
        (lambda a, _b: a[:2] + a[2:4], 3 * 2 * B, {"add": 1}),
        (lambda a, _b: a[::2].exp(), 2 * 3 * B, {"exp": 1}),
        (lambda a, b: a.add_(b), A + B + A, {"add_": 1}),
        (lambda a, _b: a[1].mul_(2), B + B, {"mul_": 1}),
        (lambda a, _b: a.addcmul_(a, a), A + A, {"addcmul_": 1}),
        (lambda a, b: torch.add(a, b, out=torch.empty(6, 5)), A + B + A, {"add": 1}),
        (out_of_nothing, A + A, {"add": 1}),
        (lambda a, b: torch.cat([a, a, b[None]]), A + B + (2 * A + B), {"cat": 1}),
        (lambda a, _b: a.max(dim=1), A + 6 * (4 + 8), {"max": 1}),
        (lambda a, _b: a.sum(), A + 4, {"sum": 1}),
        (lambda a, _b: a > 0, A + 30, {"gt": 1}),
        (lambda a, _b: a.to(torch.float64), A + 2 * A, {"_to_copy": 1}),
        (
            lambda a, b: torch.layer_norm(a, (5,), None, b),
            A + B + A + 2 * 4 * 6,
            {"native_layer_norm": 1},
        ),
        (lambda a, _b: a.fill_(3), A, {"fill_": 1}),
        (lambda a, _b: a.zero_(), A, {"zero_": 1}),
        (lambda a, b: a.copy_(b), B + A, {"copy_": 1}),
        (lambda a, _b: a.normal_(), A, {"normal_": 1}),
        (lambda a, _b: a.uniform_(), A, {"uniform_": 1}),
        (lambda a, _b: a.bernoulli_(0.5), A, {"bernoulli_": 1}),
        (lambda a, _b: a.random_(), A, {"random_": 1}),
        (lambda a, _b: a.exponential_(), A, {"exponential_": 1}),
        (lambda _a, _b: torch.zeros(6, 5), A, {"zeros": 1}),
        (lambda _a, _b: torch.full((6, 5), 2.0), A, {"full": 1}),
        (lambda a, _b: torch.zeros_like(a), A, {"zeros_like": 1}),
        (lambda _a, b: b.new_zeros(6, 5), A, {"new_zeros": 1}),
        (lambda a, b: torch._foreach_add([a, b], 1), 2 * (A + B), {"_foreach_add": 1}),
        (lambda a, b: torch._foreach_add_([a, b], 1), 2 * (A + B), {"_foreach_add_": 1}),
        (lambda a, _b: a[:0] + 1, 0, {}),
        (lambda a, _b: (a.view(-1), a.t(), a[1:], a.unsqueeze(0), a.expand(2, 6, 5)), 0, {}),
        (lambda a, _b: (a.detach(), a.chunk(2), a.reshape(5, 6), a.unflatten(0, (2, 3))), 0, {}),
        (lambda a, b: (a.unsqueeze_(0).squeeze_(0), b.resize_(0)), 0, {}),
        (lambda a, _b: (torch.empty(9), torch.empty_like(a), a.new_empty(4)), 0, {}),
        (lambda _a, _b: torch.empty_strided((2, 2), (1, 2)), 0, {}),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_operators_by_hand(
    operate: Callable[[Tensor, Tensor], object],
    moved: int,
    operators: dict[str, int],
    device: str,
) -> None:
    with torch.device(device):
        a, b = torch.ones(6, 5), torch.ones(5)
        with TrafficCounter() as counter:
            operate(a, b)
    assert counter.bytes == moved
    assert counter.operators == Counter({f"aten::{name}": n for name, n in operators.items()})
    assert counter.operator_calls == sum(operators.values())
    assert not counter.reads_values


def test_counts_go_on_where_they_stopped() -> None:
    a, counter = torch.ones(6, 5), TrafficCounter()
    for _ in range(2):
        with counter:
            a + 1
        a + 1
    assert (counter.bytes, counter.operator_calls) == (2 * 2 * A, 2)


@pytest.mark.parametrize(
    ("operate", "asks"),
    [
        (lambda a: a.sum().item(), True),
        (lambda a: bool(a[0, 0] > 0), True),
        (lambda a: torch.equal(a, a), True),
        (lambda a: a.nonzero(), True),
        (lambda a: a.nonzero() + 1, True),
        (lambda a: a[a > 0], True),
        (lambda a: a.masked_select(a > 0), True),
        (lambda a: a[torch.tensor([0, 2])], False),
        (lambda a: torch.where(a > 0, a, 0), False),
        (lambda a: (a > 0)[torch.tensor([0, 2])], False),
    ],
)
def test_asking_for_values_is_noted(operate: Callable[[Tensor], object], asks: bool) -> None:
    a = torch.ones(6, 5)
    with TrafficCounter() as counter:
        operate(a)
    assert counter.reads_values == asks


def test_a_value_asked_for_is_read() -> None:
    a = torch.ones(6, 5)
    with TrafficCounter() as counter:
        a[0, 0].item()
    assert (counter.bytes, counter.operators) == (4, {"aten::_local_scalar_dense": 1})


def test_a_scatter_in_place_passes_over_what_it_does_not_write() -> None:
    a, index = torch.ones(6, 5), torch.zeros(6, 1, dtype=torch.int64)
    with TrafficCounter() as counter:
        a.scatter_(1, index, index.float())
    # Indices become floats; then 6 indices and 6 values are read, and 6 elements written.
    assert counter.bytes == (8 * 6 + 4 * 6) + (8 * 6 + 4 * 6 + 4 * 6)


def test_a_scatter_into_a_new_tensor_copies_the_rest() -> None:
    a, index, values = torch.ones(6, 5), torch.zeros(6, 1, dtype=torch.int64), torch.ones(6, 1)
    with TrafficCounter() as counter:
        a.scatter(1, index, values)
    assert counter.bytes == A + 8 * 6 + 4 * 6 + A


def test_the_gradient_of_a_maximum_is_scattered_into_zeros() -> None:
    largest = torch.ones(6, 5).requires_grad_().max(dim=1).values
    gradient = torch.ones(6)
    with TrafficCounter() as counter:
        largest.backward(gradient)
    # Zeros are written; then 6 indices and 6 values are read, and 6 elements written.
    assert counter.bytes == A + 8 * 6 + 4 * 6 + 4 * 6


def test_a_training_step_of_relu_moves_five_inputs() -> None:
    # x → y; the gradient and y → x's gradient, which autograd keeps without a copy.
    call = call_of("relu", (2, 3, 8, 8), training=True)
    counter = counted(call)
    assert counter.bytes == 5 * call.x.nbytes
    assert counter.operators == {"aten::relu": 1, "aten::threshold_backward": 1}


# Activations.

FORWARD = {
    "relu": 2,
    "frelu": 7,
    "dyrelu_b": 13,
    "se": 3,
    "dwconv_bn_relu": 6,
    "funnel_avgpool": 5,
    "identity": 0,
    # The formulation counted as 18 weighs each of the two lines by position; see below.
    "dyrelu_c": 16,
}


@pytest.mark.parametrize("name", FORWARD)
def test_known_multiples_of_the_input(name: str) -> None:
    call = call_of(name, (32, 64, 56, 56), training=False, device="meta")
    # What is smaller than the input, such as one channel of 64, adds up to 2 % of it a tensor.
    assert FORWARD[name] <= counted(call).bytes / call.x.nbytes < FORWARD[name] + 0.3


def test_weighing_each_line_of_dyrelu_c_moves_two_inputs_more() -> None:
    # π into 2 lines reads and writes 4 inputs; as π ≥ 0 the layer weighs the result: 2.
    call = call_of("dyrelu_c", (32, 64, 56, 56), training=False, device="meta")
    layer, x = call.module, call.x
    with torch.no_grad(), TrafficCounter() as counter:
        a, b = (v[:, :, None, None] for v in layer.coefficients(x))
        pi = layer.position_weights(x)
        ((x[..., None] * a + b) * pi[..., None]).max(dim=-1)
    assert 18 <= counter.bytes / x.nbytes < 18 * 1.02


def test_floor_by_hand() -> None:
    assert floor_bytes(3, 1000, 8) == 3008
    assert floor_bytes(8, 1000, 8, 4) == 8012
    assert floor_bytes(0, 1000, 0) == 0


@every
@phases
@settings(deadline=None, max_examples=8, derandomize=True)
@given(data=st.data())
def test_no_eager_formulation_is_below_the_floor(
    name: str, training: bool, data: st.DataObject
) -> None:
    options = data.draw(st.sampled_from([{}, *OPTIONS.get(name, [])]))
    shape = (
        data.draw(st.integers(2, 5)),
        data.draw(st.integers(1, 40)),
        *data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9))),
    )
    call = call_of(name, shape, training, device="meta", **options)
    parameter_bytes = sum(parameter.nbytes for parameter in call.module.parameters())
    gradient_bytes = parameter_bytes if training else 0
    passes = least_passes(name, training)
    least = floor_bytes(passes, call.gradient.nbytes, parameter_bytes, gradient_bytes)
    assert least <= counted(call).bytes


@every
@phases
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@settings(deadline=None, max_examples=2, derandomize=True)
@given(data=st.data())
def test_meta_is_the_cpu(
    name: str, training: bool, layout: torch.memory_format, data: st.DataObject
) -> None:
    options = data.draw(st.sampled_from([{}, *OPTIONS.get(name, [])]))
    shape = data.draw(st.tuples(*(st.integers(2, 5) for _ in range(4))))
    cpu, meta = (
        counted(call_of(name, shape, training, device, layout, **options))
        for device in ("cpu", "meta")
    )
    if training and name == "mish":
        # Meta tensors have no kernel for its derivative and take ten operators instead.
        assert cpu.operators == {"aten::mish": 1, "aten::mish_backward": 1}
        assert meta.operator_calls == cpu.operator_calls - 1 + 10
        return
    unseen = 0
    if not training:
        # The CPU returns no batch statistics in eval mode; meta and accelerators return 2C.
        module = create(name, shape[1], **options)
        unseen = sum(4 * 2 * m.num_features for m in module.modules() if isinstance(m, BatchNorm))
    assert meta.operators == cpu.operators
    assert meta.bytes == cpu.bytes + unseen


# The profiler as a second witness of which operators ran.


@every
@phases
def test_operators_are_the_profilers(name: str, training: bool) -> None:
    call = call_of(name, (2, 8, 6, 5), training)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        call.run()
    seen = [
        operator
        for event in profiler.events()
        if event.cpu_parent is None
        for operator in dispatched(event)
    ]
    counter = counted(call)
    assert counter.operator_calls == len(seen)
    assert in_place_or_not(counter.operators.elements()) == in_place_or_not(seen)


def dispatched(event: FunctionEvent) -> Iterator[str]:
    """Yield the outermost operators with code of their own that are no view or allocation."""
    # Some overloads of where, and none of the others here, only call another one.
    calls_another = event.name == "aten::where" and any(
        child.name == event.name for child in event.cpu_children
    )
    if calls_another or is_composite(event.name):
        for child in event.cpu_children:
            yield from dispatched(child)
    elif "empty" not in event.name and not is_view(event.name):
        yield event.name


# The profiler says no overload, so all but the out= ones that torch generates have to agree.
OVERLOADS: dict[str, list[torch._C.FunctionSchema]] = {}
for qualified in torch._C._dispatch_get_all_op_names():
    operator, _, overload = qualified.partition(".")
    if not overload.endswith("out"):
        OVERLOADS.setdefault(operator, []).append(torch._C._get_schema(operator, overload))


def is_composite(name: str) -> bool:
    def registered(schema: torch._C.FunctionSchema, key: str) -> bool:
        qualified = name + "." * bool(schema.overload_name) + schema.overload_name
        return torch._C._dispatch_has_kernel_for_dispatch_key(qualified, key)

    return all(
        registered(schema, "CompositeImplicitAutograd") and not registered(schema, "CPU")
        for schema in OVERLOADS.get(name, [])
    )


def is_view(name: str) -> bool:
    # Another tensor of the same memory, which autograd takes for a new one.
    return name == "aten::_unsafe_view" or all(
        any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)
        for schema in OVERLOADS[name]
    )


def in_place_or_not(operators: Iterable[str]) -> Counter[str]:
    """Count operators as if none was in place, which fewer are while a dispatch mode is active."""
    same = {
        "aten::new_zeros": "aten::zeros",
        "aten::clone": "aten::copy",
        "aten::_index_put_impl_": "aten::index_put",
    }
    return Counter(same.get(operator, operator).rstrip("_") for operator in operators)
