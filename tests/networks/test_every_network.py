"""Swaps in networks of each kind that torchvision has, and of thirty that timm has.

`benches/scale/bench_every_network.py` does so in all of torchvision, with values.
"""

import pytest
import torch
from torchvision.ops import SqueezeExcitation

from dynact.networks import GATE, create, names
from dynact.networks.loss import loss_of
from tests.networks.samples import smallest_input, without_values
from tests.networks.whole_swaps import replace_all, replace_by_itself

# Deeper or wider ones of the same blocks, and the same backbone once more: left to the benchmark.
KIN = frozenset((
    "resnet34", "resnet101", "resnet152", "resnext101_32x8d", "resnext101_64x4d",
    "wide_resnet101_2", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3", "shufflenet_v2_x1_0",
    "shufflenet_v2_x2_0", "densenet161", "densenet169", "densenet201", "efficientnet_b1",
    "efficientnet_b2", "efficientnet_b3", "efficientnet_b4", "efficientnet_b5", "efficientnet_b6",
    "efficientnet_b7", "efficientnet_v2_m", "efficientnet_v2_l", "regnet_x_800mf",
    "regnet_x_1_6gf", "regnet_x_3_2gf", "regnet_x_8gf", "regnet_x_16gf", "regnet_x_32gf",
    "regnet_y_800mf", "regnet_y_1_6gf", "regnet_y_3_2gf", "regnet_y_8gf", "regnet_y_16gf",
    "regnet_y_32gf", "regnet_y_128gf", "convnext_small", "convnext_base", "convnext_large",
    "vit_b_16", "vit_l_16", "vit_l_32", "vit_h_14", "swin_s", "swin_b", "swin_v2_s", "swin_v2_b",
    "swin3d_s", "swin3d_b", "fcn_resnet101", "deeplabv3_resnet101", "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2", "fasterrcnn_mobilenet_v3_large_320_fpn",
    "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2",
))  # fmt: skip
# Whose values take seconds to compare, as they have many parameters or take no small images: here
# without values.
LARGE = frozenset((
    "resnext50_32x4d", "wide_resnet50_2", "alexnet", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn",
    "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "efficientnet_v2_s", "vit_b_32", "maxvit_t", "mc3_18",
    "r3d_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin_v2_t",
    "deeplabv3_resnet50", "ssd300_vgg16", "retinanet_resnet50_fpn_v2",
))  # fmt: skip
# Gates beside those of squeeze-and-excitation: that of the head, and a sigmoid a layer of attention
# that bounds the biases of positions.
OTHER_GATES = {"lraspp_mobilenet_v3_large": 1, "swin_v2_t": 12}

# One of each family, and images that it takes: small ones, where it takes any.
OF_TIMM = {
    "convnext_atto": 64,
    "cs3darknet_focus_s": 64,
    "dla46_c": 64,
    "dpn48b": 64,
    "edgenext_xx_small": 64,
    "efficientvit_b0": 64,
    "efficientvit_m0": 224,
    "ese_vovnet19b_slim": 64,
    "fasternet_t0": 64,
    "ghostnet_050": 64,
    "hgnetv2_b0": 64,
    "hrnet_w18_small": 64,
    "inception_next_atto": 64,
    "lcnet_035": 64,
    "legacy_seresnet18": 64,
    "levit_128s": 224,
    "mambaout_femto": 64,
    "mobilevit_xxs": 64,
    "nf_regnet_b0": 64,
    "poolformer_s12": 64,
    "pvt_v2_b0": 64,
    "repghostnet_050": 64,
    "resnest14d": 64,
    "resnetv2_18": 64,
    "rexnet_100": 64,
    "shvit_s1": 64,
    "skresnet18": 64,
    "starnet_s050": 64,
    "tf_efficientnet_lite0": 64,
    "vit_tiny_patch16_224": 224,
}


@pytest.mark.parametrize("name", [name for name in names() if name not in KIN])
def test_every_network_of_torchvision(name: str) -> None:
    torch.manual_seed(0)
    model, loss = without_values(name) if name in LARGE else create(name), loss_of(name)
    images = smallest_input(name).to("meta" if name in LARGE else "cpu")

    swaps = replace_all(model, images, loss)

    attentions = sum(isinstance(module, SqueezeExcitation) for module in model.modules())
    gates = sum(swap.kept_because == GATE for swap in swaps)
    assert gates == 2 * attentions + OTHER_GATES.get(name, 0)
    if name not in LARGE:
        replace_by_itself(model, images, loss, swaps)


@pytest.mark.parametrize("name", OF_TIMM)
def test_thirty_of_timm(name: str) -> None:
    torch.manual_seed(0)
    model, loss = create(f"timm:{name}"), loss_of(f"timm:{name}")
    side = OF_TIMM[name]
    images = torch.randn(2, 3, side, side)

    swaps = replace_all(model, images, loss)

    replace_by_itself(model, images, loss, swaps)
