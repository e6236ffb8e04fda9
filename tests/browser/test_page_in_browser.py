import re
import time
from itertools import product

import pandas as pd
import pytest

from dynact.report.data.digits import measured_ratios
from dynact.report.page.page import write_page
from dynact.report.render import render
from dynact.report.run import Run
from tests.report.conftest import build_rows, fail_rows
from tests.report.page.test_page import EVIL, GATE, write_profile
from tests.report.profile_sample import build_profile, write_tables
from tests.report.test_render import write_run

ENVIRONMENT = {
    "started": "2026-03-01T10:00:00+00:00",
    "device": {"type": "cpu", "name": "Some CPU"},
    "threads": 1,
    "versions": {"torch": "2.14.1"},
}
MESSAGE = "</script><script>alert(2)</script><b onmouseover=alert(3)>no memory"
SCALES = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}


def run_rows():
    rows = build_rows(("prelu", "frelu", "dyrelu_b", EVIL), (32, 128), (7, 112))
    # One case whose interval does not support the last digit before the point.
    rows.loc[0, ["overhead", "overhead_lo", "overhead_hi"]] = [1234.0, 1170.0, 1300.0]
    return fail_rows(rows, [3, 30], "oom", MESSAGE)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run with figures, a profile, failures and a name that would do harm."""
    folder = write_run(tmp_path_factory.mktemp("page") / "run", run_rows(), ENVIRONMENT, [GATE])
    write_profile(folder, "x-training", EVIL, kernel="<img src=x onerror=alert(4)>")
    render(Run(folder), formats=("png",))
    return folder


@pytest.fixture
def page(tab, run):
    tab.goto((run / "index.html").as_uri())
    return tab


def column(page, heading):
    headings = [text.strip() for text in page.locator("#rows thead th").all_inner_texts()]
    cells = f"#rows tbody td:nth-child({headings.index(heading) + 1})"
    return page.locator(cells).all_inner_texts()


def sort_by(page, heading):
    page.get_by_role("button", name=heading, exact=True).click()
    return page.locator("#rows th[aria-sort]:not([aria-sort=none])").get_attribute("aria-sort")


def ns(text):
    value, unit = text.split()
    return float(value) * SCALES[unit]


def test_the_answer_and_every_row_are_there(page):
    assert "What each activation costs" in page.title()
    assert "Compared with ReLU" in page.inner_text(".finding")
    assert page.locator(".ranked tbody tr").count() == 4
    rows = run_rows()
    assert page.inner_text("#count") == f"{len(rows)} of {len(rows)} rows"
    # As in every figure and table.
    assert sorted(column(page, "overhead")) == sorted(measured_ratios(rows))


def test_numbers_sort_as_numbers_both_ways_and_what_is_missing_comes_last(page):
    for direction in ("ascending", "descending"):
        assert sort_by(page, "time") == direction
        times = column(page, "time")
        assert times[-2:] == ["–", "–"]
        known = [ns(time) for time in times[:-2]]
        assert len({text.split()[1] for text in times[:-2]}) > 1
        assert known == sorted(known, reverse=direction == "descending")


def test_texts_sort_both_ways_from_the_keyboard(page):
    heading = page.get_by_role("button", name="activation", exact=True)
    heading.focus()
    for direction in ("ascending", "descending"):
        page.keyboard.press("Enter")
        assert page.locator("#rows th").first.get_attribute("aria-sort") == direction
        names = column(page, "activation")
        plain = [re.sub(r"^\W+", "", name).lower() for name in names]
        named = [name for name in plain if not name.startswith("img")]
        assert named == sorted(named, reverse=direction == "descending")
    sort_by(page, "message")
    assert column(page, "message")[:3] == [MESSAGE, MESSAGE, ""]


def test_it_filters_by_words_and_by_choice(page):
    rows = run_rows()
    page.select_option("#activation", "DY-ReLU-B")
    page.select_option("#phase", "training")
    assert page.inner_text("#count") == f"4 of {len(rows)} rows"
    assert set(column(page, "activation")) == {"DY-ReLU-B"}
    assert set(column(page, "phase")) == {"training"}
    page.fill("#words", "channels=128 height=112")
    assert page.inner_text("#count") == f"1 of {len(rows)} rows"
    page.select_option("#activation", "")
    page.select_option("#phase", "")
    for words, count in (("oom", 2), ("dyrelu_b INFERENCE", 4), ("frelu", 8), ("nonsense", 0)):
        page.fill("#words", words)
        assert page.inner_text("#count").startswith(f"{count} of {len(rows)} rows")
        assert page.locator("#rows tbody tr").count() == count


def test_every_image_is_decoded(page, run):
    images = page.locator("img")
    assert images.count() == len(list((run / "figures").glob("*.png")))
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    assert min(images.evaluate_all("all => all.map((image) => image.naturalWidth)")) > 400
    assert all(images.evaluate_all("all => all.map((image) => image.alt.length > 40)"))


def test_harmful_names_are_shown_as_text(page):
    name = EVIL.removeprefix("evil:")
    assert name in page.locator(".ranked tbody th").all_inner_texts()
    assert name in column(page, "activation")
    assert MESSAGE in column(page, "message")
    assert MESSAGE in page.inner_text("#failed")
    page.locator("#traces summary").first.click()
    assert "<img src=x onerror=alert(4)>15" in page.inner_text("#traces")
    assert page.locator("img:not([src^='data:image/png'])").count() == 0


def test_a_phone_scrolls_the_tables_and_not_the_page(page):
    page.set_viewport_size({"width": 320, "height": 640})
    page.locator("#traces summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    inner, outer = page.locator(".ranked").evaluate(
        "table => [table.scrollWidth, table.parentElement.clientWidth]"
    )
    assert inner > outer
    # Without scrolling, the first overheads are in sight.
    cell = page.locator(".ranked tbody td").first.bounding_box()
    assert cell["x"] + cell["width"] <= 320
    assert cell["y"] < 640


def test_it_prints(page):
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    page.emulate_media(media="print")
    assert not page.locator(".controls").is_visible()
    assert not page.locator("nav").is_visible()
    # A4 without its margins, in CSS pixels.
    page.set_viewport_size({"width": 703, "height": 1032})
    sizes = page.locator("img").evaluate_all(
        "all => all.map((image) => [image.getBoundingClientRect().right, image.height])"
    )
    assert all(right <= 703 and height < 1032 for right, height in sizes)
    assert page.evaluate("document.documentElement.scrollWidth") == 703


def test_without_scripts_the_answer_is_there(chromium, run):
    with chromium.new_context(java_script_enabled=False, offline=True) as context:
        page = context.new_page()
        page.goto((run / "index.html").as_uri())
        assert page.locator(".ranked tbody tr").count() == 4
        assert page.locator("img").count() == len(list((run / "figures").glob("*.png")))
        assert page.get_by_text("This table needs JavaScript").is_visible()
        assert not page.locator(".controls").is_visible()


def test_a_quick_sweep_is_one_small_file(tab, tmp_path):
    names = ("prelu", "silu", "se", "acon_c", "frelu", "dyrelu_a", "dyrelu_b", "dyrelu_c")
    rows = pd.concat(
        [
            build_rows(names, (32, 128, 512), (28, 14, 7), batches=(2,)),
            build_rows(names, (128,), (14,), batches=(8, 32)),
        ]
    )
    assert len(rows) == 176
    run = write_run(tmp_path / "run", rows, ENVIRONMENT, [GATE])
    calls = [
        (f"{name}-{phase}-2x512x28x28-float32-cpu", name, phase, f"aten::op_{i % 40}", kind,
         part, 10**5 * i, 9 * 10**4)
        for name in names
        for phase, parts in (("inference", ["forward"]), ("training", ["forward", "backward"]))
        for i, (part, kind) in enumerate(product(parts, 60 * ["pointwise", "reduction"]))
    ]  # fmt: skip
    memory = [(case_id, i * 10**5, 10**6 * (i % 9), "forward") for case_id in {c[0] for c in calls}
              for i in range(200)]  # fmt: skip
    write_tables(run, build_profile(calls, memory))
    render(Run(run))
    page = run / "index.html"
    assert page.stat().st_size <= 5e6
    # Alone, so that it can need nothing beside it.
    (tmp_path / "alone").mkdir()
    tab.goto(page.rename(tmp_path / "alone/index.html").as_uri())
    assert tab.inner_text("#count") == "176 of 176 rows"
    drawn = list((run / "figures").glob("*.png"))
    assert tab.locator("#figures img").count() == len(drawn)
    assert tab.locator("#traces details").count() == 16
    widths = tab.locator("img").evaluate_all(
        "all => Promise.all(all.map(async (i) => { await i.decode(); return i.naturalWidth }))"
    )
    assert min(widths) > 500


def test_profiled_steps_read_on_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator("#traces summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    table = page.locator(".kernels").first
    inner, outer = table.evaluate("t => [t.scrollWidth, t.parentElement.clientWidth]")
    assert inner > outer
    # Without scrolling, the longest kernel's time is in sight.
    headings = table.locator("th[scope=col]").all_inner_texts()
    time = table.locator("tbody tr").first.locator("th, td").nth(headings.index("time"))
    box = time.bounding_box()
    assert box["x"] + box["width"] <= 390


def test_ten_thousand_rows(tab, tmp_path):
    many = tuple(range(8, 8 * 1251, 8))
    rows = build_rows(("prelu", "frelu"), many, (7, 14), batches=(8,))
    assert len(rows) == 10_000
    run = write_run(tmp_path / "run", rows, ENVIRONMENT)
    tab.goto(write_page(Run(run)).as_uri())
    assert tab.inner_text("#count") == "10,000 of 10,000 rows"
    assert tab.locator("#rows tbody tr").count() == 200
    began = time.monotonic()
    assert sort_by(tab, "overhead") == "ascending"
    tab.fill("#words", "frelu training")
    assert tab.inner_text("#count") == "2,500 of 10,000 rows"
    assert time.monotonic() - began < 10
    tab.get_by_role("button", name="Show all 2,500 rows").click()
    assert tab.locator("#rows tbody tr").count() == 2500
