"""Whether counts of large networks are those published: `pytest benches/scale -k published`."""

from typing import Any

import pytest
import torchvision
from torchvision.models import list_models

from dynact.cost import count_flops
from tests.cost.published import example, network, published

FROM_GFLOPS = 8
UP_TO_GFLOPS = 400
# G multiply-accumulates more than we count, by the reason.
MORE = {
    # The head of keypoints on one person found: a 3×3 convolution of 256 channels and seven of 512
    # to 512 on 14×14 positions, and a transposed 4×4 one to 17 key points.
    "keypointrcnn_resnet50_fpn": 9 * 512 * 196 * (256 + 7 * 512) / 1e9 + 16 * 512 * 17 * 196 / 1e9,
}
NAMES = [
    name
    for family in ("", "segmentation", "detection", "video")
    for name in list_models(getattr(torchvision.models, family, torchvision.models))
    if FROM_GFLOPS < published(name)["_ops"] <= UP_TO_GFLOPS
]


@pytest.mark.parametrize("name", NAMES)
def bench_published(benchmark: Any, name: str) -> None:
    """Count a network's multiply-accumulates: within 1 % of what torchvision states."""
    made, x = network(name), example(name)
    counted = benchmark.pedantic(lambda: count_flops(made, x, "mac"), rounds=1)
    stated = published(name)["_ops"]
    benchmark.extra_info |= {"gmacs": counted.total / 1e9, "published_gmacs": stated}
    assert counted.total / 1e9 + MORE.get(name, 0) == pytest.approx(stated, rel=0.01)
