"""Which layer is measured for a site, of rows of this version and of those before."""

from typing import Any

import pytest

from dynact.schema.cases import NetworkCase, SiteCase
from dynact.schema.sites import LayerAt, layer_at, positions_of, site_case

MAPS: dict[str, Any] = {"name": "a", "original": "silu", "channels": 8, "height": 4, "width": 6}
FLAT = MAPS | {"height": None, "width": None}


@pytest.mark.parametrize(
    ("site", "layer"),
    [
        (MAPS, LayerAt("contiguous", 2, 8, 4, 6)),
        (FLAT, LayerAt("contiguous", 2, 8, 1, 1)),
        (FLAT | {"channels": 0}, LayerAt("contiguous", 0, 1, 1, 1)),
    ],
)
def test_rows_of_versions_before_are_of_what_was_measured_then(
    site: dict[str, Any], layer: LayerAt
) -> None:
    assert layer_at(site, 2) == layer
    assert positions_of(site) == ((4, 6) if site is MAPS else ())


def test_the_case_is_the_networks_but_for_its_shape() -> None:
    case = NetworkCase("vit_b_16", "prelu", "all", "training", "bfloat16", 3, 224, "cuda")
    site = FLAT | {
        "samples": 4, "grows": True, "positions": [197], "memory_format": "channels_last"
    }  # fmt: skip

    assert site_case(case, site, "gelu") == SiteCase(
        "prelu", "reference", "training", "eager", "bfloat16", "channels_last", 12, 8, 197, 1,
        "cuda", "gelu",
    )  # fmt: skip
