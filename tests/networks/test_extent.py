"""The layer that stands for a site has its elements and its memory, by hooks of the test's own."""

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from dynact.networks import Site, find_sites
from dynact.networks.extent import Extent
from dynact.schema.sites import layer_at

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def layer_input(site: Site, batch: int) -> Tensor:
    """Return the input of the layer that stands for a site, without values."""
    said = vars(site.extent) | {"channels": site.channels}
    memory_format, *shape = layer_at(said, batch)
    return torch.empty(shape, device="meta", memory_format=FORMATS[memory_format])


def met_by_hooks(model: nn.Module, kind: type[nn.Module], images: Tensor) -> list[Tensor]:
    met: list[Tensor] = []
    handles = [
        module.register_forward_pre_hook(lambda _, args: met.append(args[0]))
        for module in model.modules()
        if type(module) is kind
    ]
    model(images)
    for handle in handles:
        handle.remove()
    return met


def assert_same_memory(real: Tensor, channel_dim: int, stand_in: Tensor) -> None:
    assert stand_in.numel() == real.numel()
    assert stand_in.shape[1] == real.shape[channel_dim]
    # Both fill their memory without gaps, and step from channel to channel alike.
    for x in (real, stand_in):
        steps = zip(x.shape, x.stride(), strict=True)
        assert 1 + sum((n - 1) * stride for n, stride in steps) == x.numel()
    if stand_in[0, 0].numel() > 1:
        assert stand_in.stride(1) == real.stride(channel_dim)


@pytest.mark.parametrize(
    ("name", "sample", "kind", "channel_dim"),
    [
        ("vit_b_16", (3, 224, 224), nn.GELU, 2),
        ("swin_t", (3, 64, 64), nn.GELU, 3),
        ("convnext_tiny", (3, 64, 64), nn.GELU, 3),
        ("mc3_18", (3, 4, 32, 32), nn.ReLU, 1),
        ("swin3d_t", (3, 4, 64, 64), nn.GELU, 4),
    ],
)
def test_networks_of_tokens_of_channels_last_and_of_clips(
    name: str, sample: tuple[int, ...], kind: type[nn.Module], channel_dim: int
) -> None:
    with torch.device("meta"):
        model = models.get_model(name, weights=None).eval()
    sites = find_sites(model, torch.empty(1, *sample, device="meta"))

    real = met_by_hooks(model, kind, torch.empty(3, *sample, device="meta"))

    assert len(real) == len(sites) > 10
    for x, site in zip(real, sites, strict=True):
        assert_same_memory(x, channel_dim, layer_input(site, 3))


class EveryLayout(nn.Module):
    """Calls an activation on each layout, 5 channels each; images are (N, 3, 8, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 5, 1)
        self.last = nn.Linear(5, 5)
        self.clips = nn.Conv3d(5, 5, 1)
        self.table = nn.Linear(2, 5)
        self.of_table = nn.ReLU()
        self.acts = nn.ModuleList([nn.ReLU() for _ in range(7)])

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        maps, flat, tokens, last, clip, windows, sequence = self.acts
        x = maps(self.embed(x))
        y = last(self.last(x.permute(0, 2, 3, 1)))
        folded = y.reshape(n, 4, 2, 6, 5).flatten(0, 1).flatten(1, 2)
        z = windows(self.last(folded)).reshape(n, 48, 5)
        z = tokens(self.last(z))
        z = sequence(self.last(z.transpose(0, 1).contiguous()))
        fixed = self.of_table(self.table(torch.ones(7, 2, device=x.device))).sum()
        v = x.unflatten(2, (4, 2)).contiguous()
        v = clip(self.clips(v))
        return flat(self.last(v.mean((2, 3, 4)))) + z.mean(0) + fixed


# Where the channels are, and the samples, positions and memory format of each.
LAYOUTS = {
    "acts.0": (1, Extent(1, True, (8, 6), "contiguous")),
    "acts.1": (1, Extent(1, True, (), "contiguous")),
    "acts.2": (2, Extent(1, True, (48,), "channels_last")),
    "acts.3": (3, Extent(1, True, (8, 6), "channels_last")),
    "acts.4": (1, Extent(1, True, (4, 2, 6), "contiguous")),
    "acts.5": (2, Extent(4, True, (12,), "channels_last")),
    "acts.6": (2, Extent(1, True, (48,), "channels_last")),
    "of_table": (1, Extent(7, False, (), "contiguous")),
}


@pytest.mark.parametrize("example", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_every_layout(example: int, batch: int) -> None:
    model = EveryLayout().eval()
    sites = find_sites(model, torch.randn(example, 3, 8, 6))

    real = met_by_hooks(model, nn.ReLU, torch.randn(batch, 3, 8, 6))

    assert {site.name: site.extent for site in sites} == {
        name: extent for name, (_, extent) in LAYOUTS.items()
    }
    for x, site in zip(real, sites, strict=True):
        assert_same_memory(x, LAYOUTS[site.name][0], layer_input(site, batch))


def test_a_network_in_channels_last_has_such_sites() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU()).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 8, 6).to(memory_format=torch.channels_last)

    (site,) = find_sites(model, images)

    assert site.extent == Extent(1, True, (8, 6), "channels_last")


class Boxes(nn.Module):
    """Takes as many positions as are above 0, whatever the batch; and compares them all."""

    def forward(self, x: Tensor) -> Tensor:
        boxes = x.movedim(1, -1)[x[:, 0] > 0].relu()
        return torch.relu(x.flatten(2) @ x.flatten(2).transpose(1, 2)).sum() + boxes.sum()


def test_of_a_number_that_hangs_on_values_no_layer_is_measured() -> None:
    images = torch.ones(2, 3, 2, 2)
    images[0, 0, 0, 0] = -1

    boxes, scores = find_sites(Boxes(), images)

    assert (boxes.extent.samples, layer_input(boxes, 2).numel()) == (0, 0)
    # Of unknown channels all elements are one channel's.
    assert scores.channels == 0
    assert layer_input(scores, 2).shape == (2, 1, 3, 3)
