"""Multiply-accumulates and parameters of whole networks as torchvision publishes them.

Each network's metadata has, as "GFLOPS", G multiply-accumulates of one image, and its number of
parameters.
"""

import pytest
import torchvision
from torchvision.models import list_models

from dynact.cost import count_flops, count_parameters
from tests.cost.published import detects, example, network, published

# Of every family of classifiers there are some below; benches/scale has the rest.
MOST_GFLOPS = 8
NAMES = [
    name
    for family in ("", "segmentation", "detection", "video")
    for name in list_models(getattr(torchvision.models, family, torchvision.models))
    if published(name)["_ops"] <= MOST_GFLOPS
]
# What a detector suppresses is up to its data, in a function that was scripted: a trace has a call.
OF_DETECTORS = ("prim::CallFunction",)


@pytest.mark.parametrize("name", NAMES)
def test_as_published(name: str) -> None:
    made = network(name)

    counted = count_flops(made, example(name), "mac")

    assert counted.uncounted_ops == (OF_DETECTORS if detects(name) else ())
    # Rounded to three places; of the smallest, which are 40 M, half of the last is over 1 %.
    assert counted.total / 1e9 == pytest.approx(published(name)["_ops"], rel=0.01, abs=0.0005)
    parameters = count_parameters(made)
    # With published weights these two have frozen normalisations, which are buffers.
    frozen = parameters.normalisation if name.startswith("fasterrcnn_mobilenet") else 0
    assert parameters.learnable - frozen == published(name)["num_params"]
