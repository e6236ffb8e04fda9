"""Rows from a bench that answers as it is told."""

import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dynact.schema.cases import AnyCase, Case
from dynact.schema.limits import Ceilings
from dynact.schema.messages import Answer, Request
from dynact.schema.rows import STATUSES, NetworkRow, Row
from dynact.schema.run_folder import RunFolder, load_ceilings, load_gates, read_records
from dynact.sweep.session import Sweep, ask_or_raise
from dynact.sweep.worker import WorkerError
from tests.sweep.bench import ENVIRONMENT, LIMITS, TIMED, VERDICT, FakeBench
from tests.sweeping import case_of, network_case_of, ok_row, site_of

STARTED = {"started": "2026-03-01T10:00:00"} | ENVIRONMENT
A_CASE_OF_EACH_TABLE = pytest.mark.parametrize(
    "case", [case_of(), site_of(), network_case_of()], ids=["layer", "site", "network"]
)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    run = RunFolder(tmp_path / "reports" / "run", resume=False, environment=STARTED)
    yield run
    run.close()


def sweep_with(bench: FakeBench, run: RunFolder, **how: Any) -> Sweep:
    return Sweep(bench, run, datetime.now(), **how)


def measured(sweep: Sweep, case: Case) -> Row:
    row, _ = sweep.measure(case)
    assert isinstance(row, Row)
    return row


class TestRow:
    def test_it_brings_timing_counts_and_ceilings_together(self, run: RunFolder) -> None:
        bench = FakeBench()

        row = measured(sweep_with(bench, run), case_of("prelu"))

        assert bench.verbs == ["limits", "compare", "count"]
        assert [request.case for request in bench.asked[1:]] == [case_of("prelu")] * 2
        assert (row.status, row.message, row.overhead) == ("ok", "", 2.0)
        assert (row.flops, row.counting_s) == (3_000, 0.5)
        assert (row.bandwidth_bytes_per_s, row.peak_flops_per_s) == (1e10, 1e9)
        # 3,000 FLOPs at 1 GFLOP/s take longer than 1,000 B at 10 GB/s.
        assert row.floor_time_ns == pytest.approx(3_000)

    @A_CASE_OF_EACH_TABLE
    def test_it_is_on_disk_in_the_table_of_its_case(self, run: RunFolder, case: AnyCase) -> None:
        sweep = sweep_with(FakeBench(), run)

        row, samples_ns = sweep.measure(case)

        assert list(read_records(run.folder / case.table)) == [row.record()]
        assert samples_ns == (2e3, 2e3)
        assert sweep.latest is row
        assert {table: rows for table, rows in sweep.rows.items() if rows} == {case.table: [row]}
        assert sweep.measured == 1

    def test_the_bandwidth_is_that_of_a_copy_of_its_size(self, run: RunFolder) -> None:
        sweep = sweep_with(FakeBench(), run)

        # 3,136 B and 31 MB.
        rows = [measured(sweep, case_of(batch=batch)) for batch in (2, 20_000)]

        assert [row.bandwidth_bytes_per_s for row in rows] == [1e10, 1e9]

    def test_a_network_has_no_floor(self, run: RunFolder) -> None:
        row, _ = sweep_with(FakeBench(), run).measure(network_case_of())

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

        *of_layers, of_a_network = [sweep.measure(case)[0].record() for case in cases]

        assert [record["occurrences"] for record in of_layers] == [7, 7, 7, None]
        assert "occurrences" not in of_a_network

    def test_no_networks_no_occurrences(self, run: RunFolder) -> None:
        assert measured(sweep_with(FakeBench(), run), case_of()).occurrences is None

    def test_it_says_when_it_was_measured(self, run: RunFolder) -> None:
        started = datetime.now() - timedelta(hours=2)

        row, _ = Sweep(FakeBench(), run, started).measure(case_of())

        assert row.session == started.isoformat(timespec="seconds")
        assert row.elapsed_s is not None
        assert row.elapsed_s >= 2 * 3600


