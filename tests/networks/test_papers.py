"""What papers publish of networks with their activations comes out to the last printed digit."""

import copy
import re
from collections.abc import Sequence
from math import prod

import pytest
from torch import nn
from torchvision.models.resnet import Bottleneck

from dynact import activations
from dynact.cost import count_flops, count_parameters
from dynact.networks import (
    PlacementError,
    Site,
    example_input,
    shapes_in,
    swap_activations,
)
from dynact.networks.papers import placement
from tests.networks.samples import meta_image, network, without_values

IMAGE = example_input("resnet50")


def stride_first(resnet: nn.Module) -> nn.Module:
    """Return a copy with the stride in the first 1×1, as in arXiv 1512.03385 and 2007.11824."""
    original = copy.deepcopy(resnet)
    for block in original.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return original


def in_millions(model: nn.Module) -> str:
    return f"{count_parameters(model).weights / 1e6:.1f}M"


def macs(model: nn.Module) -> int:
    return count_flops(model, IMAGE, "mac").total


def test_frelu_in_resnet50() -> None:
    """arXiv 2007.11824: 25.5M, 3.86G and 3.87G; BN's scales and shifts not counted."""
    model = stride_first(network("resnet50"))
    swapped, swaps = swap_activations(model, "frelu", "paper", example_input=IMAGE)

    assert (in_millions(model), in_millions(swapped)) == ("25.5M", "25.5M")
    before, after = macs(model), macs(swapped)
    assert (f"{before / 1e9:.2f}G", f"{after / 1e9:.2f}G") == ("3.86G", "3.87G")
    placed = [swap.site for swap in swaps if not swap.kept_because]
    assert len(placed) == 3 + 4 + 6
    # Stages of 56, 28 and 14 pixels, a depthwise 3×3 on C = 64, 128 and 256.
    stages = ((3, 64, 56), (4, 128, 28), (6, 256, 14))
    assert after - before == sum(n * 9 * c * side**2 for n, c, side in stages)


def test_frelu_in_resnet101() -> None:
    """arXiv 2007.11824: 44.4M, 44.5M; 7.6G both."""
    model = stride_first(network("resnet101"))
    swapped, _ = swap_activations(model, "frelu", "paper", example_input=IMAGE)

    assert (in_millions(model), in_millions(swapped)) == ("44.4M", "44.5M")
    assert {f"{macs(m) / 1e9:.1f}G" for m in (model, swapped)} == {"7.6G"}


def test_light_frelu_in_shufflenet() -> None:
    """arXiv 2007.11824: ShuffleNetV2 0.5×, 1.4M and 41M to 45M."""
    model = network("shufflenet_v2_x0_5")
    swapped, _ = swap_activations(model, "frelu_light", "paper", example_input=IMAGE)

    assert (in_millions(model), in_millions(swapped)) == ("1.4M", "1.4M")
    before, after = macs(model), macs(swapped)
    # They print 41M for 40.5M.
    assert (round(before / 1e6, 1), f"{after / 1e6:.0f}M") == (40.5, "45M")
    elements = sum(n * prod(shape) for shape, n in shapes_in("shufflenet_v2_x0_5").items())
    assert after - before == (3 + 3) * elements


def test_meta_acon_in_resnet50() -> None:
    """arXiv 2009.04759: 25.7M; with BN in the layer as its code has it, or without."""
    for batch_norm in (False, True):
        swapped, swaps = swap_activations(
            without_values("resnet50"),
            "meta_acon_c",
            "paper",
            example_input=meta_image(),
            batch_norm=batch_norm,
        )
        assert sum(not swap.kept_because for swap in swaps) == 3 + 4 + 6 + 3
        assert in_millions(swapped) == "25.7M"


