import json
import re
import subprocess
import sys
import time
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import torch
from PIL import Image
from playwright.sync_api import expect
from torch.profiler import ProfilerActivity, profile, tensorboard_trace_handler

from dynact.report.render import render
from dynact.report.tensorboard import METRICS, write_dashboards
from tests.report.conftest import build_rows
from tests.report.test_render import write_run

ENVIRONMENT = {
    "started": "2026-03-01T10:00:00+00:00",
    "device": {"type": "cpu", "name": "Some CPU"},
    "threads": 1,
    "versions": {"torch": "2.14.1"},
}
TRACED = "frelu-training"
EVIL = "pkg.mod:<img src=x onerror=alert(1)>$λ"
ROWS = build_rows(("prelu", "frelu", EVIL), (32, 128), (7, 28))
SOON = 20_000  # ms, for a busy machine


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A traced run, 28 runs to TensorBoard; of more than 40 it selects none by itself."""
    folder = write_run(tmp_path_factory.mktemp("tensorboard") / "run", ROWS, ENVIRONMENT)
    render(folder, ["overhead_ranking"], ("png",))
    handler = tensorboard_trace_handler(str(folder / "tensorboard" / TRACED), "worker")
    with profile(
        activities=[ProfilerActivity.CPU], record_shapes=True, on_trace_ready=handler
    ) as profiler:
        torch.relu(torch.ones(4, 8))
        profiler.step()
    write_dashboards(folder)
    return folder


@pytest.fixture(scope="module")
def address(run, tmp_path_factory):
    """Where TensorBoard serves the run."""
    log = tmp_path_factory.mktemp("log") / "tensorboard.txt"
    command = [sys.executable, "-m", "tensorboard.main", "--host", "localhost", "--port", "0"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--logdir", run / "tensorboard"], stdout=output, stderr=output
        )
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


@pytest.fixture
def tab(chromium, address):
    """A tab that may reach TensorBoard and nothing else, and must not have tried."""
    context = chromium.new_context(viewport={"width": 1600, "height": 1400})
    beyond, complaints = [], []

    def guard(route):
        if route.request.url.startswith(address):
            route.continue_()
        else:
            beyond.append(route.request.url)
            route.abort()

    context.route("**/*", guard)
    tab = context.new_page()
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield tab
    context.close()
    assert beyond == []
    assert complaints == []


def test_hparams_shows_every_trial(tab, address):
    tab.goto(f"{address}/#hparams")
    for name in ROWS["case_id"]:
        expect(tab.get_by_text(name, exact=True)).to_be_visible(timeout=SOON)
    for name in (*METRICS, "channels", "height"):
        expect(tab.get_by_text(name, exact=True).first).to_be_visible()


def test_scalars_draws_the_curves(tab, address):
    tab.goto(f"{address}/#scalars")
    for phase in ("inference", "training"):
        for channels in (32, 128):
            tag = f"tag: overhead/{phase}/c{channels}"
            expect(tab.get_by_text(tag, exact=True)).to_be_visible(timeout=SOON)


def test_images_shows_the_figures(tab, address, run):
    tab.goto(f"{address}/#images")
    image = tab.locator("tf-image-loader img")
    expect(image).to_be_visible(timeout=SOON)
    size = image.evaluate(
        "async (i) => { await i.decode(); return [i.naturalWidth, i.naturalHeight] }"
    )
    with Image.open(run / "figures/overhead_ranking.png") as figure:
        assert size == list(figure.size)


def test_text_shows_the_summary_and_the_environment(tab, address):
    tab.goto(f"{address}/#text")
    heading = tab.get_by_role("heading", name="What each activation costs")
    expect(heading).to_be_visible(timeout=SOON)
    expect(tab.get_by_role("cell", name="versions.torch")).to_be_visible()
    expect(tab.get_by_role("cell", name=EVIL.partition(":")[2], exact=True).first).to_be_visible()


def test_the_profiler_plugin_serves_the_trace(address):
    def ask(what, **which):
        url = f"{address}/data/plugin/pytorch_profiler/{what}?{urlencode(which)}"
        with urlopen(url) as answer:
            return json.load(answer)

    assert wait_for(lambda: ask("runs")["runs"]) == [TRACED]
    assert ask("views", run=TRACED) == ["Overview", "Operator", "Trace"]
    (worker,) = ask("workers", run=TRACED, view="Operator")
    (span,) = ask("spans", run=TRACED, worker=worker)
    operators = ask("operation/table", run=TRACED, worker=worker, span=span)["data"]
    assert {row["name"]: row["calls"] for row in operators}["aten::relu"] == 1
