"""Visits and rows from a bench that answers as it is told."""

import math
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dynact.schema.cases import AnyCase, Case, KnownPair
from dynact.schema.limits import Ceilings
from dynact.schema.messages import Answer, Request
from dynact.schema.rows import STATUSES, Measured, NetworkRow, Row
from dynact.schema.run_folder import CEILINGS, RunFolder, load_ceilings, load_gates, read_records
from dynact.schema.settings import Settings
from dynact.schema.visits import VISITS
from dynact.sweep.known_pairs import known_pairs
from dynact.sweep.session import Sweep, ask_or_raise
from dynact.sweep.worker import WorkerError
from tests.sweep.bench import ENVIRONMENT, INFO, LIMITS, VISITED, FakeBench
from tests.sweeping import case_of, network_case_of, ok_row, site_of

STARTED = {"started": "2026-03-01T10:00:00"} | ENVIRONMENT
PAIRS = known_pairs(["inference"], INFO)
A_CASE_OF_EACH_TABLE = pytest.mark.parametrize(
    "case", [case_of(), site_of(), network_case_of()], ids=["layer", "site", "network"]
)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    run = RunFolder(tmp_path / "reports" / "run", resume=False, environment=STARTED)
    yield run
    run.close()


def sweep_with(bench: FakeBench, run: RunFolder, **how: Any) -> Sweep:
    return Sweep(bench, run, Settings(max_seconds=1.0, passes=20), datetime.now(), **how)


def visit(sweep: Sweep, case: AnyCase, number: int = 1) -> None:
    (visited,) = sweep.passes([case]).cases
    sweep.visit(visited, number)


def visited_row(sweep: Sweep, case: AnyCase) -> Measured:
    visit(sweep, case)
    row, _ = sweep.found(case)
    return row


def measured(sweep: Sweep, case: Case) -> Row:
    row = visited_row(sweep, case)
    assert isinstance(row, Row)
    return row


class TestRow:
    def test_it_brings_timing_counts_and_ceilings_together(self, run: RunFolder) -> None:
        bench = FakeBench()

        row = measured(sweep_with(bench, run), case_of("prelu"))

        assert bench.verbs == ["visit", "count", "limits"]
        assert [request.case for request in bench.asked[:2]] == [case_of("prelu")] * 2
        assert (row.status, row.message, row.overhead) == ("ok", "", 2.0)
        assert (row.flops, row.counting_s) == (3_000, 0.5)
        assert (row.bandwidth_bytes_per_s, row.peak_flops_per_s) == (1e10, 1e9)
        # 3,000 FLOPs at 1 GFLOP/s take longer than 1,000 B at 10 GB/s.
        assert row.floor_time_ns == pytest.approx(3_000)

    @A_CASE_OF_EACH_TABLE
    def test_it_is_on_disk_in_the_table_of_its_case(self, run: RunFolder, case: AnyCase) -> None:
        sweep = sweep_with(FakeBench(), run)

        visit(sweep, case)

        row, times_ns = sweep.found(case)
        assert list(read_records(run.folder / case.table)) == [row.record()]
        assert times_ns == [2e3]
        (record,) = read_records(run.folder / VISITS)
        assert (record["table"], record["case_id"], record["number"]) == (case.table, case.id, 1)
        assert {name: record[name] for name in VISITED} == VISITED

    def test_the_bandwidth_is_that_of_a_copy_of_its_size(self, run: RunFolder) -> None:
        sweep = sweep_with(FakeBench(), run)

        # 3,136 B and 31 MB.
        rows = [measured(sweep, case_of(batch=batch)) for batch in (2, 20_000)]

        assert [row.bandwidth_bytes_per_s for row in rows] == [1e10, 1e9]

    def test_a_network_has_no_floor(self, run: RunFolder) -> None:
        row = visited_row(sweep_with(FakeBench(), run), network_case_of())

        assert isinstance(row, NetworkRow)
        assert row.flops == 3_000
        assert "floor_time_ns" not in row.record()

    def test_it_says_how_often_networks_have_its_shape(self, run: RunFolder) -> None:
        shape = {"channels": 6, "height": 28, "width": 14}
        sweep = sweep_with(FakeBench(), run, occurrences={(6, 28, 14): 7, (6, 14, 28): 8})
        cases = [
            case_of("prelu", **shape), case_of("silu", phase="training", **shape),
            site_of(**shape), case_of(**shape | {"height": 14}), network_case_of(),
        ]  # fmt: skip

        *of_layers, of_a_network = [visited_row(sweep, case).record() for case in cases]

        assert [record["occurrences"] for record in of_layers] == [7, 7, 7, None]
        assert "occurrences" not in of_a_network

    def test_no_networks_no_occurrences(self, run: RunFolder) -> None:
        assert measured(sweep_with(FakeBench(), run), case_of()).occurrences is None

    @pytest.mark.parametrize(
        ("activation", "cache_bytes", "fits"),
        [
            ("frelu", 2_000, True),
            ("frelu", 1_999, False),
            # Whose input has twice the channels of its output.
            ("geglu", 3_000, True),
            ("geglu", 2_999, False),
            ("frelu", None, None),
        ],
    )
    def test_it_says_whether_input_and_output_fit_the_cache(
        self, run: RunFolder, activation: str, cache_bytes: int | None, fits: bool | None
    ) -> None:
        device = {**ENVIRONMENT["device"], "cache_bytes": cache_bytes}
        info = replace(INFO, environment={**ENVIRONMENT, "device": device})
        case = case_of(activation, batch=1, channels=10, height=5, width=5)
        assert case.input_bytes == 1_000

        row = measured(sweep_with(FakeBench(info=info), run), case)

        assert row.fits_cache is fits

    def test_it_says_when_it_was_measured(self, run: RunFolder) -> None:
        started = datetime.now() - timedelta(hours=2)

        row = visited_row(Sweep(FakeBench(), run, Settings(), started), case_of())

        assert row.session == started.isoformat(timespec="seconds")
        assert row.elapsed_s is not None
        assert row.elapsed_s >= 2 * 3600