def test_dyrelu_b_in_mobilenet_v2_costs_more_than_five_per_cent() -> None:
    """The paper says about +5 % FLOPs. It is +2 % MACs, +6 % FLOPs, and 2.9 × the parameters."""
    model = network("mobilenet_v2")
    swapped, swaps = swap_activations(model, "dyrelu_b", "paper", example_input=IMAGE)

    before, after = macs(model), macs(swapped)
    widths = [swap.site.channels for swap in swaps]
    assert after - before == sum(c * (c // 8) + (c // 8) * 4 * c for c in widths)
    assert f"{after / before - 1:.1%}" == "2.2%"
    flops = [count_flops(m, IMAGE).total for m in (model, swapped)]
    assert f"{flops[1] / flops[0] - 1:.1%}" == "6.1%"
    parameters = [count_parameters(m).learnable for m in (model, swapped)]
    assert parameters == [3_504_872, 10_233_344]


def in_blocks(blocks: Sequence[int], calls: Sequence[int]) -> list[str]:
    """Return sites of torchvision's ResNets: so many blocks in each stage, these calls in each."""
    return [
        f"layer{stage}.{block}.relu#{call}"
        for stage, count in enumerate(blocks, start=1)
        for block in range(count)
        for call in calls
    ]


def in_shufflenet(blocks: Sequence[int] = (4, 8, 4)) -> list[str]:
    """Return all sites of torchvision's ShuffleNetV2: three in a stage's first block, then two."""
    branches = ("branch1.4", "branch2.2", "branch2.7")
    return [
        "conv1.2",
        *(
            f"stage{stage}.{block}.{branch}"
            for stage, count in enumerate(blocks, start=2)
            for block in range(count)
            for branch in branches[block > 0 :]
        ),
        "conv5.2",
    ]


def in_mobilenet() -> list[str]:
    """Return all sites of torchvision's MobileNetV2: one in the first block, then two in each."""
    blocks = [f"features.{block}.conv.{i}.2" for block in range(2, 18) for i in range(2)]
    return ["features.0.2", "features.1.conv.0.2", *blocks, "features.18.2"]


AFTER_3X3 = (2,)
EVERYWHERE = {
    "resnet18": ["relu", *in_blocks((2, 2, 2, 2), (1, 2))],
    "resnet50": ["relu", *in_blocks((3, 4, 6, 3), (1, 2, 3))],
    "resnet101": ["relu", *in_blocks((3, 4, 23, 3), (1, 2, 3))],
    "shufflenet_v2_x0_5": in_shufflenet(),
    "mobilenet_v2": in_mobilenet(),
}
FRELU = {
    "resnet50": in_blocks((3, 4, 6), AFTER_3X3),
    "resnet101": in_blocks((3, 4, 23), AFTER_3X3),
}
# The authors' code has one after each of the three convolutions.
FRELU_OFFICIAL = {
    "resnet50": in_blocks((3, 4, 6), (1, 2, 3)),
    "resnet101": in_blocks((3, 4, 23), (1, 2, 3)),
}
SHUFFLENET = {"shufflenet_v2_x0_5": in_shufflenet()}
ACON = {
    "resnet50": in_blocks((3, 4, 6, 3), AFTER_3X3),
    "resnet101": in_blocks((3, 4, 23, 3), AFTER_3X3),
    **SHUFFLENET,
}
PLACES: dict[tuple[str, str], dict[str, list[str]]] = {
    ("frelu", "paper"): FRELU,
    ("frelu", "official"): FRELU_OFFICIAL,
    ("frelu_light", "paper"): SHUFFLENET,
    ("frelu_light", "official"): SHUFFLENET,
    ("acon_c", "paper"): ACON,
    ("acon_c", "official"): ACON,
    ("meta_acon_c", "paper"): ACON,
    ("meta_acon_c", "official"): ACON,
    ("meta_acon_c_bn", "paper"): ACON,
    ("meta_acon_c_bn", "official"): ACON,
    ("dyrelu_a", "paper"): EVERYWHERE,
    ("dyrelu_b", "paper"): EVERYWHERE,
    ("dyrelu_c", "paper"): EVERYWHERE,
}


@pytest.mark.parametrize(
    ("activation", "where", "name"),
    [(*placed, name) for placed, places in PLACES.items() for name in places],
)
def test_a_layer_stands_where_its_paper_or_its_code_has_it(
    activation: str, where: str, name: str
) -> None:
    sites = replaced(name, activation, where)

    assert [site.name for site in sites] == PLACES[activation, where][name]


@pytest.mark.parametrize("where", ["paper", "official"])
@pytest.mark.parametrize("activation", activations.names())
def test_no_other_layer_and_network_have_a_placement(activation: str, where: str) -> None:
    others = EVERYWHERE.keys() - PLACES.get((activation, where), {}).keys()

    for name in others:
        with pytest.raises(PlacementError, match=f"no '{where}' placement of '{activation}'"):
            placement(activation, where, without_values(name))


@pytest.mark.parametrize(("activation", "where"), [k for k in PLACES if "light" not in k[0]])
@pytest.mark.parametrize(
    ("name", "backbone"), [("fcn_resnet50", "backbone"), ("keypointrcnn_resnet50_fpn", "body")]
)
def test_a_backbone_has_the_placement_of_its_network(
    name: str, backbone: str, activation: str, where: str
) -> None:
    sites = [site.name for site in replaced(name, activation, where)]

    expected = [f"{backbone}.{site}" for site in PLACES[activation, where]["resnet50"]]
    # The paper of DY-ReLU leaves no place out: beyond its backbone, FCN has a ReLU in its head.
    if activation.startswith("dyrelu") and name == "fcn_resnet50":
        expected.append("classifier.2")
    assert sites == expected


@pytest.mark.parametrize(
    ("name", "activation", "where", "line"),
    [
        (
            "resnet18",
            "frelu",
            "paper",
            "only for: Bottleneck; name other activations, or placement",
        ),
        ("mobilenet_v2", "acon_c", "official", "only for: Bottleneck, ShuffleNetV2"),
        ("resnet50", "silu", "paper", "only for: no network"),
        ("resnet50", "dyrelu_b", "official", "only for: no network"),
    ],
)
def test_what_no_paper_has_is_one_clear_line(
    name: str, activation: str, where: str, line: str
) -> None:
    with pytest.raises(PlacementError, match=re.escape(line)) as caught:
        replaced(name, activation, where)
    assert "\n" not in str(caught.value)


def replaced(name: str, activation: str, where: str) -> list[Site]:
    _, swaps = swap_activations(without_values(name), activation, where, example_input=meta_image())
    return [swap.site for swap in swaps if not swap.kept_because]
