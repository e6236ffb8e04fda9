import base64
import json
import os
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dynact.report.data.profile import Profile
from dynact.report.figures.declaration import ProfileFigure
from dynact.report.figures.registry import FIGURES, figures_of
from dynact.report.page.page import write_page
from dynact.report.render import render
from dynact.report.run import Run
from tests.report.conftest import visit_once
from tests.report.networks_sample import build_networks
from tests.report.profile_sample import build_profile, write_tables
from tests.report.test_render import write_run
from tests.report.ways_sample import together, written

EVIL = "evil:<img src=x onerror=alert(1)>"
GATE = {
    "session": "s", "trustworthy": True, "message": "", "more_elements": 1.018,
    "self_overhead": 1.0003, "self_overhead_lo": 0.999, "self_overhead_hi": 1.001,
    "more_overhead": 1.02, "more_overhead_lo": 1.01, "more_overhead_hi": 1.03,
}  # fmt: skip


class Page(HTMLParser):
    """What a browser without scripts would make of it: tables, images, text."""

    def __init__(self, html):
        super().__init__()
        self.html = html
        self.tables, self.images, self.links, self.text = [], [], [], []
        self.inside = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "img":
            self.images.append(attributes)
        elif tag == "a":
            self.links.append(attributes["href"])
        if tag in ("script", "style", "td", "th"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data):
        if self.inside and self.inside[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += f" {data}"
        if not set(self.inside) & {"script", "style"}:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())

    @property
    def ranked(self):
        """The ranked table as {activation: {heading: cell}}."""
        ranked = next(table for table in self.tables if table[0][0].strip() == "activation")
        header, *lines = ([" ".join(cell.split()) for cell in line] for line in ranked)
        return {line[0]: dict(zip(header[1:], line[1:], strict=True)) for line in lines}

    @property
    def rows(self):
        """What the script gets as one record a row."""
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', self.html)
        columns = json.loads(found[1])["columns"]
        cells = {
            c["name"]: [c["words"][cell] for cell in c["cells"]] if "words" in c else c["cells"]
            for c in columns
        }
        return pd.DataFrame(cells)


@pytest.fixture
def page_of(environment, tmp_path):
    def build(rows, gates=(), **changes):
        run = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        write_run(run, rows, environment | changes, gates)
        return Page(write_page(Run(run)).read_text("utf-8"))

    return build


def test_the_ranked_table_agrees_with_the_rows(make_rows, page_of):
    rows = make_rows()
    ranked = page_of(rows).ranked
    names = {"PReLU": "prelu", "FReLU": "frelu", "DY-ReLU-B": "dyrelu_b"}
    cheapest = []
    assert set(ranked) == set(names)
    for name, cells in ranked.items():
        mine = rows[rows["activation"] == names[name]]
        for phase in ("inference", "training"):
            part = mine[mine["phase"] == phase]
            logs = np.log(part["overhead"])
            half = np.sqrt(sum(np.log(part["overhead_hi"] / part["overhead_lo"]) ** 2 / 4)) / len(
                part
            )
            ratio, low, high = re.findall(r"[\d.]+", cells[f"overhead, {phase}"])
            assert float(ratio) == pytest.approx(np.exp(logs.mean()), rel=6e-3)
            assert float(low) == pytest.approx(np.exp(logs.mean() - half), rel=6e-3)
            assert float(high) == pytest.approx(np.exp(logs.mean() + half), rel=6e-3)
            floor = np.median(part["time_ns"] / part["floor_time_ns"])
            shown = float(cells[f"time ÷ floor, {phase}"].strip("×"))
            assert shown == pytest.approx(floor, rel=0.06)
            if phase == "inference":
                cheapest.append(float(ratio))
        training = mine[mine["phase"] == "training"]
        kept = training["saved_for_backward_bytes"] / training["baseline_saved_for_backward_bytes"]
        shown = float(cells["kept for backward, × ReLU"].strip("×"))
        assert shown == pytest.approx(np.exp(np.log(kept).mean()), rel=0.06)
        flops = np.exp(np.log(mine["flops"] / mine["baseline_flops"]).mean())
        assert float(cells["FLOPs, × ReLU"].strip("×")) == pytest.approx(flops, rel=0.06)
        assert cells["parameters"] == str(mine["parameters"].iloc[0])
    assert cheapest == sorted(cheapest)


