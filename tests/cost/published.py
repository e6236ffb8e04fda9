"""torchvision's networks as their metadata describes them, and what it says they compute."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision.models import get_model, get_model_weights

# Detectors were published on an image in which they find nothing: with random weights they would
# find hundreds of boxes.
FINDS_NOTHING = {"rpn_score_thresh": 1.1, "box_score_thresh": 1.1}
FINDS_NO_BOX = {"box_score_thresh": 1.1}
# What weights a network was published with, where that decides about its parts.
OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"init_weights": False},
    "deeplabv3_mobilenet_v3_large": {"aux_loss": True},
    "deeplabv3_resnet50": {"aux_loss": True},
    "deeplabv3_resnet101": {"aux_loss": True},
    "fcn_resnet50": {"aux_loss": True},
    "fcn_resnet101": {"aux_loss": True},
    "fasterrcnn_mobilenet_v3_large_320_fpn": FINDS_NOTHING,
    "fasterrcnn_mobilenet_v3_large_fpn": FINDS_NOTHING,
    "fasterrcnn_resnet50_fpn": FINDS_NO_BOX,
    "fasterrcnn_resnet50_fpn_v2": FINDS_NO_BOX,
    "maskrcnn_resnet50_fpn": FINDS_NO_BOX,
    "maskrcnn_resnet50_fpn_v2": FINDS_NO_BOX,
    "keypointrcnn_resnet50_fpn": FINDS_NO_BOX,
}
# Heights and widths where no crop states them.
SIZES = {
    "ssd300_vgg16": 300,
    "ssdlite320_mobilenet_v3_large": 320,
    "fasterrcnn_mobilenet_v3_large_320_fpn": 320,
}
SEGMENTATION_SIZE, DETECTION_SIZE = 520, 800
RANDOM = (Tensor.normal_, Tensor.uniform_, Tensor.erfinv_)


def published(name: str) -> dict[str, Any]:
    """Return a network's metadata: of all weights that it is loaded with by default."""
    meta: dict[str, Any] = get_model_weights(name).DEFAULT.meta
    return meta


def detects(name: str) -> bool:
    return any(part in name for part in ("rcnn", "retinanet", "fcos", "ssd"))


def network(name: str) -> nn.Module:
    """Make a network in eval mode, without first values, which take longer than all else."""
    dense = detects(name) or name.startswith(("deeplabv3", "fcn", "lraspp"))
    backbone = {"weights_backbone": None} if dense else {}
    with _WithoutRandomValues():
        made: nn.Module = get_model(name, weights=None, **backbone, **OPTIONS.get(name, {}))
    return _OfOneImage(made).eval() if detects(name) else made.eval()


def example(name: str) -> Tensor:
    """Return one image or, of a video, as many frames as its network takes."""
    preset = get_model_weights(name).DEFAULT.transforms()
    if detects(name):
        size = [SIZES.get(name, DETECTION_SIZE)]
    else:
        size = getattr(preset, "crop_size", None) or [SEGMENTATION_SIZE]
    return torch.zeros(1, 3, *(size * 2 if len(size) == 1 else [16, *size]))


class _WithoutRandomValues(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return args[0].zero_() if func in RANDOM else func(*args, **(kwargs or {}))


class _OfOneImage(nn.Module):
    """A detector, which takes a list, of a batch of one."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> Any:
        return self.detector([x[0]])
