"""The sweep as pytest runs it, in this process and with a bench that measures nothing."""

import json
import os
import re
import resource
import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dynact.schema.cases import KnownPair, NetworkCase, SiteCase
from dynact.schema.messages import Answer, Request
from dynact.schema.run_folder import (
    RunFolder,
    find_run,
    load_environment,
    load_gates,
    read_records,
)
from dynact.schema.settings import Settings
from dynact.sweep import plugin, progress
from dynact.sweep.progress import UNTRUSTWORTHY
from dynact.sweep.worker import WorkerError
from tests.sweep.bench import ENVIRONMENT, INFO, LIMITS, SITES, STRUCTURE, VISITED, FakeBench
from tests.sweep.in_process import FOUR_CASES, FOUR_IDS, Run, as_known, check_refused

pytest_plugins = ["pytester"]


class Scattered:
    """Finds what never becomes narrow enough to end a case's visits."""

    def __init__(self) -> None:
        self._made = Counter[Any]()

    def __call__(self, request: Request) -> Answer:
        answer = as_known(request)
        self._made[request.case] += 1
        overhead = answer.figures["overhead"] * (0.9 if self._made[request.case] % 2 else 1.1)
        taken = dict.fromkeys(("timing_s", "visit_s"), request.arguments["seconds"])
        return Answer(figures=answer.figures | {"overhead": overhead, **taken})


def known(bench: FakeBench) -> list[Request]:
    return [request for request in bench.requests("visit") if isinstance(request.case, KnownPair)]


def ids_in(table: Path) -> list[str]:
    return [record["case_id"] for record in read_records(table)]


def ended(_request: Request) -> Answer:
    raise WorkerError("no process any more")


def closing_table_of(outcome: pytest.RunResult) -> list[str]:
    lines = outcome.outlines
    first = next(i for i, line in enumerate(lines) if "time as a multiple of the" in line)
    return lines[first + 1 : next(i for i, line in enumerate(lines) if line.startswith("rows: "))]


@pytest.fixture
def now_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have a clock in place of the sweep's; what it says."""
    now_s = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now_s[0])
    monkeypatch.setattr(plugin, "time", clock)
    monkeypatch.setattr(progress, "time", clock)
    this = SimpleNamespace(create_time=lambda: datetime.now().timestamp())
    monkeypatch.setattr(plugin, "psutil", SimpleNamespace(Process=lambda: this))
    return now_s