def test_implementations_stand_beside_their_reference(page_of):
    reference, fused = written("reference", (60.0, 86.4)), written("fused", (2.0, 2.88))
    slow, silu = written("lines", (10.0, 16.9)), written("reference", (1.0, 1.0), "silu")
    for rows, kept in ((reference, 3), (fused, 1), (slow, 3)):
        rows["saved_for_backward_bytes"] = kept * rows["baseline_saved_for_backward_bytes"]
    page = page_of(together(silu, slow, reference, fused))
    assert list(page.ranked) == ["SiLU", "DY-ReLU-B"]
    cells = page.ranked["DY-ReLU-B"]
    for phase in ("inference", "training"):
        assert cells[f"overhead, {phase}"] == "72× 71–73"
        assert cells[f"fastest other way, {phase}"] == "2.40× fused 2.37–2.43"
        assert page.ranked["SiLU"][f"fastest other way, {phase}"] == ""
        # Its time over 1.5 times the baseline's: 40 and 57.6; 1.33 and 1.92.
        assert cells[f"time ÷ floor, {phase}"] == "49× 1.63× fused"
    assert cells["kept for backward, × ReLU"] == "3.0× 1.00× fused"
    assert cells["FLOPs, × ReLU"] == page.ranked["DY-ReLU-B"]["FLOPs, × ReLU"]
    assert page.words.count("the way it is written is 30.0× (29.4–30.6), the maths at most") == 2
    assert "Fastest other way is the overhead of the fastest of" in page.words
    # In a narrower column than the others' a bar would be of another scale.
    assert page.html.count('<span class="bar') == 2


def test_a_failed_implementation_says_so_beside_its_reference(fail, page_of):
    reference, fused = (written(i, (9.0, 9.0)) for i in ("reference", "fused"))
    page = page_of(fail(together(reference, fused), [4, 5], "wrong", "off"))
    cells = page.ranked["DY-ReLU-B"]
    assert cells["fastest other way, inference"] == "failed: wrong fused"
    assert cells["fastest other way, training"].startswith("9.0× fused")


def test_without_its_reference_an_implementation_has_a_line_of_its_own(page_of):
    page = page_of(together(written("lines", (9.0, 9.0)), written("fused", (2.0, 2.0))))
    assert list(page.ranked) == ["DY-ReLU-B fused", "DY-ReLU-B lines"]
    assert page.ranked["DY-ReLU-B lines"]["overhead, inference"] == "9.0× 8.9–9.1"
    assert not any("other way" in heading for heading in page.ranked["DY-ReLU-B lines"])
    assert "fastest other way" not in page.words


def test_the_finding_names_both_ends(make_rows, page_of):
    rows = make_rows(("prelu", "frelu", "dyrelu_b"), (32,), (7,))
    rows["overhead"] = [1.5, 20.0, 70.0, 4.0, 2.0, 40.0]
    rows["overhead_lo"], rows["overhead_hi"] = rows["overhead"] * 0.98, rows["overhead"] * 1.02
    assert page_of(rows).words.count(
        "Compared with ReLU, inference takes from 1.50× (PReLU) to 70× (DY-ReLU-B) the time, "
        "training takes from 2.00× (FReLU) to 40.0× (DY-ReLU-B) the time."
    )


def test_every_row_is_in_the_page(make_rows, fail, page_of):
    rows = fail(make_rows(batches=(8, 32)), [3], "oom", "no memory")
    shown = page_of(rows).rows
    assert len(shown) == len(rows)
    names = {"prelu": "PReLU", "frelu": "FReLU", "dyrelu_b": "DY-ReLU-B"}
    key = ["activation", "phase", "batch", "channels", "height", "width"]
    both = rows.replace({"activation": names}).merge(shown, on=key, suffixes=("", "_shown"))
    assert len(both) == len(rows)
    for column in ("overhead", "overhead_lo", "time_ns", "flops", "peak_bytes", "operator_calls"):
        there = both[f"{column}_shown"].astype(float).to_numpy()
        np.testing.assert_allclose(there, both[column].astype(float), rtol=1e-5)
    over_floor = (both["time_ns"] / both["floor_time_ns"]).astype(float)
    np.testing.assert_allclose(both["over_floor"].astype(float), over_floor, rtol=1e-5)
    assert set(shown.loc[shown["status"] == "oom", "message"]) == {"no memory"}
    # What all rows share is said once.
    assert "dtype" not in shown
    assert "dtype float32" in page_of(rows).words


