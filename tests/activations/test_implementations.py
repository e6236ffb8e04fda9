"""Implementations beside the references: the same layer, whatever is done with it."""

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from dynact.activations import create, implementations, names
from dynact.activations.fused import dynamic
from dynact.cost import saved_for_backward
from tests.activations.oracles import ORACLES
from tests.activations.samples import EXACT, dims_of, layer, normal, outcome, state_of

LAYERS = [(name, impl) for name in names() for impl in implementations(name)[1:]]
FUSED = [name for name, impl in LAYERS if impl == "fused"]
WITHOUT_PARAMETERS = ("funnel_maxpool", "funnel_avgpool")
every = pytest.mark.parametrize(("name", "impl"), LAYERS)
fused = pytest.mark.parametrize("name", FUSED)


def test_what_there_is() -> None:
    dynamic = ("reference", "lines", "fused")
    assert [implementations(f"dyrelu_{v}") for v in "abc"] == [dynamic] * 3
    assert {n for n in names() if "fused" in implementations(n)} == {
        *("prelu", "se", "acon_c", "meta_acon_c", "meta_acon_c_bn", "frelu", "frelu_light"),
        *("dyrelu_a", "dyrelu_b", "dyrelu_c", "funnel_maxpool", "funnel_avgpool"),
    }
    assert implementations("relu") == ("reference",)


@pytest.mark.parametrize(
    ("name", "impl", "known"),
    [
        ("relu", "fused", "reference"),
        ("prelu", "lines", "reference, fused"),
        ("dyrelu_b", "fast", "reference, lines, fused"),
    ],
)
def test_an_unknown_one_is_refused(name: str, impl: str, known: str) -> None:
    message = f"unknown implementation {impl!r} of {name}: it has {known}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        create(name, 4, impl=impl)


@every
def test_state_is_that_of_the_reference_both_ways(name: str, impl: str) -> None:
    torch.manual_seed(3)
    reference = create(name, 24)
    torch.manual_seed(3)
    other = create(name, 24, impl=impl)

    for of in ("named_parameters", "named_buffers"):
        ours, theirs = (list(getattr(module, of)()) for module in (other, reference))
        assert [n for n, _ in ours] == [n for n, _ in theirs]
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(ours, theirs, strict=True))
    torch.manual_seed(4)
    reference.load_state_dict(create(name, 24, impl=impl).state_dict())
    other.load_state_dict(create(name, 24).state_dict())


OF_LINES: list[dict[str, Any]] = [
    {"gate": "hardsigmoid", "k": 3, "reduction": 2},
    {"k": 1},
    {"lambda_a": -0.7, "lambda_b": 2},
]
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "frelu": [{"kernel_size": 5}, {"bias": False}],
    "prelu": [{"shared": True}],
    "se": [{"reduction": 2}],
    "dyrelu_a": OF_LINES,
    "dyrelu_b": OF_LINES,
    "dyrelu_c": [*OF_LINES, {"tau": 0.5, "gamma": 0.9}],
}
WITH_OPTIONS = [
    pytest.param(name, impl, options, id=f"{name}-{impl}-{i}")
    for name, impl in LAYERS
    for i, options in enumerate([{}, *OPTIONS.get(name, [])])
]


@pytest.mark.usefixtures("without_code")
@pytest.mark.parametrize(("name", "impl", "options"), WITH_OPTIONS)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_the_references(
    name: str, impl: str, options: dict[str, Any], training: bool, layout: torch.memory_format
) -> None:
    reference = layer(name, 6, **options).train(training)
    other = layer(name, 6, impl=impl, **options).train(training)
    for shape in [(3, 6, 5, 4), (2, 6, 7, 7)]:
        x = normal(*shape).to(memory_format=layout)
        outcomes = [outcome(module, x) for module in (other, reference)]
        for ours, theirs in zip(*outcomes, strict=True):
            torch.testing.assert_close(ours, theirs, **EXACT)
        assert outcomes[0][0].stride() == x.stride()
        with torch.inference_mode():
            torch.testing.assert_close(other(x), reference(x), **EXACT)
    torch.testing.assert_close(other.state_dict(), reference.state_dict(), **EXACT)


