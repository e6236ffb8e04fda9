"""What single layers foretell of a network, computed by hand."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynact.report.data.prediction import lacking_range_note, predict, sites_frame
from tests.report.networks_sample import build_networks, fail_networks

SHARED = {"activation": "frelu", "phase": "training", "dtype": "float32", "device": "cpu"}


def site(
    name: str, channels: int, height: int | None, width: int | None, original: str = "relu"
) -> dict[str, Any]:
    return {
        "name": name, "original": original, "channels": channels, "height": height, "width": width
    }  # fmt: skip


A, B = site("a", 8, 4, 4), site("b", 2, 2, 2)


def network(
    *sites: dict[str, Any],
    overhead: float = 1.5,
    baseline_ns: float = 1e6,
    case_id: str = "n",
) -> dict[str, Any]:
    return {
        "case_id": case_id, "network": "net", "placement": "all", "image_size": 32, "batch": 4,
        "status": "ok", "sites": list(sites), "time_ns": overhead * baseline_ns,
        "baseline_time_ns": baseline_ns, "overhead": overhead, "overhead_lo": overhead - 0.01,
        "overhead_hi": overhead + 0.01, **SHARED,
    }  # fmt: skip


def layer(
    channels: int,
    height: int,
    width: int,
    overhead: float,
    baseline_ns: float,
    baseline: str = "relu",
) -> dict[str, Any]:
    return {
        "batch": 4, "status": "ok", "channels": channels, "height": height, "width": width,
        "memory_format": "contiguous",
        "baseline": baseline, "time_ns": overhead * baseline_ns, "baseline_time_ns": baseline_ns,
        "overhead": overhead, "overhead_lo": overhead - 0.1, "overhead_hi": overhead + 0.1,
        **SHARED,
    }  # fmt: skip


@pytest.mark.parametrize("once", [["network"], ["a"], ["a", "b"], ["network", "a", "b"]])
def test_what_was_visited_once_takes_its_range_from_every_sum_it_is_in(once: list[str]) -> None:
    networks = pd.DataFrame([network(A, B)])
    sites = pd.DataFrame([layer(8, 4, 4, 2.0, 1e4), layer(2, 2, 2, 3.0, 1e4)])
    ends = ["overhead_lo", "overhead_hi"]
    networks[ends], sites[ends] = networks[ends].astype(object), sites[ends].astype(object)
    for name in once:
        if name == "network":
            networks.loc[0, ends] = None
        else:
            sites.loc["ab".index(name), ends] = None

    found = predict(networks, sites)

    (total,) = found.totals.to_dict("records")
    assert (total["predicted_ns"], total["measured_ns"]) == pytest.approx((3e4, 5e5))
    assert total["rest_ns"] == pytest.approx(4.7e5)
    assert math.isnan(total["measured_lo_ns"]) == ("network" in once)
    assert math.isnan(total["predicted_hi_ns"]) == (once != ["network"])
    assert math.isnan(total["rest_lo_ns"])
    assert total["unmeasured"] == ""
    assert lacking_range_note(found.totals).startswith("A sum or rest without a range")


def test_with_all_ranges_there_is_no_word_on_them() -> None:
    found = predict(pd.DataFrame([network(A)]), pd.DataFrame([layer(8, 4, 4, 2.0, 1e4)]))
    assert lacking_range_note(found.totals) == ""


def test_a_fully_connected_site_is_one_position_as_its_layer_is_measured() -> None:
    stored = [
        site("features.0.2", 32, 16, 8, original="relu6"),
        site("classifier.1", 1280, None, None, original="hardswish"),
    ]

    sites = sites_frame(stored)

    assert sites[["name", "baseline", "channels", "height", "width"]].to_numpy().tolist() == [
        ["features.0.2", "relu6", 32, 16, 8],
        ["classifier.1", "hardswish", 1280, 1, 1],
    ]


def test_a_site_is_explained_by_the_layer_of_its_memory_for_any_batch() -> None:
    of_tokens = {"samples": 1, "grows": True, "positions": [7], "memory_format": "channels_last"}
    tokens = site("tokens", 8, None, None) | of_tokens
    windows = site("windows", 8, None, None) | of_tokens | {"samples": 3}
    table = site("table", 8, None, None) | of_tokens | {"grows": False}
    clip = site("clip", 8, None, None) | of_tokens | {
        "positions": [2, 3, 5], "memory_format": "contiguous"
    }  # fmt: skip
    networks = pd.DataFrame([network(tokens, windows, table, clip)])
    sites = pd.DataFrame(
        [
            layer(8, 7, 1, 2.0, 10.0) | {"memory_format": "channels_last", "batch": batch}
            for batch in (1, 4, 12)
        ]
        + [layer(8, 6, 5, 2.0, 40.0)]
    )
    sites["baseline_time_ns"] *= sites["batch"]

    parts = predict(networks, sites).parts

    assert parts["extra_ns"].tolist() == pytest.approx([40, 120, 10, 160])
    assert parts["positions"].tolist() == ["7 tokens", "7 tokens", "7 tokens", "2×3×5"]


@pytest.mark.parametrize("cell", [[], None, math.nan])
def test_a_row_without_sites_has_none(cell: object) -> None:
    assert sites_frame(cell).empty


def test_the_sum_by_hand() -> None:
    # 2 × 1000 × (3 − 1) + 500 × (2 − 1) = 4500; the network took 20000 × (1.3 − 1) = 6000.
    connected = site("c", 10, None, None, original="hardswish")
    networks = pd.DataFrame([network(A, A, connected, overhead=1.3, baseline_ns=20000.0)])
    sites = pd.DataFrame(
        [layer(8, 4, 4, 3.0, 1000.0), layer(10, 1, 1, 2.0, 500.0, baseline="hardswish")]
    )

    found = predict(networks, sites)

    assert found.parts["extra_ns"].tolist() == pytest.approx([2000, 2000, 500])
    assert found.parts["site"].tolist() == [1, 2, 3]
    total = found.totals.iloc[0]
    assert total["predicted_ns"] == pytest.approx(4500)
    # Half-widths of 0.1 × 1000, twice, and 0.1 × 500.
    assert total["predicted_lo_ns"] == pytest.approx(4250)
    assert total["predicted_hi_ns"] == pytest.approx(4750)
    assert total["measured_ns"] == pytest.approx(6000)
    assert total["rest_ns"] == pytest.approx(1500)
    # 20000 × 0.01 on the network's side, 250 on the sites'.
    assert total["rest_lo_ns"] == pytest.approx(1500 - 200 - 250)
    assert total["rest_hi_ns"] == pytest.approx(1500 + 200 + 250)
    assert (total["site_count"], total["unmeasured"]) == (3, "")


@pytest.mark.parametrize(
    "other",
    [
        {"activation": "prelu"}, {"phase": "inference"}, {"dtype": "bfloat16"}, {"batch": 8},
        {"device": "cuda"}, {"baseline": "relu6"}, {"channels": 9}, {"height": 5}, {"width": 5},
        {"memory_format": "channels_last"},
        {"status": "oom", "time_ns": None, "overhead": None},
    ],
)  # fmt: skip
def test_a_layer_that_differs_in_anything_is_not_the_sites(other: dict[str, Any]) -> None:
    networks = pd.DataFrame([network(A, B)])
    sites = pd.DataFrame([layer(8, 4, 4, 3.0, 1000.0) | other, layer(2, 2, 2, 2.0, 100.0)])

    total = predict(networks, sites).totals.iloc[0]

    assert total["unmeasured"] == "a"
    assert total["predicted_ns"] == pytest.approx(100)


def test_no_sum_is_known_where_no_site_was_measured_and_none_is_zero() -> None:
    networks = pd.DataFrame([network(A), network(case_id="none")])
    sites = pd.DataFrame([layer(1, 1, 1, 2.0, 5.0)])

    totals = predict(networks, sites).totals.set_index("case_id")

    assert math.isnan(totals.loc["n", "predicted_ns"])
    assert math.isnan(totals.loc["n", "rest_ns"])
    assert totals.loc["none", "predicted_ns"] == 0
    assert totals.loc["none", "rest_ns"] == pytest.approx(totals.loc["none", "measured_ns"])


def test_failed_networks_predict_nothing() -> None:
    networks, sites = build_networks()

    found = predict(fail_networks(networks, list(range(len(networks)))), sites)

    assert found.totals.empty
    assert found.parts.empty


def test_without_any_layer_nothing_is_known() -> None:
    networks, sites = build_networks()

    found = predict(networks, sites.iloc[:0])

    assert found.totals["predicted_ns"].isna().all()
    assert found.parts["extra_ns"].isna().all()


ratios = st.floats(0.2, 100)
times = st.floats(1.0, 1e9)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
measured = st.dictionaries(shapes, st.tuples(ratios, times), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(measured=measured, picks=st.lists(st.integers(0, 99), min_size=1, max_size=40), cut=ratios)
def test_the_whole_is_the_sum_of_its_parts_however_it_is_cut(
    measured: dict[tuple[int, int, int], tuple[float, float]], picks: list[int], cut: float
) -> None:
    order = [sorted(measured)[i % len(measured)] for i in picks]
    places = [site(f"s{i}", *shape) for i, shape in enumerate(order)]
    half = len(places) // 2
    networks = pd.DataFrame(
        [
            network(*places, overhead=cut, case_id="whole"),
            network(*places[:half], overhead=cut, case_id="head"),
            network(*places[half:], overhead=cut, case_id="tail"),
        ]
    )
    sites = pd.DataFrame([layer(*shape, *figures) for shape, figures in measured.items()])

    found = predict(networks, sites)

    totals = found.totals.set_index("case_id")
    expected = math.fsum(measured[shape][1] * (measured[shape][0] - 1) for shape in order)
    scale = max(measured[shape][1] * measured[shape][0] for shape in order)
    near = {"rel": 1e-9, "abs": 1e-9 * scale * len(order) * 100}
    assert totals.loc["whole", "predicted_ns"] == pytest.approx(expected, **near)
    for end in ("", "_lo", "_hi"):
        column = totals[f"predicted{end}_ns"]
        assert column["whole"] == pytest.approx(column["head"] + column["tail"], **near)
    assert (totals["predicted_lo_ns"] <= totals["predicted_hi_ns"]).all()
    assert np.allclose(totals["predicted_ns"] + totals["rest_ns"], totals["measured_ns"], rtol=1e-9)
    assert (found.parts["extra_lo_ns"] <= found.parts["extra_ns"]).all()
    assert (found.parts["extra_ns"] <= found.parts["extra_hi_ns"]).all()
