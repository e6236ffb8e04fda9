import json
import re
import subprocess
import sys
import time
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from PIL import Image
from playwright.sync_api import expect

from dynact.report.figures.declaration import LayerFigure, NetworkFigure, ProfileFigure
from dynact.report.figures.registry import figures_of
from dynact.report.render import render
from dynact.report.run import Run
from dynact.report.tensorboard import METRICS, NETWORK_METRICS, write_dashboards
from dynact.schema.run_folder import folder_name
from dynact.worker.device import Cpu
from dynact.worker.profile import profile_case, store
from tests.report.conftest import build_rows
from tests.report.networks_sample import build_networks
from tests.report.test_render import write_run
from tests.sweeping import case_of

ENVIRONMENT = {
    "started": "2026-03-01T10:00:00+00:00",
    "device": {"type": "cpu", "name": "Some CPU"},
    "threads": 1,
    "versions": {"torch": "2.14.1"},
}
CASE = case_of("dyrelu_b", phase="training")
EVIL = "pkg.mod:<img src=x onerror=alert(1)>$λ"
ROWS = build_rows(("prelu", "frelu", EVIL), (32, 128), (7, 28))
NETWORKS, SITES = build_networks(("resnet18",), ("prelu", EVIL))
SOON = 20_000  # ms, for a busy machine


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A traced run, 33 runs to TensorBoard; of more than 40 it selects none by itself."""
    folder = write_run(tmp_path_factory.mktemp("tensorboard") / "run", ROWS, ENVIRONMENT)
    for name, rows in (("network", NETWORKS), ("site", SITES)):
        rows.to_json(folder / f"{name}_rows.jsonl", orient="records", lines=True)
    store(folder, CASE, profile_case(CASE, Cpu(), steps=2))
    render(Run(folder), formats=("png",))
    write_dashboards(Run(folder))
    return folder


def start(run, port, output):
    command = [sys.executable, "-m", "tensorboard.main", "--host", "localhost", "--port", port]
    return subprocess.Popen(
        [*command, "--logdir", run / "tensorboard"], stdout=output, stderr=subprocess.STDOUT
    )


@pytest.fixture(scope="module")
def address(run, tmp_path_factory):
    """Where TensorBoard serves the run."""
    log = tmp_path_factory.mktemp("log") / "tensorboard.txt"
    with log.open("wb") as output:
        server = start(run, "0", output)
    try:
        yield wait_for(lambda: re.search(r"http://localhost:\d+", log.read_text()))[0]
    finally:
        server.terminate()
        server.wait(timeout=20)


def wait_for(find):
    for _ in range(300):
        if found := find():
            return found
        time.sleep(0.1)
    raise TimeoutError("nothing after 30 s")


def ask(address, path, **which):
    with urlopen(f"{address}/data/plugin/{path}?{urlencode(which)}") as answer:
        return json.load(answer)


@pytest.fixture
def tab(chromium, address):
    """A tab that may reach TensorBoard and nothing else, where nothing may go wrong."""
    context = chromium.new_context(viewport={"width": 1600, "height": 1400})
    beyond, complaints = [], []

    def guard(route):
        if route.request.url.startswith(address):
            route.continue_()
        else:
            beyond.append(route.request.url)
            route.abort()

    def read(message):
        if message.type == "error":
            complaints.append(message.text)

    def received(response):
        if response.status >= 400:
            complaints.append(f"{response.status} {response.url}")

    context.route("**/*", guard)
    tab = context.new_page()
    tab.on("console", read)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: complaints.append(dialog.message))
    tab.on("response", received)
    tab.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    yield tab
    tab.wait_for_load_state("networkidle")
    # Closing breaks off what is still under way.
    found = list(complaints)
    context.close()
    assert beyond == []
    assert found == []


def test_hparams_shows_every_trial(tab, address):
    tab.goto(f"{address}/#hparams")
    for name in (*ROWS["case_id"], *NETWORKS["case_id"]):
        expect(tab.get_by_text(name, exact=True)).to_be_visible(timeout=SOON)
    for name in (*METRICS, *NETWORK_METRICS, "channels", "height", "network"):
        expect(tab.get_by_text(name, exact=True).first).to_be_visible()


def test_scalars_draws_the_curves(tab, address):
    tab.goto(f"{address}/#scalars")
    for phase in ("inference", "training"):
        for channels in (32, 128):
            tag = f"tag: overhead/{phase}/c{channels}"
            expect(tab.get_by_text(tag, exact=True)).to_be_visible(timeout=SOON)
    for phase in ("inference", "training"):
        tag = f"tag: network_overhead/{phase}/resnet18"
        expect(tab.get_by_text(tag, exact=True)).to_be_visible(timeout=SOON)


def test_the_curves_points_are_the_rows_values(address):
    names = {f"activations/{folder_name(name)}": name for name in ROWS["activation"]}
    tags = wait_for(lambda: ask(address, "scalars/tags"))
    assert set(names) == {run for run in tags if run.startswith("activations/")}
    found = {
        (names[run], tag, step): value
        for run in names
        for tag in tags[run]
        for _, step, value in ask(address, "scalars/scalars", run=run, tag=tag)
    }
    expected = {}
    for row in ROWS.to_dict("records"):
        curve, pixels = f"{row['phase']}/c{row['channels']}", row["height"] * row["width"]
        expected[row["activation"], f"overhead/{curve}", pixels] = row["overhead"]
        expected[row["activation"], f"time_us/{curve}", pixels] = row["time_ns"] / 1e3
    for row in NETWORKS.to_dict("records"):
        curve = f"network_overhead/{row['phase']}/{row['network']}"
        expected[row["activation"], curve, row["batch"]] = row["overhead"]
    assert found == pytest.approx(expected, rel=1e-6)


def test_images_shows_the_figures(tab, address, run):
    figures = {path.stem: path for path in (run / "figures").glob("*.png")}
    layers, phases = figures_of(LayerFigure), ROWS["phase"].unique()
    assert set(figures) == {
        *(name for name, figure in layers.items() if not figure.by_phase),
        *(f"{n}_{phase}" for n, f in layers.items() if f.by_phase for phase in phases),
        # No accuracy is published for what these rows place.
        *(figures_of(NetworkFigure).keys() - {"tradeoff"}),
        *figures_of(ProfileFigure),
    }
    assert set(wait_for(lambda: ask(address, "images/tags"))["report"]) == set(figures)

    tab.goto(f"{address}/#images")
    # It opens the first groups by itself.
    first = sorted(figures)[0]
    image = tab.locator("tf-image-loader img").first
    expect(image).to_be_visible(timeout=SOON)
    size = image.evaluate(
        "async (i) => { await i.decode(); return [i.naturalWidth, i.naturalHeight] }"
    )
    with Image.open(figures[first]) as figure:
        assert size == list(figure.size)
    for name in figures:
        expect(tab.get_by_role("button", name=name).first).to_be_visible()


def test_text_shows_the_summary_and_the_environment(tab, address):
    tab.goto(f"{address}/#text")
    heading = tab.get_by_role("heading", name="What each activation costs")
    expect(heading).to_be_visible(timeout=SOON)
    expect(tab.get_by_role("cell", name="versions.torch")).to_be_visible()
    expect(tab.get_by_role("cell", name=EVIL.partition(":")[2], exact=True).first).to_be_visible()


def test_text_shows_the_kernels_of_a_trace(tab, address):
    tab.goto(f"{address}/#text")
    tab.get_by_role("button", name="traces").click(timeout=SOON)
    expect(tab.get_by_text("under the profiler").first).to_be_visible(timeout=SOON)
    expect(tab.get_by_role("cell", name="aten::mul", exact=True).first).to_be_visible()


def test_the_profiler_plugin_serves_the_trace(address):
    def profiler(what, **which):
        return ask(address, f"pytorch_profiler/{what}", **which)

    run = folder_name(CASE.id)
    assert wait_for(lambda: profiler("runs")["runs"]) == [run]
    views = profiler("views", run=run)
    assert set(views) >= {"Overview", "Operator", "Trace"}
    (worker,) = profiler("workers", run=run, view="Operator")
    (span,) = profiler("spans", run=run, worker=worker)
    operators = profiler("operation/table", run=run, worker=worker, span=span)["data"]
    calls = {row["name"]: row["calls"] for row in operators}
    # As many a step as DY-ReLU-B has by its formula, and two steps.
    assert calls["aten::mean"] == 2
    assert calls["aten::addmm"] == 2 * 2


def test_a_port_in_use_ends_in_one_clear_line(address, run, tmp_path):
    port = address.rpartition(":")[2]
    log = tmp_path / "log.txt"
    with log.open("wb") as output:
        second = start(run, port, output)
    assert second.wait(timeout=120) != 0
    # Also the profiler plugin may speak, whose loader is stopped half-way.
    errors = [line for line in log.read_text().splitlines() if line.startswith("ERROR:")]
    assert errors == [f"ERROR: TensorBoard could not bind to port {port}, it was already in use"]