@pytest.mark.usefixtures("without_code")
@every
@given(data=st.data())
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_values_at_any_shape(name: str, impl: str, data: st.DataObject) -> None:
    dims = data.draw(st.sampled_from(dims_of(name)))
    channels = data.draw(st.integers(1, 9))
    shape = (data.draw(st.integers(1, 3)), channels)
    shape += tuple(data.draw(st.integers(1, 5)) for _ in range(dims - 2))
    module, x = layer(name, channels, impl=impl), normal(*shape)

    expected = torch.from_numpy(ORACLES[name](x.numpy(), state_of(module)))

    torch.testing.assert_close(module(x).detach(), expected, rtol=1e-11, atol=1e-11)
    for ours, theirs in zip(outcome(module, x), outcome(layer(name, channels), x), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize(
    "name",
    ["prelu", "acon_c", "se", "dyrelu_b", "dyrelu_c", "funnel_maxpool", "funnel_avgpool"],
)
def test_generated_code_does_what_the_reference_does(name: str) -> None:
    """In float32 and training, where most is fused; one shape and another, by the same code."""
    reference = layer(name, 16).float().train()
    other = layer(name, 16, impl="fused").float().train()
    exact = copy.deepcopy(reference).double()
    for shape in [(2, 16, 14, 14), (3, 16, 9, 11)]:
        x = normal(*shape, dtype=torch.float32)
        ours, theirs = outcome(other, x), outcome(reference, x)
        truth = outcome(exact, x.double())
        for a, b, true in zip(ours, theirs, truth, strict=True):
            # Of a sum whose terms cancel, what remains is rounding.
            scale = max(true.abs().max().item(), 1.0)
            error, usual = ((of.double() - true).abs().max().item() for of in (a, b))
            assert error <= 2 * usual + 2e-6 * scale


def test_one_graph_serves_all_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.utils import counters

    monkeypatch.setattr(dynamic._LARGEST, "_compiled", {})
    monkeypatch.setattr(dynamic._LARGEST, "_ran_at", set())
    counters.clear()
    with torch.inference_mode():
        for channels, side in [(16, 14), (16, 28), (24, 14), (40, 5)]:
            module = create("dyrelu_b", channels, impl="fused").eval()
            module(normal(3, channels, side, side, dtype=torch.float32))

    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.usefixtures("without_code")
@fused
def test_the_input_alone_is_kept(name: str) -> None:
    x = normal(4, 16, 12, 10, dtype=torch.float32).requires_grad_()
    saved = saved_for_backward(create(name, 16, impl="fused").train(), x)

    assert saved.input == x.nbytes
    assert saved.output == 0
    # Constants of the line generator; mean and variance of each channel and branch; pooled values.
    small = {"frelu": 2 * 16 * 4, "frelu_light": 4 * 16 * 4, "meta_acon_c_bn": x.nbytes // 16}
    assert saved.rest <= small.get(name, 64)


@pytest.mark.usefixtures("without_code")
@fused
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_autocast_and_half_precision_keep_the_dtype(name: str, dtype: torch.dtype) -> None:
    module = create(name, 6, impl="fused").train()
    x = normal(2, 6, 5, 4, dtype=dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    y.sum().backward()

    assert y.dtype == dtype
    assert x.grad is not None
    assert x.grad.dtype == dtype
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in module.parameters())


@pytest.mark.usefixtures("without_code")
@pytest.mark.parametrize("name", ["dyrelu_b", "dyrelu_c"])
@pytest.mark.parametrize("around_backward", [False, True])
def test_autocast_computes_again_what_it_computed(name: str, around_backward: bool) -> None:
    """Gradients under autocast are those of the reference under it, not of full precision."""
    outcomes = []
    for impl in ("fused", "reference"):
        module = layer(name, 16, impl=impl).float()
        x = normal(2, 16, 6, 6, dtype=torch.float32).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=not around_backward):
            y = module(x)
        with torch.autocast("cpu", torch.bfloat16, enabled=around_backward):
            outcomes.append(torch.autograd.grad(y.sum(), x)[0])
    ours, theirs = outcomes
    assert (ours - theirs).abs().max() <= 0.05 * theirs.abs().max()


@pytest.mark.parametrize(
    ("name", "impl"),
    # One of each formula.
    [
        *((n, "fused") for n in ("prelu", "se", "acon_c", "meta_acon_c_bn", "frelu")),
        *((n, "fused") for n in WITHOUT_PARAMETERS),
        *(("dyrelu_b", impl) for impl in ("lines", "fused")),
        ("dyrelu_c", "fused"),
    ],
)
def test_a_compiler_around_it_takes_it_in_whole(name: str, impl: str) -> None:
    torch.compiler.reset()
    module = nn.Sequential(nn.Conv2d(3, 6, 1).double(), layer(name, 6, impl=impl)).train()
    twin = copy.deepcopy(module)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = normal(2, 3, 5, 4)

    for ours, theirs in zip(outcome(compiled, x), outcome(twin, x), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)
    torch.testing.assert_close(module.state_dict(), twin.state_dict(), **EXACT)
    torch.compiler.reset()


@every
def test_it_is_exported(name: str, impl: str) -> None:
    module, x = layer(name, 3, impl=impl), normal(2, 3, 4, 5)
    program = torch.export.export(module, (x,), dynamic_shapes={"x": {0: torch.export.Dim.AUTO}})

    larger = normal(5, 3, 4, 5, seed=7)
    torch.testing.assert_close(
        program.module()(larger), layer(name, 3)(larger), rtol=1e-11, atol=1e-11
    )


@pytest.mark.usefixtures("without_code")
@fused
def test_copies_checkpoints_and_data_parallel_ones_do_the_same(name: str, tmp_path: Path) -> None:
    module = layer(name, 6, impl="fused").train()
    x = normal(2, 6, 5, 4)
    expected = outcome(copy.deepcopy(module), x)

    def checkpointed(x: Tensor) -> Tensor:
        y: Tensor = checkpoint(twin, x, use_reentrant=False)
        return y

    twin = copy.deepcopy(module)
    leaf = x.clone().requires_grad_()
    y = checkpointed(leaf)
    gradients = torch.autograd.grad(y, [leaf, *twin.parameters()], normal(*y.shape, seed=9))
    for ours, theirs in zip([y.detach(), *gradients], expected, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)

    if name in WITHOUT_PARAMETERS:
        # DistributedDataParallel takes none that has nothing to learn.
        return
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        parallel = DistributedDataParallel(copy.deepcopy(module))
        leaf = x.clone().requires_grad_()
        parallel(leaf).backward(normal(*y.shape, seed=9))
        gradients = [leaf.grad, *(p.grad for p in parallel.parameters())]
        for ours, theirs in zip(gradients, expected[1:], strict=True):
            torch.testing.assert_close(ours, theirs, **EXACT)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("without_code")
@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in FUSED],
)
def test_second_derivatives_are_those_of_the_reference(name: str, options: dict[str, Any]) -> None:
    module = layer(name, 3, impl="fused", **options)
    x = normal(2, 3, 3, 2).requires_grad_()

    assert torch.autograd.gradgradcheck(module, (x,))
    first = [
        torch.autograd.grad(of(x).square().sum(), x, create_graph=True)[0]
        for of in (module, layer(name, 3, **options))
    ]
    torch.testing.assert_close(*first, **EXACT)


