"""A case's layer: its input, and what is refused before a sweep spends its time on it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dynact.schema.cases import Case
from dynact.worker.device import Cpu
from dynact.worker.layer import check_layer, draw_input
from tests.measuring import measure
from tests.sweeping import case_of

CASE = case_of("prelu", batch=2, channels=3, height=4, width=5)
TRAINING = replace(CASE, phase="training")


def own(layer_class: type) -> str:
    """The name by which a case asks for a class of this file."""
    return f"{__name__}:{layer_class.__name__}"


class TestInput:
    def test_it_is_standard_normal(self) -> None:
        x = draw_input(replace(CASE, batch=4, channels=64, height=32, width=32), Cpu())

        # 262,144 draws: the mean's standard error is 0.002, the deviation's 0.0014.
        assert abs(x.mean().item()) < 0.01
        assert x.std().item() == pytest.approx(1, abs=0.01)
        assert (x > 1.96).double().mean().item() == pytest.approx(0.025, abs=0.003)
        assert (x < -1.96).double().mean().item() == pytest.approx(0.025, abs=0.003)

    def test_it_is_the_same_for_every_activation_and_time(self) -> None:
        x = draw_input(CASE, Cpu())
        torch.manual_seed(12345)

        assert torch.equal(draw_input(replace(CASE, activation="frelu"), Cpu()), x)
        assert torch.equal(draw_input(replace(CASE, memory_format="channels_last"), Cpu()), x)

    @pytest.mark.parametrize(("phase", "needs_grad"), [("inference", False), ("training", True)])
    def test_it_requires_a_gradient_only_in_training(self, phase: str, needs_grad: bool) -> None:
        assert draw_input(replace(CASE, phase=phase), Cpu()).requires_grad is needs_grad


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

        row = measure(case, Cpu(), precision=0.05, max_seconds=0.05).row
        assert (row.status, row.message) == ("error", "ValueError: a wrong value")

    @pytest.mark.parametrize("name", ["no_such_module:Layer", "torch.nn:NoSuchLayer"])
    def test_a_layer_that_is_not_there_is_refused_by_name(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"^activation '{name}': "):
            check_layer(replace(CASE, activation=name), Cpu())
