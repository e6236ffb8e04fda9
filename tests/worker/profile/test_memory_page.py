"""The memory page against counts, against torch, and as a page that needs nothing beside it."""

import base64
import re

import pytest
from torch.profiler import _memory_profiler

from dynact.schema.cases import Case
from dynact.worker.device import Cpu
from dynact.worker.profile import memory_page, ready_step
from dynact.worker.profile.memory_page import CATEGORIES
from tests.sweeping import case_of
from tests.worker.profile.profiling import counted


def page_of(case: Case) -> str:
    with ready_step(case, Cpu()) as step:
        return memory_page(step, Cpu(), case.id)


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
    with ready_step(case_of("dyrelu_b", phase="training"), Cpu()) as step:
        page = memory_page(step, Cpu(), "<b>&{}")

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