def test_names_and_messages_are_text(make_rows, fail, page_of, lack):
    rows = make_rows(("prelu", EVIL), (32,), (7,))
    message = "</script><script>alert(2)</script> & <u>"
    rows = fail(rows, [0], "error", message)
    rows = lack(rows, **{EVIL: ["<i>fft</i>"]})
    gate = GATE | {"trustworthy": False, "message": "<svg onload=alert(3)>"}
    page = page_of(rows, [gate], command=["pytest", "<script>alert(4)</script>"])
    assert page.images == []
    assert page.html.count("<script") == 2
    for raw in ("<img src=x", "<u>", "<svg", "<i>"):
        assert raw not in page.html
    assert "<img src=x onerror=alert(1)>" in page.ranked
    assert message in page.words
    assert "<svg onload=alert(3)>" in page.words
    assert message in set(page.rows["message"])


def test_a_ratio_without_an_interval_is_as_bold_as_others(make_rows, page_of):
    rows = make_rows(phases=("inference",))
    page = page_of(visit_once(rows, [0]))
    heading = "overhead, inference"
    assert re.fullmatch(r"[\d.]+×", page.ranked["PReLU"][heading])
    assert re.fullmatch(r"[\d.]+× [\d.]+–[\d.]+", page.ranked["FReLU"][heading])
    assert page.html.count("<td><b>") == len(page.ranked) == 3
    assert "A mean without an interval" in page.words
    assert "been visited once" in page.words
    assert "its 95 % interval between runs." in page.words
    assert "A case was visited 7 times (median; at least 1)." in page.words


def test_intervals_of_versions_before_are_said_to_be_within_the_run(make_rows, page_of):
    page = page_of(make_rows())
    assert "its 95 % interval within this run. Another run" in page.words
    assert "visited" not in page.words


def test_every_row_says_to_which_place_its_overhead_is_known(make_rows, fail, page_of):
    rows = fail(visit_once(make_rows(("prelu",), (1, 2, 4), (7,), ("inference",)), [1]), [2],
                "oom", "")  # fmt: skip
    rows.loc[:1, "overhead"] = [31.2, 31.2]
    rows.loc[0, ["overhead_lo", "overhead_hi"]] = [27.0, 36.0]
    page = page_of(rows)
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.html)
    assert json.loads(found[1])["places"] == [0, 0, None]
    assert page.rows["visits"].tolist()[:2] == [7, 1]
    assert "visits" not in page_of(make_rows()).rows


def test_nothing_is_fetched(make_rows, page_of):
    html = page_of(make_rows()).html
    assert "default-src 'none'" in html
    assert "http:" not in html
    assert "https:" not in html
    assert re.findall(r"<link[^>]*href=\"([^\"]*)\"", html) == ["data:,"]


def test_figures_are_embedded_each_with_its_words(make_rows, environment, tmp_path):
    run = write_run(tmp_path / "run", make_rows(batches=(8, 32)), environment)
    render(Run(run), ["overhead_ranking", "roofline"], ("png",))
    page = Page((run / "index.html").read_text("utf-8"))
    # Of the main slice; that of batch 8 has its files.
    expected = ["overhead_ranking", "roofline_inference", "roofline_training"]
    for image, name in zip(page.images, expected, strict=True):
        png = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        assert png == (run / f"figures/{name}.png").read_bytes()
        assert Image.open(BytesIO(png)).size == (int(image["width"]), int(image["height"]))
        assert "PReLU, FReLU, DY-ReLU-B" in image["alt"]
        assert "batch 32" in image["alt"]
        assert FIGURES[name.split("_inf")[0].split("_tr")[0]].reading in page.words


def write_networks(run, *which, **others):
    """Store network rows and those of their sites beside a run's rows."""
    for name, rows in zip(("network", "site"), build_networks(*which, **others), strict=True):
        rows.to_json(run / f"{name}_rows.jsonl", orient="records", lines=True)


