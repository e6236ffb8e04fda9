"""What a training step of a network minimises."""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from dynact.networks import architectures


def training_loss(name: str, model: nn.Module, images: Tensor) -> Tensor:
    """Return the loss of a network on images with made-up targets, ready for its backward pass.

    Cross-entropy for classification and segmentation. For a detector's backbone, whose loss would
    hang on what is detected, the sum over its feature maps of their means: linear, so that the
    backward pass starts from the same gradients whatever the features are.

    Parameters
    ----------
    name
        The network that the model was made from.
    model
        In train mode.
    images
        As `architectures.example_input` makes them.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    task = architectures.architecture(name).task
    output = model(images)
    if task in ("detection", "keypoints"):
        return torch.stack([features.mean() for features in output.values()]).sum()
    logits: Tensor = output["out"] if task == "segmentation" else output
    shape = logits.shape[:1] + logits.shape[2:]
    classes = torch.arange(prod(shape), device=logits.device) % logits.shape[1]
    return functional.cross_entropy(logits, classes.reshape(shape))