class TestFailure:
    @pytest.mark.parametrize("status", STATUSES[1:])
    def test_a_case_that_failed_is_not_counted(self, run: RunFolder, status: str) -> None:
        bench = FakeBench({"compare": Answer(status, "why", {"case_s": 0.5})})

        row = measured(sweep_with(bench, run), case_of())

        assert bench.verbs == ["limits", "compare"]
        assert (row.status, row.message, row.case_s) == (status, "why", 0.5)
        assert (row.flops, row.floor_time_ns) == (None, None)

    def test_what_a_bench_refuses_is_an_error_of_that_case_alone(self, run: RunFolder) -> None:
        def refuse_silu(request: Request) -> Answer:
            assert request.case
            refused = request.case.activation == "silu"
            return Answer("refused", "not with us") if refused else Answer(figures=dict(TIMED))

        sweep = sweep_with(FakeBench({"compare": refuse_silu}), run)

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
            sweep.measure(case)

        layer, site, network = (
            request.arguments["time_share"] for request in bench.requests("compare")
        )
        assert layer == network == 1
        assert 0 < site < 0.5


class TestCeilings:
    def test_they_are_measured_once_for_all_sessions(self, run: RunFolder) -> None:
        first, second = FakeBench(), FakeBench()
        for bench in (first, second):
            sweep = sweep_with(bench, run)
            sweep.measure(case_of("prelu"))
            sweep.measure(case_of("silu"))

        assert first.verbs.count("limits") == 1
        assert second.verbs.count("limits") == 0
        record = load_ceilings(run.folder)
        assert record is not None
        assert Ceilings.of(record).flops_per_s == LIMITS["flops_per_s"]

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


class TestKnownPairs:
    def test_the_verdict_is_on_disk_with_its_session(self, run: RunFolder) -> None:
        sweep = sweep_with(FakeBench(), run)

        verdict, samples_ns = sweep.compare_known_pairs()
        row, _ = sweep.measure(case_of())

        assert verdict == {"session": row.session} | VERDICT
        assert load_gates(run.folder) == sweep.gates == [verdict]
        assert samples_ns == (1e3, 1e3)

    def test_a_bench_that_cannot_even_try_ends_the_sweep(self, run: RunFolder) -> None:
        sweep = sweep_with(FakeBench({"known_pairs": Answer("crashed", "SIGKILL")}), run)

        with pytest.raises(WorkerError, match=r"^known pairs: SIGKILL$"):
            sweep.compare_known_pairs()

        assert load_gates(run.folder) == []


class TestCtrlC:
    @pytest.mark.parametrize("verb", ["limits", "compare", "count"])
    def test_the_row_in_progress_is_stored_first(self, run: RunFolder, verb: str) -> None:
        def interrupt(request: Request) -> Answer:
            os.kill(os.getpid(), signal.SIGINT)
            return FakeBench().ask(request)

        sweep = sweep_with(FakeBench({verb: interrupt}), run)

        with pytest.raises(KeyboardInterrupt):
            sweep.measure(case_of())

        (record,) = read_records(run.folder / Case.table)
        assert (record["status"], record["flops"]) == ("ok", 3_000)

    def test_the_verdict_in_progress_is_stored_first(self, run: RunFolder) -> None:
        def interrupt(request: Request) -> Answer:
            os.kill(os.getpid(), signal.SIGINT)
            return FakeBench().ask(request)

        with pytest.raises(KeyboardInterrupt):
            sweep_with(FakeBench({"known_pairs": interrupt}), run).compare_known_pairs()

        assert len(load_gates(run.folder)) == 1

    def test_a_second_one_ends_it_at_once(self, run: RunFolder) -> None:
        def interrupt_twice(_request: Request) -> Answer:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("went on")

        with pytest.raises(KeyboardInterrupt):
            sweep_with(FakeBench({"compare": interrupt_twice}), run).measure(case_of())

        assert list(read_records(run.folder / Case.table)) == []


class TestAskOrRaise:
    def test_an_answer_is_passed_on(self) -> None:
        bench = FakeBench({"sites": Answer(figures={"sites": []})})

        assert ask_or_raise(bench, Request("sites")) == Answer(figures={"sites": []})

    @pytest.mark.parametrize(
        ("answer", "line"),
        [
            (Answer("refused", "no such network"), "no such network"),
            (Answer("crashed", "exit code 7"), "known pairs: exit code 7"),
            (Answer("timeout", "no answer within 1 s"), "known pairs: no answer within 1 s"),
        ],
    )
    def test_what_could_not_be_done_is_one_line_for_the_user(
        self, answer: Answer, line: str
    ) -> None:
        with pytest.raises(WorkerError) as caught:
            ask_or_raise(FakeBench({"known_pairs": answer}), Request("known_pairs"))

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
