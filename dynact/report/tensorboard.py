"""A run for TensorBoard's own dashboards: HParams, Scalars, Images and Text."""

import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

# Not its module ``api``, which offers the same and imports TensorFlow.
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.scalar.summary import scalar_pb
from tensorboard.plugins.text.summary import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from dynact.report.data.network_frames import memory_ratios
from dynact.report.data.profiled_steps import ProfiledStep, profiled_steps
from dynact.report.data.settings_groups import SettingsGroup
from dynact.report.figures.provenance import origin_of
from dynact.report.figures.registry import FIGURES
from dynact.report.run import Run
from dynact.report.tables.markdown import escaped, table
from dynact.schema.cases import CASE_FIELDS, NETWORK_FIELDS
from dynact.schema.run_folder import folder_name

FOLDERS = ("report", "activations", "trials", "networks")
METRICS = {
    "overhead": "time / the baseline's",
    "time_us": "median time of one call, µs",
    "peak_mib": "most memory at once above input and parameters, MiB",
    "kept_mib": "memory kept from forward to backward, MiB",
    "flops": "FLOPs of one forward pass",
    "times_floor": "time / the least that memory and arithmetic allow",
}
NETWORK_METRICS = {
    "network_overhead": "time / that of the same network with its own activations",
    "network_time_us": "median time of one call of the network, µs",
    "network_images_per_s": "images per second",
    "network_memory_ratio": "bytes that one more image takes / the original network's",
    "network_parameters": "parameters of the network",
    "network_macs": "multiply-accumulates of one image in inference",
}
# Sorts behind the curves, which are what the Scalars dashboard is opened for.
_TRIAL = "trial/"
_SETTINGS_OF_NETWORKS = (
    *("placement", "replaced", "dtype", "image_size", "sample", "loss", "device"),
)
# Sorts behind the summary: of the groups of texts TensorBoard opens two by itself.
_PROFILE = "traces/"


def write_dashboards(run: Run) -> Path:
    """Write what TensorBoard shows of a run, in place of what was written before.

    Parameters
    ----------
    run
        Its folder holds rows.jsonl and environment.json and, where they are to be shown,
        figures/*.png that were drawn from these rows, summary.md and traces/.

    Returns
    -------
    Path
        The folder for ``tensorboard --logdir``. Its ``FOLDERS`` hold what was written: figures
        and texts, the curves of each activation, the figures of each case, those of each network
        case. Whatever else lies there, such as traces, is left alone. The same run folder gives
        the same bytes.

    Raises
    ------
    RunNotFoundError
        If the folder is not a run.
    RunError
        If its profile or its environment.json cannot be read.
    """
    ok = _with_metrics(run.rows[run.rows["status"] == "ok"])
    ok_networks = _with_network_metrics(run.networks[run.networks["status"] == "ok"])
    time = datetime.fromisoformat(run.environment["started"]).timestamp()
    # Before anything is written: the profile may turn out to be cut short.
    steps = profiled_steps(run.profile) if run.profile is not None else []

    logdir = run.folder / "tensorboard"
    for name in FOLDERS:
        if (logdir / name).exists():
            shutil.rmtree(logdir / name)
    experiment = _experiment(ok, ok_networks, time)
    _write(logdir / "report", time, _report(run, experiment, steps))
    for activation, points in _curves(run.groups, ok_networks).items():
        _write(logdir / "activations" / folder_name(activation), time, points)
    for folder, rows, axes, metrics in (
        ("trials", ok, CASE_FIELDS, METRICS),
        ("networks", ok_networks, NETWORK_FIELDS, NETWORK_METRICS),
    ):
        for row in rows.to_dict("records"):
            trial = _trial(row, axes, metrics, time)
            _write(logdir / folder / folder_name(row["case_id"]), time, [(0, trial)])
    return logdir


def _with_metrics(ok: pd.DataFrame) -> pd.DataFrame:
    time = ok["time_ns"].astype(float)
    # What need not move or compute anything is no multiple of its floor.
    floor = ok["floor_time_ns"].astype(float).replace(0.0, float("nan"))
    return ok.assign(
        time_us=time / 1e3,
        peak_mib=ok["peak_bytes"].astype(float) / 2**20,
        kept_mib=ok["saved_for_backward_bytes"].astype(float) / 2**20,
        times_floor=time / floor,
    )


def _with_network_metrics(ok: pd.DataFrame) -> pd.DataFrame:
    time_ns = ok["time_ns"].astype(float)
    memory = memory_ratios(ok)
    return ok.assign(
        network_overhead=ok["overhead"],
        network_time_us=time_ns / 1e3,
        network_images_per_s=ok["batch"].astype(float) / time_ns * 1e9,
        network_memory_ratio=memory["ratio"].mask(memory["of_peaks"].astype(bool)),
        network_parameters=ok["parameters"],
        network_macs=ok["macs"],
    )


def _report(
    run: Run, experiment: Summary | None, steps: list[ProfiledStep]
) -> Iterator[tuple[int, Summary]]:
    """Yield what belongs to the run as a whole."""
    if experiment is not None:
        yield 0, experiment
    current = {run.origin(figure.files) for figure in FIGURES.values()}
    for path in sorted((run.folder / "figures").glob("*.png")):
        if origin_of(path) in current:
            yield 0, _image(path)
    yield 0, _text("environment", _environment(run.environment))
    summary = run.folder / "summary.md"
    if summary.is_file():
        yield 0, _text("summary", summary.read_text(encoding="utf-8"))
    for step in steps:
        yield 0, _text(f"{_PROFILE}{step.case_id}", _kernels(step))