def test_networks_have_a_section_and_their_figures(make_rows, environment, tmp_path):
    run = write_run(tmp_path / "run", make_rows(), environment)
    write_networks(run, ("resnet18", "lenet"), ("silu", "frelu", EVIL))
    # Of these networks no paper says what is gained.
    drawn = ["network_heatmap", "network_sites"]
    render(Run(run), drawn, ("png",))
    page = Page((run / "index.html").read_text("utf-8"))
    assert "#networks" in page.links
    for words in ("In whole networks", "ResNet-18", "LeNet", "extra time of a training step"):
        assert words in page.words
    speeds = [t for t in page.tables if t[0][2:3] == [" images/s (original)"]]
    assert [[line[0].strip() for line in table[1:]] for table in speeds] == 2 * [
        ["SiLU", "FReLU", EVIL.removeprefix("evil:")]
    ]
    networks, _ = build_networks(("resnet18", "lenet"), ("silu", "frelu", EVIL))
    here = networks.query("network == 'resnet18' and phase == 'training'").iloc[0]
    ratio = re.match(r" *([\d.]+)× \(", speeds[0][1][3])
    assert float(ratio[1]) == pytest.approx(here["overhead"], rel=0.02)
    # Names are text.
    assert "<img src=x" not in page.html

    assert embedded(run) == set(drawn)
    for image, name in zip(page.images, drawn, strict=True):
        assert image["alt"].startswith(FIGURES[name].shows)
        assert image["alt"].endswith(f"Activations: SiLU, FReLU, {EVIL.removeprefix('evil:')}.")
        assert "batch 8, float32, images of 32² and 224²" in image["alt"]


def test_without_networks_there_is_no_section_of_them(make_rows, page_of):
    page = page_of(make_rows())
    assert "#networks" not in page.links
    assert "whole networks" not in page.words


def embedded(run):
    """Return the names of the figures in a run's page."""
    images = Page((run / "index.html").read_text("utf-8")).images
    shown = {base64.b64decode(i["src"].removeprefix("data:image/png;base64,")) for i in images}
    files = {path.stem: path.read_bytes() for path in (run / "figures").glob("*.png")}
    return {name for name, png in files.items() if png in shown}


def test_a_figure_from_before_the_last_rows_is_left_out(make_rows, environment, tmp_path):
    rows = make_rows()
    run = write_run(tmp_path / "run", rows.head(20), environment)
    render(Run(run), ["overhead_ranking", "promise"], ("png",))
    assert embedded(run) == {"overhead_ranking", "promise"}
    stored = run / "rows.jsonl"
    write_run(tmp_path / "all", rows, environment)
    stored.write_bytes((tmp_path / "all/rows.jsonl").read_bytes())
    # What was drawn of other rows may look newer than they are, as after a copy.
    os.utime(stored, (0, 0))
    render(Run(run), ["memory"], ("png",))
    assert embedded(run) == {"memory"}
    render(Run(run), ["promise"], ("svg",))
    assert embedded(run) == {"memory"}
    render(Run(run), ["promise"], ("png",))
    assert embedded(run) == {"memory", "promise"}


def test_without_a_figure_the_page_says_so(make_rows, environment, tmp_path):
    run = write_run(tmp_path / "run", make_rows(), environment)
    render(Run(run), ["overhead_ranking"], ("svg",))
    (run / "figures/promise.png").write_text("not a picture")
    render(Run(run), ["overhead_ranking"], ("svg",))
    assert embedded(run) == set()
    page = Page((run / "index.html").read_text("utf-8"))
    assert "no figure of these rows was drawn as PNG" in page.words


def test_a_copied_run_keeps_its_figures(make_rows, environment, tmp_path):
    run = write_run(tmp_path / "run", make_rows(), environment)
    write_profile(run, "frelu-training-x")
    render(Run(run), formats=("png",))
    names = embedded(run)
    assert names == {path.stem for path in (run / "figures").iterdir()}
    assert names >= {*figures_of(ProfileFigure), "promise", "roofline_inference"}
    copy = shutil.copytree(run, tmp_path / "copy", copy_function=shutil.copyfile)
    for i, path in enumerate(sorted(copy.rglob("*"), reverse=True)):
        os.utime(path, (i, i))
    render(Run(copy), ["promise"], ("svg",))
    assert embedded(copy) == names


