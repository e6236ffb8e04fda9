"""One network of each of torchvision's families: all its activations are replaced, or named."""

import functools
import inspect
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from dynact.networks import GATE, swap_activations

IMAGE = (3, 224, 224)
# The least of each family; what to put into it; how many activations it has, and of these gates.
FAMILIES: dict[str, tuple[str, tuple[int, ...], int, int]] = {
    "alexnet": ("dyrelu_b", IMAGE, 7, 0),
    "convnext_tiny": ("dyrelu_b", IMAGE, 18, 0),
    "deeplabv3_mobilenet_v3_large": ("acon_c", IMAGE, 54, 16),
    "densenet121": ("acon_c", IMAGE, 121, 0),
    "efficientnet_b0": ("dyrelu_b", IMAGE, 65, 32),
    "googlenet": ("dyrelu_b", IMAGE, 61, 0),
    "inception_v3": ("acon_c", (3, 299, 299), 96, 0),
    "maxvit_t": ("dyrelu_a", IMAGE, 68, 22),
    "mc3_18": ("prelu", (3, 4, 32, 32), 17, 0),
    "mvit_v1_b": ("dyrelu_b", (3, 16, 224, 224), 16, 0),
    "regnet_y_400mf": ("acon_c", IMAGE, 81, 32),
    "squeezenet1_0": ("dyrelu_b", IMAGE, 26, 0),
    "swin3d_t": ("prelu", (3, 4, 64, 64), 12, 0),
    "swin_t": ("dyrelu_b", IMAGE, 12, 0),
    "vgg11": ("dyrelu_a", IMAGE, 10, 0),
    "vit_b_16": ("dyrelu_b", IMAGE, 12, 0),
}


@functools.cache
def without_values(name: str) -> nn.Module:
    accepted = inspect.signature(models.get_model_builder(name)).parameters
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in accepted:
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    make = functools.partial(models.get_model, name, **options)
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        if name.startswith("regnet"):
            # Its block widths are made from tensors' values.
            patch.setattr(torch.utils._device, "_device_constructors", lambda: set())
            return make().to("meta")
        model: nn.Module = make()
    return model


def example(name: str) -> Tensor:
    return torch.empty(2, *FAMILIES[name][1], device="meta")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_call_is_replaced_or_named(name: str) -> None:
    activation, _, total, gates = FAMILIES[name]
    model = without_values(name)
    swapped, swaps = swap_activations(model, activation, example_input=example(name))
    assert Counter(swap.kept_because for swap in swaps) == Counter({"": total - gates, GATE: gates})

    # Every new parameter takes part in a training step.
    outputs = swapped.train()(example(name))
    leaves = torch.utils._pytree.tree_leaves(
        dict(outputs) if isinstance(outputs, dict) else tuple(outputs)
    )
    torch.autograd.backward([y.sum() for y in leaves if isinstance(y, Tensor)])
    new = dict(swapped.named_parameters()).keys() - dict(model.named_parameters()).keys()
    missing = [key for key in new if swapped.get_parameter(key).grad is None]
    assert missing == []