class TestFailure:
    @pytest.mark.parametrize("status", STATUSES[1:])
    def test_a_case_that_failed_is_not_counted(self, run: RunFolder, status: str) -> None:
        bench = FakeBench({"visit": Answer(status, "why", {"visit_s": 0.5})})

        row = measured(sweep_with(bench, run), case_of())

        assert bench.verbs == ["visit"]
        assert (row.status, row.message, row.visits) == (status, "why", None)
        assert (row.flops, row.floor_time_ns) == (None, None)

    def test_what_a_bench_refuses_is_an_error_of_that_case_alone(self, run: RunFolder) -> None:
        def refuse_silu(request: Request) -> Answer:
            assert request.case
            refused = request.case.activation == "silu"
            return Answer("refused", "not with us") if refused else Answer(figures=dict(VISITED))

        sweep = sweep_with(FakeBench({"visit": refuse_silu}), run)

        rows = [measured(sweep, case_of(name)) for name in ("silu", "prelu")]

        assert [(row.status, row.message) for row in rows] == [("error", "not with us"), ("ok", "")]

    @pytest.mark.parametrize("status", ["crashed", "timeout", "refused"])
    def test_what_was_timed_survives_its_counting(self, run: RunFolder, status: str) -> None:
        bench = FakeBench({"count": Answer(status, "exit code 3")})

        row = measured(sweep_with(bench, run), case_of())

        assert (row.status, row.message) == ("ok", "not counted: exit code 3")
        assert (row.overhead, row.flops, row.floor_time_ns) == (2.0, None, None)

    @pytest.mark.parametrize("verb", ["count", "limits"])
    def test_what_was_timed_survives_a_bench_that_is_no_more(
        self, run: RunFolder, verb: str
    ) -> None:
        def gone(_request: Request) -> Answer:
            raise WorkerError("the measuring process did not start: SIGKILL")

        row = measured(sweep_with(FakeBench({verb: gone}), run), case_of())

        assert (row.status, row.overhead, row.floor_time_ns) == ("ok", 2.0, None)
        assert list(read_records(run.folder / case_of().table)) == [row.record()]
        if verb == "count":
            assert row.message == "not counted: the measuring process did not start: SIGKILL"

    def test_what_could_not_be_counted_is_said_and_the_rest_is_kept(self, run: RunFolder) -> None:
        bench = FakeBench({"count": Answer("ok", "traffic not counted: why", {"flops": 5})})

        row = measured(sweep_with(bench, run), case_of())

        assert (row.status, row.message, row.flops) == ("ok", "traffic not counted: why", 5)
        # Without traffic there is no telling which is longer.
        assert row.floor_time_ns is None


