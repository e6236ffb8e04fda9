"""A case's layer: input, calls, what is kept of it, and what is refused before a sweep begins."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dynact.cost import not_a_leaf
from dynact.schema.cases import Case
from dynact.worker import layer as layer_module
from dynact.worker.device import Cpu
from dynact.worker.kept import Kept
from dynact.worker.layer import (
    Feed,
    LayerWorkload,
    call_of,
    check_layer,
    draw_tensors,
    prepared,
    ready_call,
)
from dynact.worker.rotating_input import MOST_PLACES
from tests.measuring import Bench, visit
from tests.sweeping import case_of
from tests.worker.graphs import Graphs

CASE = case_of("prelu", batch=2, channels=3, height=4, width=5)
TRAINING = replace(CASE, phase="training")


def own(layer_class: type) -> str:
    """The name by which a case asks for a class of this file."""
    return f"{__name__}:{layer_class.__name__}"


class TestInput:
    def test_it_is_standard_normal(self) -> None:
        x, _ = draw_tensors(replace(CASE, batch=4, channels=64, height=32, width=32), Cpu())

        # 262,144 draws: the mean's standard error is 0.002, the deviation's 0.0014.
        assert abs(x.mean().item()) < 0.01
        assert x.std().item() == pytest.approx(1, abs=0.01)
        assert (x > 1.96).double().mean().item() == pytest.approx(0.025, abs=0.003)
        assert (x < -1.96).double().mean().item() == pytest.approx(0.025, abs=0.003)

    def test_it_is_the_same_for_every_activation_and_time(self) -> None:
        x, gradient = draw_tensors(TRAINING, Cpu())
        torch.manual_seed(12345)

        for changes in ({"activation": "frelu"}, {"memory_format": "channels_last"}):
            again = draw_tensors(replace(TRAINING, **changes), Cpu())
            assert torch.equal(again[0], x)
            assert torch.equal(again[1], gradient)
        assert torch.equal(draw_tensors(CASE, Cpu())[0], x)

    def test_it_requires_a_gradient_and_comes_with_one_only_in_training(self) -> None:
        x, gradient = draw_tensors(TRAINING, Cpu())
        assert x.requires_grad
        assert gradient.shape == x.shape
        assert not gradient.requires_grad

        x, gradient = draw_tensors(CASE, Cpu())
        assert not x.requires_grad
        assert gradient is None

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    @pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
    def test_both_are_as_the_case_says(self, dtype: str, memory_format: str) -> None:
        case = replace(TRAINING, dtype=dtype, memory_format=memory_format)

        for tensor in draw_tensors(case, Cpu()):
            assert tensor.shape == (2, 3, 4, 5)
            assert tensor.dtype == getattr(torch, dtype)
            strides = (60, 1, 15, 3) if memory_format == "channels_last" else (60, 20, 5, 1)
            assert tensor.stride() == strides

    @pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
    def test_of_a_gate_it_has_twice_the_channels_of_the_gradient(self, memory_format: str) -> None:
        case = replace(TRAINING, activation="swiglu", memory_format=memory_format)

        x, gradient = draw_tensors(case, Cpu())

        assert (x.shape, gradient.shape) == ((2, 6, 4, 5), (2, 3, 4, 5))
        assert torch.equal(gradient, draw_tensors(TRAINING, Cpu())[1])
        strides = (120, 1, 30, 6) if memory_format == "channels_last" else (120, 20, 5, 1)
        assert x.stride() == strides


class Broken(nn.Module):
    def forward(self, _x: Tensor) -> Tensor:
        raise ValueError("a wrong value\nand much more\nabout it")


class Pooling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(x, 2)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class NotALayer:
    pass


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2)


class InPlaceButForASlice(nn.Module):
    """Writes one value only, and returns a tensor of its own."""

    def forward(self, x: Tensor) -> Tensor:
        x[-1, -1, -1, -1] = 7.0
        return x * 2


class Noting(nn.Module):
    """Keeps what it was called on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.met: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.met.append(x)
        return x * self.weight


