import numpy as np
import pytest

from dynact.report.data.prediction import predict
from dynact.report.figures.network_sites import network_sites
from tests.report.figures.reading import labels_of, left_titled, marked, notes_of
from tests.report.networks_sample import build_networks, fail_networks
from tests.report.sample_run import run_of

NAMES = {"prelu": "PReLU", "silu": "SiLU", "frelu": "FReLU", "dyrelu_b": "DY-ReLU-B"}


def blocks_of(axes):
    """For each strip the left ends, bottoms and tops of its blocks, on the page's way down."""
    strips = [c for c in axes.collections if c.get_label() == "sites"]
    corners = [np.array([p.vertices[:4] for p in strip.get_paths()]) for strip in strips]
    return [(c[:, 0, 0], c[:, 0, 1], c[:, 2, 1]) for c in corners]


def test_strips_blocks_are_the_sites_and_the_diamond_the_network():
    networks, sites = build_networks(("resnet18",), phases=("inference",))
    (axes,) = [
        a
        for a in network_sites(run_of(networks=networks, sites=sites)).axes
        if a.get_title(loc="left")
    ]
    prediction = predict(networks, sites)
    order = labels_of(axes)
    totals = prediction.totals.set_index("activation")
    by_cost = totals["overhead"].sort_values().index
    assert order == [NAMES[a] for a in by_cost]
    for strip, activation, rest, whole in zip(
        blocks_of(axes), by_cost, marked(axes, "rest"), marked(axes, "network"), strict=True
    ):
        total = totals.loc[activation]
        parts = prediction.parts[prediction.parts["case_id"] == total["case_id"]]
        # Down the page is more: heights are negative, on a scale of the strip's own.
        lefts, bottoms, tops = strip
        heights = bottoms - tops
        scale = heights.sum() / total["predicted_ns"]
        assert scale > 0
        assert heights == pytest.approx(parts["extra_ns"].to_numpy() * scale)
        assert bottoms[1:] == pytest.approx(tops[:-1])
        assert lefts.tolist() == list(range(17))
        end, network = rest.get_ydata()
        assert end == pytest.approx(tops[-1])
        assert (end - network) / scale == pytest.approx(total["rest_ns"])
        assert whole.get_ydata()[0] == pytest.approx(network)


def test_the_numbers_beside_a_strip_close():
    networks, sites = build_networks(("resnet18",), ("frelu",), ("training",))
    networks.loc[0, ["overhead", "overhead_lo", "overhead_hi"]] = [1.5, 1.49, 1.51]
    networks.loc[0, "baseline_time_ns"] = 100e6
    sites["baseline_time_ns"] = 1e6
    sites[["overhead", "overhead_lo", "overhead_hi"]] = 3.0, 2.94, 3.09  # 17 sites of 2 ms each
    (axes,) = [
        a
        for a in network_sites(run_of(networks=networks, sites=sites)).axes
        if a.get_title(loc="left")
    ]
    texts = [t.get_text() for t in axes.texts]
    assert "1.50×\n+50 ms" in texts
    # Ratios of 2.94 and 3.09 on 1 ms; 49 to 51 ms in the network.
    assert "+34.0 ms\n(+33.0 to +35.5)" in texts
    assert "+16.0 ms\n(+13.5 to +18.0)" in texts
    # One site at 112², four at each of the other resolutions.
    assert [t for t in texts if t.endswith("%")].count("24%") == 4
    assert "6%" in texts


@pytest.mark.parametrize(
    ("network", "stages"),
    [
        ("unet", ["64²", "32²", "16²", "32²", "64²"]),
        ("narrow_unet", ["64²", "32²", "16²", "32²", "64²"]),
        ("lenet", ["28²", "10²", "1²"]),
        ("resnet50", ["112²", "56²", "28²", "14²", "7²"]),
        # A branch of it has the resolution of the next stage first, and squeezes are in all stages.
        ("shufflenet_v2_x0_5", ["112²", "56²", "28²", "14²", "7²"]),
        ("mobilenet_v3_small", ["112²", "56²", "28²", "14²", "7²", "1²"]),
    ],
)
def test_a_stage_is_a_stretch_of_one_resolution(network, stages):
    networks, sites = build_networks((network,), ("prelu",), ("inference",))
    (axes,) = left_titled(network_sites(run_of(networks=networks, sites=sites)))

    texts = [text.get_text() for text in axes.texts]
    assert [text for text in texts if text.endswith("²")] == stages


def test_windows_of_a_map_are_of_its_stage():
    networks, sites = build_networks(("unet",), ("prelu",), ("inference",))
    first, second, *others = networks["sites"][0]
    # As many positions: 64 windows a sample.
    windows = second | {"height": 8, "width": 8, "positions": [8, 8], "samples": 64}
    networks["sites"] = [[first, windows, *others]]
    (axes,) = left_titled(network_sites(run_of(networks=networks, sites=sites)))

    texts = [text.get_text() for text in axes.texts]
    assert [text for text in texts if text.endswith("²")] == ["64²", "32²", "16²", "32²", "64²"]


def test_sites_that_keep_their_activation_stay_flat_on_the_same_axis():
    networks, sites = build_networks(("lenet",), ("prelu", "frelu"), ("inference",))
    (axes,) = [
        a
        for a in network_sites(run_of(networks=networks, sites=sites)).axes
        if a.get_title(loc="left")
    ]
    strips = dict(zip(labels_of(axes), blocks_of(axes), strict=True))
    flat = {name: (bottoms == tops).tolist() for name, (_, bottoms, tops) in strips.items()}
    assert flat == {"PReLU": [False] * 4, "FReLU": [False, False, True, True]}


def test_sites_without_a_layer_are_hatched_and_named():
    networks, sites = build_networks(("resnet18",), ("frelu",), ("inference",))
    sites = sites[sites["channels"] != 256]
    figure = network_sites(run_of(networks=networks, sites=sites))
    (axes,) = left_titled(figure)
    hatched = [p.get_x() for p in axes.patches if p.get_hatch()]
    assert hatched == [9, 10, 11, 12]
    assert "4 of 17 (features.9, features.10, features.11, features.12)" in notes_of(figure)
    assert any(t.get_text().startswith("†") for t in axes.texts)


def test_a_failed_network_says_so_in_its_strip_and_a_lost_one_in_the_notes():
    networks, sites = build_networks(("resnet18", "lenet"), ("prelu", "frelu"), ("inference",))
    figure = network_sites(run_of(networks=fail_networks(networks, [1, 2, 3]), sites=sites))
    panels = left_titled(figure)
    assert len(panels) == 1
    assert "failed: oom" in [t.get_text() for t in panels[0].texts]
    assert "LeNet (oom)" in notes_of(figure)
