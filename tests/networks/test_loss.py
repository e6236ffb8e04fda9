"""What a training step of a network starts from."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dynact.networks.loss import Backward, RandomGradients, backward_of, training_loss


def test_the_loss_of_a_backbone_is_linear_in_its_features() -> None:
    features = {"fine": torch.randn(2, 256, 4, 4), "coarse": torch.randn(2, 256, 2, 2)}
    for level in features.values():
        level.requires_grad_()

    loss = training_loss("retinanet_resnet50_fpn", Gives(features), torch.empty(0))
    torch.autograd.backward(loss)

    torch.testing.assert_close(
        loss, sum(level.sum() / level.numel() for level in features.values())
    )
    for level in features.values():
        torch.testing.assert_close(level.grad, torch.full_like(level, 1 / level.numel()))


class Gives(nn.Module):
    """Answers any images with the same."""

    def __init__(self, output: Tensor | dict[str, Tensor]) -> None:
        super().__init__()
        self.output = output

    def forward(self, _images: Tensor) -> Tensor | dict[str, Tensor]:
        return self.output


@pytest.mark.parametrize("classes", [2, 10])
def test_where_all_classes_are_as_likely_it_is_the_logarithm_of_their_number(classes: int) -> None:
    logits = torch.zeros(4, classes)
    maps = torch.zeros(2, classes, 3, 5)

    of_images = training_loss("resnet18", Gives(logits), torch.empty(0))
    of_pixels = training_loss("fcn_resnet50", Gives({"out": maps}), torch.empty(0))

    assert of_images.item() == pytest.approx(math.log(classes))
    assert of_pixels.item() == pytest.approx(math.log(classes))


def test_of_a_segmentation_each_pixel_has_a_class_of_its_own() -> None:
    maps = torch.randn(2, 4, 3, 5, dtype=torch.float64, requires_grad=True)

    torch.autograd.backward(training_loss("fcn_resnet50", Gives({"out": maps}), torch.empty(0)))

    assert maps.grad is not None
    # The gradient of a mean of cross-entropies: softmax, less one at the pixel's class.
    pixels = 2 * 3 * 5
    targets = maps.detach().softmax(dim=1) - pixels * maps.grad
    torch.testing.assert_close(targets.amax(dim=1), torch.ones(2, 3, 5, dtype=torch.float64))
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(2, 3, 5, dtype=torch.float64))
    # Any class, not one alone.
    assert len(targets.argmax(dim=1).unique()) == 4


@dataclass
class Found:
    boxes: Tensor
    levels: list[Any]
    name: str = "found"


def test_of_the_users_own_each_output_starts_from_its_own_random_gradient() -> None:
    leaves = [torch.randn(400, 5, requires_grad=True) for _ in range(3)]
    counts, fixed = torch.arange(3), torch.ones(2)
    output = {"a": leaves[0], "b": Found(leaves[1], [(leaves[2], counts), None, fixed])}

    def gradients(backward: Backward) -> list[Tensor]:
        backward(output)
        found = [torch.zeros(()) if leaf.grad is None else leaf.grad for leaf in leaves]
        for leaf in leaves:
            leaf.grad = None
        return found

    backward = backward_of("my.net:build")
    first, second = gradients(backward), gradients(backward)
    of_another = gradients(backward_of("my.net:build"))

    for one, again, other in zip(first, second, of_another, strict=True):
        assert torch.equal(one, again)
        assert torch.equal(one, other)
        # Of 2000 numbers from N(0, 1).
        assert abs(one.mean().item()) < 0.1
        assert abs(one.std().item() - 1) < 0.1
    assert not torch.equal(first[0], first[1])


def test_an_output_without_gradient_is_said_to_have_none() -> None:
    with pytest.raises(
        ValueError, match=r"^no tensor in the output, a dict, has a gradient in tra"
    ):
        RandomGradients()({"classes": torch.arange(3)})


def test_a_network_that_is_unknown() -> None:
    with pytest.raises(ValueError, match=r"^unknown network 'lent'; did you mean lenet"):
        training_loss("lent", Gives(torch.zeros(1, 2)), torch.empty(0))


def test_the_users_own_is_of_no_known_task() -> None:
    with pytest.raises(ValueError, match=r"^my\.net:build is of no task whose loss is known$"):
        training_loss("my.net:build", Gives(torch.zeros(1, 2)), torch.empty(0))
