"""New layers in parts of a network that are copies of each other are copies too."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dynact.networks import swap_activations
from dynact.networks.swap import Swap
from tests.networks.test_idioms import IMAGES


class Part(nn.Module):
    """Calls activations in parts of parts, some of which have no parameters or constant ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(nn.ReLU()))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.relu(self.conv(x))))
        return functional.relu(self.conv(x))


class Teaching(nn.Module):
    """A student and what its teacher is; the latter is called first if so asked, or in training."""

    def __init__(self, order: str = "student first") -> None:
        super().__init__()
        self.order = order
        self.student = nn.Sequential(Part(), Part())
        self.teacher = copy.deepcopy(self.student)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.order == "in training" and not self.training:
            return (self.student(x),)
        if self.order == "teacher first":
            y = self.teacher(x)
            return self.student(x), y
        return self.student(x), self.teacher(x)


def new_parameters(part: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in part.named_parameters() if "relu" in name or "norm.1" in name}


def swapped(model: nn.Module, **options: Any) -> tuple[Any, list[Swap]]:
    network, swaps = swap_activations(model, "dyrelu_b", example_input=IMAGES, **options)
    assert not any(swap.kept_because for swap in swaps)
    return network, swaps


@pytest.mark.parametrize("order", ["student first", "teacher first", "in training"])
@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_teacher_begins_as_its_student(order: str, is_frozen: bool) -> None:
    model = Teaching(order)
    model.teacher.requires_grad_(not is_frozen)

    network, _ = swapped(model, reduction=1)

    student, teacher = new_parameters(network.student), new_parameters(network.teacher)
    assert len(student) == 2 * 4 * 4
    assert student.keys() == teacher.keys()
    for name, value in student.items():
        assert torch.equal(value, teacher[name])
        assert value is not teacher[name]
        assert value.requires_grad
        assert teacher[name].requires_grad != is_frozen
    of_student, of_teacher = network.train()(IMAGES)
    assert torch.equal(of_student, of_teacher)


def learned(model: Teaching) -> None:
    with torch.no_grad():
        for p in model.student.parameters():
            p += 1e-6


def made_anew(model: Teaching) -> None:
    model.teacher = nn.Sequential(Part(), Part())


class InDouble(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.double())


def in_double(model: Teaching) -> None:
    model.teacher = InDouble(*model.teacher).double()


@pytest.mark.parametrize("change", [learned, made_anew, in_double])
def test_what_is_no_copy_has_layers_of_its_own(change: Callable[[Teaching], None]) -> None:
    model = Teaching()
    change(model)

    network, _ = swapped(model, reduction=1)

    student, teacher = new_parameters(network.student), new_parameters(network.teacher)
    # Biases are zeros at first.
    drawn = [name for name, value in student.items() if value.dim() > 1]
    assert len(drawn) == 2 * 4 * 2
    network(IMAGES)
    assert not any(torch.equal(student[name], teacher[name]) for name in drawn)


def test_nor_are_equal_parts_of_a_part_that_is_none() -> None:
    torch.manual_seed(0)
    network, _ = swapped(nn.Sequential(Part(), Part()), reduction=1)

    first, second = map(new_parameters, network)
    drawn = [name for name, value in first.items() if value.dim() > 1]
    assert not any(torch.equal(first[name], second[name]) for name in drawn)
    values = {tuple(first[name].flatten().tolist()) for name in drawn}
    assert len(values) == len(drawn)


def test_other_layers_are_drawn_as_if_there_were_no_copies() -> None:
    model = nn.Sequential(Part(), Part(), Part())
    with_copy = copy.deepcopy(model)
    with_copy[1] = copy.deepcopy(with_copy[0])
    last = []
    for each in (model, with_copy):
        torch.manual_seed(0)
        network, _ = swapped(each, reduction=1)
        last.append(new_parameters(network[2]))

    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])
