import math
from itertools import product

import matplotlib
import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh

from dynact.networks.published import PUBLISHED
from dynact.report.data.kept_sites import kept_sites_notes, parse_kept_sites
from dynact.report.data.network_frames import extra_with_range, labelled
from dynact.report.data.prediction import predict
from dynact.report.figures.network_heatmap import network_heatmap
from dynact.report.figures.network_sites import network_sites
from dynact.report.figures.tradeoff import tradeoff
from dynact.report.tables.networks import (
    network_notes,
    network_records,
    network_sections,
    networks_markdown,
)
from tests.report.networks_sample import ACTIVATIONS, KEPT_BECAUSE, build_networks, fail_networks

FIGURES = {"sites": network_sites, "heatmap": network_heatmap, "tradeoff": tradeoff}
NAMES = {"prelu": "PReLU", "silu": "SiLU", "frelu": "FReLU", "dyrelu_b": "DY-ReLU-B"}
LONG = "some.package:AnActivationWhoseAuthorLikedVeryLongClassNamesIndeed"
DOLLAR = r"some.package:$\frac{Cost$"


def notes_of(figure):
    return " ".join(" ".join(t.get_text().split()) for t in figure.texts)


def marked(axes, label):
    return [line for line in axes.lines if line.get_label() == label]


def blocks_of(axes):
    """For each strip the left ends, bottoms and tops of its blocks, on the page's way down."""
    strips = [c for c in axes.collections if c.get_label() == "sites"]
    corners = [np.array([p.vertices[:4] for p in strip.get_paths()]) for strip in strips]
    return [(c[:, 0, 0], c[:, 0, 1], c[:, 2, 1]) for c in corners]


def labels_of(axes):
    return [t.get_text() for t in axes.get_yticklabels()]


def test_strips_blocks_are_the_sites_and_the_diamond_the_network():
    networks, sites = build_networks(("resnet18",), phases=("inference",))
    (axes,) = [a for a in network_sites(networks, sites).axes if a.get_title(loc="left")]
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
    (axes,) = [a for a in network_sites(networks, sites).axes if a.get_title(loc="left")]
    texts = [t.get_text() for t in axes.texts]
    assert "1.50×\n+50 ms" in texts
    # Ratios of 2.94 and 3.09 on 1 ms; 49 to 51 ms in the network.
    assert "+34.0 ms\n(+33.0 to +35.5)" in texts
    assert "+16.0 ms\n(+13.5 to +18.0)" in texts
    # One site at 112², four at each of the other resolutions.
    assert [t for t in texts if t.endswith("%")].count("24%") == 4
    assert "6%" in texts


def test_sites_that_keep_their_activation_stay_flat_on_the_same_axis():
    networks, sites = build_networks(("lenet",), ("prelu", "frelu"), ("inference",))
    (axes,) = [a for a in network_sites(networks, sites).axes if a.get_title(loc="left")]
    strips = dict(zip(labels_of(axes), blocks_of(axes), strict=True))
    flat = {name: (bottoms == tops).tolist() for name, (_, bottoms, tops) in strips.items()}
    assert flat == {"PReLU": [False] * 4, "FReLU": [False, False, True, True]}


def test_sites_without_a_layer_are_hatched_and_named():
    networks, sites = build_networks(("resnet18",), ("frelu",), ("inference",))
    sites = sites[sites["channels"] != 256]
    figure = network_sites(networks, sites)
    (axes,) = [a for a in figure.axes if a.get_title(loc="left")]
    hatched = [p.get_x() for p in axes.patches if p.get_hatch()]
    assert hatched == [9, 10, 11, 12]
    assert "4 of 17 (features.9, features.10, features.11, features.12)" in notes_of(figure)
    assert any(t.get_text().startswith("†") for t in axes.texts)


def test_a_failed_network_says_so_in_its_strip_and_a_lost_one_in_the_notes():
    networks, sites = build_networks(("resnet18", "lenet"), ("prelu", "frelu"), ("inference",))
    figure = network_sites(fail_networks(networks, [1, 2, 3]), sites)
    panels = [a for a in figure.axes if a.get_title(loc="left")]
    assert len(panels) == 1
    assert "failed: oom" in [t.get_text() for t in panels[0].texts]
    assert "LeNet (oom)" in notes_of(figure)


