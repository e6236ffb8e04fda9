import getpass
import io
import json
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugin_util import markdown_to_safe_html
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler
from tensorboard.util import tensor_util

from dynact.report.figures.files import PNG_KEY
from dynact.report.figures.registry import FIGURES
from dynact.report.run import Run
from dynact.report.tensorboard import FOLDERS, METRICS, NETWORK_METRICS, write_dashboards
from dynact.schema.cases import CASE_FIELDS, NETWORK_FIELDS
from dynact.schema.run_folder import RunError, RunNotFoundError
from tests.report.networks_sample import build_networks, fail_networks
from tests.report.profile_sample import build_profile, write_tables

PLACED = ("all", "paper")


@pytest.fixture
def write_run(tmp_path, environment):
    def write(rows):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        rows.to_json(folder / "rows.jsonl", orient="records", lines=True)
        (folder / "environment.json").write_text(json.dumps(environment))
        return folder

    return write


def read(folder):
    return EventAccumulator(str(folder)).Reload()


def read_texts(report):
    return {
        tag: tensor_util.make_ndarray(report.Tensors(tag)[0].tensor_proto).item().decode()
        for tag in report.Tags()["tensors"]
        if report.SummaryMetadata(tag).plugin_data.plugin_name == "text"
    }


def read_scalars(run):
    """Return tag → [(step, value)]."""
    return {
        tag: [(e.step, tensor_util.make_ndarray(e.tensor_proto).item()) for e in run.Tensors(tag)]
        for tag in run.Tags()["tensors"]
        if run.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
    }


def read_hparams(logdir):
    """Return what the HParams dashboard's own backend makes of it: (experiment, trials)."""
    runs = EventMultiplexer().AddRunsFromDirectory(str(logdir))
    runs.Reload()
    backend = Context(TBContext(data_provider=MultiplexerDataProvider(runs, str(logdir))))
    here = RequestContext()
    found = backend.hparams_metadata(here, "")
    experiment = backend.experiment_from_metadata(
        here, "", True, found, backend.hparams_from_data_provider(here, "", limit=None)
    )
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=1000, allowed_statuses=api_pb2.Status.values()
    )
    return experiment, list(Handler(here, backend, "", request).run().session_groups)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_activation_is_a_run_with_its_time_and_overhead_by_pixels(make_rows, write_run):
    rows = pd.concat(
        [make_rows(resolutions=(28, 7, 14)), make_rows(("prelu",), (32,), (7,), batches=(32,))]
    )
    logdir = write_dashboards(Run(write_run(rows)))
    assert {f.name for f in (logdir / "activations").iterdir()} == {"prelu", "frelu", "dyrelu_b"}
    points = read_scalars(read(logdir / "activations/frelu"))
    assert len(points) == 2 * 2 * 2  # figures, phases, channels
    here = rows.query("activation == 'frelu' and phase == 'training' and channels == 128")
    here = here.sort_values("height")
    for tag, values in (("overhead", here["overhead"]), ("time_us", here["time_ns"] / 1e3)):
        steps, found = zip(*points[f"{tag}/training/c128"], strict=True)
        assert steps == (49, 196, 784)
        assert found == pytest.approx(list(values), rel=1e-6)
    other = read_scalars(read(logdir / "activations/prelu"))["overhead/inference/c32/n32"]
    assert other == [(49, pytest.approx(rows.iloc[-2]["overhead"], rel=1e-6))]


def test_each_ok_row_is_a_trial(make_rows, write_run, fail):
    rows = fail(make_rows(), [5], "oom", "no memory")
    experiment, trials = read_hparams(write_dashboards(Run(write_run(rows))))
    ok = rows[rows["status"] == "ok"].set_index("case_id")
    assert {trial.name for trial in trials} == set(ok.index)
    assert len(trials) == len(rows) - 1
    for trial in trials:
        row = ok.loc[trial.name]
        axes = {
            axis: value.string_value or value.number_value for axis, value in trial.hparams.items()
        }
        assert axes == {axis: row[axis] for axis in CASE_FIELDS}
        found = {value.name.tag.rpartition("/")[2]: value.value for value in trial.metric_values}
        assert found == pytest.approx(
            {
                "overhead": row["overhead"],
                "time_us": row["time_ns"] / 1e3,
                "peak_mib": row["peak_bytes"] / 1048576,
                "kept_mib": row["saved_for_backward_bytes"] / 1048576,
                "flops": row["flops"],
                "times_floor": row["time_ns"] / row["floor_time_ns"],
            },
            rel=1e-6,
        )
    declared = {
        axis.name: [v.string_value or v.number_value for v in axis.domain_discrete.values]
        for axis in experiment.hparam_infos
    }
    assert declared == {axis: sorted(ok[axis].unique()) for axis in CASE_FIELDS}
    vary = [axis.name for axis in experiment.hparam_infos if axis.differs]
    assert vary == ["activation", "channels", "height", "phase", "width"]
    assert {metric.display_name for metric in experiment.metric_infos} == set(METRICS)


