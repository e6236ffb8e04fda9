"""A page that shows a step's memory over time, by the profiler; it needs no network."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from dynact.worker.profile.memory_timeline import MemoryTimeline


class _Category(NamedTuple):
    colour: str
    words: str


# What torch takes memory to be for, in its order.
CATEGORIES = {
    "parameter": _Category("#009e73", "what the layer learns: its weights and biases"),
    "optimizer state": _Category("#e69f00", "what an optimizer keeps of each parameter"),
    "input": _Category(
        "#4d4d4d",
        "what the step is given: the layer's input and, in training, the gradient of its output",
    ),
    "temporary": _Category("#cc79a7", "allocated on the way and freed in the same pass"),
    "activation": _Category(
        "#d55e00", "made in the forward pass and still there after it: kept for the backward pass"
    ),
    "gradient": _Category("#0072b2", "of the layer's input and parameters, made in backward"),
    "autograd detail": _Category("#56b4e9", "what backward makes on its way to the gradients"),
    "unknown": _Category("#c4c4c4", "what torch does not recognise"),
}


def memory_page(step: MemoryTimeline, case_id: str) -> str:
    """Return an HTML page with a step's memory over time, by category.

    torch's own page joins the figures by slopes, where memory moves in steps, and is titled with
    CUDA's peak even for a CPU: so they are drawn here.
    """
    megabytes = np.array(step.bytes_by_category).reshape(-1, len(CATEGORIES)) / 1e6
    totals = megabytes.sum(axis=1)
    if len(totals) > 1:
        finding = f"At most {totals.max():.4g} MB at once; {totals[0]:.4g} MB at the start."
    else:
        finding = "This step allocates nothing."
    words = {
        name: category.words
        for (name, category), of_one in zip(CATEGORIES.items(), megabytes.T, strict=True)
        if of_one.any()
    }
    return _template().render(
        case_id=case_id,
        finding=finding,
        words=words,
        picture=base64.b64encode(_picture(step.times_us, megabytes)).decode(),
    )


def _picture(times_us: list[int], megabytes: npt.NDArray[np.float64]) -> bytes:
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    since_ms = (np.array(times_us) - times_us[0]) / 1e3
    top = np.zeros(len(since_ms))
    for (category, (colour, _)), height in zip(CATEGORIES.items(), megabytes.T, strict=True):
        if height.any():
            bottom, top = top, top + height
            axes.fill_between(
                since_ms, bottom, top, step="post", color=colour, linewidth=0, label=category
            )
    axes.set(xlabel="time since the step began (ms)", ylabel="allocated (MB)")
    axes.margins(x=0)
    axes.set_ylim(bottom=0)
    if megabytes.any():
        # The topmost in the picture comes first.
        figure.legend(reverse=True, frameon=False, loc="outside right upper")
    png = io.BytesIO()
    # matplotlib otherwise writes its address into the picture.
    figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
    return png.getvalue()


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("memory_page.html.jinja")