def mesh_of(axes):
    (mesh,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    return mesh.get_array()


def test_heatmap_shows_each_ratio_where_it_belongs():
    networks, sites = build_networks()
    networks.loc[0, ["memory_per_image_bytes", "peak_bytes"]] = [None, 7.5e7]  # not training
    networks.loc[1, ["memory_per_image_bytes", "peak_bytes"]] = [None, 7.5e7]  # 1.5 of peaks
    networks.loc[2, "converged"] = False
    networks.loc[4, ["converged", "speed_drift"]] = [False, 1.3]
    networks.loc[6, "speed_drift"] = 0.8
    figure = network_heatmap(networks, sites)
    panels = {a.get_title(loc="left"): a for a in figure.axes if a.get_title(loc="left")}
    assert list(panels) == ["slow-down, inference", "slow-down, training", "memory, training"]
    order = labels_of(panels["slow-down, inference"])
    heads = [t.get_text() for t in panels["slow-down, training"].get_xticklabels()]
    subjects = {"MobileNetV2": "mobilenet_v2", "ResNet-18": "resnet18"}
    assert heads == list(subjects)
    rows = networks.set_index(["network", "activation", "phase"])
    activations = {shown: a for a, shown in NAMES.items()}
    for (line, name), (column, head) in product(enumerate(order), enumerate(heads)):
        key = (subjects[head], activations[name])
        for phase in ("inference", "training"):
            shown = mesh_of(panels[f"slow-down, {phase}"])[line, column]
            assert shown == rows.loc[(*key, phase), "overhead"]
        row = rows.loc[(*key, "training")]
        per_image = row["memory_per_image_bytes"] / row["baseline_memory_per_image_bytes"]
        expected = 1.5 if np.isnan(per_image) else per_image
        assert mesh_of(panels["memory, training"])[line, column] == pytest.approx(expected)
    texts = [t.get_text() for t in panels["memory, training"].texts]
    assert [t for t in texts if t.endswith("*")] == ["1.50×*"]
    slow = [t.get_text().partition("×")[2] for t in panels["slow-down, inference"].texts]
    assert sorted(slow) == ["", "", "", "", "", "~", "~‡", "‡"]
    assert "Star" in notes_of(figure)
    assert "~: the interval" in notes_of(figure)
    assert "‡: the device changed its speed" in notes_of(figure)
    assert "Grey" not in notes_of(figure)


def test_heatmap_names_failures_and_leaves_the_unmeasured_blank():
    networks, sites = build_networks()
    networks = fail_networks(networks, [0], "unsupported").drop(index=15)
    figure = network_heatmap(networks, sites)
    panels = {a.get_title(loc="left"): a for a in figure.axes if a.get_title(loc="left")}
    inference, training = panels["slow-down, inference"], panels["slow-down, training"]
    assert "unsup-\nported" in [t.get_text() for t in inference.texts]
    assert len([p for p in inference.patches if p.get_hatch()]) == 1
    assert len(inference.texts) == 8
    assert len(training.texts) == 7
    notes = notes_of(figure)
    assert "Hatched" in notes
    assert "Grey" in notes


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


def test_tradeoff_goes_from_the_papers_baseline_to_the_measured_slowdown():
    networks, sites = build_networks(
        ("resnet50", "shufflenet_v2_x0_5"),
        ("silu", "frelu", "acon_c"),
        ("training",),
        ("all", "paper"),
    )
    figure = tradeoff(networks, sites)
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
    figure = tradeoff(networks, sites)
    (axes,) = [a for a in figure.axes if a.get_title(loc="left")]
    assert len(marked(axes, "activation")) == 1  # PReLU
    assert "not drawn so: FReLU in ResNet-50." in notes_of(figure)


def test_tradeoff_leaves_networks_without_a_published_figure_out():
    networks, sites = build_networks(("mobilenet_v2", "lenet"), phases=("inference",))
    figure = tradeoff(networks, sites)
    assert [a.get_title(loc="left") for a in figure.axes if a.get_title(loc="left")] == [
        "MobileNetV2, inference"
    ]
    assert "without a published figure here: LeNet." in notes_of(figure)
    assert "does not name the variant" in notes_of(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_say_when_nothing_was_measured(name):
    networks, sites = build_networks(phases=("inference",))
    failed = fail_networks(networks, list(range(len(networks))))
    for layers in (sites, sites.iloc[:0]):
        figure = FIGURES[name](failed, layers, "")
        (line,) = [t.get_text() for axes in figure.axes for t in axes.texts]
        assert line == "Nothing to draw: none of the 8 cases was measured (8 oom)."


def test_tradeoff_says_when_nothing_measured_is_published():
    networks, sites = build_networks(("lenet",))
    (line,) = [t.get_text() for a in tradeoff(networks, sites).axes for t in a.texts]
    assert line.startswith("Nothing to draw: none of the 8 measured cases holds ")


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_one_network_one_phase_one_activation_is_drawn_without_its_layers(name, phase):
    networks, sites = build_networks(("mobilenet_v2",), ("dyrelu_b",), (phase,))
    figure = FIGURES[name](networks, sites.iloc[:0], "")
    assert any(phase in axes.get_title(loc="left") for axes in figure.axes)


def test_settings_that_differ_within_a_network_are_told_apart():
    networks, sites = build_networks(("resnet18",), ("prelu",), ("inference",))
    more = networks.assign(batch=32, case_id=networks["case_id"] + "-32", overhead=2.0)
    both = pd.concat([networks, more], ignore_index=True)
    (axes,) = [a for a in network_heatmap(both, sites).axes if a.get_title(loc="left")]
    heads = [t.get_text() for t in axes.get_xticklabels()]
    assert heads == ["ResNet-18, batch 8", "ResNet-18, batch 32"]
    assert mesh_of(axes).tolist() == [[networks["overhead"].iloc[0], 2.0]]


@pytest.mark.parametrize("name", FIGURES)
def test_all_text_lies_on_the_page_and_no_setting_changes(name):
    before = dict(matplotlib.rcParams)
    networks, sites = build_networks(
        ("mobilenet_v2", "shufflenet_v2_x0_5"),
        ("silu", "meta_acon_c", "dyrelu_b", "frelu_light", LONG, DOLLAR),
    )
    networks = pd.concat([networks, networks.assign(batch=32, case_id=networks["case_id"] + "x")])
    figure = FIGURES[name](networks.reset_index(drop=True), sites, "cost: $5$ {")
    assert dict(matplotlib.rcParams) == before
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    beyond = {
        tick.label1
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    texts = [t for t in figure.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]
    texts = [t for t in texts if t not in beyond]
    assert len(texts) > 5
    assert not any(t.get_parse_math() for t in texts if "$" in t.get_text())
    for text in texts:
        box = text.get_window_extent(canvas.get_renderer())
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text


def test_records_hold_what_a_hand_computes():
    networks, sites = build_networks(("resnet18",), ("frelu",))
    where = networks["phase"] == "training"
    networks.loc[where, ["memory_fixed_bytes", "memory_per_image_bytes"]] = [1e9, 4.1e7]
    networks.loc[where, ["baseline_memory_fixed_bytes", "baseline_memory_per_image_bytes"]] = [
        0.5e9,
        2e7,
    ]
    networks.loc[where, ["time_ns", "baseline_time_ns"]] = [4e7, 2e7]
    (record,) = network_records(networks, sites)
    assert (record.network, record.activation) == ("ResNet-18", "FReLU")
    # (16e9 − 1e9) / 4.1e7 = 365.8; (16e9 − 0.5e9) / 2e7 = 775
    assert (record.largest_batch, record.original_largest_batch) == (365, 775)
    assert record.memory_ratio == pytest.approx(2.05)
    assert record.training.images_per_s == pytest.approx(200)  # 8 images in 40 ms
    assert record.training.original_images_per_s == pytest.approx(400)
    total = predict(networks, sites).totals.set_index("phase").loc["training"]
    assert record.training.rest == tuple(total[["rest_ns", "rest_lo_ns", "rest_hi_ns"]])
    assert record.flops == int(9e8)


def test_records_of_failures_hold_the_reason_and_no_numbers():
    networks, sites = build_networks(("resnet18",), ("frelu",))
    (record,) = network_records(fail_networks(networks, [0, 1], "crashed"), sites)
    assert record.training.status == record.inference.status == "failed: crashed"
    assert record.parameters is record.memory_ratio is record.largest_batch is None


def test_markdown_is_tables_with_a_line_an_activation():
    networks, sites = build_networks(("mobilenet_v2", "lenet"), (*ACTIVATIONS, "m:A|B*"))
    networks = fail_networks(networks, [3])
    networks["flops"] = networks["flops"].where(
        networks["case_id"] != "mobilenet_v2-dyrelu_b-inference-all", 1_044_000_000
    )
    text = networks_markdown(networks, sites)
    html = MarkdownIt().enable("table").render(text)
    assert html.count("<h3>") == 2
    assert html.count("<table>") == 8
    # Of each network the speeds, the costs, and the extra times of two kinds of call.
    for table, columns in zip(html.split("<table>")[1:], 2 * (5, 6, 4, 4), strict=True):
        header, *lines = table.split("<tr>")[1:]
        assert header.count("</th>") == columns
        assert {line.count("</td>") for line in lines} == {columns}
    assert "A|B*" in html
    assert "failed: oom" in html
    # (1044 − 900) / 900 = +16 %
    assert "MobileNetV2 with DY-ReLU-B: +16 % FLOPs" in html
    assert "about +5 %" in html
    assert "(images of 224²); the paper says" in html
    elsewhere = networks.assign(counted_image_size=48)
    assert "about +5 %" not in networks_markdown(elsewhere, sites)
    only_lenet, layers = build_networks(("lenet",))
    assert "about +5 %" not in networks_markdown(only_lenet, layers)


def test_markdown_of_no_rows_is_empty_and_of_failures_is_not():
    networks, sites = build_networks(("lenet",))
    assert networks_markdown(networks.iloc[:0], sites) == ""
    assert "failed: oom" in networks_markdown(fail_networks(networks, list(range(8))), sites)


def tables_of(text):
    """For each table of Markdown its lines of cells."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("| ")]
    return [[line.strip("| ").split(" | ") for line in block] for block in blocks]


def test_markdown_gives_what_was_predicted_and_measured_with_ranges_in_both_phases():
    networks, sites = build_networks(("resnet18",), ("frelu",))
    networks[["overhead", "overhead_lo", "overhead_hi"]] = [1.5, 1.49, 1.51]
    networks["baseline_time_ns"] = networks["phase"].map({"inference": 1e6, "training": 100e6})
    sites["baseline_time_ns"] = sites["phase"].map({"inference": 1e4, "training": 1e6})
    sites[["overhead", "overhead_lo", "overhead_hi"]] = 3.0, 2.94, 3.09  # at 17 sites
    *_, inference, training = tables_of(networks_markdown(networks, sites))
    assert inference[0][0] == "extra time of a call in inference"
    assert inference[2] == [
        *("FReLU", "+340 µs (+330 to +355)", "+500 µs (+490 to +510)", "+160 µs (+135 to +180)"),
    ]
    assert training[0][0] == "extra time of a training step"
    assert training[2] == [
        "FReLU", "+34.0 ms (+33.0 to +35.5)", "+50.0 ms (+49.0 to +51.0)",
        "+16.0 ms (+13.5 to +18.0)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ((4.86e6, -9.8e6, 36.8e6), "+4.9 ms (−9.8 to +36.8)"),
        ((690e3, -54.6e6, 54e6), "+0.7 ms (−54.6 to +54.0)"),
        ((-40.0, -50.0, 9.99e5), "+0 µs (+0 to +999)"),
        ((5.0, 4.0, 999.7e3), "+0.00 ms (+0.00 to +1.00)"),
        ((0.0, 0.0, 0.0), "+0.00 ns (+0.00 to +0.00)"),
        ((math.nan, math.nan, math.nan), "–"),
    ],
)
def test_an_extra_time_and_its_range_share_a_unit(extra, expected):
    assert extra_with_range(*extra) == expected


def test_tables_mark_what_is_not_to_be_taken_at_its_word_and_explain_it_once():
    networks, sites = build_networks(("resnet18",), ("frelu",))
    networks["converged"] = [False, False]
    networks["speed_drift"] = [1.3, None]
    speeds, *_ = tables_of(networks_markdown(networks, sites))
    assert speeds[2][1].endswith(r") \~‡")
    assert speeds[2][3].endswith(r") \~")
    (meaning, *others) = network_notes(networks)
    assert meaning.count("~: the interval was still wide") == 1
    assert meaning.count("‡: the device changed its speed") == 1
    assert not any("~" in note or "‡" in note for note in others)
    assert "~" not in " ".join(network_notes(networks.assign(converged=True)))


@pytest.mark.parametrize(
    ("counted", "heading"),
    [(224, "MACs at 224² (extra)"), (48, "MACs (extra)"), (None, "MACs (extra)")],
)
def test_headings_say_where_counts_are_of_another_size_than_the_timed(counted, heading):
    networks, sites = build_networks(("resnet18",), ("frelu", "silu"))
    networks = networks.assign(image_size=48, counted_image_size=counted)
    networks = fail_networks(networks, [2, 3])  # of SiLU nothing was counted
    _, costs, *_ = tables_of(networks_markdown(networks, sites))
    assert costs[0][2] == heading


def test_a_stated_largest_batch_is_the_last_that_the_notes_formula_allows():
    networks, sites = build_networks(("resnet18",), ("frelu",))
    (record,) = network_records(networks, sites)
    row = networks.set_index("phase").loc["training"]
    for most, prefix in ((record.largest_batch, ""), (record.original_largest_batch, "baseline_")):
        fixed, image = (row[f"{prefix}memory_{part}_bytes"] for part in ("fixed", "per_image"))
        assert fixed + most * image <= 16e9 < fixed + (most + 1) * image
    (note,) = [n for n in network_notes(networks) if "computed, not tried" in n]
    assert "memory_fixed_bytes + n × memory_per_image_bytes" in note


def test_kept_sites_are_told_with_their_reasons():
    networks, sites = build_networks(("lenet",), ("prelu", "frelu", "frelu_light"))
    text = (
        f"FReLU, FReLU light: 2 of 4 sites keep ReLU: {KEPT_BECAUSE} (classifier.2, classifier.3)."
    )
    (section,) = network_sections(networks, sites)
    assert section.notes == [text]
    (section,) = network_sections(networks.assign(kept_sites=math.nan), sites)
    assert section.notes == []


def test_kept_sites_read_back_whatever_their_reasons_hold():
    kept = parse_kept_sites(
        "fc1.relu=relu:120 – not 2D; use x=4 – or 3; gate.1=hardsigmoid:16x1x1 – in a gate"
    )
    assert kept[["name", "baseline", "channels", "reason"]].values.tolist() == [
        ["fc1.relu", "relu", 120, "not 2D; use x=4 – or 3"],
        ["gate.1", "hardsigmoid", 16, "in a gate"],
    ]
    older = parse_kept_sites("relu#3=relu:120 relu#4=relu:84")
    assert older[["name", "reason"]].values.tolist() == [["relu#3", ""], ["relu#4", ""]]
    assert parse_kept_sites("").empty


def test_long_lists_of_kept_sites_are_shortened_with_counts():
    networks, _ = build_networks(("lenet",), ("prelu",), ("inference",))
    reasons = ["a"] * 9 + ["b"] * 5 + ["c"] * 4 + ["d", "e"]
    listing = "; ".join(f"s.{i}=relu:8x4x4 – {reason}" for i, reason in enumerate(reasons))
    (line,) = kept_sites_notes(labelled(networks.assign(kept_sites=listing)))
    assert line == (
        "PReLU: 9 of 24 sites keep ReLU: a (s.0, s.1, s.2 and 6 more); "
        "5 of 24 sites keep ReLU: b (s.9, s.10, s.11 and 2 more); "
        "4 of 24 sites keep ReLU: c (s.14, s.15, s.16 and 1 more); 2 more, for other reasons."
    )


def test_tradeoff_says_at_its_axes_where_the_slowdown_was_measured():
    networks, sites = build_networks(("mobilenet_v2",), ("dyrelu_b",), ("training",))
    networks = networks.assign(image_size=48, converged=False)
    figure = tradeoff(networks, sites)
    (axes,) = [a for a in figure.axes if a.get_title(loc="left")]
    assert axes.get_xlabel().endswith("batch 8, float32, images of 48², cpu")
    assert axes.get_ylabel() == "published top-1 at 224² (%)"
    assert any(t.get_text().endswith("×~ [1]") for t in axes.texts)
    assert "~: the interval" in notes_of(figure)


@pytest.mark.parametrize(("network", "said"), [("shufflenet_v2_x0_5", True), ("resnet50", False)])
def test_tradeoff_tells_how_the_authors_narrow_meta_acon_differs(network, said):
    networks, sites = build_networks((network,), ("meta_acon_c",), placements=("all", "paper"))
    assert ("r = 8" in notes_of(tradeoff(networks, sites))) == said


def plain(networks, sites):
    return networks, sites


def wide(networks, sites):
    return networks.assign(converged=False), sites


def unsteady(networks, sites):
    return networks.assign(speed_drift=1.3), sites


def of_peaks(networks, sites):
    return networks.assign(memory_per_image_bytes=None), sites


def failed(networks, sites):
    return fail_networks(networks, [len(networks) - 1]), sites


def one_lost(networks, sites):
    return fail_networks(networks, list(networks.index[networks["network"] == "resnet18"])), sites


def not_measured(networks, sites):
    return networks.iloc[:-1], sites


def in_inference(networks, sites):
    return networks.assign(phase="inference"), sites.assign(phase="inference")


def placed(networks, sites):
    return networks.assign(placement="paper"), sites


def placed_officially(networks, sites):
    return networks.assign(placement="official"), sites


def without_a_layer(networks, sites):
    return networks, sites[sites["channels"] != 64]


def lacking(networks, sites):
    networks.loc[networks["activation"] == "frelu", "uncounted_ops"] = "aten::fft"
    return networks, sites


def small(networks, sites):
    return networks.assign(image_size=48), sites


def kept(networks, sites):
    return networks.assign(kept_sites="fc.1=relu:120 – it is flat"), sites


SITUATIONS = [
    plain, wide, unsteady, of_peaks, failed, one_lost, not_measured, in_inference, placed,
    placed_officially, without_a_layer, lacking, small, kept,
]  # fmt: skip

# What is said where something is so, by the situations in which it is: in no other may it be.
SAID = {
    network_heatmap: {
        "~: the interval was still wide": {wide},
        "‡: the device changed its speed": {unsteady},
        "Star: the ratio of the peaks": {of_peaks},
        "Hatched: the case failed": {failed, one_lost},
        "Grey: not measured": {not_measured},
        "(paper), (official): only where": {placed, placed_officially},
        "Memory: bytes that one more image": set(SITUATIONS) - {in_inference},
    },
    network_sites: {
        "~: the interval was still wide": {wide},
        "‡: the device changed its speed": {unsteady},
        "(paper), (official): only where": {placed, placed_officially},
        "† and hatched: sites without a measured layer": {without_a_layer},
        "Left out, no case measured: ResNet-18 (oom).": {one_lost},
        "failed: oom": {failed},
    },
    tradeoff: {
        # Of these layers and networks DY-ReLU-B in MobileNetV2 is published, for no official code.
        "Accuracies are of images of 224², slow-downs of 48²": {small},
        "~: the interval was still wide": {wide},
        "‡: the device changed its speed": {unsteady},
        "other places than where the paper has it": set(),
        "stride of a stage": set(),
        "Published, not measured in this run: ResNet-50 (": set(SITUATIONS) - {placed_officially},
        "MobileNetV2 (DY-ReLU-B)": set(),
        "without a published figure here: ResNet-18": set(SITUATIONS) - {placed_officially},
        "does not name the variant": set(SITUATIONS) - {placed_officially},
    },
    networks_markdown: {
        "(paper), (official): only where": {placed, placed_officially},
        "the interval was still wide": {wide},
        "‡: the device changed its speed": {unsteady},
        "† Sites without a measured layer are not in the sum": {without_a_layer},
        "×\\*": {of_peaks},
        "failed: oom": {failed, one_lost},
        "| ≥ ": {lacking},
        " at 224² (extra)": {small},
        "1 of ": {kept},
    },
}


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
@pytest.mark.parametrize("show", SAID, ids=lambda show: show.__name__)
def test_what_holds_sometimes_is_said_then_and_only_then(show, situation):
    rows = build_networks(("mobilenet_v2", "resnet18"), ("dyrelu_b", "frelu"), ("training",))
    shown = show(*situation(*rows))
    if not isinstance(shown, str):
        notes = [t.get_text() for t in shown.findobj(matplotlib.text.Text)]
        shown = " ".join(" ".join(notes).split())

    assert {what: what in shown for what in SAID[show]} == {
        what: situation in when for what, when in SAID[show].items()
    }
