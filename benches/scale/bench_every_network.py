"""Whether swaps are right in all of torchvision: `pytest benches/scale/bench_every_network.py`.

The largest take minutes, and 16 GB or more.
"""

from typing import Any

import pytest
import torch

from dynact.networks import create, names
from dynact.networks.loss import loss_of
from tests.networks.samples import smallest_input
from tests.networks.whole_swaps import replace_all, replace_by_itself


@pytest.mark.parametrize("name", names())
def bench_every_network(benchmark: Any, name: str) -> None:
    """Replace each call by a layer that learns, then by itself, which changes no bit."""
    torch.manual_seed(0)
    model, images, loss = create(name), smallest_input(name), loss_of(name)
    swaps = benchmark.pedantic(lambda: replace_all(model, images, loss), rounds=1)
    benchmark.extra_info["replaced"] = sum(not swap.kept_because for swap in swaps)
    replace_by_itself(model, images, loss, swaps)