class TestTime:
    def test_a_term_of_a_sum_gets_less_than_what_is_read_by_itself(self, run: RunFolder) -> None:
        bench = FakeBench()
        sweep = sweep_with(bench, run)

        for case in (case_of(), site_of(), network_case_of()):
            visit(sweep, case)

        layer, site, network = (request.arguments["seconds"] for request in bench.requests("visit"))
        # A second over twenty passes.
        assert layer == network == pytest.approx(0.05)
        assert 0 < site < 0.5 * layer


class TestCeilings:
    def test_they_are_measured_once_for_all_sessions(self, run: RunFolder) -> None:
        first, second = FakeBench(), FakeBench()
        for bench in (first, second):
            sweep = sweep_with(bench, run)
            visit(sweep, case_of("prelu"))
            visit(sweep, case_of("silu"))

        assert first.verbs.count("limits") == 1
        assert second.verbs.count("limits") == 0
        record = load_ceilings(run.folder)
        assert record is not None
        assert Ceilings.of(record).flops_per_s == LIMITS["flops_per_s"]

    @pytest.mark.parametrize(
        ("case", "times"), [(case_of(), 1), (network_case_of(), 0), (PAIRS[0], 0)]
    )
    def test_they_are_measured_before_the_first_visit_where_rows_need_them(
        self, run: RunFolder, case: AnyCase, times: int
    ) -> None:
        bench = FakeBench()
        sweep = sweep_with(bench, run)

        sweep.measure_ceilings([case])
        before = [*bench.verbs]
        visit(sweep, case)
        sweep.measure_ceilings([case])
        # A case with a row was told what the device can do.
        (run.folder / CEILINGS).unlink(missing_ok=True)
        sweep_with(bench, run).measure_ceilings([case])

        assert before == ["limits"] * times
        assert bench.verbs.count("limits") == times

    @pytest.mark.parametrize("status", ["crashed", "refused"])
    def test_without_them_there_are_rows_without_floors(self, run: RunFolder, status: str) -> None:
        bench = FakeBench({"limits": Answer(status, "the process was ended by SIGKILL")})
        sweep = sweep_with(bench, run)

        rows = [measured(sweep, case_of(name)) for name in ("prelu", "silu")]

        assert bench.verbs.count("limits") == 1
        for row in rows:
            assert (row.status, row.flops) == ("ok", 3_000)
            assert row.floor_time_ns is None
        record = load_ceilings(run.folder)
        assert record is not None
        assert record["message"] == "the process was ended by SIGKILL"


