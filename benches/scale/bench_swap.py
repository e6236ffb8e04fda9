"""What a swap costs, once and at each call: `pytest benches/scale/bench_swap.py`."""

from functools import partial
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.models.inception import BasicConv2d

from dynact.networks import architectures
from dynact.networks.swap import swap_to_compare
from dynact.timing import WallClock, compare
from dynact.worker import counters
from dynact.worker.plain import plain

# Where each module is called once; three times by a block; a function by each block; by the whole.
NETWORKS = ("mobilenet_v2", "resnet50", "inception_v3", "densenet121")
# × the time of what it is compared with.
MOST = 1.01
# Among them the largest of those that layers' papers swap in.
HOSTS = (
    "mobilenet_v2", "mobilenet_v3_large", "resnet50", "resnet101", "fcn_resnet50",
    "deeplabv3_mobilenet_v3_large", "keypointrcnn_resnet50_fpn",
)  # fmt: skip
# On two cores, to swap and count one network. Those that take longer are nothing but passes: five
# of the network to swap, one of them a training pass of two images, and four to count both.
MOST_SECONDS = {"resnet101": 4.0, "fcn_resnet50": 5.0}
USUALLY = 3.0
SECONDS = 12
IMAGE = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
def bench_its_own_activations(benchmark: Any, name: str) -> None:
    """Compare a network with the same activations, put there by a swap, with what it is timed by.

    And that with the network as it is: what no ratio of a sweep has in it.
    """
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "inception_v3" else {}
    model = _nowhere_in_place(models.get_model(name, weights=None, **options).eval())
    own = "relu6" if name == "mobilenet_v2" else "relu"
    swapped, baseline, _ = swap_to_compare(model, own, example_input=IMAGE)

    def measure() -> list[float]:
        return [_times(*pair) for pair in ((swapped, baseline), (baseline, model))]

    found, dispatch = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info |= {"× what it is timed by": found, "that × as it is": dispatch}
    assert found <= MOST, found


@pytest.mark.parametrize("name", HOSTS)
def bench_swap_and_count(benchmark: Any, name: str) -> None:
    """Swap FReLU into a network on one image of 224, and count both networks."""
    torch.manual_seed(0)
    model = architectures.create(name)

    def swap_and_count() -> None:
        swapped, _, _ = swap_to_compare(model, "frelu", example_input=IMAGE)
        for network in (model, swapped):
            counters.parameters(network)
            counters.arithmetic(*plain(network.eval(), IMAGE))

    benchmark.pedantic(swap_and_count, rounds=3, warmup_rounds=1)
    assert benchmark.stats["median"] <= MOST_SECONDS.get(name, USUALLY)


def _times(target: nn.Module, baseline: nn.Module) -> float:
    with torch.inference_mode():
        calls = [partial(network, IMAGE) for network in (target, baseline)]
        for call in calls:
            call()
        return compare(*calls, clock=WallClock(), max_seconds=SECONDS).overhead


def _nowhere_in_place(model: Any) -> nn.Module:
    """Have a network write to new memory, as its new activations do."""
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
        if isinstance(module, BasicConv2d):
            module.forward = MethodType(_forward, module)
    network: nn.Module = model
    return network


def _forward(module: BasicConv2d, x: Tensor) -> Tensor:
    return functional.relu(module.bn(module.conv(x)))