def test_figures_of_a_profile_go_with_it(make_rows, environment, tmp_path):
    run = write_run(tmp_path / "run", make_rows(), environment)
    write_profile(run, "frelu-training-8x32x7x7-float32-cpu")
    render(Run(run), ["promise", "step_memory"], ("png",))
    assert embedded(run) == {"promise", "step_memory"}
    page = Page((run / "index.html").read_text("utf-8"))
    of_rows, of_profile = (image["alt"] for image in page.images)
    assert of_rows.endswith("(batch 8, float32). Activations: PReLU, FReLU, DY-ReLU-B.")
    assert of_profile.endswith("(one training step, 8x32x7x7-float32-cpu). Activations: FReLU.")
    # Profiled again, with another activation.
    write_profile(run, "prelu-training-8x32x7x7-float32-cpu", "prelu")
    render(Run(run), ["overhead_ranking"], ("png",))
    assert embedded(run) == {"promise", "overhead_ranking"}
    shutil.rmtree(run / "traces")
    render(Run(run), ["overhead_ranking"], ("png",))
    assert embedded(run) == {"promise", "overhead_ranking"}


def test_an_old_run_without_counts(make_rows, uncount, page_of):
    page = page_of(uncount(make_rows()))
    assert page.ranked["FReLU"]["FLOPs, × ReLU"] == "–"
    assert page.ranked["FReLU"]["parameters"] == "–"
    assert "Nothing was counted in this run" in page.words
    assert "flops" not in page.rows
    assert page.rows["overhead"].notna().all()


def test_a_run_of_which_every_case_failed(make_rows, fail, page_of):
    rows = make_rows()
    page = page_of(fail(rows, range(len(rows)), "oom", "no memory"))
    assert "Nothing could be measured: every case failed." in page.words
    assert page.ranked["PReLU"]["overhead, training"] == "failed: oom"
    assert f"{len(rows)} of {len(rows)} cases failed." in page.words
    assert page.words.count("no memory") == 6  # by activation and phase


def test_an_activation_measured_in_part(make_rows, fail, page_of):
    page = page_of(fail(make_rows(), [1, 2], "timeout", "too slow"))
    assert page.ranked["PReLU"]["overhead, inference"].endswith("2/4 shapes")
    assert "shapes" not in page.ranked["FReLU"]["overhead, inference"]


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_one_phase(make_rows, page_of, phase):
    page = page_of(make_rows(phases=(phase,)))
    headings = list(page.ranked["PReLU"])
    assert [h for h in headings if "overhead" in h] == [f"overhead, {phase}"]
    memory = "kept for backward, × ReLU" if phase == "training" else "peak memory, × ReLU"
    assert memory in headings


def test_what_was_not_counted_is_said(make_rows, page_of, lack):
    rows = make_rows()
    assert "every operator of every measured case was counted" in page_of(rows).words
    rows = lack(rows, frelu=["aten::fft"])
    rows.loc[rows["activation"] == "prelu", "data_dependent"] = True
    page = page_of(rows)
    assert "aten::fft" in page.words
    assert "depends on the input's values" in page.words
    least = {name: cells["FLOPs, × ReLU"].startswith("≥ ") for name, cells in page.ranked.items()}
    assert least == {"PReLU": False, "FReLU": True, "DY-ReLU-B": False}


@pytest.mark.parametrize("is_there", [True, False])
def test_the_figure_of_memory_leads_to_each_step_s_own_page(
    make_rows, environment, tmp_path, is_there
):
    case_id = "frelu-training-8x32x7x7-float32-cpu"
    profile = profile_of_one(case_id)
    if not is_there:
        profile.steps["memory_page"] = None
    run = write_run(tmp_path / "run", make_rows(), environment)
    write_tables(run, profile)

    render(Run(run), ["step_memory"], ("png",))

    page = (run / "index.html").read_text("utf-8")
    links = re.findall('what the memory is for: <a href="(.*?)">(.*?)</a>', page)
    assert links == [(f"tensorboard/{case_id}/memory.html", "FReLU")] * is_there


def profile_of_one(case_id, activation="frelu", kernel="aten::mul"):
    calls = [
        (case_id, activation, "training", f"{kernel}{i}", "pointwise", "forward", 0, 10**5 * i)
        for i in range(1, 16)
    ]
    return build_profile(calls, [(case_id, 1, 4096, "forward")])


def write_profile(run, *which, **others):
    write_tables(run, profile_of_one(*which, **others))


def kernel_tables(page):
    return [table for table in page.tables if table[0][:1] == [" kernel"]]