def _experiment(ok: pd.DataFrame, networks: pd.DataFrame, time: float) -> Summary | None:
    """Declare the axes with the values that occur: those are what the dashboard can filter by.

    The dashboard knows one experiment: a layer has no network, a network no channels, and those
    cells stay empty.
    """
    values: dict[str, list[Any]] = {}
    described: dict[str, str] = {}
    for rows, axes, metrics in (
        (ok, CASE_FIELDS, METRICS),
        (networks, NETWORK_FIELDS, NETWORK_METRICS),
    ):
        if len(rows):
            described |= metrics
            for axis in axes:
                values[axis] = [*values.get(axis, []), *rows[axis].unique().tolist()]
    if not values:
        return None
    return hparams.hparams_config_pb(
        [hparams.HParam(axis, _Values(dict.fromkeys(of_axis))) for axis, of_axis in values.items()],
        [
            hparams.Metric(f"{_TRIAL}{name}", display_name=name, description=description)
            for name, description in described.items()
        ],
        time_created_secs=time,
    )


class _Values(hparams.Discrete):  # type: ignore[misc]
    """The values that an axis has in this run."""

    def update_hparam_info(self, hparam_info: Any) -> None:
        """Describe the axis to the dashboard, which shows first, or only, those that vary."""
        super().update_hparam_info(hparam_info)
        hparam_info.differs = len(self.values) > 1


def _image(path: Path) -> Summary:
    # Encoded already: TensorBoard's own image summary wants pixels, and would encode them again.
    with Image.open(path) as image:
        width, height = image.size
    content = Summary.Image(width=width, height=height, encoded_image_string=path.read_bytes())
    return Summary(value=[Summary.Value(tag=path.stem, image=content)])


def _text(tag: str, markdown: str) -> Summary:
    # Python-Markdown, which TensorBoard uses, has no meaning for $ and ~, so no escape either.
    return text_pb(tag, re.sub(r"\\([$~])", r"\1", markdown))


def _environment(environment: dict[str, Any]) -> str:
    known = pd.json_normalize(environment).iloc[0].dropna()
    lines = [[escaped(str(what)), escaped(str(value))] for what, value in known.items()]
    return table(["what", "value"], lines)


def _kernels(step: ProfiledStep) -> str:
    kernels = table(step.headings, [[escaped(cell) for cell in line] for line in step.kernels])
    doubt = f"**{escaped(step.doubt)}**" * bool(step.doubt)
    parts = [escaped(step.time), doubt, escaped(step.steps), escaped(step.note), kernels]
    return "\n\n".join(filter(None, parts))


def _curves(
    groups: list[SettingsGroup], networks: pd.DataFrame
) -> dict[str, list[tuple[int, Summary]]]:
    """Return the points of each activation, the tag says which curve a point is on.

    Of a layer (pixels, value), of a network with the activation in it (batch, value).
    """
    curves: dict[str, list[tuple[int, Summary]]] = defaultdict(list)
    for group in groups:
        ok = _with_metrics(group.ok)
        pixels = ok["height"] * ok["width"]
        for row in ok.assign(pixels=pixels).sort_values("pixels").to_dict("records"):
            curve = "/".join(filter(None, [row["phase"], f"c{row['channels']}", group.suffix]))
            curves[row["activation"]] += [
                (row["pixels"], scalar_pb(f"{metric}/{curve}", row[metric]))
                for metric in ("overhead", "time_us")
            ]
    for _, rows in networks.sort_values("batch", kind="stable").groupby("network"):
        varying = [axis for axis in _SETTINGS_OF_NETWORKS if rows[axis].nunique() > 1]
        for row in rows.to_dict("records"):
            settings = (str(row[axis]) for axis in varying)
            tag = "/".join(["network_overhead", row["phase"], row["network"], *settings])
            curves[row["activation"]].append((row["batch"], scalar_pb(tag, row["overhead"])))
    return curves


def _trial(
    row: dict[Any, Any], axes: Iterable[str], metrics: Iterable[str], time: float
) -> Summary:
    values = {axis: row[axis] for axis in axes}
    trial = hparams.hparams_pb(values, trial_id=row["case_id"], start_time_secs=time)
    # The axes are a map, whose order in the file is another each time unless asked not to be.
    plugin_data = trial.value[0].metadata.plugin_data
    parsed = HParamsPluginData.FromString(plugin_data.content)
    plugin_data.content = parsed.SerializeToString(deterministic=True)
    for name in metrics:
        if pd.notna(row[name]):
            trial.MergeFrom(scalar_pb(f"{_TRIAL}{name}", row[name]))
    return trial


def _write(folder: Path, time: float, summaries: Iterable[tuple[int, Summary]]) -> None:
    folder.mkdir(parents=True)
    # Not by an event writer: it would name the file after this host and the time.
    with (folder / "events.out.tfevents").open("wb") as file:
        records = RecordWriter(file)
        records.write(Event(wall_time=time, file_version="brain.Event:2").SerializeToString())
        for step, summary in summaries:
            event = Event(wall_time=time, step=step, summary=summary)
            records.write(event.SerializeToString())