@pytest.mark.usefixtures("without_code")
@pytest.mark.parametrize("shape", [(2, 1, 3, 3), (2, 1), (4,), (2, 5, 3, 3)])
def test_prelu_refuses_other_channels(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^input must have 4 channels, got"):
        create("prelu", 4, impl="fused")(torch.randn(shape))


@pytest.mark.usefixtures("without_code")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_smallest_numbers_are_positive_too(dtype: torch.dtype) -> None:
    smallest = torch.finfo(dtype).smallest_normal
    x = torch.tensor([-smallest, 0.0, smallest, 1.0], dtype=dtype).reshape(1, 1, 4)
    gradients = []
    for impl in ("fused", "reference"):
        leaf = x.clone().requires_grad_()
        create("prelu", 1, impl=impl).to(dtype)(leaf).sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)


def test_more_graphs_than_dynamo_keeps_of_one_piece_of_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch._dynamo

    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", lambda of, **how: compiler(of, backend="eager", **how))
    monkeypatch.setattr(dynamic._LARGEST, "_compiled", {})
    fast, plain = create("dyrelu_b", 16, impl="fused"), create("dyrelu_b", 16)
    plain.load_state_dict(fast.state_dict())
    with torch.no_grad(), torch._dynamo.config.patch(recompile_limit=2):
        for layout in (torch.contiguous_format, torch.channels_last):
            for bf16 in (False, True):
                x = normal(3, 16, 6, 6, dtype=torch.float32).to(memory_format=layout)
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    torch.testing.assert_close(fast(x), plain(x), rtol=1e-2, atol=2e-2)


def test_sizes_that_happen_to_be_equal_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many hidden channels as there are coefficients; square maps, then others."""
    from torch._dynamo.utils import counters

    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", lambda of, **how: compiler(of, backend="eager", **how))
    monkeypatch.setattr(dynamic._LARGEST, "_compiled", {})
    monkeypatch.setattr(dynamic._LARGEST, "_ran_at", set())
    counters.clear()
    for shape in [(4, 32, 4, 4), (4, 128, 4, 4), (2, 128, 28, 14)]:
        with torch.no_grad():
            create("dyrelu_b", shape[1], impl="fused")(normal(*shape, dtype=torch.float32))

    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        *((name, "the layer") for name in FUSED),
        *((name, "the input") for name in FUSED if name not in WITHOUT_PARAMETERS),
    ],
)
@pytest.mark.usefixtures("without_code")
def test_what_needs_no_gradient_gets_none(name: str, frozen: str) -> None:
    module = layer(name, 4, impl="fused")
    x = normal(2, 4, 3, 3)
    if frozen == "the layer":
        module.requires_grad_(False)
        x.requires_grad_()
    module(x).sum().backward()

    assert (x.grad is None) == (frozen == "the input")
    assert all((p.grad is None) == (frozen == "the layer") for p in module.parameters())


def test_without_a_compiler_it_says_so_in_one_line(tmp_path: Path) -> None:
    script = (
        "import torch\n"
        "from dynact.activations import create\n"
        "layer = create('dyrelu_b', 8, impl='fused')\n"
        "try:\n"
        "    layer(torch.randn(2, 8, 4, 4))\n"
        "except NotImplementedError as error:\n"
        "    print(error)\n"
    )
    environment = {
        "PATH": str(tmp_path), "CXX": str(tmp_path / "none"), "PYTHONPATH": str(Path.cwd()),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path),
    }  # fmt: skip

    done = subprocess.run(
        (sys.executable, "-c", script), env=environment, capture_output=True, text=True, check=True
    )

    assert "no working C++ compiler" in done.stdout
    assert len(done.stdout.splitlines()) == 1