class TestVisits:
    def test_a_row_is_what_all_of_them_say(self, run: RunFolder) -> None:
        overheads = [2.0, 2.2, 2.1, 1.9, 2.0, 5.0, 2.1, 2.05, 1.95, 2.15]
        bench = FakeBench({"visit": answers_of(overheads)})
        sweep = sweep_with(bench, run)

        for number in range(1, 11):
            visit(sweep, case_of(), number)
        sweep.store_rows([case_of()])

        row, times_ns = sweep.found(case_of())
        # The lowest and the highest fifth are not trusted.
        assert row.overhead == pytest.approx(math.exp(stats.trim_mean(np.log(overheads), 0.2)))
        assert (row.visits, row.pairs, row.failed_visits) == (10, 10 * 4, 0)
        assert times_ns == pytest.approx([1e3 * overhead for overhead in overheads])
        assert list(read_records(run.folder / Case.table)) == [row.record()]
        # Counted once, as is what the device can do.
        assert bench.verbs.count("count") == bench.verbs.count("limits") == 1
        assert row.record()["flops"] == 3_000

    def test_one_alone_has_no_interval(self, run: RunFolder) -> None:
        row = visited_row(sweep_with(FakeBench(), run), case_of())

        assert (row.overhead, row.overhead_lo, row.overhead_hi) == (2.0, None, None)
        assert (row.visits, row.converged) == (1, False)

    def test_one_that_fails_later_costs_the_others_nothing(self, run: RunFolder) -> None:
        sweep = sweep_with(FakeBench(), run)
        for number in (1, 2):
            visit(sweep, case_of(), number)
        sweep._bench = FakeBench({"visit": Answer("crashed", "SIGKILL")})

        visit(sweep, case_of(), 3)

        row, _ = sweep.found(case_of())
        assert (row.status, row.visits, row.failed_visits) == ("ok", 2, 1)
        *_, last = read_records(run.folder / VISITS)
        assert (last["number"], last["status"], last["message"]) == (3, "crashed", "SIGKILL")

    def test_one_that_failed_first_is_counted_once_it_succeeds(self, run: RunFolder) -> None:
        bench = FakeBench({"visit": Answer("crashed", "SIGKILL")})
        sweep = sweep_with(bench, run)
        visit(sweep, case_of(), 1)
        del bench.answers["visit"]

        visit(sweep, case_of(), 2)
        sweep.store_rows([case_of()])

        (record,) = read_records(run.folder / Case.table)
        assert (record["status"], record["message"], record["flops"]) == ("ok", "", 3_000)
        assert (record["visits"], record["failed_visits"]) == (1, 1)
        assert bench.verbs.count("count") == 1

    def test_another_session_adds_to_them(self, run: RunFolder) -> None:
        first = sweep_with(FakeBench({"visit": answers_of([2.0])}), run)
        visit(first, case_of(), 1)
        second = sweep_with(FakeBench({"visit": answers_of([8.0])}), run)

        visit(second, case_of(), 2)

        row, _ = second.found(case_of())
        assert (row.visits, row.overhead) == (2, pytest.approx(4.0))
        assert [record["number"] for record in read_records(run.folder / VISITS)] == [1, 2]

    def test_a_row_that_a_killed_process_did_not_store_is_stored_later(
        self, run: RunFolder
    ) -> None:
        visit(sweep_with(FakeBench(), run), case_of())
        (run.folder / Case.table).write_bytes(b"")
        sweep = sweep_with(FakeBench(), run)

        assert sweep.to_do([case_of()]) == [case_of()]
        sweep.store_rows([case_of()])

        (record,) = read_records(run.folder / Case.table)
        assert (record["visits"], record["flops"]) == (1, 3_000)

    def test_rows_of_other_cases_stay(self, run: RunFolder) -> None:
        visit(sweep_with(FakeBench(), run), case_of("silu"))
        before = list(read_records(run.folder / Case.table))
        sweep = sweep_with(FakeBench(), run)
        cases = [case_of("prelu"), case_of("frelu")]
        # Whichever was visited first.
        for case in reversed(cases):
            visit(sweep, case)

        sweep.store_rows(cases)

        found = list(read_records(run.folder / Case.table))
        assert found[:1] == before
        assert [record["activation"] for record in found] == ["silu", "prelu", "frelu"]


