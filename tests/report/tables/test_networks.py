import math

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from dynact.report.data.budget import budget_of
from dynact.report.data.prediction import predict
from dynact.report.tables.networks import (
    network_findings,
    network_notes,
    network_records,
    network_sections,
    networks_markdown,
)
from tests.report.network_situations import (
    SITUATIONS,
    Situation,
    failed,
    kept,
    lacking,
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
from tests.report.networks_sample import ACTIVATIONS, KEPT_BECAUSE, build_networks, fail_networks
from tests.report.sample_run import run_of


def test_records_hold_what_a_hand_computes():
    networks, sites = build_networks(("resnet18",), ("frelu",))
    where = networks["phase"] == "training"
    networks.loc[where, ["memory_fixed_bytes", "memory_per_image_bytes"]] = [1e9, 4.1e7]
    networks.loc[where, ["baseline_memory_fixed_bytes", "baseline_memory_per_image_bytes"]] = [
        0.5e9,
        2e7,
    ]
    networks.loc[where, ["time_ns", "baseline_time_ns"]] = [4e7, 2e7]
    (record,) = network_records(run_of(networks=networks, sites=sites))
    assert (record.network, record.activation) == ("ResNet-18", "FReLU")
    # (16e9 − 1e9) / 4.1e7 = 365.8; (16e9 − 0.5e9) / 2e7 = 775
    assert (record.largest_batch, record.original_largest_batch) == (365, 775)
    assert record.memory_ratio == pytest.approx(2.05)
    assert (record.memory_per_image_bytes, record.original_memory_per_image_bytes) == (4.1e7, 2e7)
    assert record.training.images_per_s == pytest.approx(200)  # 8 images in 40 ms
    assert record.training.original_images_per_s == pytest.approx(400)
    total = predict(networks, sites).totals.set_index("phase").loc["training"]
    assert record.training.rest == tuple(total[["rest_ns", "rest_lo_ns", "rest_hi_ns"]])
    assert record.flops == int(9e8)


def test_records_of_failures_hold_the_reason_and_no_numbers():
    networks, sites = build_networks(("resnet18",), ("frelu",))
    (record,) = network_records(
        run_of(networks=fail_networks(networks, [0, 1], "crashed"), sites=sites)
    )
    assert record.training.status == record.inference.status == "failed: crashed"
    assert record.parameters is record.memory_ratio is record.largest_batch is None


def test_markdown_is_tables_with_a_line_an_activation():
    networks, sites = build_networks(("mobilenet_v2", "lenet"), (*ACTIVATIONS, "m:A|B*"))
    networks = fail_networks(networks, [3])
    networks["flops"] = networks["flops"].where(
        networks["case_id"] != "mobilenet_v2-dyrelu_b-inference-all", 1_044_000_000
    )
    text = networks_markdown(run_of(networks=networks, sites=sites))
    html = MarkdownIt().enable("table").render(text)
    assert html.count("<h3>") == 2
    assert html.count("<table>") == 10
    # Of each network the speeds, the costs, the extra times of two kinds of call, the sites.
    for table, columns in zip(html.split("<table>")[1:], 2 * (5, 6, 5, 5, 3), strict=True):
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
    assert "about +5 %" not in networks_markdown(run_of(networks=elsewhere, sites=sites))
    only_lenet, layers = build_networks(("lenet",))
    assert "about +5 %" not in networks_markdown(run_of(networks=only_lenet, sites=layers))


def test_the_finding_names_the_cheapest_and_the_dearest_with_all_sites():
    networks, _ = build_networks(("resnet18",), ("prelu", "silu", "frelu"), ("training",))
    for row, ratio in enumerate((1.1, 2.2, 1.8)):
        ends = ["overhead", "overhead_lo", "overhead_hi"]
        networks.loc[row, ends] = [ratio, ratio - 0.002, ratio + 0.002]
    # At fewer sites it is cheaper than all others.
    fewer = networks.iloc[[0]].assign(case_id="fewer", placement="sites:1-3", overhead=1.01)
    both = pd.concat([networks, fewer], ignore_index=True)

    assert network_findings(run_of(networks=both)) == [
        "ResNet-18, compared with its own activations: training takes from 1.100× (PReLU) to "
        "2.200× (SiLU) the time."
    ]
    failed = both.assign(status="oom")
    assert network_findings(run_of(networks=failed)) == [
        "ResNet-18, compared with its own activations: nothing could be measured: every case "
        "failed."
    ]
    (alone,) = network_findings(run_of(networks=fewer))
    assert "(PReLU (3 sites)) the time" in alone

    many, _ = build_networks(
        ("lenet", "resnet18", "resnet50", "mobilenet_v2", "unet", "narrow_unet")
    )
    *_, last = network_findings(run_of(networks=many))
    assert last == "And 1 more."


def test_markdown_of_no_rows_is_empty_and_of_failures_is_not():
    networks, sites = build_networks(("lenet",))
    assert networks_markdown(run_of(networks=networks.iloc[:0], sites=sites)) == ""
    assert "failed: oom" in networks_markdown(
        run_of(networks=fail_networks(networks, list(range(8))), sites=sites)
    )


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
    text = networks_markdown(run_of(networks=networks, sites=sites))
    _, _, inference, training, _ = tables_of(text)
    assert inference[0][0] == "extra time of a call in inference"
    assert inference[2] == [
        *("FReLU", "+340 µs (+330 to +355)", "+500 µs (+490 to +510)", "+160 µs (+135 to +180)"),
        # 17 × 10 of 1000 µs; 17 × 30 of 1500.
        "17 % → 34 %",
    ]
    assert training[0][0] == "extra time of a training step"
    assert training[2] == [
        "FReLU", "+34.0 ms (+33.0 to +35.5)", "+50.0 ms (+49.0 to +51.0)",
        "+16.0 ms (+13.5 to +18.0)", "17 % → 34 %",
    ]  # fmt: skip


def test_tables_mark_what_is_not_to_be_taken_at_its_word_and_explain_it_once():
    networks, sites = build_networks(("resnet18",), ("frelu",))
    networks["speed_drift"] = [1.3, None]
    speeds, *_ = tables_of(networks_markdown(run_of(networks=networks, sites=sites)))
    assert speeds[2][1].endswith(") ‡")
    assert speeds[2][3].endswith(")")
    (meaning, *others) = network_notes(run_of(networks=networks))
    assert meaning.count("‡: the device became slower or faster") == 1
    assert not any("‡" in note for note in others)
    assert "‡" not in " ".join(network_notes(run_of(networks=networks.assign(speed_drift=None))))


@pytest.mark.parametrize(("visits", "within"), [(None, True), (7, False)])
def test_an_interval_is_one_within_the_run_only_where_it_is_of_one_visit(
    visits: int | None, within: bool
) -> None:
    networks, sites = build_networks(("resnet18",), ("frelu",))

    text = networks_markdown(
        run_of(
            networks=networks.assign(visits=visits, observations=visits, processes=visits and 4),
            sites=sites,
        )
    )

    assert ("its 95 % interval within this run" in text) == within
    assert "its 95 % interval" in text


@pytest.mark.parametrize(
    ("counted", "heading"),
    [(224, "MACs at 224² (extra)"), (48, "MACs (extra)"), (None, "MACs (extra)")],
)
def test_headings_say_where_counts_are_of_another_size_than_the_timed(counted, heading):
    networks, sites = build_networks(("resnet18",), ("frelu", "silu"))
    networks = networks.assign(image_size=48, counted_image_size=counted)
    networks = fail_networks(networks, [2, 3])  # of SiLU nothing was counted
    _, costs, *_ = tables_of(networks_markdown(run_of(networks=networks, sites=sites)))
    assert costs[0][2] == heading


def test_a_stated_largest_batch_is_the_last_that_the_notes_formula_allows():
    networks, sites = build_networks(("resnet18",), ("frelu",))
    (record,) = network_records(run_of(networks=networks, sites=sites))
    row = networks.set_index("phase").loc["training"]
    for most, prefix in ((record.largest_batch, ""), (record.original_largest_batch, "baseline_")):
        fixed, image = (row[f"{prefix}memory_{part}_bytes"] for part in ("fixed", "per_image"))
        assert fixed + most * image <= 16e9 < fixed + (most + 1) * image
    (note,) = [n for n in network_notes(run_of(networks=networks)) if "computed, not tried" in n]
    assert "memory_fixed_bytes + n × memory_per_image_bytes" in note
    assert "does not exceed 16 GB" in note


def test_the_largest_batch_is_that_of_the_memory_asked_for():
    networks, sites = build_networks(("resnet18",), ("frelu",))
    networks["memory_fixed_bytes"] = networks["baseline_memory_fixed_bytes"] = 2**30
    networks["memory_per_image_bytes"] = 2.0**30
    networks["baseline_memory_per_image_bytes"] = 1e6
    run = run_of(networks=networks, sites=sites)

    _, costs, *_ = tables_of(networks_markdown(run, budget_of("24GiB")))

    assert costs[0][4:] == ["memory an image, training", "largest batch in 24 GiB"]
    # Of 23 GiB that are left; the original takes 23 × 2^30 / 10^6 images: nobody will.
    original, frelu = costs[2:]
    assert frelu[4:] == ["1073.74× (1.1 GB)", "23"]
    assert original[4:] == ["1× (1.0 MB)", "more than 10,000"]
    assert "does not exceed 24 GiB" in network_notes(run, budget_of("24GiB"))[3]


@pytest.mark.parametrize(
    ("left", "said"), [(10_000, "10,000"), (10_001, "more than 10,000"), (0, "0")]
)
def test_more_images_than_make_a_difference_are_not_counted(left, said):
    networks, sites = build_networks(("resnet18",), ("frelu",))
    networks["memory_fixed_bytes"] = 16e9 - left * 1000
    networks["memory_per_image_bytes"] = 1000.0

    _, costs, *_ = tables_of(networks_markdown(run_of(networks=networks, sites=sites)))

    assert costs[-1][-1] == said


def test_a_share_of_what_was_measured_alone_is_at_least_so_much():
    networks, sites = build_networks(("resnet18",), ("frelu",), ("inference",))
    networks[["overhead", "baseline_time_ns"]] = 2.0, 1e6
    sites[["overhead", "baseline_time_ns"]] = 5.0, 2e4
    some = sites[sites["channels"] == 512]  # 4 of 17 sites

    for layers, share in ((sites, "34 % → 85 %"), (some, "≥ 8 % → ≥ 20 %"), (sites[:0], "–")):
        _, _, extra, *_ = tables_of(networks_markdown(run_of(networks=networks, sites=layers)))

        assert extra[0][-1] == "activations’ share, about"
        assert extra[-1][-1] == share


def test_kept_sites_are_told_with_their_reasons():
    networks, sites = build_networks(("lenet",), ("prelu", "frelu", "frelu_light"))
    text = (
        f"FReLU, FReLU light: 2 of 4 sites keep ReLU: {KEPT_BECAUSE} (classifier.2, classifier.3)."
    )
    (section,) = network_sections(run_of(networks=networks, sites=sites))
    assert section.notes == [text]
    (section,) = network_sections(
        run_of(networks=networks.assign(kept_sites=math.nan), sites=sites)
    )
    assert section.notes == []


# What is said where something is so, by the situations in which it is.
SAID: dict[str, set[Situation]] = {
    "(paper), (official): only where": {placed, placed_officially},
    "A range in place of a ratio: its 95 % interval": {wide},
    "been visited once: ": {visited_once},
    "A sum or rest without a range": {visited_once, sites_visited_once},
    "‡: the device became slower or faster": {unsteady},
    "† Sites without a measured layer are not in the sum": {without_a_layer},
    "×\\*": {of_peaks},
    "failed: oom": {failed, one_lost},
    "| ≥ ": {lacking, without_a_layer},
    "% → ≥ ": {without_a_layer},
    " at 224² (extra)": {small},
    "1 of ": {kept},
}


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_what_holds_sometimes_is_said_then_and_only_then(situation: Situation) -> None:
    text = networks_markdown(run_in(situation))

    assert {what: what in text for what in SAID} == {
        what: situation in when for what, when in SAID.items()
    }


def test_the_sites_to_give_up_first_are_those_that_cost_most_by_their_numbers() -> None:
    networks, sites = build_networks(("resnet18",), ("frelu",), ("training",))
    for number, site in enumerate(networks["sites"][0], start=11):
        site["number"] = number
    parts = predict(networks, sites).parts
    first = parts.sort_values("extra_ns", ascending=False, kind="stable").iloc[0]

    (section,) = network_sections(run_of(networks=networks, sites=sites))
    table = section.tables[-1]

    assert table.header[0] == "sites to give up first"
    ((what, named, half),) = table.lines
    assert what == "FReLU, training"
    assert named.startswith(f"{first['site'] + 10} {first['name']} (+")
    assert named.endswith(" and 13 more")
    assert " of 17, foretold " in half
