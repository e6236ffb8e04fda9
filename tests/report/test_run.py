"""A run is read once, and what its figures and tables share is found once."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dynact.report.figures.declaration import LayerFigure
from dynact.report.page.page import write_page
from dynact.report.render import render
from dynact.report.run import Run
from dynact.report.tables.summary import summary_markdown
from dynact.report.tensorboard import write_dashboards
from tests.report.networks_sample import build_networks
from tests.report.profile_sample import build_profile, write_tables
from tests.report.test_render import write_run

MakeRows = Callable[..., pd.DataFrame]


@pytest.fixture
def folder(make_rows: MakeRows, environment: dict[str, Any], tmp_path: Path) -> Path:
    """A run with two settings groups of which each has a shape of its own, networks, a profile."""
    rows = pd.concat([make_rows(channels=(32, 128)), make_rows(channels=(32, 64), batches=(32,))])
    networks, sites = build_networks(("resnet18",), ("frelu",))
    for name, table in (("rows", rows), ("network_rows", networks), ("site_rows", sites)):
        table.to_json(tmp_path / f"{name}.jsonl", orient="records", lines=True)
    (tmp_path / "gates.jsonl").write_text("")
    (tmp_path / "environment.json").write_text(json.dumps(environment))
    call = ("one", "frelu", "training", "aten::max", "other", "forward", 0, 1_000)
    write_tables(tmp_path, build_profile([call], [("one", 500, 4096, "forward")]))
    return tmp_path


def watch(monkeypatch: pytest.MonkeyPatch, name: str, log: Path) -> None:
    """Note each call of a function of the report, whoever makes it and in whichever process."""
    log.touch()

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(rows: pd.DataFrame, *others: Any) -> Any:
            with log.open("a") as file:
                file.write(" ".join(sorted(rows["case_id"])) + "\n")
            return original(rows, *others)

        return call

    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("dynact.report.") and hasattr(module, name):
            monkeypatch.setattr(module, name, watched(getattr(module, name)))


def test_one_rendering_with_dashboards_finds_everything_once(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = tmp_path_factory.mktemp("logs")
    means, predictions = logs / "means", logs / "predictions"
    watch(monkeypatch, "geometric_means", means)
    watch(monkeypatch, "predict", predictions)

    run = Run(folder)
    render(run, formats=("png",))
    write_dashboards(run)

    of_rows = Counter(means.read_text().splitlines())
    # Two groups, two phases of each, and the shapes that both have, of either.
    assert len(of_rows) == 2 * 3 + 2
    assert set(of_rows.values()) == {1}
    assert len(predictions.read_text().splitlines()) == 1


def test_one_rendering_with_dashboards_reads_each_file_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Counter[str] = Counter()
    original = Path.open

    def counting(path: Path, mode: str = "r", *others: Any, **options: Any) -> Any:
        if "r" in mode and path.is_relative_to(folder):
            opened[path.relative_to(folder).as_posix()] += 1
        return original(path, mode, *others, **options)

    monkeypatch.setattr(Path, "open", counting)

    run = Run(folder)
    render(run, formats=("svg",))
    write_dashboards(run)

    assert opened.pop("environment.json") == 1
    assert opened.pop("summary.md") == 1
    tables = {"rows", "network_rows", "site_rows", "gates"}
    profile = {"steps", "kernels", "timeline", "memory"}
    # Once for what is in it, once for what figures say that they were drawn from.
    assert opened == {
        **{f"{name}.jsonl": 2 for name in tables},
        **{f"traces/{name}.csv": 2 for name in profile},
    }


def test_what_is_stored_meanwhile_is_not_what_a_figure_was_drawn_from(folder: Path) -> None:
    before = Run(folder)
    with (folder / "rows.jsonl").open("a") as file:
        file.write("{}\n")

    after = Run(folder)

    assert before.origin(LayerFigure.files) != after.origin(LayerFigure.files)


def test_of_each_session_the_last_word_on_known_ratios_counts(tmp_path: Path) -> None:
    lines = [
        {"session": session, "trustworthy": trustworthy}
        for session, trustworthy in (("a", False), ("b", True), ("a", True))
    ]
    (tmp_path / "gates.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert Run(tmp_path).gates == [
        {"session": "a", "trustworthy": True},
        {"session": "b", "trustworthy": True},
    ]


def test_rows_of_former_versions_are_read_as_those_of_this_one(tmp_path: Path) -> None:
    for name in ("rows", "site_rows"):
        record = {"case_id": name, "kernels": 3, "flops_by_operator": "conv:36 batch_norm:4"}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(record) + "\n")
    of_network = {"case_id": "a network", "sites": "fc.1=relu:120"}
    (tmp_path / "network_rows.jsonl").write_text(json.dumps(of_network) + "\n")

    run = Run(tmp_path)

    for rows in (run.rows, run.sites):
        (row,) = rows.to_dict("records")
        assert row["operator_calls"] == 3
        assert row["flops_by_operator"] == {"conv": 36, "batch_norm": 4}
    (network,) = run.networks.to_dict("records")
    assert network["sites"] == [
        {"name": "fc.1", "original": "relu", "channels": 120, "height": None, "width": None}
    ]


def test_what_was_profiled_and_not_swept_has_a_name_too(folder: Path) -> None:
    call = ("one", "silu", "training", "aten::silu", "other", "forward", 0, 1_000)
    write_tables(folder, build_profile([call], [("one", 500, 4096, "forward")]))

    assert Run(folder).names["silu"] == "SiLU"


def test_visits_are_read_as_far_as_the_report_needs_them(folder: Path) -> None:
    assert Run(folder).visits.empty
    visit = {"table": "rows.jsonl", "case_id": "a", "number": 1, "status": "ok", "time_ns": 5.0}
    failed = {"table": "site_rows.jsonl", "case_id": "a", "status": "oom", "message": "no memory"}
    lines = [json.dumps(record) + "\n" for record in (visit, failed)]
    # The last was being written when the process died.
    (folder / "visits.jsonl").write_text("".join(lines) + lines[0][:20])
    visits = Run(folder).visits
    assert list(visits)[:4] == ["table", "case_id", "status", "time_ns"]
    assert list(visits["table"]) == ["rows.jsonl", "site_rows.jsonl"]
    assert visits["time_ns"].iloc[0] == 5.0
    assert visits["time_ns"].isna().iloc[1]


@pytest.mark.parametrize("state", ["warm", "cold"])
def test_wherever_a_run_says_on_what_it_was_measured_it_says_if_its_caches_were_cold(
    make_rows: MakeRows, environment: dict[str, Any], tmp_path: Path, state: str
) -> None:
    environment = environment | {"clock": {"name": "wall", "cache": state}}
    rows = make_rows(batches=(8, 32)).assign(cache=state)
    run = Run(write_run(tmp_path / "run", rows, environment, []))

    captions = [run.caption(group) for group in run.groups]
    said = [*captions, summary_markdown(run), write_page(run).read_text("utf-8")]

    assert len(captions) == 2
    for text in said:
        assert ("cold" in text) == (state == "cold")
    assert "1 thread, cold caches, torch" in captions[0] or state == "warm"
    assert ("caches are emptied before each timed call" in said[-1]) == (state == "cold")
    assert ("starts from a warm cache" in said[-1]) == (state == "warm")
