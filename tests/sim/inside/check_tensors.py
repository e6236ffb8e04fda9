"""Tensors on the device hold what the host's own would, whatever shares their memory."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from dynact import activations
from dynact.cost import not_a_leaf


def same(on_device: Tensor, on_host: Tensor) -> None:
    assert on_device.device.type == "sim"
    assert_close(on_device.cpu(), on_host, rtol=0, atol=0)
    assert on_device.stride() == on_host.stride()


def both(*shape: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return x.to("sim"), x


def test_views_share_memory() -> None:
    for x in both(4, 6):
        for view in (
            x[1:3],
            x.t(),
            x.view(2, 12),
            x.unfold(1, 2, 2),
            x.expand(2, 4, 6),
            x.chunk(2)[1],
        ):
            assert view.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        assert x[1:3]._base is x


def test_writing_into_a_view_writes_into_what_it_is_of() -> None:
    on_device, on_host = both(4, 6)
    for x in (on_device, on_host):
        x[1:3].t().mul_(2)
        x.view(-1)[::5] = 7
        x.diagonal().zero_()
        x[:, torch.tensor([0, 2], device=x.device)] += 1
    same(on_device, on_host)


def test_results_that_do_not_alias_are_apart() -> None:
    x, _ = both(3)
    y = torch.relu(x)
    x.fill_(5)
    assert (y != 5).all()


def test_outputs_grow() -> None:
    on_device, on_host = both(4, 6)
    out = torch.empty(0, device="sim")
    assert torch.add(on_device, 1, out=out) is out
    same(out, on_host + 1)


def test_sizes_and_storages_are_set() -> None:
    on_device, on_host = both(4, 6)
    y = torch.empty(0, device="sim").set_(on_device.untyped_storage(), 6, (2, 3), (6, 2))
    same(y, on_host[1:3, ::2])
    y = torch.empty(0, device="sim").set_(on_device)
    assert y.data_ptr() == on_device.data_ptr()
    assert on_device.resize_(30).untyped_storage().nbytes() == 120
    same(on_device[:24], on_host.flatten())


def test_lists_of_tensors_go_there_and_back() -> None:
    on_device, on_host = both(4, 6)
    same(torch.cat([on_device, on_device]), torch.cat([on_host, on_host]))
    same(torch.stack(on_device.split(2)), torch.stack(on_host.split(2)))
    index = torch.tensor([2, 0])
    same(on_device[:, index.to("sim")], on_host[:, index])
    torch._foreach_mul_([on_device], 3)
    same(on_device, 3 * on_host)


def test_numbers_and_dtypes() -> None:
    on_device, on_host = both(4, 6)
    assert on_device.sum().item() == on_host.sum().item()
    assert torch.equal(on_device, on_device.clone())
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        same(torch.relu(on_device.to(dtype)), torch.relu(on_host.to(dtype)))


def test_memory_formats_are_kept() -> None:
    on_device, on_host = both(2, 3, 4, 5)
    layout = torch.channels_last
    for operator in (torch.relu, torch.sigmoid, lambda x: x * x, torch.empty_like):
        y = operator(on_device.to(memory_format=layout))
        assert y.stride() == operator(on_host.to(memory_format=layout)).stride()


def test_devices_are_two() -> None:
    x = torch.ones(3, device="sim:1")
    assert (x + 1).device == torch.device("sim:1")
    assert x.to("sim:0").device == torch.device("sim:0")
    with torch.device("sim:1"):
        assert torch.randn(3).device == torch.device("sim:1")


def test_random_numbers_are_the_hosts() -> None:
    for device in ("sim:0", "sim:1"):
        drawn = [
            torch.randn(5, generator=torch.Generator(each).manual_seed(3), device=each).cpu()
            for each in (device, "cpu")
        ]
        assert torch.equal(*drawn)
    torch.manual_seed(4)
    x = torch.rand(5, device="sim")
    torch.manual_seed(4)
    assert torch.equal(x, torch.rand(5, device="sim"))


@pytest.mark.parametrize("training", [False, True])
def test_a_network_learns_alike(training: bool) -> None:
    torch.manual_seed(0)
    on_host = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.SiLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 10),
    )  # fmt: skip
    on_device = copy.deepcopy(on_host).to("sim")
    outputs = []
    for network in (on_device, on_host):
        network.train(training)
        device = next(network.parameters()).device
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        for step in range(2):
            torch.manual_seed(step)
            images = torch.randn(4, 3, 32, 32).to(device)
            torch.manual_seed(step)
            y = network(images)
            nn.functional.cross_entropy(y, torch.arange(4, device=device)).backward()
            optimizer.step()
            optimizer.zero_grad()
        outputs.append(y.detach())
    same(*outputs)
    for name, value in on_host.state_dict().items():
        same(on_device.state_dict()[name], value)


@pytest.mark.parametrize("name", activations.names())
def test_every_activation_is_alike(name: str) -> None:
    torch.manual_seed(0)
    on_host = activations.create(name, 16)
    on_device = copy.deepcopy(on_host).to("sim")
    results = []
    for layer in (on_device, on_host):
        device = "sim" if layer is on_device else "cpu"
        channels = activations.input_channels(name, 16)
        x = torch.randn(2, channels, 6, 6, generator=torch.Generator().manual_seed(1)).to(device)
        y = layer(not_a_leaf(x.requires_grad_()))
        y.backward(torch.ones_like(y))
        results.append([y.detach(), x.grad, *(p.grad for p in layer.parameters())])
    for found, expected in zip(*results, strict=True):
        same(found, expected)