class TestKnownPairs:
    def test_the_verdict_is_a_line_for_each_session(self, run: RunFolder) -> None:
        for _ in range(2):
            sweep = sweep_with(FakeBench({"visit": as_known}), run)
            for number in range(1, 7):
                for pair in PAIRS:
                    visit(sweep, pair, number)
                sweep.store_rows(PAIRS)
            assert sweep.gate
            assert sweep.gate["trustworthy"] is True
            assert sweep.gate["session"] == sweep.found(PAIRS[0])[0].session

        gates = load_gates(run.folder)
        assert gates[-1] == sweep.gate
        assert len(gates) == 2
        # What could be told in the first says nothing of the second.
        assert {group["visits"] for gate in gates for group in gate["groups"]} == {6}

    def test_they_begin_with_the_passes_still_to_come(self, run: RunFolder) -> None:
        first = sweep_with(FakeBench(), run)
        for number in (1, 2, 3):
            visit(first, case_of(), number)
        later = sweep_with(FakeBench({"visit": as_known}), run)

        number, due = next(iter(later.passes([*PAIRS, case_of()])))

        assert number == 4
        assert {one.case for one in due} == {*PAIRS, case_of()}

    def test_they_begin_with_a_pass_that_a_case_missed(self, run: RunFolder) -> None:
        first = sweep_with(FakeBench(), run)
        for number in range(1, 21):
            visit(first, case_of(), number)
            if number != 3:
                visit(first, case_of("silu"), number)
        # Never narrow, or they would need no more visits.
        first._settings = replace(first._settings, precision=1e-9)
        silu = first.passes([case_of("silu")]).cases[0]
        silu.visits[:] = [replace(v, overhead=1.0 + v.number % 2) for v in silu.visits]

        number, due = next(iter(first.passes([*PAIRS, case_of("silu")])))

        assert number == 3
        assert {one.case for one in due} == {*PAIRS, case_of("silu")}

    def test_nothing_is_counted_of_them(self, run: RunFolder) -> None:
        bench = FakeBench({"visit": as_known})

        visit(sweep_with(bench, run), PAIRS[0])

        assert bench.verbs == ["visit"]


def as_known(request: Request) -> Answer:
    pair = request.case
    assert isinstance(pair, KnownPair)
    return Answer(figures=VISITED | {"overhead": 1 + pair.more})


def answers_of(overheads: list[float]) -> Callable[[Request], Answer]:
    left = iter(overheads)

    def answer(_request: Request) -> Answer:
        overhead = next(left)
        return Answer(figures=VISITED | {"overhead": overhead, "time_ns": 1e3 * overhead})

    return answer


class TestCtrlC:
    @pytest.mark.parametrize("verb", ["limits", "visit", "count"])
    def test_the_row_in_progress_is_stored_first(self, run: RunFolder, verb: str) -> None:
        def interrupt(request: Request) -> Answer:
            os.kill(os.getpid(), signal.SIGINT)
            return FakeBench().ask(request)

        sweep = sweep_with(FakeBench({verb: interrupt}), run)

        with pytest.raises(KeyboardInterrupt):
            visit(sweep, case_of())

        (record,) = read_records(run.folder / Case.table)
        assert (record["status"], record["flops"]) == ("ok", 3_000)

    def test_a_second_one_ends_it_at_once(self, run: RunFolder) -> None:
        def interrupt_twice(_request: Request) -> Answer:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("went on")

        with pytest.raises(KeyboardInterrupt):
            visit(sweep_with(FakeBench({"visit": interrupt_twice}), run), case_of())

        assert list(read_records(run.folder / Case.table)) == []


class TestAskOrRaise:
    def test_an_answer_is_passed_on(self) -> None:
        bench = FakeBench({"sites": Answer(figures={"sites": []})})

        assert ask_or_raise(bench, Request("sites")) == Answer(figures={"sites": []})

    @pytest.mark.parametrize(
        ("answer", "line"),
        [
            (Answer("refused", "no such network"), "no such network"),
            (Answer("crashed", "exit code 7"), "limits: exit code 7"),
            (Answer("timeout", "no answer within 1 s"), "limits: no answer within 1 s"),
        ],
    )
    def test_what_could_not_be_done_is_one_line_for_the_user(
        self, answer: Answer, line: str
    ) -> None:
        with pytest.raises(WorkerError) as caught:
            ask_or_raise(FakeBench({"limits": answer}), Request("limits"))

        assert str(caught.value) == line

    def test_it_names_the_layer_that_ended_the_process(self) -> None:
        bench = FakeBench({"check": Answer("crashed", "exit code 7")})

        with pytest.raises(WorkerError, match=r"^check of frelu: exit code 7$"):
            ask_or_raise(bench, Request("check", case_of("frelu")))


def test_closing_lets_go_of_the_device_and_the_run(run: RunFolder) -> None:
    bench = FakeBench()
    run.append(ok_row(case_of()))

    sweep_with(bench, run).close()

    assert bench.closed
    again = RunFolder(run.folder, resume=True, environment=STARTED)
    again.close()