def test_steps_are_shown_longest_kernel_first(make_rows, environment, tmp_path):
    rows = make_rows()
    run = write_run(tmp_path / "run", rows, environment)
    write_profile(run, "frelu-training-x", kernel="<b>mul")
    render(Run(run), ["promise"], ("svg",))
    page = Page((run / "index.html").read_text("utf-8"))
    ((header, *lines),) = kernel_tables(page)
    assert [line[0].strip() for line in lines] == [f"<b>mul{i}" for i in range(15, 3, -1)]
    # 1000 bytes in 1.5 ms; the copy is four times as fast.
    assert dict(zip(map(str.strip, header), map(str.strip, lines[0]), strict=True)) == {
        "kernel": "<b>mul15", "kind": "pointwise", "part": "forward", "calls": "1",
        "time": "1.5 ms", "share": "12.5 %", "spread": "1.2 ms–2.1 ms", "bytes": "1.0 kB",
        "bandwidth": "667 kB/s, 25 % of a copy’s", "input shapes": "8x64x56x56 64, 3",
    }  # fmt: skip
    assert "FReLU , training: 12 ms under the profiler, 1.25× the 9.6 ms without it" in page.words
    assert "Medians over 7 of 16 steps, which took 10.8 ms to 14.4 ms; 1 more took" in page.words
    assert "12 of 15 kernels" in page.words
    assert "tensorboard --logdir" in page.words
    folder = "tensorboard/frelu-training-x"
    assert {f"{folder}/trace.pt.trace.json.gz", f"{folder}/memory.html"} < set(page.links)
    assert "snapshot" not in page.words


@pytest.fixture
def page_with(make_rows, environment, tmp_path):
    """Return the page of a run with this profile."""

    def build(profile):
        run = write_run(tmp_path / "run", make_rows(), environment)
        write_tables(run, profile)
        return Page(write_page(Run(run)).read_text("utf-8"))

    return build


def test_what_only_an_accelerator_has_is_shown_where_there_is_any(page_with):
    profile = profile_of_one("frelu-training-x")
    profile.kernels["occupancy_percent"] = [*14 * [None], 41.6]
    profile.kernels["registers_per_thread"] = [*14 * [None], 32]
    profile.steps["memory_snapshot"] = "tensorboard/x/memory_snapshot.pickle"

    page = page_with(profile)
    ((header, *lines),) = kernel_tables(page)
    at = [header.index(f" {name}") for name in ("occupancy", "registers")]
    assert [lines[0][i].strip() for i in at] == ["42 %", "32"]
    assert [lines[1][i].strip() for i in at] == ["–", "–"]
    assert "tensorboard/x/memory_snapshot.pickle" in page.links


@pytest.mark.parametrize(
    ("untraced_ns", "time", "doubt"),
    [
        (12e6 / 1.14, "12 ms under the profiler, 1.14× the 10.5 ms without it", ""),
        (12e6 / 1.16, "12 ms under the profiler, 1.16× the 10.3 ms without it", "16 % more"),
        (12e6 / 0.84, "12 ms under the profiler, 0.84× the 14.3 ms without it", "16 % less"),
        (12e6 / 0.86, "12 ms under the profiler, 0.86× the 14 ms without it", ""),
        (0.999e6, "12 ms under the profiler, 12× the 999 µs without it", "1101 % more"),
        (None, "12 ms under the profiler, not timed without it", ""),
    ],
)
def test_times_that_the_profiler_changed_are_not_to_be_taken_as_such(
    page_with, untraced_ns, time, doubt
):
    profile = profile_of_one("frelu-training-x")
    profile.steps["untraced_ns"] = untraced_ns
    page = page_with(profile)
    assert f"FReLU , training: {time}" in page.words
    assert ("times and shares do not hold" in page.words) == bool(doubt)
    found = re.findall(r"took ([^.]*) time under the profiler [^.]* their order still",
                       page.words)  # fmt: skip
    assert found == ([doubt] if doubt else [])


def test_a_step_that_runs_nothing_is_there(page_with):
    one = profile_of_one("frelu-training-x")
    still = one.steps.assign(step_ns=0, operators=0, untraced_ns=1e6)
    still["memory_lines"], still["timeline_lines"] = 1, 0
    page = page_with(Profile(still, one.kernels.head(0), one.timeline.head(0), one.memory.head(1)))
    assert "FReLU , training: nothing ran" in page.words
    assert "Medians over" not in page.words
    assert kernel_tables(page) == []


