"""Rows in groups of equal settings."""

import pandas as pd

from dynact.report.data.settings_groups import settings_groups


def test_groups_put_most_shapes_first_and_name_the_others(make_rows):
    rows = make_rows(batches=(8, 32), dtypes=("bfloat16", "float32"))
    rows = rows[(rows["batch"] == 8) | (rows["channels"] == 32)]
    groups = settings_groups(rows.sample(frac=1, random_state=1))
    assert [group.suffix for group in groups] == ["", "bfloat16", "n32", "n32_bfloat16"]
    assert [group.shapes for group in groups] == [4, 4, 2, 2]
    assert sum(len(group.rows) for group in groups) == len(rows)


def test_of_equals_the_largest_batch_comes_first(make_rows):
    rows = make_rows(batches=(8, 32, 1))

    groups = settings_groups(rows)

    assert [set(group.rows["batch"]) for group in groups] == [{32}, {8}, {1}]
    assert [group.suffix for group in groups] == ["", "n8", "n1"]


def test_implementations_share_a_group_and_are_told_apart(make_rows):
    rows = make_rows(activations=("prelu", "frelu"))
    fused = rows[rows["activation"] == "frelu"].assign(impl="fused")
    (group,) = settings_groups(pd.concat([rows, fused], ignore_index=True))
    assert group.names == {
        "prelu": "PReLU",
        "frelu": "FReLU reference",
        "frelu fused": "FReLU fused",
    }
    assert group.means.loc[("inference", "frelu fused"), "ok"] == 4
    assert set(group.rows["impl"]) == {"reference", "fused"}


def test_whose_means_are_over_fewer_shapes_is_said(make_rows, fail):
    rows = make_rows(activations=("prelu", "frelu"))
    at_one_size = rows[(rows["activation"] == "frelu") & (rows["height"] == 28)]
    both = pd.concat([rows, at_one_size.assign(impl="fused")], ignore_index=True)
    (group,), (whole,) = settings_groups(both), settings_groups(rows)
    failed = rows.index[(rows["activation"] == "prelu") & (rows["phase"] == "training")][:1]
    (lacking,) = settings_groups(fail(rows, failed, "oom", ""))

    assert group.fewer_shapes == "Not over all 4 shapes: FReLU fused 2."
    assert set(group.means["cases"]) == {4}
    assert whole.fewer_shapes == ""
    assert lacking.fewer_shapes == "Not over all 4 shapes: PReLU 3."


def test_where_the_host_decides_the_ratio_of_the_device_alone_is_told(make_rows):
    rows = make_rows(activations=("prelu", "frelu", "dyrelu_b"), phases=("inference",))
    rows["host_share"] = rows["baseline_host_share"] = 0.5
    frelu, dyrelu_b = rows["activation"] == "frelu", rows["activation"] == "dyrelu_b"
    rows.loc[frelu | dyrelu_b, "host_share"] = 1.0
    ratios = [2.0, 8.0, 2.0, 8.0]
    rows["device_overhead"] = 5.0
    rows.loc[frelu, "device_overhead"] = ratios
    rows.loc[dyrelu_b, "device_overhead"] = [3.0, 3.0, float("nan"), 3.0]
    rows["device_overhead_lo"] = rows["device_overhead"] * 0.999
    rows["device_overhead_hi"] = rows["device_overhead"] * 1.001
    failed = rows[frelu].iloc[:1].assign(status="oom", height=112, device_overhead=None)
    (group,) = settings_groups(pd.concat([rows, failed], ignore_index=True))

    # The geometric mean, to the digits that the interval supports.
    assert group.device_alone("inference", "frelu") == "4.000×"
    # Not at all shapes that the other ratio is of; and not where the host does not decide.
    assert group.device_alone("inference", "dyrelu_b") == ""
    assert group.device_alone("inference", "prelu") == ""


def test_a_groups_suffix_is_a_file_name(make_rows):
    one = make_rows()
    other = make_rows(channels=(32,)).assign(device="cuda:0", baseline="a/b.c:D e")
    rows = pd.concat([one, other])
    assert [group.suffix for group in settings_groups(rows)] == ["", "vs_a-b.c-D-e_cuda-0"]
