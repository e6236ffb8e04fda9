"""The trade-off of sites against time, held against the rows that it is drawn from."""

import pandas as pd
import pytest

from dynact.report.data.prediction import predict
from dynact.report.figures.placement_tradeoff import placement_tradeoff
from tests.report.figures.reading import left_titled, marked, notes_of, texts
from tests.report.networks_sample import build_networks
from tests.report.sample_run import run_of


def with_fewer(networks: pd.DataFrame, kept: int, overhead: float) -> pd.DataFrame:
    """Return rows of which the first was measured at its first sites alone too."""
    whole = networks.iloc[0].to_dict()
    fewer = whole | {
        "case_id": "fewer", "placement": f"sites:1-{kept}", "sites": whole["sites"][:kept],
        "overhead": overhead, "overhead_lo": overhead - 0.02, "overhead_hi": overhead + 0.03,
    }  # fmt: skip
    return pd.concat([networks, pd.DataFrame([fewer])], ignore_index=True)


def test_a_step_is_what_a_site_adds_alone_scaled_to_the_whole_network():
    networks, sites = build_networks(("resnet18",), ("frelu",), ("training",))
    networks.loc[0, "overhead"] = 1.8
    (axes,) = left_titled(placement_tradeoff(run_of(networks=networks, sites=sites)))

    (line,) = marked(axes, "foretold")
    kept, ratios = line.get_data()
    extras = sorted(predict(networks, sites).parts["extra_ns"], reverse=True)
    assert kept.tolist() == [*range(17, -1, -1)]
    assert ratios[0] == 1.8
    assert ratios[-1] == pytest.approx(1)
    for given in range(18):
        left = sum(extras[given:]) / sum(extras)
        assert ratios[given] == pytest.approx(1 + 0.8 * left)
    (diamond,) = marked(axes, "measured")
    assert diamond.get_xydata().tolist() == [[17, 1.8]]


def test_what_was_measured_with_fewer_sites_stands_beside_and_the_budget_across():
    networks, sites = build_networks(("resnet18",), ("frelu",), ("training",))
    whole = networks["case_id"][0]
    within = [{"case_id": whole, "budget": 1.3, "placement": "sites:1-9"}]
    run = run_of(networks=with_fewer(networks, 9, 1.25), sites=sites, within=within)
    figure = placement_tradeoff(run)
    (axes,) = left_titled(figure)

    assert [m.get_xydata().tolist() for m in marked(axes, "measured")][1:] == [[[9, 1.25]]]
    (interval,) = [line for line in axes.lines if list(line.get_xdata()) == [9, 9]]
    assert list(interval.get_ydata()) == pytest.approx([1.23, 1.28])
    (budget,) = marked(axes, "budget")
    assert set(budget.get_ydata()) == {1.3}
    assert "within 1.3×: 9 stay, 1.25× measured" in texts(figure)
    assert "Foretold to keep 1.3×: 9 of 17 sites (FReLU in ResNet-18, training)" in notes_of(figure)


def test_where_none_fits_or_nothing_is_left_to_measure_that_is_said():
    networks, sites = build_networks(("resnet18",), ("frelu",), ("training",))
    within = [{"case_id": networks["case_id"][0], "budget": 1.1, "placement": ""}]
    figure = placement_tradeoff(run_of(networks=networks, sites=sites, within=within))

    assert "within 1.1×: none fits" in texts(figure)
    assert "Foretold to keep 1.1×: 0 of 17 sites" in notes_of(figure)


def test_the_title_says_how_few_sites_are_half_of_it():
    networks, sites = build_networks(("resnet18",), ("frelu",), ("training",))
    extras = sorted(predict(networks, sites).parts["extra_ns"], reverse=True)
    halves = next(n for n in range(18) if sum(extras[n:]) <= sum(extras) / 2)

    title = notes_of(placement_tradeoff(run_of(networks=networks, sites=sites)))

    assert (
        f"Giving up {halves} of 17 sites is foretold to halve what FReLU costs in ResNet-18"
        in title
    )


def test_each_network_and_phase_has_a_panel_and_each_activation_a_line():
    networks, sites = build_networks(("resnet18", "mobilenet_v2"), ("frelu", "dyrelu_b"))
    panels = left_titled(placement_tradeoff(run_of(networks=networks, sites=sites)))

    assert [axes.get_title(loc="left") for axes in panels] == [
        "ResNet-18, inference", "ResNet-18, training",
        "MobileNetV2, inference", "MobileNetV2, training",
    ]  # fmt: skip
    assert all(len(marked(axes, "foretold")) == 2 for axes in panels)
