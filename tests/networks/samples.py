"""Networks to swap activations in."""

import functools
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.regnet import BlockParams

from dynact.networks import architecture, create, example_input

# Of each kind one or two that are made and trained a step in no time.
HOSTS = (
    "lenet", "mobilenet_v2_x0_35", "mobilenet_v2_x0_5", "mobilenet_v2_x0_75", "mobilenet_v2",
    "mobilenet_v3_small", "mobilenet_v3_large", "resnet18", "resnet34", "resnet50", "resnet101",
    "shufflenet_v2_x0_5", "shufflenet_v2_x1_5", "fcn_resnet50", "deeplabv3_mobilenet_v3_large",
    "retinanet_resnet50_fpn", "keypointrcnn_resnet50_fpn",
)  # fmt: skip


@functools.cache
def network(name: str) -> nn.Module:
    """Return a network in eval mode, the same one each time: leave it as it is."""
    torch.manual_seed(0)
    return create(name).eval()


@functools.cache
def without_values(name: str) -> nn.Module:
    """Return a network on the meta device, where a pass takes no time."""
    with mock.patch.object(BlockParams, "from_init_params", _widths), torch.device("meta"):
        return create(name)


def _widths(*args: Any, of: Any = BlockParams.from_init_params, **kwargs: Any) -> Any:
    """Return those of RegNet's blocks, which are values of tensors."""
    with torch.device("cpu"):
        return of(*args, **kwargs)


def smallest_input(name: str) -> Tensor:
    """Return two images: with one, BN in training has a single value a channel in a 1×1 map."""
    images = example_input(name, 2, architecture(name).smallest_image)
    assert isinstance(images, Tensor)
    return images


def meta_image(size: int = 224) -> Tensor:
    return torch.empty(1, 3, size, size, device="meta")


class EveryWay(nn.Module):
    """Calls activations in each way that torch offers."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.ReLU(inplace=True)
        self.listed = nn.ModuleList([nn.SiLU(), nn.ReLU6()])
        self.wider = nn.Conv2d(3, 5, 1, stride=2)
        self.fc = nn.Linear(5, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(x)
        x = self.shared(self.wider(x))
        x = self.listed[1](self.listed[0](x))
        x = torch.relu(functional.gelu(x)).relu()
        x = functional.hardswish(input=x, inplace=True)
        return functional.elu(self.fc(x.mean(dim=(2, 3))))
