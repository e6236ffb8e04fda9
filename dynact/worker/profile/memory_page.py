"""A page that shows a step's memory over time, by the profiler; it needs no network."""

import base64
import io
import json
import tempfile
import warnings
from pathlib import Path

import jinja2
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch.profiler import profile, schedule

from dynact.timing.clock import Call
from dynact.worker.device import Device

# What torch takes memory to be for, in its order, and the colour of each.
CATEGORIES = {
    "parameter": "#009e73",
    "optimizer state": "#e69f00",
    "input": "#4d4d4d",
    "temporary": "#cc79a7",
    "activation": "#d55e00",
    "gradient": "#0072b2",
    "autograd detail": "#56b4e9",
    "unknown": "#c4c4c4",
}


def memory_page(step: Call, device: Device, case_id: str) -> str:
    """Return an HTML page with the memory that one call allocates over time, by category.

    The figures are those of torch's `export_memory_timeline`, which torch 2.14 still has but
    calls deprecated. Its own page joins them by slopes, where memory moves in steps, and is
    titled with CUDA's peak even for a CPU: so they are drawn here.
    """
    times_us, bytes_by_category = _timeline(step, device)
    if times_us:
        # Before the first category there is a column of zeros.
        megabytes = np.array(bytes_by_category)[:, 1:] / 1e6
        most, before = megabytes.sum(axis=1).max(), megabytes[0].sum()
        finding = f"At most {most:.4g} MB at once; {before:.4g} MB at the start."
    else:
        times_us, megabytes = [0], np.zeros((1, len(CATEGORIES)))
        finding = "This step allocates nothing."
    return _template().render(
        case_id=case_id,
        finding=finding,
        picture=base64.b64encode(_picture(times_us, megabytes)).decode(),
    )


def _timeline(step: Call, device: Device) -> tuple[list[int], list[list[int]]]:
    """Return times in µs, and for each the bytes of every category after a column of zeros."""
    # Tensors name their device with its number, but the host without.
    name = str(torch.empty(0, device=device.torch_device).device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "timeline.json"

        def export(profiler: profile) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                profiler.export_memory_timeline(str(path), name)

        with profile(
            activities=device.profiler_activities(),
            schedule=schedule(wait=0, warmup=1, active=1, repeat=1),
            record_shapes=True,
            profile_memory=True,
            with_stack=True,
            on_trace_ready=export,
        ) as profiler:
            for _ in range(2):
                step()
                profiler.step()
        times_us, bytes_by_category = json.loads(path.read_text(encoding="utf-8"))
    return times_us, bytes_by_category


def _picture(times_us: list[int], megabytes: npt.NDArray[np.float64]) -> bytes:
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    since_ms = (np.array(times_us) - times_us[0]) / 1e3
    top = np.zeros(len(since_ms))
    for (category, colour), height in zip(CATEGORIES.items(), megabytes.T, strict=True):
        if height.any():
            bottom, top = top, top + height
            axes.fill_between(
                since_ms, bottom, top, step="post", color=colour, linewidth=0, label=category
            )
    axes.set(xlabel="time since the first allocation (ms)", ylabel="allocated (MB)")
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