def test_what_was_not_counted_is_left_out_of_a_trial(make_rows, write_run, uncount):
    _, trials = read_hparams(write_dashboards(Run(write_run(uncount(make_rows())))))
    assert len(trials) == 24
    for trial in trials:
        assert {v.name.tag for v in trial.metric_values} == {"trial/overhead", "trial/time_us"}


def write_networks(run, networks):
    networks.to_json(run / "network_rows.jsonl", orient="records", lines=True)
    return run


def test_networks_are_trials_of_their_own_axes(make_rows, write_run):
    networks, _ = build_networks(("lenet", "resnet18"), ("silu", "frelu"), placements=PLACED)
    networks = fail_networks(networks, [0])
    networks.loc[1, ["memory_per_image_bytes", "macs"]] = None
    rows = make_rows()
    logdir = write_dashboards(Run(write_networks(write_run(rows), networks)))
    experiment, trials = read_hparams(logdir)

    ok = networks[networks["status"] == "ok"].set_index("case_id")
    by_name = {trial.name: trial for trial in trials}
    assert set(by_name) == {*rows["case_id"], *ok.index}
    assert {folder.name for folder in (logdir / "networks").iterdir()} == set(ok.index)
    for case_id, row in ok.iterrows():
        axes = {
            axis: getattr(value, value.WhichOneof("kind"))
            for axis, value in by_name[case_id].hparams.items()
        }
        assert axes == {axis: row[axis] for axis in NETWORK_FIELDS}
        found = {v.name.tag.rpartition("/")[2]: v.value for v in by_name[case_id].metric_values}
        memory = float(row["memory_per_image_bytes"] or "nan")
        figures = {
            "network_overhead": row["overhead"],
            "network_time_us": row["time_ns"] / 1e3,
            "network_images_per_s": row["batch"] / (row["time_ns"] / 1e9),
            "network_memory_ratio": memory / row["baseline_memory_per_image_bytes"],
            "network_parameters": row["parameters"],
            "network_macs": row["macs"],
        }
        known = {name: value for name, value in figures.items() if not pd.isna(value)}
        assert found == pytest.approx(known, rel=1e-6)
    layer = by_name[rows["case_id"].iloc[0]]
    assert set(layer.hparams) == set(CASE_FIELDS)

    declared = {
        axis.name: {v.string_value or v.number_value for v in axis.domain_discrete.values}
        for axis in experiment.hparam_infos
    }
    assert set(declared) == {*CASE_FIELDS, *NETWORK_FIELDS}
    assert declared["network"] == {"lenet", "resnet18"}
    assert declared["activation"] == {"prelu", "frelu", "dyrelu_b", "silu"}
    shown = {metric.display_name for metric in experiment.metric_infos}
    assert shown == {*METRICS, *NETWORK_METRICS}


def test_an_activations_overhead_in_each_network_is_a_curve(make_rows, write_run):
    networks, _ = build_networks(("lenet", "resnet18"), ("silu", "frelu"))
    here = (networks["network"] == "resnet18") & (networks["activation"] == "silu")
    larger = networks[here].assign(batch=32, overhead=7.0, case_id=networks["case_id"] + "-32")
    run = write_networks(write_run(make_rows()), pd.concat([larger, networks]))
    logdir = write_dashboards(Run(run))
    points = read_scalars(read(logdir / "activations/silu"))
    first = {
        (r["network"], r["phase"]): r["overhead"]
        for r in networks[networks["activation"] == "silu"].to_dict("records")
    }
    expected = {
        f"network_overhead/{phase}/{network}": [(8, value), *[(32, 7.0)] * (network == "resnet18")]
        for (network, phase), value in first.items()
    }
    assert set(points) == set(expected)
    for tag, curve in expected.items():
        assert [step for step, _ in points[tag]] == [step for step, _ in curve]
        assert [v for _, v in points[tag]] == pytest.approx([v for _, v in curve], rel=1e-6)

    placed, _ = build_networks(("resnet18",), ("silu",), placements=PLACED)
    write_dashboards(Run(write_networks(run, placed)))
    points = read_scalars(read(logdir / "activations/silu"))
    assert set(points) == {
        f"network_overhead/{phase}/resnet18/{placement}"
        for phase in ("inference", "training")
        for placement in PLACED
    }


