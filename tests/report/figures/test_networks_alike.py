"""What holds of every figure of networks, whatever the rows."""

import matplotlib
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dynact.report.figures.declaration import NetworkFigure
from dynact.report.figures.registry import figures_of
from tests.report.figures.reading import beyond_the_axes
from tests.report.network_situations import (
    SITUATIONS,
    Situation,
    failed,
    in_inference,
    not_measured,
    of_peaks,
    one_lost,
    placed,
    placed_officially,
    run_in,
    sites_visited_once,
    small,
    unsteady,
    visited_once,
    wide,
    without_a_layer,
)
from tests.report.networks_sample import build_networks, fail_networks
from tests.report.sample_run import run_of

FIGURES = figures_of(NetworkFigure)

LONG = "some.package:AnActivationWhoseAuthorLikedVeryLongClassNamesIndeed"

DOLLAR = r"some.package:$\frac{Cost$"

# What a figure says where something is so, by the situations in which it is.
SAID: dict[str, dict[str, set[Situation]]] = {
    "network_heatmap": {
        "A range in place of a ratio: its 95 % interval": {wide},
        "been visited once: ": {visited_once},
        "‡: the device became slower or faster": {unsteady},
        "Star: the ratio of the peaks": {of_peaks},
        "Hatched: the case failed": {failed, one_lost},
        "Grey: not measured": {not_measured},
        "(paper), (official): only where": {placed, placed_officially},
        "Memory: bytes that one more image": set(SITUATIONS) - {in_inference},
    },
    "network_sites": {
        "A range in place of a ratio: its 95 % interval": {wide},
        "been visited once: ": {visited_once},
        "‡: the device became slower or faster": {unsteady},
        "(paper), (official): only where": {placed, placed_officially},
        "A sum or rest without a range": {visited_once, sites_visited_once},
        "† and hatched: sites without a measured layer": {without_a_layer},
        "Left out, no case measured: ResNet-18 (oom).": {one_lost},
        "failed: oom": {failed},
    },
    "placement_tradeoff": {
        "A range in place of a ratio: its 95 % interval": {wide},
        "been visited once: ": {visited_once},
        "‡: the device became slower or faster": {unsteady},
        "without a measured layer stay": {without_a_layer},
        "Giving up": set(SITUATIONS) - {placed, placed_officially},
    },
    "tradeoff": {
        # Of these layers and networks DY-ReLU-B in MobileNetV2 is published, for no official code.
        "Accuracies are of images of 224²": {small},
        "overheads of 48²": {small},
        "A range in place of a ratio: its 95 % interval": {wide},
        "been visited once: ": {visited_once},
        "‡: the device became slower or faster": {unsteady},
        "other places than where the paper has it": set(),
        "stride of a stage": set(),
        "Published, not measured in this run: ResNet-50 (": set(SITUATIONS),
        "MobileNetV2 (DY-ReLU-B)": set(),
        "without a published figure here: ResNet-18": set(SITUATIONS),
        "does not name the variant": set(SITUATIONS),
        "Meta-ACON has a BatchNorm": set(),
    },
}


@pytest.mark.parametrize("name", ["network_heatmap", "network_sites"])
def test_figures_say_when_nothing_was_measured(name):
    networks, sites = build_networks(phases=("inference",))
    failed = fail_networks(networks, list(range(len(networks))))
    for layers in (sites, sites.iloc[:0]):
        figure = FIGURES[name].draw(run_of(networks=failed, sites=layers), "")
        (line,) = [t.get_text() for axes in figure.axes for t in axes.texts]
        assert line == "Nothing to draw: none of the 8 cases was measured (8 oom)."


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_one_network_one_phase_one_activation_is_drawn_without_its_layers(name, phase):
    networks, sites = build_networks(("mobilenet_v2",), ("dyrelu_b",), (phase,))
    figure = FIGURES[name].draw(run_of(networks=networks, sites=sites.iloc[:0]), "")
    assert any(phase in axes.get_title(loc="left") for axes in figure.axes)


@pytest.mark.parametrize("name", FIGURES)
def test_all_text_lies_on_the_page_and_no_setting_changes(name):
    before = dict(matplotlib.rcParams)
    networks, sites = build_networks(
        ("mobilenet_v2", "shufflenet_v2_x0_5"),
        ("silu", "meta_acon_c", "dyrelu_b", "frelu_light", LONG, DOLLAR),
    )
    networks = pd.concat([networks, networks.assign(batch=32, case_id=networks["case_id"] + "x")])
    run = run_of(networks=networks.reset_index(drop=True), sites=sites)
    figure = FIGURES[name].draw(run, "cost: $5$ {")
    assert dict(matplotlib.rcParams) == before
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [t for t in figure.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]
    texts = [t for t in texts if t not in beyond_the_axes(figure)]
    assert len(texts) > 5
    assert not any(t.get_parse_math() for t in texts if "$" in t.get_text())
    for text in texts:
        box = text.get_window_extent(canvas.get_renderer())
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
@pytest.mark.parametrize("name", FIGURES)
def test_what_holds_sometimes_is_said_then_and_only_then(name: str, situation: Situation) -> None:
    run = run_in(situation)
    if not FIGURES[name].is_there(run):
        pytest.skip("there is no such figure then")
    figure = FIGURES[name].draw(run, "")

    words = " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))
    words = " ".join(words.split())
    assert {what: what in words for what in SAID[name]} == {
        what: situation in when for what, when in SAID[name].items()
    }
