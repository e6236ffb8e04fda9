"""The memory page against counts, against torch, and as a page that needs nothing beside it."""

import base64
import re

import pytest
import torch
from torch.profiler import _memory_profiler

from dynact.schema.cases import Case
from dynact.worker.device import Cpu
from dynact.worker.profile import memory_page, profile_case, ready_step, record, steps_of, tables_of
from dynact.worker.profile.memory_page import CATEGORIES
from dynact.worker.profile.memory_timeline import MemoryTimeline
from tests.sweeping import case_of
from tests.worker.profile.profiling import counted


def page_of(case: Case) -> str:
    page = profile_case(case, Cpu(), steps=2).memory_page
    assert page is not None
    return page


LARGE = {"channels": 64, "height": 28, "width": 28}


@pytest.mark.parametrize(
    ("case", "inputs"),
    [
        # Output and, in training, input gradient, above the input and the output gradient.
        (case_of("silu", **LARGE), (1, 2)),
        (case_of("silu", phase="training", **LARGE), (2, 4)),
        # A DY-ReLU's parameters are a hundredth of its input here.
        (case_of("dyrelu_b", **LARGE), (1, 6)),
        (case_of("dyrelu_b", phase="training", **LARGE), (2, 10)),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_a_memory_page_says_what_is_allocated_at_most(case: Case, inputs: tuple[int, int]) -> None:
    peak_inputs = counted(case)["peak_bytes"] / case.input_bytes

    found = re.search(r"At most ([\d.]+) MB at once; ([\d.]+) MB at the start", page_of(case))

    assert found
    most, before = (1e6 * float(megabytes) / case.input_bytes for megabytes in found.groups())
    assert (before, most) == pytest.approx(inputs, rel=0.03)
    assert most - before == pytest.approx(peak_inputs, rel=0.03)


def test_a_layer_that_allocates_nothing_has_a_memory_page() -> None:
    assert "allocates nothing" in page_of(case_of("identity"))


def test_a_memory_page_is_whole_in_itself_and_named_after_its_case() -> None:
    times_us = [2_000, 3_000, 4_000]
    rows = [[0] * len(CATEGORIES), [1_000_000] * len(CATEGORIES), [0] * len(CATEGORIES)]
    page = memory_page(MemoryTimeline(times_us, rows), "<b>&{}")

    assert "<title>Memory over one step: &lt;b&gt;&amp;{}</title>" in page
    assert len(page.encode()) < 300_000
    assert """content="default-src 'none'; img-src data:; style-src 'unsafe-inline'\"""" in page
    assert 'name="viewport"' in page
    [source] = re.findall(r'src="([^"]*)"', page)
    picture = base64.b64decode(source.removeprefix("data:image/png;base64,"), validate=True)
    assert picture.startswith(b"\x89PNG")
    assert b"http" not in picture
    text = page.replace(source, "")
    assert not re.search('//|href="(?!data:,")|src="[^"]|url', text)


def test_the_page_names_memory_as_torch_does() -> None:
    ours = [name.upper().replace(" ", "_") for name in CATEGORIES]

    torchs = ["UNKNOWN" if c is None else c.name for c in _memory_profiler._CATEGORY_TO_COLORS]

    assert ours == torchs


def test_each_category_that_is_there_is_explained() -> None:
    one = [0, 0, 4_000_000, 0, 0, 0, 0, 0]
    with_gradient = [0, 0, 4_000_000, 0, 0, 1_000_000, 0, 0]

    page = memory_page(MemoryTimeline([10, 20], [one, with_gradient]), "case")

    assert re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", page) == [
        ("input", CATEGORIES["input"].words.replace("'", "&#39;")),
        ("gradient", CATEGORIES["gradient"].words.replace("'", "&#39;")),
    ]
    assert "At most 5 MB at once; 4 MB at the start." in page


@pytest.mark.parametrize(
    ("begin_us", "end_us", "times_us", "held"),
    [
        (10, 30, [10, 10, 20], [1, 1, 2]),
        (15, 30, [15, 20], [1, 2]),
        (15, 31, [15, 20, 30], [1, 2, 3]),
        (21, 29, [21], [2]),
        (5, 9, [5], [1]),
        (31, 40, [31], [3]),
    ],
)
def test_of_a_timeline_the_part_within_a_step_is_taken(
    begin_us: int, end_us: int, times_us: list[int], held: list[int]
) -> None:
    whole = MemoryTimeline([10, 20, 30], [[1], [2], [3]])

    part = whole.within(1000 * begin_us, 1000 * end_us)

    assert part == MemoryTimeline(times_us, [[of_one] for of_one in held])


def test_the_page_is_of_the_step_that_the_tables_show() -> None:
    """Steps that hold 1, 2, ... 6 MB: of which one is, its memory tells."""
    with ready_step(case_of("silu"), Cpu()):
        megabytes = iter(range(1, 9))

        def step() -> None:
            held = torch.relu(torch.ones(250_000 * next(megabytes)))
            del held

        trace = record(step, Cpu(), 6)

    tables = tables_of(steps_of(trace.events), "cpu")

    assert isinstance(trace.memory, MemoryTimeline)
    within = trace.memory.within(*(trace.events.origin_ns + ns for ns in tables.shown_ns))
    totals = [sum(of_time) for of_time in within.bytes_by_category]
    assert max(totals) - totals[0] == tables.memory["allocated_bytes"].max()
    assert max(totals) - totals[0] in {n * 2_000_000 for n in range(3, 9)}
