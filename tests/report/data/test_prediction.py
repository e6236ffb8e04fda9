import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynact.report.data.prediction import parse_sites, predict
from tests.report.networks_sample import build_networks, fail_networks

SHARED = {"activation": "frelu", "phase": "training", "dtype": "float32", "device": "cpu"}


def network(sites, overhead=1.5, baseline_ns=1e6, half=0.01, case_id="n", **fields):
    return {
        "case_id": case_id, "network": "net", "placement": "all", "image_size": 32, "batch": 4,
        "status": "ok", "sites": sites, "time_ns": overhead * baseline_ns,
        "baseline_time_ns": baseline_ns, "overhead": overhead, "overhead_lo": overhead - half,
        "overhead_hi": overhead + half, **SHARED, **fields,
    }  # fmt: skip


def layer(channels, height, width, overhead, baseline_ns, baseline="relu", half=0.1, **fields):
    return {
        "batch": 4, "status": "ok", "channels": channels, "height": height, "width": width,
        "baseline": baseline, "time_ns": overhead * baseline_ns, "baseline_time_ns": baseline_ns,
        "overhead": overhead, "overhead_lo": overhead - half, "overhead_hi": overhead + half,
        **SHARED, **fields,
    }  # fmt: skip


def test_a_listing_reads_back_with_fully_connected_sites_as_one_position():
    sites = parse_sites("features.0.2=relu6:32x16x8 classifier.1=hardswish:1280")
    assert sites.values.tolist() == [
        ["features.0.2", "relu6", 32, 16, 8],
        ["classifier.1", "hardswish", 1280, 1, 1],
    ]
    assert parse_sites("").empty


def test_the_sum_by_hand():
    # 2 × 1000 × (3 − 1) + 500 × (2 − 1) = 4500; the network took 20000 × (1.3 − 1) = 6000.
    networks = pd.DataFrame(
        [network("a=relu:8x4x4 b=relu:8x4x4 c=hardswish:10", overhead=1.3, baseline_ns=20000.0)]
    )
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
        {"status": "oom", "time_ns": None, "overhead": None},
    ],
)  # fmt: skip
def test_a_layer_that_differs_in_anything_is_not_the_sites(other):
    networks = pd.DataFrame([network("a=relu:8x4x4 b=relu:2x2x2")])
    sites = pd.DataFrame([layer(8, 4, 4, 3.0, 1000.0) | other, layer(2, 2, 2, 2.0, 100.0)])
    total = predict(networks, sites).totals.iloc[0]
    assert total["unmeasured"] == "a"
    assert total["predicted_ns"] == pytest.approx(100)


def test_no_sum_is_known_where_no_site_was_measured_and_none_is_zero():
    networks = pd.DataFrame([network("a=relu:8x4x4"), network("", case_id="none")])
    sites = pd.DataFrame([layer(1, 1, 1, 2.0, 5.0)])
    totals = predict(networks, sites).totals.set_index("case_id")
    assert math.isnan(totals.loc["n", "predicted_ns"])
    assert math.isnan(totals.loc["n", "rest_ns"])
    assert totals.loc["none", "predicted_ns"] == 0
    assert totals.loc["none", "rest_ns"] == pytest.approx(totals.loc["none", "measured_ns"])


def test_failed_networks_and_no_rows_at_all_predict_nothing():
    networks, sites = build_networks()
    found = predict(fail_networks(networks, list(range(len(networks)))), sites)
    assert found.totals.empty
    assert found.parts.empty
    without = predict(networks, sites.iloc[:0])
    assert without.totals["predicted_ns"].isna().all()
    assert without.parts["extra_ns"].isna().all()


ratios = st.floats(0.2, 100)
times = st.floats(1.0, 1e9)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
measured = st.dictionaries(shapes, st.tuples(ratios, times), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(measured=measured, picks=st.lists(st.integers(0, 99), min_size=1, max_size=40), cut=ratios)
def test_the_whole_is_the_sum_of_its_parts_however_it_is_cut(measured, picks, cut):
    order = [sorted(measured)[i % len(measured)] for i in picks]
    names = [f"s{i}=relu:{'x'.join(map(str, shape))}" for i, shape in enumerate(order)]
    half = len(names) // 2
    networks = pd.DataFrame(
        [
            network(" ".join(part), overhead=cut, case_id=case_id)
            for case_id, part in (("whole", names), ("head", names[:half]), ("tail", names[half:]))
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
