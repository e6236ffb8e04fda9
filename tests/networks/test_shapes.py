"""At which shapes networks call activations, and how often."""

import functools

import pytest
import torch
from torch import Tensor, nn

from dynact.networks.shapes import shapes_in


def test_shapes_in_resnet50() -> None:
    """From table 1 of arXiv 1512.03385, with the stride in the 3×3 as torchvision has it."""
    expected = {(64, 112, 112): 1}
    side, blocks_before = 56, 0
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        # The first block of a stage but the first has its 1×1 before the stride.
        late = 1 if blocks_before else 0
        if late:
            expected[width, side * 2, side * 2] = 1
        expected[width, side, side] = 2 * blocks - late
        expected[4 * width, side, side] = blocks
        side, blocks_before = side // 2, blocks
    assert shapes_in("resnet50", 224) == expected


def test_shapes_leave_out_gates_and_fully_connected_sites() -> None:
    assert shapes_in("lenet") == {(6, 28, 28): 1, (16, 10, 10): 1}
    # The paper's table 1 at 64 pixels, in sides: the gates' maps of one pixel are not among them.
    sides = {height for _, height, _ in shapes_in("mobilenet_v3_large", 64)}
    assert sides == {32, 16, 8, 4, 2}


def test_shapes_of_a_detector_are_those_of_its_backbone() -> None:
    of_body = shapes_in("resnet50", 64)
    assert shapes_in("keypointrcnn_resnet50_fpn", 64) == of_body
    # Its pyramid's coarsest level is made of the one before, stride 64, after a ReLU.
    assert shapes_in("retinanet_resnet50_fpn", 64) == {**of_body, (256, 1, 1): 1}


@pytest.mark.parametrize(
    ("name", "size", "line"),
    [
        ("lent", 32, r"^unknown network 'lent'; did you mean lenet or "),
        ("resnet18", 8, r"^resnet18 takes images of 32 × 32 pixels or more, got 8$"),
    ],
)
def test_bad_input_is_one_line(name: str, size: int, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        shapes_in(name, size)


@functools.cache
def kept_grid(size: int) -> Tensor:
    return torch.ones(size)


class Keeps(nn.Sequential):
    """Keeps a tensor outside of itself, as it is made in its first pass."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x * kept_grid(x.shape[-1]))


def test_what_the_users_own_keeps_of_it_has_values() -> None:
    kept_grid.cache_clear()

    assert shapes_in(f"{__name__}:Keeps", sample="3x4x5") == {(3, 4, 5): 1}

    assert Keeps()(torch.ones(1, 3, 4, 5)).sum() == 3 * 4 * 5
