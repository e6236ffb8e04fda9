"""Accuracies that papers report, each with where it stands."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Where a figure was published."""

    title: str
    where: str


@dataclass(frozen=True)
class Published:
    """What a paper says an activation does to a network: top-1 accuracy on ImageNet in percent.

    The baseline is the paper's own; those of two papers differ for one network.
    """

    network: str
    activation: str
    placements: tuple[str, ...]
    """The placements that put the activation where this accuracy was reached."""
    top1: float
    baseline_top1: float
    source: Source
    notes: tuple[str, ...] = ()


DYRELU = Source("DY-ReLU", "arXiv 2003.10027, abstract")
FRELU = Source("FReLU", "megvii-model/FunnelAct, README (arXiv 2007.11824)")
ACON = Source("ACON", "nmaac/acon, README (CVPR 2021, arXiv 2009.04759)")
SOURCES = (DYRELU, FRELU, ACON)

# Height and width of the images of all these figures.
PAPERS_IMAGE_SIZE = 224

# Extra FLOPs of MobileNetV2 with DY-ReLU, as the abstract of arXiv 2003.10027 has them.
DYRELU_FLOPS_CLAIM = "about +5 %"

_EVERYWHERE = ("all",)
_EITHER = ("all", "paper")
_PAPER = ("paper",)

_VARIANT_NOT_NAMED = "the abstract does not name the variant of DY-ReLU; it stands at DY-ReLU-B"
_META_ACON = "the paper's Meta-ACON has a BatchNorm after either fully connected layer, ours none"
_NARROW_META_ACON = (
    "between these there are max(r, C // r) of C channels, with r = 8 in the authors' "
    "ShuffleNetV2 0.5× and r = 16 here"
)


@dataclass(frozen=True)
class _Figure:
    """What one source says of an activation in one network: top-1 errors in percent."""

    network: str
    placements: tuple[str, ...]
    error: float
    baseline_error: float
    source: Source
    notes: tuple[str, ...] = ()


# Swish is SiLU. PReLU and Swish replace every ReLU; FReLU and ACON in a ResNet only the one after
# the 3×3 convolution of a bottleneck. Both light FReLU and ACON replace every ReLU of a
# ShuffleNetV2 (the latter read in the authors' network.py).
_FIGURES = {
    "prelu": (
        _Figure("resnet50", _EVERYWHERE, 23.7, 24.0, FRELU),
        _Figure("shufflenet_v2_x0_5", _EVERYWHERE, 39.1, 39.6, FRELU),
    ),
    "silu": (
        _Figure("resnet50", _EVERYWHERE, 23.5, 24.0, FRELU),
        _Figure("resnet50", _EVERYWHERE, 23.5, 24.0, ACON),
        _Figure("shufflenet_v2_x0_5", _EVERYWHERE, 38.7, 39.6, FRELU),
        _Figure("shufflenet_v2_x0_5", _EVERYWHERE, 38.3, 39.4, ACON),
        _Figure("shufflenet_v2_x1_5", _EVERYWHERE, 26.8, 27.4, ACON),
        _Figure("resnet101", _EVERYWHERE, 22.7, 22.8, ACON),
    ),
    "frelu": (_Figure("resnet50", _PAPER, 22.4, 24.0, FRELU),),
    "frelu_light": (_Figure("shufflenet_v2_x0_5", _EITHER, 37.1, 39.6, FRELU),),
    "dyrelu_b": (_Figure("mobilenet_v2", _EITHER, 23.8, 28.0, DYRELU, (_VARIANT_NOT_NAMED,)),),
    "acon_c": (
        _Figure("resnet50", _PAPER, 23.2, 24.0, ACON),
        _Figure("shufflenet_v2_x0_5", _EVERYWHERE, 37.0, 39.4, ACON),
        _Figure("shufflenet_v2_x1_5", _EVERYWHERE, 26.5, 27.4, ACON),
        _Figure("resnet101", _PAPER, 21.8, 22.8, ACON),
    ),
    "meta_acon_c": (
        _Figure("resnet50", _PAPER, 22.0, 24.0, ACON, (_META_ACON,)),
        _Figure(
            "shufflenet_v2_x0_5",
            _EVERYWHERE,
            34.8,
            39.4,
            ACON,
            (_META_ACON, _NARROW_META_ACON),
        ),
        _Figure("shufflenet_v2_x1_5", _EVERYWHERE, 24.7, 27.4, ACON, (_META_ACON,)),
        _Figure("resnet101", _PAPER, 21.0, 22.8, ACON, (_META_ACON,)),
    ),
}
PUBLISHED = tuple(
    Published(
        figure.network,
        activation,
        figure.placements,
        round(100 - figure.error, 1),
        round(100 - figure.baseline_error, 1),
        figure.source,
        figure.notes,
    )
    for activation, figures in _FIGURES.items()
    for figure in figures
)
