"""Every call of an activation is found, named, and told from a gate."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models import convnext_tiny, vit_b_16

from dynact.networks import GATE, Site, create, example_input, find_sites
from dynact.networks.extent import FLAT
from tests.networks.samples import EveryWay, meta_image, without_values


def test_calls_are_found_in_order() -> None:
    sites = find_sites(EveryWay(), torch.randn(2, 3, 8, 6))
    assert [replace(site, extent=FLAT) for site in sites] == [
        Site("shared#1", "relu", 3, 8, 6),
        Site("shared#2", "relu", 5, 4, 3),
        Site("listed.0", "silu", 5, 4, 3),
        Site("listed.1", "relu6", 5, 4, 3),
        Site("gelu", "gelu", 5, 4, 3),
        Site("relu#1", "relu", 5, 4, 3),
        Site("relu#2", "relu", 5, 4, 3),
        Site("hardswish", "hardswish", 5, 4, 3),
        Site("elu", "elu", 7, None, None),
    ]


def test_resnet50_has_49_calls_of_17_modules() -> None:
    model = without_values("resnet50")
    assert sum(isinstance(module, nn.ReLU) for module in model.modules()) == 17

    names = [site.name for site in find_sites(model, meta_image())]

    assert len(names) == len(set(names)) == 49
    assert names[:5] == [
        "relu", "layer1.0.relu#1", "layer1.0.relu#2", "layer1.0.relu#3", "layer1.1.relu#1",
    ]  # fmt: skip


def test_squeeze_and_excitation_is_a_gate() -> None:
    sites = find_sites(without_values("mobilenet_v3_small"), meta_image())
    originals = Counter((site.original, site.obstacle) for site in sites)
    # Nine blocks have one; table 2 of arXiv 1905.02244 has 19 hard swishes and 5 ReLUs beside.
    assert originals == {
        ("relu", GATE): 9,
        ("hardsigmoid", GATE): 9,
        ("relu", ""): 5,
        ("hardswish", ""): 19,
    }


def test_channels_are_found_where_they_are_the_last_dimension() -> None:
    with torch.device("meta"):
        of_convnext, of_vit = (
            find_sites(build(), meta_image()) for build in (convnext_tiny, vit_b_16)
        )
    # arXiv 2201.03545, table 9: blocks of 96, 192, 384 and 768 channels, four times as wide within.
    blocks = ((4 * 96, 56), (4 * 192, 28), *[(4 * 384, 14)] * 3, (4 * 768, 7))
    expected = [(*block, block[1]) for block in blocks for _ in range(3)]
    assert [(site.channels, site.height, site.width) for site in of_convnext] == expected
    # arXiv 2010.11929, table 1.
    assert [(site.channels, site.height, site.width) for site in of_vit] == [
        (3072, None, None)
    ] * 12


def test_the_network_stays_as_it_is() -> None:
    model = create("resnet18")
    before = {key: value.clone() for key, value in model.state_dict().items()}

    find_sites(model, example_input("resnet18", 2, 32))

    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_a_network_that_fails_is_named_in_one_line() -> None:
    with pytest.raises(ValueError, match="the network fails on the example input: ") as caught:
        find_sites(create("lenet"), torch.randn(1, 3, 8, 8))
    assert "\n" not in str(caught.value)
