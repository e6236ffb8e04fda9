import hashlib
import json
import multiprocessing
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dynact.report.figures.declaration import LayerFigure, NetworkFigure
from dynact.report.figures.registry import FIGURES, figures_of
from dynact.report.render import ChoiceError, render
from dynact.report.run import Run
from dynact.report.tensorboard import write_dashboards
from dynact.schema.run_folder import RunNotFoundError, find_run
from tests.report.conftest import visit, visit_once
from tests.report.networks_sample import build_networks
from tests.report.profile_sample import build_profile, write_tables

ROOT = Path(__file__).parents[2]


def write_run(folder, rows, environment, gates=()):
    """Store a run as the sweep does: one JSON object a line."""
    folder.mkdir(parents=True)
    for name, records in (("rows", rows.to_dict("records")), ("gates", gates)):
        lines = [
            json.dumps({k: None if np.isscalar(v) and pd.isna(v) else v for k, v in record.items()})
            + "\n"
            for record in records
        ]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    return folder


def test_render_writes_figures_table_and_summary(make_rows, environment, tmp_path):
    rows = make_rows(batches=(8, 32))
    rows = pd.concat([rows, make_rows(("prelu",), (32,), (7,), dtypes=("bfloat16",))])
    run = write_run(tmp_path / "run", rows, environment)
    written = render(Run(run), formats=("svg",))
    names = [
        f"{name}{phase}"
        for name, figure in figures_of(LayerFigure).items()
        for phase in (("_inference", "_training") if figure.by_phase else ("",))
    ]
    stems = [f"{name}{tail}" for name in names for tail in ("", "_n8")]
    assert {p.relative_to(run).as_posix() for p in written} == {
        "table.csv",
        "summary.md",
        "index.html",
        *(f"figures/{stem}.svg" for stem in stems),
    }
    assert all(path.stat().st_size > 0 for path in written)
    assert len(pd.read_csv(run / "table.csv")) == len(rows)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_several_groups_are_drawn_however_processes_begin(make_rows, environment, tmp_path, method):
    """By a server from Python 3.14 on, anew on a Mac."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(method, force=True)
    try:
        rows = pd.concat([make_rows(), make_rows(("prelu",), (32,), (7, 14), dtypes=("bfloat16",))])
        run = Run(write_run(tmp_path / "run", rows, environment))
        assert sum(group.shapes > 1 for group in run.groups) == 2
        written = render(run, formats=("png",), figures=("overhead_heatmap",))
    finally:
        multiprocessing.set_start_method(before, force=True)
    # Two phases of each group.
    assert sum(path.suffix == ".png" for path in written) == 4


def test_render_draws_what_was_asked_for(make_rows, environment, tmp_path):
    run = write_run(tmp_path / "run", make_rows(phases=("training",)), environment)
    written = render(Run(run), ["time_scaling"], ("png", "pdf"))
    assert {p.name for p in written} == {
        "table.csv", "summary.md", "time_scaling_training.png", "time_scaling_training.pdf",
        "index.html",
    }  # fmt: skip


def test_each_format_holds_the_figure(make_rows, environment, tmp_path):
    run = write_run(tmp_path / "run", make_rows(phases=("training",)), environment)
    render(Run(run), ["overhead_ranking"], ("png", "svg", "pdf"))
    figure = run / "figures/overhead_ranking"
    words = ("PReLU", "DY-ReLU-B", "log scale", "Measured on Some CPU")

    with Image.open(figure.with_suffix(".png")) as image:
        ink = np.asarray(image.convert("L")) < 128
        width, height = image.size
    lines, columns = ink.any(axis=1), ink.any(axis=0)
    # Ink from one side to the other, and most of the paper white.
    assert np.ptp(np.flatnonzero(lines)) > 0.9 * height
    assert np.ptp(np.flatnonzero(columns)) > 0.9 * width
    assert 0.01 < ink.mean() < 0.3

    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    drawing = ElementTree.parse(figure.with_suffix(".svg"), parser).getroot()
    points = [float(drawing.attrib[side].removesuffix("pt")) for side in ("width", "height")]
    # matplotlib draws text as outlines, and says in a comment what they spell.
    texts = " ".join(e.text for e in drawing.iter() if e.tag is ElementTree.Comment)
    assert all(word in texts for word in words)
    assert len(drawing.findall(".//{http://www.w3.org/2000/svg}path")) > 20

    pdf = figure.with_suffix(".pdf").read_bytes()
    assert pdf.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type /Page\b", pdf)) == 1
    box = re.search(rb"/MediaBox \[([\d. ]+)\]", pdf)[1].split()
    assert [float(side) for side in box[2:]] == pytest.approx(points, abs=0.01)
    assert points == pytest.approx([width * 72 / 120, height * 72 / 120], abs=0.7)
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    drawn = max(
        (zlib.decompress(s) for s in streams if s[:1] == b"x"), key=lambda s: s.count(b"TJ")
    )
    # Strings with kerning between them.
    shown = b"".join(re.findall(rb"\(((?:[^()\\]|\\.)*)\)", drawn)).decode("latin-1")
    assert all(word.replace(" ", "") in shown.replace(" ", "") for word in words)


def test_two_processes_write_the_same_bytes(make_rows, environment, fail, tmp_path):
    rows = fail(make_rows(batches=(8, 32)), [3], "oom", "no memory")
    digests = []
    for name, seed in (("one", "1"), ("two", "2")):
        run = write_run(tmp_path / name, rows, environment)
        subprocess.run(
            [sys.executable, ROOT / "scripts/plot_overhead.py", run, "--format", "png,svg,pdf"],
            check=True,
            env={"PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": seed + "000000000"},
        )
        files = [path for path in sorted(run.rglob("*")) if path.is_file()]
        digests.append(
            {str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
        )
    assert digests[0] == digests[1]
    # figures, tables and page, what was stored; report, activations and trials for TensorBoard
    pictures = sum(1 + figure.by_phase for figure in figures_of(LayerFigure).values())
    assert len(digests[0]) == 2 * pictures * 3 + 3 + 3 + 1 + 3 + 47


def test_a_run_without_an_ok_row_is_rendered(make_rows, environment, fail, tmp_path):
    rows = make_rows(phases=("inference",))
    run = write_run(tmp_path / "run", fail(rows, range(12), "oom", "x"), environment)
    written = render(Run(run), formats=("png",))
    assert len(written) == 3 + len(figures_of(LayerFigure))
    assert all(path.stat().st_size > 0 for path in written)


def some(rows):
    return visit_once(rows, range(0, len(rows), 3))


@pytest.mark.parametrize("change", [lambda rows: visit(rows, 7), some, visit_once],
                         ids=["all", "some", "none"])  # fmt: skip
def test_a_run_is_rendered_whichever_cases_have_an_interval(
    make_rows, environment, fail, tmp_path, change
):
    rows = fail(change(make_rows(("prelu", "frelu"), (32,))), [1], "oom", "x")
    run = write_run(tmp_path / "run", rows, environment)
    for name, table in zip(("network", "site"), build_networks(("mobilenet_v2",)), strict=True):
        change(table).to_json(run / f"{name}_rows.jsonl", orient="records", lines=True)
    render(Run(run), formats=("png",))
    write_dashboards(Run(run))
    drawings = list((run / "figures").glob("*.png"))
    layers = figures_of(LayerFigure).values()
    assert len(drawings) == sum(1 + figure.by_phase for figure in layers) + len(
        figures_of(NetworkFigure)
    )
    for text in ("summary.md", "index.html"):
        words = re.sub(r"base64,[^\"]*", "", (run / text).read_text("utf-8"))
        assert not re.search(r"\bnan\b|NaN", words)


def test_captions_say_how_far_to_trust(make_rows, environment, tmp_path, monkeypatch):
    captions = []

    def draw(group, caption):
        captions.append(caption)
        return original.draw(group, caption)

    original = FIGURES["overhead_ranking"]
    monkeypatch.setitem(FIGURES, "overhead_ranking", replace(original, draw=draw))
    gate = {"session": "s", "trustworthy": False, "message": "x", "timing_s": 1, "case_s": 2}
    gate |= {f"{k}_{v}": 1.0 for k in ("self", "more") for v in ("ratio", "lo", "hi")}
    gate |= {"more_elements": 57 / 56}
    told = {"session": "s", "trustworthy": True, "message": "", "resolution": 0.019}
    told |= {"self_pairs": 6, "false_alarms": 0, "groups": [], "detections": []}
    for name, gates in (("bad", [gate]), ("none", []), ("told", [gate, told])):
        run = write_run(tmp_path / name, make_rows(), environment, gates)
        render(Run(run), ["overhead_ranking"], ("png",))
    assert captions == [
        "RATIOS NOT TRUSTWORTHY (known ratios were not found). Measured on Some CPU @ 2.00GHz, "
        "1 thread, torch 2.14.1, 2026-03-01.",
        "Measured on Some CPU @ 2.00GHz, 1 thread, torch 2.14.1, 2026-03-01.",
        # The last word of a session counts.
        "Measured on Some CPU @ 2.00GHz, 1 thread, torch 2.14.1, 2026-03-01. Differences of 1.9 % "
        "or more can be told.",
    ]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"figures": ["overhead_heatmp"]}, "did you mean overhead_heatmap?"),
        ({"figures": []}, "no figure given"),
        ({"formats": ["gif"]}, "no format 'gif'"),
        ({"formats": []}, "no format given"),
    ],
)
def test_unknown_choices_are_refused_before_anything_is_written(
    make_rows, environment, tmp_path, choice, message
):
    run = write_run(tmp_path / "run", make_rows(), environment)
    with pytest.raises(ChoiceError, match=message.replace("?", r"\?")):
        render(Run(run), **choice)
    assert not (run / "table.csv").exists()


def test_a_run_without_rows_is_refused(make_rows, environment, tmp_path):
    run = write_run(tmp_path / "empty", make_rows().iloc[:0], environment)
    with pytest.raises(RunNotFoundError, match="'empty' has no rows"):
        render(Run(run))


@pytest.mark.parametrize("is_there", [True, False], ids=["empty rows.jsonl", "no rows.jsonl"])
def test_a_run_of_networks_alone_is_drawn_as_far_as_it_goes(
    make_rows, environment, tmp_path, is_there
):
    folder = write_run(tmp_path / "run", make_rows().iloc[:0], environment)
    networks, sites = build_networks(("resnet18",))
    # Few processes, and yet in passes.
    networks = networks.assign(visits=4, processes=2)
    for name, rows in (("network", networks), ("site", sites)):
        rows.to_json(folder / f"{name}_rows.jsonl", orient="records", lines=True)
    if not is_there:
        (folder / "rows.jsonl").unlink()

    run = Run(find_run(str(folder), tmp_path))
    written = {path.name for path in render(run, formats=("png",))}
    write_dashboards(run)

    assert written >= {
        "network_heatmap.png", "network_sites.png", "placement_tradeoff.png", "summary.md",
        "index.html",
    }  # fmt: skip
    assert not written & {f"{name}.png" for name in figures_of(LayerFigure)}
    page, summary = ((folder / name).read_text() for name in ("index.html", "summary.md"))
    for text in (page, summary):
        assert "ResNet-18, compared with its own activations: inference takes from " in text
        assert "cases failed" not in text
    assert "the network with the new activations and of the network as it is alternate" in page
    assert "in passes over all of them" in page
    assert "order statistics" not in page
    assert page.count("data:image/png") == 3
    # What a link of the page leads to is there.
    assert {*re.findall(r'href="#([\w-]+)"', page)} <= {*re.findall(r'id="([\w-]+)"', page)}
    with pytest.raises(ChoiceError, match="has no layers, of which a limit could be kept"):
        render(run, at_most=1.5)
    with pytest.raises(ChoiceError, match="no figure 'memory'"):
        render(run, ["memory"])


def test_a_profile_that_was_cut_short_is_refused_before_anything_is_written(
    make_rows, environment, tmp_path
):
    run = write_run(tmp_path / "run", make_rows(), environment)
    call = ("one", "frelu", "training", "aten::max", "other", "forward", 0, 1_000)
    write_tables(run, build_profile([call]))
    steps = run / "traces/steps.csv"
    steps.write_bytes(steps.read_bytes()[:-9])
    command = [sys.executable, ROOT / "scripts/plot_overhead.py", run]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "plot_overhead.py: traces/steps.csv is cut short; remove traces/ and run "
        "profile_traces.py again\n"
    )
    assert not (run / "table.csv").exists()