def test_a_run_of_networks_alone_has_their_axes_alone(make_rows, write_run, fail):
    networks, _ = build_networks(("lenet",), ("silu",))
    run = write_networks(write_run(fail(make_rows(), range(24), "oom", "x")), networks)
    experiment, trials = read_hparams(write_dashboards(Run(run)))
    assert {axis.name for axis in experiment.hparam_infos} == set(NETWORK_FIELDS)
    assert {metric.display_name for metric in experiment.metric_infos} == set(NETWORK_METRICS)
    assert len(trials) == 2


def draw(path, origin):
    """Write pixels as a figure that says what it was drawn from."""
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    info = PngInfo()
    info.add_text(PNG_KEY, origin)
    Image.fromarray(pixels).save(path, pnginfo=info)
    return pixels


def test_figures_and_texts_are_those_of_the_run(make_rows, write_run):
    run = write_run(make_rows())
    figures = run / "figures"
    pixels = draw(
        figures / "overhead_ranking.png", Run(run).origin(FIGURES["overhead_ranking"].files)
    )
    draw(figures / "memory.png", "earlier rows")
    Image.fromarray(pixels).save(figures / "mine.png")
    (figures / "broken.png").write_text("no picture")
    (figures / "overhead_ranking.svg").write_text("<svg/>")
    (run / "summary.md").write_text("# Títle\n\n| a | b |\n| :-- | --: |\n| x\\$y \\~ | 1 |\n")
    report = read(write_dashboards(Run(run)) / "report")

    assert report.Tags()["images"] == ["overhead_ranking"]
    (image,) = report.Images("overhead_ranking")
    assert (image.width, image.height) == (5, 3)
    assert (np.asarray(Image.open(io.BytesIO(image.encoded_image_string))) == pixels).all()

    texts = read_texts(report)
    assert set(texts) == {"summary", "environment"}
    shown = markdown_to_safe_html(texts["summary"])
    assert "<h1>Títle</h1>" in shown
    assert "<td>x$y ~</td>" in shown
    shown = markdown_to_safe_html(texts["environment"])
    assert "<td>versions.torch</td>\n<td>2.14.1</td>" in shown


def test_kernels_of_each_profiled_case_are_a_table(make_rows, write_run):
    run = write_run(make_rows())
    kernel = "void f<int, $1>(a|b) ~c~ <script>"
    compiled = "relu-training-8x64x56x56-float32-cuda:0-compile"
    profile = build_profile(
        [
            *1200 * [("one", "frelu", "training", kernel, "other", "forward", 0, 1_000)],
            ("one", "frelu", "training", "aten::conv2d", "conv", "backward", 0, 2_800_000),
            ("two", "relu", "inference", "aten::relu", "pointwise", "forward", 0, 1_000),
            (compiled, "relu", "training", kernel, "other", "forward", 0, 3_000),
        ]
    )
    profile.kernels.loc[1, ["input_shapes", "bytes", "bandwidth_bytes_per_s"]] = None
    profile.kernels.loc[3, "operator"] = "CompiledFunction|"
    profile.steps["untraced_ns"] = [2e6, None, 4_000]
    write_tables(run, profile)
    texts = read_texts(read(write_dashboards(Run(run)) / "report"))
    assert set(texts) == {"environment", "traces/one", "traces/two", f"traces/{compiled}"}
    shown = markdown_to_safe_html(texts["traces/one"])
    assert "<p>4 ms under the profiler, 2.0× the 2 ms without it</p>" in shown
    assert "<strong>All kernels together took 100 % more time under the profiler" in shown
    headings, cells = (
        [line[4:-5] for line in shown.splitlines() if line.startswith(tag)]
        for tag in ("<th>", "<td>")
    )
    assert headings == [
        "kernel", "part", "time", "share", "spread", "calls", "bytes", "bandwidth", "kind",
        "input shapes",
    ]  # fmt: skip
    # 1000 bytes in each µs, a quarter of a copy's.
    assert cells == [
        "aten::conv2d", "backward", "2.8 ms", "70.0 %", "2.24 ms–3.92 ms", "1", "–", "–", "conv",
        "–",
        "void f&lt;int, $1&gt;(a|b) ~c~ &lt;script&gt;", "forward", "1.2 ms", "30.0 %",
        "960 µs–1.68 ms", "1,200", "1.2 MB", "1.0 GB/s, 25 % of a copy’s", "other",
        "8x64x56x56 64, 3",
    ]  # fmt: skip
    shown = markdown_to_safe_html(texts["traces/two"])
    assert "1 µs under the profiler, not timed without it" in shown
    assert "<strong>" not in shown
    shown = markdown_to_safe_html(texts[f"traces/{compiled}"])
    assert "they run in 75 % of the step" in shown
    assert "<p>Compiled: a compiled region does the work" in shown
    assert "<td>CompiledFunction|</td>" in shown


