"""The sweep's shapes come from networks."""

import pytest

from dynact.networks import shapes_in
from dynact.schema.cases import PRESETS, preset

NETWORKS = ("mobilenet_v2", "mobilenet_v3_large", "resnet50")


@pytest.fixture(scope="module")
def shapes() -> set[tuple[int, int, int]]:
    return {shape for network in NETWORKS for shape in shapes_in(network, 224)}


@pytest.mark.parametrize("name", PRESETS)
def test_channels_and_resolutions_are_those_of_networks(
    name: str, shapes: set[tuple[int, int, int]]
) -> None:
    for grid in preset(name, ("frelu",), on_accelerator=True):
        assert {*grid.channels} <= {channels for channels, _, _ in shapes}
        assert {*grid.resolutions} <= {(height, width) for _, height, width in shapes}
