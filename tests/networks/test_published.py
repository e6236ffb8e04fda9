"""Published accuracies belong to networks, activations and placements that there are."""

import pytest

from dynact import activations
from dynact.networks.architectures import architecture
from dynact.networks.papers import placement
from dynact.networks.published import PAPERS_IMAGE_SIZE, PUBLISHED, SOURCES, Published
from dynact.schema.placement import PLACEMENTS
from tests.networks.samples import without_values

EACH = pytest.mark.parametrize(
    "published", PUBLISHED, ids=lambda p: f"{p.network}-{p.activation}-{p.source.title}"
)


@EACH
def test_it_can_be_measured(published: Published) -> None:
    assert published.activation in activations.names()
    assert published.placements
    assert set(published.placements) <= set(PLACEMENTS)
    for where in {*published.placements} - {"all"}:
        # Raises where the activation has no such placement.
        placement(published.activation, where, without_values(published.network))
    assert architecture(published.network).image_size == PAPERS_IMAGE_SIZE


@EACH
def test_each_is_an_improvement_in_percent_as_all_papers_report(published: Published) -> None:
    # Of ImageNet by small networks: an error in place of an accuracy would be below 45.
    assert 55 < published.baseline_top1 < published.top1 < 85
    assert published.source in SOURCES


def test_none_is_there_twice() -> None:
    keys = [(p.network, p.activation, p.source) for p in PUBLISHED]

    assert len(keys) == len(set(keys))


# Megvii's README, ShuffleNetV2 0.5x: top-1 error 39.6 with ReLU, 37.1 with FReLU;
# DY-ReLU's abstract: MobileNetV2 from 72.0 to 76.2 percent.
@pytest.mark.parametrize(
    ("network", "activation", "top1", "baseline_top1"),
    [("shufflenet_v2_x0_5", "frelu_light", 62.9, 60.4), ("mobilenet_v2", "dyrelu_b", 76.2, 72.0)],
)
def test_accuracies_are_what_is_left_of_errors(
    network: str, activation: str, top1: float, baseline_top1: float
) -> None:
    (found,) = [p for p in PUBLISHED if (p.network, p.activation) == (network, activation)]

    assert (found.top1, found.baseline_top1) == (top1, baseline_top1)