def test_a_profile_that_was_cut_short_is_refused_before_anything_is_written(make_rows, write_run):
    run = write_run(make_rows())
    call = ("one", "frelu", "training", "aten::max", "other", "forward", 0, 1_000)
    write_tables(run, build_profile([call]))
    kernels = run / "traces/kernels.csv"
    kernels.write_bytes(kernels.read_bytes()[:-9])
    with pytest.raises(RunError, match=r"traces/kernels\.csv is cut short"):
        write_dashboards(Run(run))
    assert not (run / "tensorboard").exists()


def test_writing_again_replaces_what_was_written_and_nothing_else(make_rows, write_run):
    run = write_run(make_rows())
    logdir = write_dashboards(Run(run))
    first = contents(logdir)
    trace = logdir / "frelu-training/host_1.1.pt.trace.json"
    trace.parent.mkdir()
    trace.write_text("{}")
    assert write_dashboards(Run(run)) == logdir
    again = contents(logdir)
    assert again.pop(trace.relative_to(logdir)) == b"{}"
    assert again == first

    write_run(make_rows(("prelu",)))
    write_dashboards(Run(run))
    assert [folder.name for folder in (logdir / "activations").iterdir()] == ["prelu"]
    assert len(list((logdir / "trials").iterdir())) == 8
    assert trace.read_text() == "{}"


def test_a_run_without_an_ok_row_has_its_texts(make_rows, write_run, fail):
    logdir = write_dashboards(Run(write_run(fail(make_rows(), range(24), "oom", "x"))))
    assert [folder.name for folder in logdir.iterdir()] == ["report"]
    assert set(read_texts(read(logdir / "report"))) == {"environment"}
    assert read_hparams(logdir)[1] == []


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunNotFoundError, match=r"it has no rows\.jsonl"):
        write_dashboards(Run(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "pkg.mod:Class",
        "with space",
        "Ünï·λ",
        "$HOME/../x",
        "<b>&amp;",
        "a\\b|c",
        "report",
        "%2F",
        "pkg.mod:" + 300 * "λ",
        "..",
    ],
)
def test_any_name_is_one_run(name, make_rows, write_run):
    logdir = write_dashboards(Run(write_run(make_rows((name, "prelu"), (32,), (7,)))))
    assert {folder.name for folder in logdir.iterdir()} == set(FOLDERS) - {"networks"}
    assert len(list((logdir / "activations").iterdir())) == 2
    experiment, trials = read_hparams(logdir)
    assert sorted(t.hparams["activation"].string_value for t in trials) == sorted(
        2 * [name, "prelu"]
    )
    assert {axis.name: len(axis.domain_discrete) for axis in experiment.hparam_infos}[
        "activation"
    ] == 2


def test_neither_host_nor_user_nor_paths_are_told(make_rows, write_run):
    run = write_run(make_rows())
    (run / "summary.md").write_text("# Summary\n")
    logdir = write_dashboards(Run(run))
    told = b"".join(str(path).encode() + data for path, data in contents(logdir).items())
    for secret in (socket.gethostname(), getpass.getuser(), str(run), str(Path.home())):
        assert secret.encode() not in told