class TestSweep:
    def test_each_case_is_visited_in_each_pass_and_the_known_pairs_with_them(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        bench.answers["visit"] = Scattered()

        outcome = sweep(*FOUR_CASES)

        assert outcome.ret == 0
        visited = [(request.case.table, request.case.id) for request in bench.requests("visit")]
        made = Counter(visited)
        assert {case_id for table, case_id in made if table == "rows.jsonl"} == set(FOUR_IDS)
        assert sum(table == "known_rows.jsonl" for table, _ in made) == 5
        assert set(made.values()) == {6}
        # Each pass is whole before the next.
        passes = [visited[9 * i : 9 * (i + 1)] for i in range(6)]
        assert all(set(one) == set(made) for one in passes)
        assert len({tuple(one) for one in passes}) == 6
        # Every second one in a fresh process.
        assert bench.renewed_after == [2 * 9, 4 * 9]
        assert bench.verbs.count("count") == 4
        assert ids_in(reports / "first" / "rows.jsonl") == FOUR_IDS
        assert len(load_gates(reports / "first")) == 1
        assert bench.closed

    def test_a_process_that_compiled_is_kept(self, sweep: Run, bench: FakeBench) -> None:
        bench.answers["visit"] = Scattered()

        sweep(*FOUR_CASES, "--modes", "compile")

        assert bench.renewed_after == []

    def test_networks_and_their_sites_take_part_in_the_same_passes(
        self, sweep: Run, reports: Path
    ) -> None:
        outcome = sweep(*FOUR_CASES, "--networks", "lenet")

        assert outcome.ret == 0
        run = reports / "first"
        made = Counter(record["table"] for record in read_records(run / "visits.jsonl"))
        # Of visits that scatter by nothing, five are enough; known pairs are visited to the end.
        assert made == {
            "known_rows.jsonl": 5 * 6, "rows.jsonl": 4 * 5, "site_rows.jsonl": 4 * 5,
            "network_rows.jsonl": 2 * 5,
        }  # fmt: skip
        assert ids_in(run / "network_rows.jsonl") == [
            f"lenet-{name}-inference-2x3x32x32-float32-cpu" for name in ("prelu", "frelu")
        ]
        assert set(ids_in(run / "site_rows.jsonl")) == {
            f"{name}-inference-2x{shape}-float32-cpu"
            for name in ("prelu", "frelu")
            for shape in ("6x28x28", "16x10x10")
        }

    def test_ones_own_implementation_takes_part_in_networks_beside_the_reference(
        self, sweep: Run, reports: Path
    ) -> None:
        sweep(*FOUR_CASES, "--networks", "lenet", "--impl-from", "frelu=mine:Fast")

        run = reports / "first"
        own, reference = "float32-cpu-impl_mine:Fast", "float32-cpu"
        assert ids_in(run / "network_rows.jsonl") == [
            f"lenet-{name}-inference-2x3x32x32-{impl}"
            for name, impl in (("prelu", reference), ("frelu", reference), ("frelu", own))
        ]
        assert {case_id for case_id in ids_in(run / "site_rows.jsonl") if own in case_id} == {
            f"frelu-inference-2x{shape}-{own}" for shape in ("6x28x28", "16x10x10")
        }

    def test_without_them_no_network_is_asked_for_its_sites(
        self, sweep: Run, bench: FakeBench
    ) -> None:
        sweep(*FOUR_CASES, "-k", "bench_activation")

        assert "sites" not in bench.verbs
        assert not known(bench)

    def test_what_is_not_selected_is_not_visited(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        outcome = sweep(*FOUR_CASES, "--networks", "lenet", "-k", "bench_network or bench_site")

        assert outcome.ret == 0
        assert "rows.jsonl" not in {request.case.table for request in bench.requests("visit")}
        assert ids_in(reports / "first" / "rows.jsonl") == []

    def test_shapes_from_networks_take_the_place_of_the_presets(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        sweep(
            "--sweep", "smoke", "--shapes-from", "lenet,resnet18", "--image-size", "64",
            "--activations", "prelu", "--phases", "inference", "-k", "bench_activation",
        )  # fmt: skip

        assert [request.arguments for request in bench.requests("shapes")] == [
            {"name": "lenet", "image_size": 32, "sample": ""},
            {"name": "resnet18", "image_size": 64, "sample": ""},
        ]  # fmt: skip
        rows = read_records(reports / "first" / "rows.jsonl")
        # Each of the two networks answered with one of each.
        assert {(row["channels"], row["height"]): row["occurrences"] for row in rows} == {
            (6, 28): 2, (16, 10): 2,
        }  # fmt: skip

    def test_shapes_of_ones_own_do_so_exactly_and_occur_nowhere(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        sweep(
            "--shapes", "64x40x40,128x20x10", "--activations", "prelu", "--baseline", "silu",
            "--batches", "1,4", "--phases", "training", "-k", "bench_activation",
        )  # fmt: skip

        assert bench.requests("shapes") == []
        rows = list(read_records(reports / "first" / "rows.jsonl"))
        assert {
            (row["batch"], row["channels"], row["height"], row["width"], row["occurrences"])
            for row in rows
        } == {(batch, *shape, None) for batch in (1, 4) for shape in ((64, 40, 40), (128, 20, 10))}
        assert {(row["phase"], row["baseline"]) for row in rows} == {("training", "silu")}

    def test_settings_go_to_what_measures(self, sweep: Run, opened: list[Settings]) -> None:
        sweep(*FOUR_CASES, "--threads", "3", "--precision", "0.2", "--max-seconds", "0.5")

        assert opened == [Settings(None, 3, 0.2, 0.5, 6)]

    @pytest.mark.parametrize(("state", "said"), [("warm", ""), ("cold", ", its caches emptied*")])
    def test_the_caches_state_goes_there_too_and_is_said(
        self, sweep: Run, opened: list[Settings], state: str, said: str
    ) -> None:
        outcome = sweep(*FOUR_CASES, "--cache", state)

        assert [settings.cache for settings in opened] == [state]
        outcome.stdout.fnmatch_lines([f"dynact: measuring Some CPU{said}"])

    def test_ones_own_layer_among_the_names_is_one_of_the_activations(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        sweep(
            "--activations", "mine:Layer,prelu", "--shapes", "8x7x7", "--phases", "inference",
            "-k", "bench_activation",
        )  # fmt: skip

        assert [request.case.activation for request in bench.requests("check")] == ["mine:Layer"]
        rows = read_records(reports / "first" / "rows.jsonl")
        assert sorted(row["activation"] for row in rows) == ["mine:Layer", "prelu"]

    def test_without_activations_networks_alone_are_measured(
        self, sweep: Run, reports: Path
    ) -> None:
        sweep("--sweep", "smoke", "--activations", "none", "--phases", "inference")

        assert list(read_records(reports / "first" / "rows.jsonl")) == []
        networks = read_records(reports / "first" / "network_rows.jsonl")
        assert {(row["network"], row["activation"]) for row in networks} == {
            ("lenet", "frelu"), ("lenet", "dyrelu_b"),
        }  # fmt: skip

    def test_each_of_ones_own_layers_is_tried_before_anything_is_measured(
        self, sweep: Run, bench: FakeBench
    ) -> None:
        sweep(*FOUR_CASES, "--activation-from", "mine:A", "--activation-from", "mine:B")

        assert bench.verbs[:4] == ["check", "check", "limits", "visit"]
        assert [request.case.activation for request in bench.requests("check")] == [
            "mine:A", "mine:B",
        ]  # fmt: skip

    def test_what_does_not_fit_is_left_out_and_said(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        # One of 16 channels fits, one of 32 does not.
        bench.info = replace(INFO, free_bytes=2 * 16 * 7 * 7 * 4 * 16)

        outcome = sweep(*FOUR_CASES)

        outcome.stdout.fnmatch_lines(
            ["dynact: 2 cases left out, too large for the device's free memory"]
        )
        assert ids_in(reports / "first" / "rows.jsonl") == FOUR_IDS[:2]

    def test_a_placement_that_a_network_has_not_is_said(self, sweep: Run, bench: FakeBench) -> None:
        def sites(request: Request) -> Answer:
            assert request.case
            if request.case.activation == "prelu":
                return Answer("refused", "no 'paper' placement of 'prelu'")
            return FakeBench().ask(request)

        bench.answers["sites"] = sites

        outcome = sweep(*FOUR_CASES, "--networks", "resnet50", "--placements", "paper")

        outcome.stdout.fnmatch_lines(["dynact: resnet50, prelu: no 'paper' placement of 'prelu'"])
        assert outcome.ret == 0

    def test_collecting_measures_and_writes_nothing(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        outcome = sweep(*FOUR_CASES, "--collect-only")

        outcome.stdout.fnmatch_lines(["dynact: 4 cases in 6 passes, about *"])
        assert bench.asked == []
        assert bench.closed
        assert not reports.exists()

    def test_what_a_budget_is_likely_to_leave_out_is_said_before(self, sweep: Run) -> None:
        outcome = sweep(
            "--collect-only", "--activations", "prelu", "--phases", "inference", "--batches", "1",
            "--resolutions", "7", "--channels", ",".join(map(str, range(1, 201))),
            "--modes", "compile", "--budget", "2m", "-k", "bench_activation",
        )  # fmt: skip

        line = r"it ends in 2 min 0 s: time for about (\d+) of 200 cases, .*; without channels 2, "
        found = re.search(line, outcome.stdout.str())
        assert found
        # A second of timing; compiling takes at best a few seconds and at worst a minute.
        assert 120 / (1 + 60) - 1 <= int(found[1]) <= 120 / (1 + 5)

    def test_the_full_preset_is_kept_to_a_night(self, sweep: Run) -> None:
        narrow = ("--activations", "relu,prelu", "--networks", "none", "--collect-only", "-q")

        whole = sweep("--sweep", "full", *narrow)
        longer = sweep("--sweep", "full", *narrow, "--budget", "99h")
        standard = sweep("--sweep", "standard", *narrow)

        said = (
            "dynact: it ends in 10 h 0 min, a night (--budget TIME takes as long as you say, and "
        )
        (line,) = [text for text in whole.outlines if text.startswith(said)]
        assert re.search(r"time for about \d+ of 5\d+ cases.*; without channels 64", line)
        assert "dynact: it ends in 99 h 0 min or less" in longer.outlines
        assert not any("it ends in" in text for text in standard.outlines)

    @pytest.mark.parametrize("visit_s", [0.06, 0.6, 6.0])
    def test_a_budget_is_kept_and_what_is_left_out_is_said(
        self,
        sweep: Run,
        bench: FakeBench,
        reports: Path,
        now_s: list[float],
        visit_s: float,
    ) -> None:
        visits = 0

        def visit(request: Request) -> Answer:
            nonlocal visits
            visits += 1
            now_s[0] += visit_s
            # Never narrow.
            ratio = {} if isinstance(request.case, KnownPair) else {"overhead": 1.0 + visits % 7}
            found = as_known(request).figures | ratio
            return Answer(figures=found | {"visit_s": visit_s, "timing_s": visit_s})

        bench.answers["visit"] = visit
        options = (
            "--sweep", "smoke", "--activations", "prelu,frelu", "--phases", "inference",
            "--channels", "4,8,12,16,20", "--resolutions", "7,14,21", "--budget", "5m",
        )  # fmt: skip

        outcome = sweep(*options)

        assert 1000 + 25 / 30 * 300 <= now_s[0] <= 1300
        lines = (reports / "first" / "rows.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        reported = outcome.parseoutcomes()
        assert reported["passed"] == len(rows) + 1
        assert reported.get("deselected", 0) == 30 - len(rows)
        lacking = [line for line in outcome.outlines if "were too short for" in line]
        if visit_s < 1:
            assert len(rows) == 30
            assert lacking == []
        else:
            channels, sides = ({row[name] for row in rows} for name in ("channels", "height"))
            (line,) = lacking
            assert f"{30 - len(rows)} of 30 cases left out" in line
            for name, values, asked in (
                ("channels", channels, {4, 8, 12, 16, 20}), ("resolutions", sides, {7, 14, 21}),
            ):  # fmt: skip
                named = re.search(rf"{name} ([\d, ]+)", line)
                lost = {int(word) for word in named[1].split(",")} if named else set()
                assert lost == asked - values

            begun_s = now_s[0]
            sweep(*options, "--resume")

            # As long again, for what was left out.
            assert begun_s + 25 / 30 * 300 <= now_s[0] <= begun_s + 300
            later = (reports / "first" / "rows.jsonl").read_text().splitlines()
            assert {row["case_id"] for row in rows} < {json.loads(row)["case_id"] for row in later}

    def test_a_network_of_ones_own_is_measured_without_a_sweep_of_layers(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        outcome = sweep(
            "--network-from", "mine:build", "--activations", "frelu",
            "--activation-from", "mine:A", "--phases", "training",
        )  # fmt: skip

        assert outcome.ret == 0
        assert (reports / "first" / "rows.jsonl").read_text() == ""
        assert ids_in(reports / "first" / "network_rows.jsonl") == [
            f"mine:build-{name}-training-2x3x224x224-float32-cpu" for name in ("frelu", "mine:A")
        ]
        assert f"rows: {reports / 'first' / 'network_rows.jsonl'}" in outcome.outlines
        # The network, and the user's layer at a shape that the network has.
        assert [type(request.case) for request in bench.requests("check")] == [
            NetworkCase, SiteCase,
        ]  # fmt: skip

    def test_training_that_fails_leaves_inference_to_be_measured(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        def only_inference(request: Request) -> Answer:
            if isinstance(request.case, NetworkCase) and request.case.phase == "training":
                return Answer("error", "SystemExit: 3")
            return Answer(figures={"structure": STRUCTURE})

        bench.answers["check"] = only_inference
        outcome = sweep("--network-from", "mine:build", "--activations", "frelu")

        assert outcome.ret == 0
        line = "dynact: check of mine:build: SystemExit: 3; training is left out"
        assert line in outcome.outlines
        assert ids_in(reports / "first" / "network_rows.jsonl") == [
            "mine:build-frelu-inference-2x3x224x224-float32-cpu"
        ]

    def test_a_loss_that_is_not_there_is_a_mistake_not_a_limit_of_the_network(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        said = "mine:los: there is no 'los' in mine; did you mean loss?"

        def without_loss(request: Request) -> Answer:
            if isinstance(request.case, NetworkCase) and request.case.phase == "training":
                return Answer("refused", said)
            return Answer(figures={"structure": STRUCTURE})

        bench.answers["check"] = without_loss
        outcome = sweep(
            "--network-from", "mine:build", "--activations", "frelu", "--loss-from", "mine:los"
        )

        assert outcome.ret == pytest.ExitCode.USAGE_ERROR
        assert f"ERROR: {said}" in outcome.errlines
        assert not (reports / "first").exists()

    def test_what_is_named_is_found_from_the_current_folder(
        self, sweep: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)

        lines = sweep(*FOUR_CASES).outlines

        assert "rows: reports/first/rows.jsonl" in lines
        (draw,) = [line for line in lines if line.startswith("figures and page: ")]
        script, run = draw.split()[-2:]
        assert Path(script).is_file()
        assert run == "first"


class TestBudget:
    """Of a bench on which each visit takes a second, on a clock that nobody waits for."""

    @pytest.fixture(autouse=True)
    def visits(self, bench: FakeBench, now_s: list[float]) -> Scattered:
        scattered = Scattered()

        def visit(request: Request) -> Answer:
            now_s[0] += 1.0
            figures = scattered(request).figures
            return Answer(figures=figures | {"visit_s": 1.0, "timing_s": 1.0})

        def limits(_request: Request) -> Answer:
            now_s[0] += 14.0
            return Answer(figures=LIMITS)

        bench.answers |= {"visit": visit, "limits": limits}
        return scattered

    @pytest.fixture
    def start_s(self, opened: list[Settings], now_s: list[float], bench: FakeBench,
                monkeypatch: pytest.MonkeyPatch) -> list[float]:  # fmt: skip
        """What starting takes, to be changed."""
        start_s = [9.0]

        def start(settings: Settings) -> FakeBench:
            now_s[0] += start_s[0]
            opened.append(settings)
            return bench

        monkeypatch.setattr(plugin, "Worker", start)
        return start_s

    @pytest.mark.parametrize("budget", ["1s", "16s", "24s", "0.5m"])
    @pytest.mark.parametrize("select", [("-k", FOUR_IDS[0]), ("-k", "not gate"), ()])
    def test_one_in_which_nothing_can_be_measured_is_refused(
        self, sweep: Run, bench: FakeBench, reports: Path, start_s: list[float], budget: str,
        select: tuple[str, ...],
    ) -> None:  # fmt: skip
        outcome = sweep(*FOUR_CASES, *select, "--budget", budget)

        assert outcome.ret == pytest.ExitCode.USAGE_ERROR
        (line,) = [text for text in outcome.errlines if text.strip()]
        said = f"ERROR: --budget {budget} is too short: starting took {start_s[0]:.0f} s, "
        assert line.startswith(said)
        assert ", and 15 s are kept for drawing; give " in line
        assert not any("dynact: " in text for text in outcome.outlines)
        assert "visit" not in bench.verbs
        assert not (reports / "first").exists()
        enough = re.search(r"give (\w+) or more", line)
        assert enough
        # What was said to be enough is, though starting takes a little longer now.
        start_s[0] *= 1.1
        again = sweep(*FOUR_CASES, *select, "--budget", enough[1])
        assert again.ret == 0
        assert "visit" in bench.verbs

    def test_it_is_of_what_is_selected_and_left_to_do(self, sweep: Run, reports: Path) -> None:
        many = (
            "--sweep", "full", "--networks", "none", "--phases", "inference",
            "--activations", "prelu,frelu",
        )  # fmt: skip
        refused = sweep(*many, "--budget", "50s", "-k", "not gate", run="other")
        ids = [line for line in sweep(*many, "--collect-only", "-q").outlines if "prelu-" in line]
        one = ids[0].split("[")[1].rstrip("]")

        taken = sweep(*many, "--budget", "50s", "-k", one)

        assert refused.ret == pytest.ExitCode.USAGE_ERROR
        assert re.search(r"timing the ends of every axis, \d{3,} cases, takes", refused.errlines[0])
        assert taken.ret == 0
        assert one in ids_in(reports / "first" / "rows.jsonl")

    @pytest.mark.parametrize("budget", ["1s", "40s", "5m"])
    def test_where_nothing_is_left_to_do_that_is_said(self, sweep: Run, budget: str) -> None:
        sweep(*FOUR_CASES, "-k", "bench_activation")

        outcome = sweep(*FOUR_CASES, "-k", "bench_activation", "--resume", "--budget", budget)

        assert outcome.ret == pytest.ExitCode.NO_TESTS_COLLECTED
        assert "dynact: nothing is left to do: all 4 cases are finished" in outcome.outlines
        assert not any("narrow after" in line or "it ends in" in line for line in outcome.outlines)

    def test_of_known_pairs_alone_it_says_nothing_of_cases(self, sweep: Run) -> None:
        outcome = sweep(*FOUR_CASES, "-k", "bench_gate", "--budget", "60s")

        assert outcome.ret == 0
        assert not any(
            "narrow after" in line or "visits after" in line for line in outcome.outlines
        )

    @pytest.mark.parametrize("resume", [False, True])
    def test_where_it_is_over_before_the_first_visit_the_sweep_has_failed(
        self, sweep: Run, bench: FakeBench, now_s: list[float], reports: Path, resume: bool
    ) -> None:
        selected = (*FOUR_CASES, "-k", "bench_activation")
        if resume:
            sweep(*selected, "--passes", "2")

        def limits(_request: Request) -> Answer:
            now_s[0] += 100.0
            return Answer(figures=LIMITS)

        bench.answers["limits"] = limits
        (reports / "first" / "ceilings.json").unlink(missing_ok=True)
        more = ("--channels", "4,8,16,32", "--resume") if resume else ()
        before = len(bench.requests("visit"))
        outcome = sweep(*selected, "--budget", "60s", *more)

        assert len(bench.requests("visit")) == before
        assert outcome.ret == pytest.ExitCode.NO_TESTS_COLLECTED
        assert "dynact: 1 min 0 s were too short for any visit" in outcome.outlines
        assert (reports / "first").exists() == resume

    @pytest.mark.parametrize("why", [KeyboardInterrupt, WorkerError("no process any more")])
    @pytest.mark.parametrize("preset", [("--budget", "5m"), ("--sweep", "full")])
    def test_what_was_ended_is_not_put_down_to_it(
        self, sweep: Run, bench: FakeBench, visits: Scattered, why: Any, preset: tuple[str, ...]
    ) -> None:
        def ended_later(request: Request) -> Answer:
            if len(bench.requests("visit")) > 3:
                raise why
            return visits(request)

        bench.answers["visit"] = ended_later

        outcome = sweep(
            *FOUR_CASES, "--networks", "none", "-k", "bench_activation", *preset,
            no_reraise_ctrlc=True,
        )  # fmt: skip

        assert outcome.ret not in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
        text = outcome.stdout.str()
        assert "cases are to be visited further; go on with: " in text
        assert "were too short" not in text
        assert "have fewer than" not in text

    def test_what_has_too_few_visits_is_among_what_is_to_be_visited_further(
        self, sweep: Run, bench: FakeBench, reports: Path, now_s: list[float], visits: Scattered
    ) -> None:
        def slower_later(request: Request) -> Answer:
            took_s = 1.0 if len(bench.requests("visit")) < 10 else 4.0
            now_s[0] += took_s
            return Answer(figures=visits(request).figures | {"visit_s": took_s})

        bench.answers["visit"] = slower_later
        options = (*FOUR_CASES, "--channels", "4,8,12,16,20,24", "-k", "bench_activation")
        outcome = sweep(*options, "--budget", "60s")

        text = outcome.stdout.str()
        few, left = (
            int(found[1])
            for what in ("cases have fewer than 5 visits", "cases are to be visited further")
            if (found := re.search(rf"(\d+) {what}", text))
        )
        assert 0 < few <= left

        whole = sweep(*options, "--resume")

        assert "to be visited further" not in whole.stdout.str()
        made = Counter((v["case_id"], v["number"]) for v in read_records(
            reports / "first" / "visits.jsonl"
        ))  # fmt: skip
        assert {count for (_, number), count in made.items() if number <= 6} == {1}
        assert len(made) >= 12 * 5

    def test_what_the_device_can_do_is_not_foreseen_of_each_case(
        self, sweep: Run, bench: FakeBench
    ) -> None:
        options = (*FOUR_CASES, "--channels", "4,8,12,16,20,24", "-k", "bench_activation")

        sweep(*options, "--budget", "60s")

        # Of 60 s there are 31 left for visits of a second: five for each of six cases.
        first = [request.case for request in bench.requests("visit")[:6]]
        assert len(set(first)) == 6


class TestWhatIsSaid:
    def test_how_much_there_is_to_do_how_far_it_is_and_what_was_found(
        self, sweep: Run, reports: Path
    ) -> None:
        outcome = sweep(*FOUR_CASES)

        lines = outcome.outlines
        (told,) = [line for line in lines if line.startswith("dynact: 4 cases in 6 passes, about ")]
        assert told.endswith(", run first")
        table = closing_table_of(outcome)
        cells = [line.split() for line in table]
        assert ["relu", "(baseline)", "1", "µs"] in cells
        for name in ("prelu", "frelu"):
            assert [name, "2.000×", "(2.000–2.000)", "2", "µs"] in cells
        # A line a case is for who asks for it.
        assert not any("-inference-" in line for line in table)
        assert f"rows: {reports / 'first' / 'rows.jsonl'}" in lines
        assert any("can be told here and now" in line for line in table)
        assert not any("further" in line for line in lines)

    def test_further_processes_make_networks_anew(
        self, sweep: Run, bench: FakeBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_s = [0.0]
        monkeypatch.setattr(plugin, "time", SimpleNamespace(monotonic=lambda: now_s[0]))

        def seconds(making_s: float) -> int:
            def sites(_request: Request) -> Answer:
                now_s[0] += making_s
                return Answer(figures={"sites": SITES})

            bench.answers["sites"] = sites
            lines = sweep(*FOUR_CASES, "--networks", "lenet", run=f"of_{making_s}").outlines
            (told,) = [line for line in lines if " cases in 6 passes, about " in line]
            minutes, of_minute = re.search(r"about (?:(\d+) min )?(\d+) s", told).groups()  # type: ignore[union-attr]
            return 60 * int(minutes or 0) + int(of_minute)

        # Two networks in two more processes, for six passes.
        assert seconds(10.0) - seconds(0.0) == 2 * 2 * 10

    def test_how_far_it_is(self, sweep: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plugin, "SECONDS_BETWEEN_LINES", 0)

        outcome = sweep(*FOUR_CASES)

        outcome.stdout.fnmatch_lines(
            [
                "pass 1/6 · case 1/9 · * left · ?.?× 2 µs *-float32-cpu*",
                "pass 5/6 · case 9/9 · * left · intervals ±* · ?.?× 2 µs *-float32-cpu*",
            ]
        )

    def test_a_gate_that_failed_is_loud_and_no_failure(self, sweep: Run, bench: FakeBench) -> None:
        def no_difference(_request: Request) -> Answer:
            return Answer(figures=VISITED | {"overhead": 1.0})

        bench.answers["visit"] = no_difference

        outcome = sweep(*FOUR_CASES)

        assert outcome.ret == 0
        outcome.assert_outcomes(passed=4, xfailed=1)
        (said,) = [line for line in outcome.outlines if line.startswith(UNTRUSTWORTHY)]
        assert "10% more elements are not seen to take longer" in said

    def test_the_table_has_failures_first_and_the_networks_but_not_their_layers(
        self, sweep: Run, bench: FakeBench
    ) -> None:
        def visit(request: Request) -> Answer:
            assert request.case
            if request.case.id == FOUR_IDS[2]:
                return Answer("error", "RuntimeError: why")
            return as_known(request)

        bench.answers["visit"] = visit

        outcome = sweep(*FOUR_CASES, "--networks", "lenet", "-v")

        assert outcome.ret == pytest.ExitCode.TESTS_FAILED
        table = closing_table_of(outcome)
        failure = f"  {FOUR_IDS[2]}: error: RuntimeError: why"
        assert table[table.index("1 of 10 cases failed:") + 1] == failure
        shown = [line.split()[0] for line in table if re.match(r"\S+-inference-", line)]
        assert set(shown) == {
            *FOUR_IDS, *(f"lenet-{n}-inference-2x3x32x32-float32-cpu" for n in ("prelu", "frelu")),
        }  # fmt: skip
        assert shown[0] == FOUR_IDS[2]
        assert any(line.endswith("ERROR: RuntimeError: why") for line in table)
        assert "Traceback" not in outcome.stdout.str()

    def test_where_intervals_are_wide_it_says_what_narrows_them(
        self, sweep: Run, bench: FakeBench
    ) -> None:
        bench.answers["visit"] = Scattered()

        wide = sweep(*FOUR_CASES, "--max-seconds=3")

        assert (
            "4 of 4 cases did not converge to ±1 %: --resume with more --passes narrows them"
            in (wide.outlines)
        )
        (told,) = [line for line in wide.outlines if line.startswith("narrower intervals: ")]
        command = shlex.split(told)
        assert command[-5:] == ["--passes", "12", "--run", "first", "--resume"]
        assert command.count("--passes") == command.count("--run") == 1
        assert "--max-seconds=3" in command

        bench.answers["visit"] = as_known
        narrow = sweep(*FOUR_CASES, run="second")

        assert not any("narrow" in line for line in narrow.outlines)

    def test_the_next_commands_are_those_of_this_run(self, sweep: Run) -> None:
        lines = sweep(*FOUR_CASES).outlines

        for what, script in (
            ("figures and page", "plot_overhead.py"), ("where the time goes", "profile_traces.py")
        ):  # fmt: skip
            (line,) = [line for line in lines if line.startswith(f"{what}: ")]
            path, run = shlex.split(line)[-2:]
            assert (Path(path).name, run) == (script, "first")

    def test_a_session_with_nothing_left_to_do_gives_the_answer_of_the_whole_run(
        self, sweep: Run
    ) -> None:
        sweep(*FOUR_CASES)

        again = closing_table_of(sweep(*FOUR_CASES, "--resume"))

        assert {line.split()[0] for line in again if "2.000×" in line} == {"prelu", "frelu"}

    def test_what_a_device_cannot_do_is_skipped(self, sweep: Run, bench: FakeBench) -> None:
        bench.answers["visit"] = Answer("unsupported", "no such kernel")

        outcome = sweep(*FOUR_CASES, "-k", "bench_activation")

        assert outcome.ret == 0
        outcome.assert_outcomes(skipped=4)


class TestNothingIsSkippedWithoutAReason:
    def test_a_benchmark_without_cases_is_not_there_beside_others(self, sweep: Run) -> None:
        outcome = sweep(*FOUR_CASES, "-rs")

        # And the gate.
        outcome.assert_outcomes(passed=5)
        assert "SKIPPED" not in outcome.stdout.str()

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (
                (*FOUR_CASES, "-k", "bench_site"),
                "no networks to measure: --networks or --network-from asks for some",
            ),
            (
                (
                    "--network-from",
                    "mine:build",
                    "--activations",
                    "frelu",
                    "-k",
                    "bench_activation",
                ),
                "no layers to measure: --sweep, or an axis such as --channels, asks for some",
            ),
            (
                ("--networks", "lenet", "--activations", "swiglu", "-k", "bench_site"),
                "no networks to measure: lenet, swiglu: its input has twice the channels of its "
                "output",
            ),
        ],
    )
    def test_one_that_is_asked_for_alone_says_why(
        self, sweep: Run, options: tuple[str, ...], said: str
    ) -> None:
        outcome = sweep(*options, "-rs")

        outcome.assert_outcomes(skipped=1)
        assert any(line.startswith("SKIPPED") and line.endswith(said) for line in outcome.outlines)

    def test_a_gate_with_too_few_visits_says_so_and_warns_of_nothing(self, sweep: Run) -> None:
        outcome = sweep(*FOUR_CASES, "--passes", "3", "-rs")

        outcome.assert_outcomes(passed=4, skipped=1)
        (said,) = [line for line in outcome.outlines if line.startswith("SKIPPED")]
        assert said.endswith("the known pairs have too few visits")


class TestResuming:
    def test_what_is_done_is_not_done_again(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        options = (*FOUR_CASES, "--networks", "lenet", "-k", "not gate")
        tables = ("rows.jsonl", "site_rows.jsonl", "network_rows.jsonl")
        sweep(*options)
        before = [(reports / "first" / name).read_bytes() for name in tables]
        bench.asked.clear()

        outcome = sweep(*options, "--resume")

        # pytest's own code for a session in which it ran nothing.
        assert outcome.ret == pytest.ExitCode.NO_TESTS_COLLECTED
        assert "dynact: 0 cases in 6 passes, about 0 s, run first" in outcome.outlines
        assert [(reports / "first" / name).read_bytes() for name in tables] == before
        assert {*bench.verbs} == {"sites"}

    def test_a_network_that_has_changed_does_not_go_on_in_the_same_run(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        options = ("--network-from", "mine:build", "--activations", "frelu")
        sweep(*options)
        before = contents(reports)

        bench.answers["check"] = Answer(
            figures={"structure": STRUCTURE | {"parameter conv.weight": "9x3x3x3", "module a": ""}}
        )
        check_refused(
            sweep(*options, "--resume"),
            "cannot resume run 'first', mine:build on 3x224x224 is another network now: parameter "
            "conv.weight was 8x3x3x3 and is 9x3x3x3 (2 parts differ); name another --run",
        )
        named = reports / "first" / "network_rows.jsonl"
        assert named.read_bytes() == before[named]
        # On another input it is another case, and the rows before are no less true.
        assert sweep(*options, "--input-shape", "3x64x64", "--resume").ret == 0
        bench.answers.pop("check")
        assert sweep(*options, "--resume").ret == pytest.ExitCode.NO_TESTS_COLLECTED

    def test_a_layer_that_is_done_is_to_be_done_at_a_site_all_the_same(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        at_a_site = (
            "--activations", "frelu", "--phases", "inference", "--batches", "2",
            "--channels", "6", "--resolutions", "28",
        )  # fmt: skip
        sweep("--sweep", "smoke", *at_a_site)
        bench.asked.clear()

        sweep("--sweep", "smoke", *at_a_site, "--networks", "lenet", "--resume")

        first = "frelu-inference-2x6x28x28-float32-cpu"
        assert ids_in(reports / "first" / "rows.jsonl") == [first]
        assert first in ids_in(reports / "first" / "site_rows.jsonl")

    def test_only_what_is_missing_is_done_in_the_latest_run(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        sweep(*FOUR_CASES, "-k", "bench_activation and frelu")
        bench.asked.clear()

        outcome = sweep(*FOUR_CASES, "--resume", run="")

        assert outcome.ret == 0
        visited = {request.case for request in bench.requests("visit")}
        assert {case.id for case in visited if not isinstance(case, KnownPair)} == {*FOUR_IDS[::2]}
        assert sorted(ids_in(reports / "first" / "rows.jsonl")) == sorted(FOUR_IDS)

    def test_what_other_options_do_not_ask_for_stays_and_is_said(
        self, sweep: Run, reports: Path
    ) -> None:
        made = sweep(*FOUR_CASES, "--networks", "lenet")
        before = ids_in(reports / "first" / "rows.jsonl")

        same = sweep(*FOUR_CASES, "--networks", "lenet", "-k", "prelu", "--resume")
        other = sweep(*FOUR_CASES, "--activations", "prelu", "--networks", "none", "--resume")

        said = (
            "dynact: 8 other cases of run first stay as they are: these options do not ask for them"
        )
        assert said in other.outlines
        assert not any("stay as they are" in line for line in made.outlines + same.outlines)
        assert sorted(ids_in(reports / "first" / "rows.jsonl")) == sorted(before)

    @pytest.mark.parametrize("error", [WorkerError("no process any more"), None])
    def test_a_sweep_that_ended_early_says_how_to_go_on(
        self, sweep: Run, bench: FakeBench, error: Exception | None, reports: Path
    ) -> None:
        def visit(request: Request) -> Answer:
            if len(bench.requests("visit")) == 9:
                if error:
                    raise error
                (reports / "first" / "visits.jsonl").unlink()
                (reports / "first" / "visits.jsonl").mkdir()
            return FakeBench().ask(request)

        bench.answers["visit"] = visit

        outcome = sweep(*FOUR_CASES, "-k", "bench_activation and not (some or thing)")

        assert outcome.ret == 1
        text = outcome.stdout.str()
        assert "Traceback" not in text + outcome.stderr.str()
        said = "no process any more" if error else "cannot append to visits.jsonl: Is a directory"
        assert f"Exit: {said}" in text
        (told,) = [line for line in outcome.outlines if "further" in line]
        assert told.startswith("4 cases are to be visited further; go on with: ")
        assert told.endswith(" --run first --resume")
        assert "'bench_activation and not (some or thing)'" in told
        assert bench.closed

    @pytest.mark.parametrize("given", [["--run", "first"], ["--run=first"]])
    def test_each_option_is_said_once(self, sweep: Run, bench: FakeBench, given: list[str]) -> None:
        def ended(request: Request) -> Answer:
            if len(bench.requests("visit")) % 12 == 0:
                raise WorkerError("no process any more")
            return as_known(request)

        bench.answers["visit"] = ended

        for more in ([], ["--resume"]):
            outcome = sweep(*FOUR_CASES, *given, *more, run="")

            (told,) = [line for line in outcome.outlines if "further" in line]
            said = shlex.split(told)
            assert said[-3:] == ["--run", "first", "--resume"]
            assert [word for word in said if "--run" in word or "--resume" in word] == [
                "--run", "--resume"
            ]  # fmt: skip


class TestRunOfOnesOwn:
    """A run in a folder of the user's, not among the reports."""

    @pytest.mark.parametrize("place", ["./mine", "some/where/else", "{here}/mine"])
    def test_it_is_where_the_path_leads_from_the_current_folder(
        self, sweep: Run, reports: Path, pytester: pytest.Pytester, place: str
    ) -> None:
        place = place.format(here=pytester.path)
        sweep(*FOUR_CASES, run="among")
        latest = (reports / "latest").readlink()
        (pytester.path / "latest").write_text("mine")

        first = sweep(*FOUR_CASES, run=place)
        again = sweep(*FOUR_CASES, "--passes", "13", "--resume", run=place)

        folder = pytester.path / place
        assert ids_in(folder / "rows.jsonl") == FOUR_IDS
        assert f"rows: {folder.relative_to(pytester.path)}/rows.jsonl" in first.outlines
        assert any(line.endswith(f"plot_overhead.py {place}") for line in again.outlines)
        assert (pytester.path / "latest").read_text() == "mine"
        assert not (folder.parent / "latest").is_symlink()
        assert (reports / "latest").readlink() == latest
        assert find_run(place, reports).resolve() == folder

    def test_one_that_is_among_the_reports_is_the_latest(
        self, sweep: Run, reports: Path, pytester: pytest.Pytester
    ) -> None:
        sweep(*FOUR_CASES, run=f"{os.path.relpath(reports, pytester.path)}/first")

        assert (reports / "latest").readlink() == Path("first")

    def test_a_folder_of_other_files_is_left_alone(
        self, sweep: Run, pytester: pytest.Pytester
    ) -> None:
        (pytester.path / "mine").mkdir()
        (pytester.path / "mine" / "thesis.tex").touch()

        check_refused(
            sweep(*FOUR_CASES, run="./mine"),
            "./mine is a folder of other files; name a new folder for --run",
        )
        assert [path.name for path in (pytester.path / "mine").iterdir()] == ["thesis.tex"]


class TestRefusal:
    """Told in one line, before anything is measured or written."""

    def test_a_mistake_on_the_command_line(
        self, sweep: Run, opened: list[Settings], reports: Path
    ) -> None:
        check_refused(
            sweep(*FOUR_CASES, "--sweep", "quik"), "unknown preset 'quik'; did you mean quick"
        )

        assert opened == []
        assert not reports.exists()

    @pytest.mark.parametrize("run", ["", "nothing"])
    def test_a_run_that_is_not_there(
        self, sweep: Run, opened: list[Settings], reports: Path, run: str
    ) -> None:
        outcome = sweep(*FOUR_CASES, "--resume", run=run)

        check_refused(outcome, f"no run '{run or 'latest'}'; there are none yet")
        assert opened == []
        assert not reports.exists()

    def test_a_run_that_is_there_already(
        self, sweep: Run, opened: list[Settings], reports: Path
    ) -> None:
        sweep(*FOUR_CASES)
        before = contents(reports)
        opened.clear()

        check_refused(sweep(*FOUR_CASES), "run 'first' exists; add --resume")

        assert opened == []
        assert contents(reports) == before

    def test_a_run_of_another_environment(
        self, sweep: Run, bench: FakeBench, reports: Path
    ) -> None:
        sweep(*FOUR_CASES)
        before = contents(reports)
        bench.info = replace(INFO, environment=ENVIRONMENT | {"threads": 2})

        outcome = sweep(*FOUR_CASES, "--resume")

        check_refused(outcome, "cannot resume run 'first', its rows would not be comparable: ")
        assert "threads was 1 and is 2" in outcome.errlines[0]
        assert contents(reports) == before

    @pytest.mark.parametrize(("then", "now"), [("warm", "cold"), ("cold", "warm")])
    def test_a_run_from_caches_in_another_state(
        self, sweep: Run, bench: FakeBench, reports: Path, then: str, now: str
    ) -> None:
        for state in (then, now):
            # As a bench that is asked for it describes itself.
            clock = {"name": "wall", "cache": state, "min_block_ns": 1e5}
            bench.info = replace(INFO, environment=ENVIRONMENT | {"clock": clock})
            resume = ["--resume"] if state == now else []
            before = contents(reports)
            outcome = sweep(*FOUR_CASES, "--cache", state, *resume)

        line = (
            "cannot resume run 'first', its rows would not be comparable: clock.cache was "
            f"{then!r} and is {now!r}; name another --run"
        )
        check_refused(outcome, line)
        assert contents(reports) == before

    def test_a_run_that_is_in_use(self, sweep: Run, reports: Path) -> None:
        sweep(*FOUR_CASES)
        before = contents(reports)
        folder = reports / "first"
        writer = RunFolder(folder, resume=True, environment=load_environment(folder))

        outcome = sweep(*FOUR_CASES, "--resume")
        writer.close()

        check_refused(outcome, "run 'first' is in use by another process")
        assert contents(reports) == before

    def test_a_device_that_is_not_there(self, sweep: Run, reports: Path) -> None:
        outcome = sweep(*FOUR_CASES, "--device", "abacus")

        check_refused(outcome, "device 'abacus' is not there; this machine has: cpu")
        assert not reports.exists()

    @pytest.mark.parametrize(
        ("options", "line"),
        [
            (
                ("--channels", "99999999999"),
                "none of 2 cases fits into the 16.0 GiB that are",
            ),
        ],
    )
    def test_a_plan_that_cannot_be(
        self, sweep: Run, bench: FakeBench, reports: Path, options: tuple[str, ...], line: str
    ) -> None:
        check_refused(sweep(*FOUR_CASES, *options), line)

        assert bench.closed
        assert not reports.exists()

    @pytest.mark.parametrize(
        ("verb", "options"),
        [
            ("check", ("--activation-from", "mine:InPlace")),
            ("shapes", ("--shapes-from", "lenet")),
            ("sites", ("--networks", "lenet")),
            ("check", ("--network-from", "mine:build")),
        ],
    )
    def test_what_the_worker_refuses(
        self, sweep: Run, bench: FakeBench, reports: Path, verb: str, options: tuple[str, ...]
    ) -> None:
        bench.answers[verb] = Answer("refused", "not with us; try another")

        outcome = sweep("--sweep", "smoke", "--activations", "frelu", *options)

        named = "lenet, frelu: " if verb == "sites" else ""
        check_refused(outcome, f"{named}not with us; try another")
        assert set(bench.verbs) == {verb}
        assert bench.closed
        assert not reports.exists()

    def test_reports_that_cannot_be_written(self, sweep: Run, reports: Path) -> None:
        reports.write_text("mine")

        check_refused(sweep(*FOUR_CASES), "cannot write to reports/first: ")

        assert reports.read_text() == "mine"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_what_was_measured(sweep: Run, reports: Path) -> None:
    options = (*FOUR_CASES, "--channels", "4,8,16,32,64", "-k", "bench_activation")
    size = 6000

    with file_size_limit(size):
        outcome = sweep(*options)

    assert outcome.ret == 1
    text = outcome.stdout.str()
    assert "Traceback" not in text + outcome.stderr.str()
    assert "Exit: cannot append to rows.jsonl: " in text
    stored = (reports / "first" / "rows.jsonl").read_bytes()
    # As many whole rows as there was space for; a row's length varies by a few digits.
    assert stored.endswith(b"\n")
    assert stored.count(b"\n") >= 2
    assert size - 2 * max(map(len, stored.splitlines())) < len(stored) <= size
    assert {json.loads(line)["status"] for line in stored.splitlines()} == {"ok"}
    again = sweep(*options, "--resume")
    assert again.ret == 0
    ids = ids_in(reports / "first" / "rows.jsonl")
    assert len(ids) == len(set(ids)) == 10


def test_a_copy_that_cannot_be_written_costs_the_rows_nothing(sweep: Run, reports: Path) -> None:
    outcome = sweep(*FOUR_CASES, "--benchmark-json", "/dev/full")

    assert outcome.ret == pytest.ExitCode.TESTS_FAILED
    assert "dynact: cannot write benchmark.json: No space left on device" in outcome.outlines
    assert f"rows: {reports / 'first' / 'rows.jsonl'}" in outcome.outlines
    assert ids_in(reports / "first" / "rows.jsonl") == FOUR_IDS


@pytest.mark.parametrize("options", [("--help",), ("--markers",), ("--version",)])
def test_what_measures_nothing_opens_nothing(
    sweep: Run, opened: list[Settings], options: tuple[str, ...]
) -> None:
    sweep(*options)

    assert opened == []


def test_the_environment_says_how_the_run_was_made_and_names_no_folder(
    sweep: Run, reports: Path
) -> None:
    sweep(*FOUR_CASES, "--precision", "0.05", "--max-seconds", "2")

    environment: dict[str, Any] = load_environment(reports / "first")
    assert environment["settings"] == {"precision": 0.05, "max_seconds": 2.0, "passes": 6}
    assert environment["command"][:2] == ["pytest", "benches"]
    assert {name: environment[name] for name in ENVIRONMENT} == ENVIRONMENT
    assert os.sep not in "".join(environment["command"])