class TestCalls:
    def test_each_takes_what_the_feed_holds_then(self) -> None:
        layer, feed = Noting(), Feed(torch.ones(2))
        call = call_of(layer, feed)

        call()
        second = feed.x = torch.zeros(2)
        call()

        assert layer.met[0].tolist() == [1, 1]
        assert layer.met[1] is second

    def test_a_step_starts_from_the_feed_s_gradient_and_leaves_none(self) -> None:
        layer, x = Noting(), torch.tensor([3.0, 5.0], requires_grad=True)
        met: list[Tensor] = []
        for leaf in (x, layer.weight):
            leaf.register_post_accumulate_grad_hook(lambda leaf: met.append(leaf.grad.clone()))
        feed = Feed(x, torch.tensor([1.0, 10.0]))
        call = call_of(layer, feed)

        for gradient, of_x, of_weight in (
            ([1.0, 10.0], [1.0, 10.0], 53.0),
            ([2.0, 0.0], [2.0, 0.0], 6.0),
        ):
            feed.gradient = torch.tensor(gradient)
            met.clear()
            call()
            assert sorted((each.tolist() for each in met), key=str) == sorted(
                [of_x, of_weight], key=str
            )
            assert x.grad is None
            assert layer.weight.grad is None

    @pytest.mark.parametrize("case", [CASE, TRAINING], ids=["inference", "training"])
    def test_one_that_is_ready_was_tried_and_called_three_times(self, case: Case) -> None:
        layer, feed = Noting(), Feed(*draw_tensors(case, Cpu()))

        call = ready_call(layer, case, feed)

        assert len(layer.met) == 1 + 3
        call()
        assert len(layer.met) == 5

    @pytest.mark.parametrize(
        ("layer_class", "message"),
        [(Pooling, "changes the shape"), (Pair, "returns a tuple, not a tensor")],
    )
    def test_what_is_no_activation_is_never_ready(self, layer_class: type, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ready_call(layer_class(), CASE, Feed(*draw_tensors(CASE, Cpu())))

    def test_what_may_write_into_its_input_gets_the_same_memory_but_no_leaf(self) -> None:
        layer, x = Noting(), torch.ones(2, requires_grad=True)
        met: list[Tensor] = []
        x.register_post_accumulate_grad_hook(lambda leaf: met.append(leaf.grad.clone()))

        call_of(layer, Feed(x, torch.tensor([1.0, 10.0]), may_be_written=True))()

        assert not layer.met[0].is_leaf
        assert layer.met[0].data_ptr() == x.data_ptr()
        assert met[0].tolist() == [1, 10]
        assert x.grad is None

    def test_a_gate_s_output_has_half_of_its_input_s_channels(self) -> None:
        case = replace(CASE, activation="swiglu", impl=own(Noting))

        with pytest.raises(
            ValueError,
            match=r"changes the shape from \(2, 6, 4, 5\) to \(2, 6, 4, 5\); this one's has to be "
            r"\(2, 3, 4, 5\)$",
        ):
            ready_call(Noting(), case, Feed(*draw_tensors(case, Cpu())))


OWN_INPUTS = ("swiglu", "geglu", "relu_inplace")


class TestInputsOfItsOwn:
    @pytest.mark.parametrize("phase", ["inference", "training"])
    @pytest.mark.parametrize("name", OWN_INPUTS)
    @pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_it_is_timed_as_target_and_as_baseline(
        self, name: str, phase: str, memory_format: str, dtype: str
    ) -> None:
        like = replace(CASE, phase=phase, memory_format=memory_format, dtype=dtype)
        for changes in ({"activation": name}, {"baseline": name}):
            found = visit(replace(like, **changes), Cpu())

            assert (found.status, found.message) == ("ok", "")
            assert found.time_ns

    @pytest.mark.parametrize("case", [CASE, TRAINING], ids=["inference", "training"])
    def test_what_is_written_over_is_no_other_layer_s_input(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench = Bench(Cpu())
        drawn: list[Tensor] = []

        def noted(case: Case, device: Cpu) -> tuple[Tensor, Tensor | None]:
            x, gradient = draw_tensors(case, device)
            drawn.append(x)
            return x, gradient

        monkeypatch.setattr(layer_module, "draw_tensors", noted)
        bench.visit(case)
        bench.visit(replace(case, activation="relu_inplace"))

        # One for all that leave it as it is, in visits before and after too.
        shared, overwritten = drawn
        assert torch.equal(shared, draw_tensors(case, Cpu())[0])
        assert torch.equal(overwritten, shared.relu())

    def test_both_sides_of_one_that_writes_begin_a_training_step_alike(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        untouched: list[bool] = []

        def noted(x: Tensor) -> Tensor:
            untouched.append(bool((x < 0).any()))
            return not_a_leaf(x)

        monkeypatch.setattr(layer_module, "not_a_leaf", noted)
        visit(TRAINING, Cpu())
        visit(replace(CASE, activation="relu_inplace"), Cpu())
        assert untouched == []

        visit(replace(TRAINING, activation="relu_inplace"), Cpu())
        # After the first call on each of its places there is nothing left to rectify.
        assert set(untouched[-20:]) == {True, False}


class TestReady:
    def test_a_layer_has_dtype_format_and_mode_of_the_case(self) -> None:
        case = replace(CASE, activation="frelu", dtype="bfloat16", memory_format="channels_last")

        for phase in ("inference", "training"):
            layer = prepared(replace(case, activation="frelu", phase=phase), Cpu())
            assert {parameter.dtype for parameter in layer.parameters()} == {torch.bfloat16}
            assert {part.training for part in layer.modules()} == {phase == "training"}

    def test_a_layer_is_made_alike_each_time(self) -> None:
        first = prepared(replace(CASE, activation="dyrelu_b"), Cpu()).state_dict()
        torch.manual_seed(12345)
        second = prepared(replace(CASE, activation="dyrelu_b"), Cpu()).state_dict()

        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_the_same_pair_is_ready_again_as_long_as_it_is_kept(self) -> None:
        kept = Kept(10**6)

        def ready() -> object:
            with LayerWorkload(CASE, Cpu(), kept).ready() as pair:
                return pair

        first = ready()
        assert ready() is first
        kept.clear()
        assert ready() is not first

    @pytest.mark.parametrize(
        ("case", "more", "size"),
        [
            # Seven places and six spares of 120 values; and a parameter to each of 3 channels.
            (CASE, {"baseline": "relu"}, 13 * 120 * 4 + 3 * 4),
            (CASE, {"baseline": "prelu"}, 13 * 120 * 4 + 2 * 3 * 4),
            # The baseline's too, and for the gate twice the places for inputs.
            (CASE, {"activation": "swiglu"}, (13 + 2 * 7 + 6) * 120 * 4),
            # The gradient has the output's size on both sides.
            (TRAINING, {"activation": "geglu"}, (13 + 2 * 7 + 6 + 2) * 120 * 4),
            (CASE, {"activation": "relu_inplace"}, 2 * 13 * 120 * 4),
            # A gradient more.
            (TRAINING, {"baseline": "relu"}, 14 * 120 * 4 + 3 * 4),
            (CASE, {"baseline": "relu", "dtype": "bfloat16"}, 13 * 120 * 2 + 3 * 2),
            # Kernel and bias, BatchNorm's two parameters and two statistics; and its counter.
            (CASE, {"activation": "frelu"}, 13 * 120 * 4 + 3 * (9 + 1 + 2 + 2) * 4 + 8),
        ],
    )
    def test_what_is_kept_is_inputs_parameters_and_buffers(
        self, case: Case, more: dict[str, str], size: int
    ) -> None:
        assert MOST_PLACES == 7
        everything = replace(case, **more)
        inputs = 2 if everything.activation in OWN_INPUTS else 1
        for room, things in ((0, inputs + 1), (-1, inputs)):
            kept = Kept(size + room)
            with LayerWorkload(everything, Cpu(), kept).ready():
                # The layers last, as they were asked for last.
                assert len(kept) == things

    @pytest.mark.usefixtures("fresh_dynamo")
    def test_compiled_layers_are_never_given_up(self, graphs: Graphs) -> None:
        kept = Kept(0)
        for batch in (1, 2, 3):
            case = replace(CASE, mode="compile", batch=batch)
            with LayerWorkload(case, Cpu(), kept).ready():
                pass

        assert len(kept) == 3
        assert len(graphs.shapes) == 6


class TestCheckLayer:
    @pytest.mark.parametrize("name", ["frelu", "torch.nn:PReLU", "torch.nn:ReLU"])
    @pytest.mark.parametrize("case", [CASE, TRAINING], ids=["inference", "training"])
    def test_a_good_layer_passes(self, name: str, case: Case) -> None:
        check_layer(replace(case, activation=name), Cpu())

    @pytest.mark.parametrize("layer_class", [InPlace, InPlaceButForASlice])
    def test_a_layer_that_writes_into_its_input_is_refused(self, layer_class: type) -> None:
        with pytest.raises(ValueError, match="writes into its input; make it in-place=False"):
            check_layer(replace(CASE, activation=own(layer_class)), Cpu())

    @pytest.mark.parametrize("layer_class", [InPlace, InPlaceButForASlice])
    def test_one_is_refused_for_training_too(self, layer_class: type) -> None:
        with pytest.raises(ValueError, match="in-place"):
            check_layer(replace(TRAINING, activation=own(layer_class)), Cpu())

    @pytest.mark.parametrize(
        ("layer_class", "message"),
        [
            (Pooling, r"changes the shape from \(2, 3, 4, 5\) to \(2, 3, 2, 2\)"),
            (Pair, "returns a tuple, not a tensor"),
            (NotALayer, "not a torch.nn.Module$"),
        ],
    )
    def test_a_layer_that_is_no_activation_is_refused_by_name(
        self, layer_class: type, message: str
    ) -> None:
        with pytest.raises(ValueError, match=f"^activation '{own(layer_class)}'.*{message}"):
            check_layer(replace(CASE, activation=own(layer_class)), Cpu())

    def test_a_layer_that_fails_when_called_is_left_to_its_rows(self) -> None:
        case = replace(CASE, activation=own(Broken))

        check_layer(case, Cpu())

        found = visit(case, Cpu())
        assert (found.status, found.message) == ("error", "ValueError: a wrong value")

    @pytest.mark.parametrize("name", ["no_such_module:Layer", "torch.nn:NoSuchLayer"])
    def test_a_layer_that_is_not_there_is_refused_by_name(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"^activation '{name}': "):
            check_layer(replace(CASE, activation=name), Cpu())
