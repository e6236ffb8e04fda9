from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh

from dynact.report.figures.network_heatmap import network_heatmap
from tests.report.figures.reading import labels_of, notes_of
from tests.report.networks_sample import build_networks, fail_networks
from tests.report.sample_run import run_of

NAMES = {"prelu": "PReLU", "silu": "SiLU", "frelu": "FReLU", "dyrelu_b": "DY-ReLU-B"}


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
    figure = network_heatmap(run_of(networks=networks, sites=sites))
    panels = {a.get_title(loc="left"): a for a in figure.axes if a.get_title(loc="left")}
    assert list(panels) == ["overhead, inference", "overhead, training", "memory, training"]
    order = labels_of(panels["overhead, inference"])
    heads = [t.get_text() for t in panels["overhead, training"].get_xticklabels()]
    subjects = {"MobileNetV2": "mobilenet_v2", "ResNet-18": "resnet18"}
    assert heads == list(subjects)
    rows = networks.set_index(["network", "activation", "phase"])
    activations = {shown: a for a, shown in NAMES.items()}
    for (line, name), (column, head) in product(enumerate(order), enumerate(heads)):
        key = (subjects[head], activations[name])
        for phase in ("inference", "training"):
            shown = mesh_of(panels[f"overhead, {phase}"])[line, column]
            assert shown == rows.loc[(*key, phase), "overhead"]
        row = rows.loc[(*key, "training")]
        per_image = row["memory_per_image_bytes"] / row["baseline_memory_per_image_bytes"]
        expected = 1.5 if np.isnan(per_image) else per_image
        assert mesh_of(panels["memory, training"])[line, column] == pytest.approx(expected)
    texts = [t.get_text() for t in panels["memory, training"].texts]
    assert [t for t in texts if t.endswith("*")] == ["1.50×*"]
    slow = [t.get_text().partition("×")[2] for t in panels["overhead, inference"].texts]
    assert sorted(slow) == [*[""] * 6, "‡", "‡"]
    assert "Star" in notes_of(figure)
    assert "‡: the device became slower or faster" in notes_of(figure)
    assert "Grey" not in notes_of(figure)


def test_heatmap_names_failures_and_leaves_the_unmeasured_blank():
    networks, sites = build_networks()
    networks = fail_networks(networks, [0], "unsupported").drop(index=15)
    figure = network_heatmap(run_of(networks=networks, sites=sites))
    panels = {a.get_title(loc="left"): a for a in figure.axes if a.get_title(loc="left")}
    inference, training = panels["overhead, inference"], panels["overhead, training"]
    assert "unsup-\nported" in [t.get_text() for t in inference.texts]
    assert len([p for p in inference.patches if p.get_hatch()]) == 1
    assert len(inference.texts) == 8
    assert len(training.texts) == 7
    notes = notes_of(figure)
    assert "Hatched" in notes
    assert "Grey" in notes


def test_settings_that_differ_within_a_network_are_told_apart():
    networks, sites = build_networks(("resnet18",), ("prelu",), ("inference",))
    more = networks.assign(batch=32, case_id=networks["case_id"] + "-32", overhead=2.0)
    both = pd.concat([networks, more], ignore_index=True)
    (axes,) = [
        a
        for a in network_heatmap(run_of(networks=both, sites=sites)).axes
        if a.get_title(loc="left")
    ]
    heads = [t.get_text() for t in axes.get_xticklabels()]
    assert heads == ["ResNet-18, batch 8", "ResNet-18, batch 32"]
    assert mesh_of(axes).tolist() == [[networks["overhead"].iloc[0], 2.0]]