CUDA = "frelu-training-8x64x56x56-float32-cuda:0"


def test_kernels_and_the_operators_that_launched_them_are_both_shown(page_with):
    profile = profile_of_one(CUDA, kernel="<b>k")
    profile.kernels["operator"] = ["aten::<i>mul", *14 * ["aten::add"]]
    ((header, *lines),) = kernel_tables(page_with(profile))
    at = header.index(" operator")
    assert [line[at].strip() for line in lines] == 12 * ["aten::add"]
    assert lines[0][0].strip() == "<b>k15"


@pytest.mark.parametrize(
    ("untraced_ns", "time", "doubt"),
    [
        (
            16.9e6,
            "kernels take 12 ms, they run in 71 % of the step (16.9 ms without the profiler), the "
            "rest is waiting for the host",
            "",
        ),
        (12e6 / 1.14, "kernels take 12 ms, all of the 10.5 ms of the step without", ""),
        (12e6 / 1.16, "kernels take 12 ms, all of the 10.3 ms of the step without", "16 % more"),
        # However short: what the profiler costs the host is not in its kernels.
        (0.5e6, "kernels take 12 ms, all of the 500 µs of the step without", "2300 % more"),
        (None, "kernels take 12 ms, the step not timed without the profiler", ""),
    ],
)
def test_an_accelerators_gaps_between_kernels_are_no_doubt(page_with, untraced_ns, time, doubt):
    profile = profile_of_one(CUDA)
    profile.steps["untraced_ns"] = untraced_ns
    page = page_with(profile)
    assert f"FReLU , training: {time}" in page.words
    assert "profiler’s own cost" not in page.words
    assert ("times and shares do not hold" in page.words) == bool(doubt)
    assert (f"took {doubt} time under the profiler" in page.words) == bool(doubt)


@pytest.mark.parametrize(
    ("case_id", "said"),
    [
        ("frelu-training-8x64x56x56-float32-cpu-compile", True),
        ("frelu-training-8x64x56x56-float32-cpu-compile-channels_last", True),
        ("frelu-training-8x64x56x56-float32-cpu-channels_last", False),
        ("frelu-training-8x64x56x56-float32-cpu-vs_my-compile", False),
    ],
)
def test_beside_a_compiled_step_it_says_what_a_region_hides(page_with, case_id, said):
    assert ("a compiled region does the work" in page_with(profile_of_one(case_id)).words) == said


def test_cases_that_could_not_be_profiled_are_among_what_failed(page_with):
    failures = [("<b>se-training", "no memory </script><u>"), ("mish-training", "")]
    profile = replace(
        profile_of_one("frelu-training-x"),
        failed=pd.DataFrame(failures, columns=["case_id", "message"]),
    )
    page = page_with(profile)
    (table,) = (table for table in page.tables if table[0] == [" case", " message"])
    assert [tuple(cell.strip() for cell in line) for line in table[1:]] == failures
    assert "<u>" not in page.html


def test_where_nothing_could_be_profiled_it_says_so(make_rows, environment, tmp_path):
    run = write_run(tmp_path / "run", make_rows(), environment)
    (run / "traces").mkdir()
    (run / "traces/failed.csv").write_text("case_id,message\nse-training-x,no memory\n")
    render(Run(run), ["promise"], ("png",))
    page = Page((run / "index.html").read_text("utf-8"))
    assert "None in this run." in page.words
    assert "Could not be traced: case message se-training-x no memory" in page.words


def test_without_a_profile_it_says_how_to_make_one(make_rows, page_of):
    assert "python scripts/profile_traces.py" in page_of(make_rows()).words


def test_a_large_run_is_a_small_page_and_the_same_each_time(make_rows, fail, page_of):
    many = [f"layer_{i:02}" for i in range(22)]
    rows = make_rows(many, tuple(range(8, 328, 8)), (7, 14, 28, 56, 112, 224), batches=(1, 8))
    assert len(rows) > 20_000
    rows = fail(rows.iloc[:10_000], range(0, 10_000, 3), "error", "x" * 300)
    pages = [page_of(rows).html for _ in range(2)]
    assert pages[0] == pages[1]
    # The figures of 22 activations take less than 2 MB.
    assert len(pages[0].encode()) < 3e6
