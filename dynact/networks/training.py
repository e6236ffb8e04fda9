"""What a training step of a host minimises."""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from dynact.networks import hosts

KEYPOINTS = 17
"""Of a person in COCO."""


def training_loss(name: str, model: nn.Module, images: Tensor | list[Tensor]) -> Tensor:
    """Return the loss of a network on images with made-up targets, ready for its backward pass.

    Cross-entropy for classification and segmentation; for detectors the sum of torchvision's own
    losses, with one object of class 1 in the middle of each image.

    Parameters
    ----------
    name
        The host that the model was made from.
    model
        In train mode.
    images
        As `hosts.example_input` makes them.

    Raises
    ------
    ValueError
        If there is no such host.
    """
    host = hosts.host(name)
    if host.takes_lists:
        losses: dict[str, Tensor] = model(images, [_one_object(image) for image in images])
        return torch.stack(list(losses.values())).sum()
    output = model(images)
    logits: Tensor = output["out"] if host.task == "segmentation" else output
    shape = logits.shape[:1] + logits.shape[2:]
    classes = torch.arange(prod(shape), device=logits.device) % logits.shape[1]
    return functional.cross_entropy(logits, classes.reshape(shape))


def _one_object(image: Tensor) -> dict[str, Tensor]:
    height, width = image.shape[1:]
    box = [[width / 4, height / 4, 3 * width / 4, 3 * height / 4]]
    centre_and_visible = [width / 2, height / 2, 1.0]
    return {
        "boxes": torch.tensor(box, device=image.device),
        "labels": torch.tensor([1], device=image.device),
        "keypoints": torch.tensor([[centre_and_visible] * KEYPOINTS], device=image.device),
    }
