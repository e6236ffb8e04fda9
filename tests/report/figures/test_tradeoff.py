import pytest

from dynact.networks.published import PUBLISHED
from dynact.report.figures.tradeoff import has_published, tradeoff
from tests.report.figures.reading import left_titled, marked, notes_of
from tests.report.networks_sample import build_networks, fail_networks
from tests.report.sample_run import run_of


def test_tradeoff_goes_from_the_papers_baseline_to_the_measured_overhead():
    networks, sites = build_networks(
        ("resnet50", "shufflenet_v2_x0_5"),
        ("silu", "frelu", "acon_c"),
        ("training",),
        ("all", "paper"),
    )
    figure = tradeoff(run_of(networks=networks, sites=sites))
    panels = {a.get_title(loc="left"): a for a in figure.axes if a.get_title(loc="left")}
    assert list(panels) == ["ResNet-50, training", "ShuffleNetV2 0.5×, training"]
    ratios = networks.set_index(["network", "activation", "placement"])["overhead"]
    expected = {
        "ResNet-50, training": [
            (76.0, 76.5, ratios["resnet50", "silu", "all"]),
            (76.0, 76.5, ratios["resnet50", "silu", "all"]),
            (76.0, 76.8, ratios["resnet50", "acon_c", "paper"]),
            (76.0, 77.6, ratios["resnet50", "frelu", "paper"]),
        ],
        "ShuffleNetV2 0.5×, training": [
            (60.4, 61.3, ratios["shufflenet_v2_x0_5", "silu", "all"]),
            (60.6, 61.7, ratios["shufflenet_v2_x0_5", "silu", "all"]),
            (60.6, 63.0, ratios["shufflenet_v2_x0_5", "acon_c", "all"]),
        ],
    }
    for name, axes in panels.items():
        drawn = sorted((*line.get_ydata(), line.get_xdata()[1]) for line in marked(axes, "gain"))
        assert drawn == sorted(expected[name])
    notes = notes_of(figure)
    assert "FReLU in ResNet-50" in notes
    assert "MobileNetV2 (DY-ReLU-B)" in notes
    assert "stride" in notes


def test_tradeoff_draws_no_accuracy_at_places_that_are_not_the_papers():
    networks, sites = build_networks(("resnet50",), ("frelu", "prelu"), ("inference",))
    figure = tradeoff(run_of(networks=networks, sites=sites))
    (axes,) = left_titled(figure)
    assert len(marked(axes, "activation")) == 1  # PReLU
    assert "not drawn so: FReLU in ResNet-50." in notes_of(figure)


def test_tradeoff_leaves_networks_without_a_published_figure_out():
    networks, sites = build_networks(("mobilenet_v2", "lenet"), phases=("inference",))
    figure = tradeoff(run_of(networks=networks, sites=sites))
    assert [a.get_title(loc="left") for a in figure.axes if a.get_title(loc="left")] == [
        "MobileNetV2, inference"
    ]
    assert "without a published figure here: LeNet." in notes_of(figure)
    assert "does not name the variant" in notes_of(figure)


def test_there_is_none_where_nothing_measured_is_published():
    for networks, there in (("lenet",), False), (("lenet", "mobilenet_v2"), True):
        rows, sites = build_networks(networks)
        assert has_published(run_of(networks=rows, sites=sites)) == there
        failed = fail_networks(rows, list(range(len(rows))))
        assert not has_published(run_of(networks=failed, sites=sites))


def test_tradeoff_says_at_its_axes_where_the_overhead_was_measured():
    networks, sites = build_networks(("mobilenet_v2",), ("dyrelu_b",), ("training",))
    networks = networks.assign(image_size=48, speed_drift=1.3)
    figure = tradeoff(run_of(networks=networks, sites=sites))
    (axes,) = left_titled(figure)
    assert axes.get_xlabel().endswith("batch 8, float32, images of 48², cpu")
    assert axes.get_ylabel() == "published top-1 at 224² (%)"
    assert any(t.get_text().endswith("×‡ [1]") for t in axes.texts)
    assert "‡: the device" in notes_of(figure)


@pytest.mark.parametrize(("network", "said"), [("shufflenet_v2_x0_5", True), ("resnet50", False)])
def test_tradeoff_tells_how_the_authors_narrow_meta_acon_differs(network, said):
    networks, sites = build_networks((network,), ("meta_acon_c",), placements=("all", "paper"))
    assert ("r = 8" in notes_of(tradeoff(run_of(networks=networks, sites=sites)))) == said


def test_published_accuracies_are_those_of_their_sources():
    # Top-1 errors in percent as the READMEs list them: the original's, then the activation's.
    errors = {
        ("FReLU", "resnet50"): (24.0, {"prelu": 23.7, "silu": 23.5, "frelu": 22.4}),
        ("FReLU", "shufflenet_v2_x0_5"): (
            39.6,
            {"prelu": 39.1, "silu": 38.7, "frelu_light": 37.1},
        ),
        ("ACON", "shufflenet_v2_x0_5"): (
            39.4,
            {"silu": 38.3, "acon_c": 37.0, "meta_acon_c": 34.8},
        ),
        ("ACON", "shufflenet_v2_x1_5"): (
            27.4,
            {"silu": 26.8, "acon_c": 26.5, "meta_acon_c": 24.7},
        ),
        ("ACON", "resnet50"): (24.0, {"silu": 23.5, "acon_c": 23.2, "meta_acon_c": 22.0}),
        ("ACON", "resnet101"): (22.8, {"silu": 22.7, "acon_c": 21.8, "meta_acon_c": 21.0}),
        ("DY-ReLU", "mobilenet_v2"): (28.0, {"dyrelu_b": 23.8}),
    }
    found = {
        (p.source.title, p.network, p.activation): (p.baseline_top1, p.top1) for p in PUBLISHED
    }
    assert found == {
        (*key, activation): (round(100 - original, 1), round(100 - error, 1))
        for key, (original, of) in errors.items()
        for activation, error in of.items()
    }
    assert len(PUBLISHED) == len(found)
