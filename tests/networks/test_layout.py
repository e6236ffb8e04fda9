"""Where the channels are: known, or said not to be."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dynact.networks import find_sites, swap_activations
from tests.networks.test_idioms import IMAGES


class ChannelsLast(nn.Module):
    """A gated block of vision state-space models, whose images are (N, H, W, C) within."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(3, 12)
        self.norm = nn.LayerNorm(6)
        self.act = nn.SiLU()
        self.narrow = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x, z = self.wide(x.permute(0, 2, 3, 1)).chunk(2, -1)
        z = self.act(self.norm(z)) * self.act(x)
        return functional.relu(self.narrow(z).permute(0, 3, 1, 2))


def test_channels_last_within_a_block() -> None:
    model = ChannelsLast()
    swapped, swaps = swap_activations(model, "dyrelu_b", example_input=IMAGES[..., :6])
    shapes = [(s.site.channels, s.site.height, s.site.width) for s in swaps]
    assert shapes == [(6, 8, 6), (6, 8, 6), (5, 8, 6)]
    first, second = (m for m in swapped.get_submodule("act").children())
    layers: Any = first, second
    images = torch.randn(2, 3, 5, 7)
    x, z = model.wide(images.permute(0, 2, 3, 1)).chunk(2, -1)
    z = model.norm(z)
    for_z, for_x = (
        layer.layer(y.permute(0, 3, 1, 2)) for layer, y in zip(layers, (z, x), strict=True)
    )
    last: Any = swapped.get_submodule("relu.1")
    expected = last(model.narrow((for_z * for_x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
    torch.testing.assert_close(swapped(images), expected)


class UnknownLayout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.gelu(x.reshape(len(x), 4, -1)).relu()


def test_where_channels_are_unknown_what_needs_none_is_placed() -> None:
    swapped, swaps = swap_activations(UnknownLayout(), "silu", example_input=IMAGES)
    assert [(swap.activation, swap.site.channels) for swap in swaps] == [("silu", 0)] * 2
    expected = functional.silu(functional.silu(IMAGES.reshape(2, 4, -1)))
    assert torch.equal(swapped(IMAGES), expected)
    for needs_channels in ("prelu", "eca", "frelu", "layer_norm"):
        with pytest.raises(ValueError, match=r"channels unknown: its input is of shape \(2, 4, 48"):
            swap_activations(UnknownLayout(), needs_channels, example_input=IMAGES)


def test_networks_of_more_dimensions() -> None:
    model = nn.Sequential(nn.Conv3d(3, 4, 1), nn.ReLU(), nn.BatchNorm3d(4), nn.GELU())
    video = torch.randn(2, 3, 4, 5, 6)
    swapped, swaps = swap_activations(model, "silu", example_input=video)
    assert [swap.site.channels for swap in swaps] == [4, 4]
    assert [type(module) for module in swapped[1::2]] == [nn.SiLU, nn.SiLU]


class AfterPlain(nn.Module):
    """A linear map of images (N, H, W, C), written in some way, then an activation."""

    def __init__(self, layer: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 5))
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.layer(x.permute(0, 2, 3, 1), self.weight))


@pytest.mark.parametrize(
    ("layer", "channels"),
    [
        (lambda x, w: x @ w, 5),
        (lambda x, w: torch.einsum("nhwc,cd->nhwd", x, w), 0),
        (lambda x, _: torch.stack([x, x])[0], 3),
        (lambda x, _: x.unsqueeze(1).mean(1), 3),
        (lambda x, _: x @ x.transpose(2, 3), 0),
    ],
)
def test_the_height_is_never_taken_for_the_channels(layer: Any, channels: int) -> None:
    (site,) = find_sites(AfterPlain(layer), IMAGES[..., :6])
    assert site.channels == channels


class OfGroups(nn.GroupNorm):
    """Cannot be made of fewer channels than four."""

    def __init__(self, channels: int) -> None:
        super().__init__(4, channels)


def test_a_layer_is_made_of_the_channels_that_there_are() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU())
    tokens = torch.randn(2, 5, 6)

    swapped, (swap,) = swap_activations(model, f"{__name__}:OfGroups", example_input=tokens)

    assert (swap.site.channels, swap.kept_because) == (8, "")
    maps = model[:2](tokens).movedim(-1, 1)
    torch.testing.assert_close(swapped(tokens), functional.group_norm(maps, 4).movedim(1, -1))


def test_samples_that_are_not_the_first_dimension() -> None:
    class SequenceFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(3, 1, 16)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.layer(x.flatten(2).permute(2, 0, 1))
            return y.mean(0)

    with pytest.raises(ValueError, match="its samples are not the first dimension of its input"):
        swap_activations(SequenceFirst(), "dyrelu_b", example_input=IMAGES)
    swapped, _ = swap_activations(SequenceFirst(), "silu", example_input=IMAGES)
    assert swapped(IMAGES).shape == (2, 3)


def test_an_input_without_a_batch() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(ValueError, match="unknown which dimension its samples are"):
        swap_activations(model, "dyrelu_b", example_input=IMAGES[0])
