"""A session of measuring: every row on disk before the next case."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Any, Protocol

from dynact import activations
from dynact.schema.cases import CASE_TYPES, AnyCase, Case, KnownPair, NetworkCase
from dynact.schema.limits import Ceilings
from dynact.schema.messages import Answer, Request, WorkerInfo
from dynact.schema.rows import Measured, figures_of, new_row, upgraded
from dynact.schema.run_folder import GATES, RunFolder
from dynact.schema.settings import Settings
from dynact.schema.visits import LEAST_VISITS, Visit, measured_figures, telling, with_visits
from dynact.sweep.budget import Budget, BudgetedPasses
from dynact.sweep.interrupt import interrupt_deferred
from dynact.sweep.known_pairs import verdict
from dynact.sweep.networks import Shape
from dynact.sweep.passes import Passes, Visited
from dynact.sweep.plan import TIME_SHARES
from dynact.sweep.worker import WorkerError

# Visits of one process alone would not see what it is that differs between processes: see
# `dynact.schema.visits.observations`.
PASSES_A_PROCESS = 2


class Bench(Protocol):
    """What measures: `dynact.sweep.worker.Worker`, or `dynact.worker.serve.InProcess`."""

    info: WorkerInfo

    def ask(self, request: Request) -> Answer:
        """Return the answer, whatever comes of the request."""

    def renew(self) -> None:
        """Go on in a fresh process, if there is one of its own."""

    def close(self) -> None:
        """Let go of the device."""


def ask_or_raise(bench: Bench, request: Request) -> Answer:
    """Return the answer to what has to be done.

    Raises
    ------
    WorkerError
        If it could not be: one line for the user.
    """
    answer = bench.ask(request)
    if answer.status == "refused":
        raise WorkerError(answer.message)
    if answer.status != "ok":
        raise WorkerError(f"{request.verb}{_of(request.case)}: {answer.message}")
    return answer


def may_renew(cases: Iterable[AnyCase]) -> bool:
    """Return whether a fresh process would not have to compile some cases anew."""
    return not any(getattr(case, "mode", "") == "compile" for case in cases)


def _of(case: AnyCase | None) -> str:
    if case is None:
        return ""
    return f" of {case.network if isinstance(case, NetworkCase) else case.activation}"


class Sweep:
    """Visits cases, and stores each visit before the next; a row is what all of a case's say.

    Parameters
    ----------
    started
        When the session's process did: start-up counts as the sweep's time.
    occurrences
        How often networks have a shape, where the shapes come from networks.
    """

    def __init__(
        self,
        bench: Bench,
        run: RunFolder,
        settings: Settings,
        started: datetime,
        occurrences: Mapping[Shape, int] | None = None,
    ) -> None:
        self.run = run
        self.gate: dict[str, Any] | None = None
        """What the known pairs say of this session, once they are visited."""
        self._bench = bench
        self._settings = settings
        self._started = started
        self._session = started.isoformat(timespec="seconds")
        self._former_gates = run.records(GATES)
        self._ceilings: Ceilings | None = None
        self._occurrences = occurrences or {}
        self._passes_begun = 0
        # By table and case id, as stored: rows of cases that are not asked for now stay.
        self._records = {
            table: {record["case_id"]: upgraded(record) for record in run.records(table)}
            for table in CASE_TYPES
        }
        self._visits: dict[tuple[str, str], list[Visit]] = defaultdict(list)
        for visit in run.visits():
            # What could be told then does not say what can be told now.
            if visit.table != KnownPair.table:
                self._visits[visit.table, visit.case_id].append(visit)

    def passes(
        self,
        cases: Iterable[AnyCase],
        opening_s: float = 0.0,
        budget: Budget[AnyCase] | None = None,
    ) -> Passes[AnyCase]:
        """Return the visits to make of some cases, in a time if that is limited.

        Known pairs are visited whenever others are, and to the end: what they tell is of these.

        Parameters
        ----------
        opening_s
            How long a fresh process takes to begin.
        """
        visited = {
            case: Visited(
                case,
                TIME_SHARES.get(case.table, 1.0),
                self._visits[case.table, case.id],
                ends_early=not isinstance(case, KnownPair),
            )
            for case in cases
        }
        others = [one for one in visited.values() if one.ends_early]
        since = (Passes(others, self._settings).first() or self._settings.passes + 1) - 1
        for one in visited.values():
            if others and not one.ends_early:
                one.since = since
        processes = PASSES_A_PROCESS if may_renew(visited) else inf, opening_s
        if budget is None:
            return Passes([*visited.values()], self._settings, *processes)
        steps = [[visited.pop(case) for case in step if case in visited] for step in budget.steps]
        always = [*visited.values()]
        return BudgetedPasses(always, steps, budget, self._settings, *processes)

    def to_do(self, cases: Iterable[AnyCase]) -> list[AnyCase]:
        """Return the cases that are to be visited, or have no row yet for the visits they had."""
        due = set(self.passes(cases).to_do())
        return [case for case in cases if case in due or self.row(case) is None]

    def least_timing_s(self, cases: Iterable[AnyCase]) -> float:
        """Return how long the timing alone of the visits takes that some cases have at least."""
        least, visit_s = min(LEAST_VISITS, self._settings.passes), self._settings.visit_s
        return sum(
            max(least - len(self._visits[case.table, case.id]), 0)
            * TIME_SHARES.get(case.table, 1.0)
            * visit_s
            for case in cases
        )

    def stored_beside(self, cases: Iterable[AnyCase]) -> int:
        """Return how many other cases the run has rows of; known pairs aside."""
        stored = {
            (table, case_id)
            for table, records in self._records.items()
            for case_id in records
            if table != KnownPair.table
        }
        return len(stored - {(case.table, case.id) for case in cases})

    def begin_pass(self, cases: Iterable[AnyCase]) -> None:
        """Take a fresh process every few passes, unless it would have to compile anew."""
        self._passes_begun += 1
        is_due = self._passes_begun > 1 and self._passes_begun % PASSES_A_PROCESS == 1
        if is_due and may_renew(cases):
            self._bench.renew()

    def needs_ceilings(self, cases: Iterable[AnyCase]) -> bool:
        """Return whether rows of some cases wait for what the device can do to be measured."""
        return self.run.ceilings() is None and any(
            "floor_time_ns" in figures_of(case.table) and case.id not in self._records[case.table]
            for case in cases
        )

    def measure_ceilings(self, cases: Iterable[AnyCase]) -> None:
        """Measure what the device can do, if rows of some cases wait for that.

        It takes as long as many visits: within the first it would seem to be that case's.

        Raises
        ------
        KeyboardInterrupt
            After that, if Ctrl-C came meanwhile; a second one ends it at once.
        """
        if self.needs_ceilings(cases):
            with interrupt_deferred():
                self._ceilings = self._known_ceilings()

    def visit(self, visited: Visited[AnyCase], number: int) -> None:
        """Make a visit; it is on disk when this returns, and at the first one a row.

        Raises
        ------
        KeyboardInterrupt
            After that, if Ctrl-C came meanwhile; a second one ends it at once.
        """
        case = visited.case
        with interrupt_deferred():
            seconds = visited.share * self._settings.visit_s
            answer = self._bench.ask(Request("visit", case, {"seconds": seconds}))
            visit = Visit(
                case.table,
                case.id,
                number,
                # What cannot even be made ready is to a row what fails when it is timed.
                "error" if answer.status == "refused" else answer.status,
                answer.message,
                seconds,
                session=self._session,
                elapsed_s=(datetime.now() - self._started).total_seconds(),
                extra=number > self._settings.passes,
                **answer.figures,
            )
            self.run.append_visit(visit)
            visited.visits.append(visit)
            if case.id not in self._records[case.table]:
                self._store_row(case, visited.visits)
            else:
                self._count_what_failed_before(case, visited.visits)

    def row(self, case: AnyCase) -> Measured | None:
        """Return what all visits of a case say, or None where there are none."""
        record = self._records[case.table].get(case.id)
        if record is None:
            return None
        figures = {name: record.get(name) for name in figures_of(case.table)}
        return new_row(case, **self._with_visits(case.table, case.id, figures))

    def store_rows(self, cases: Iterable[AnyCase]) -> None:
        """Store what all visits say by now, whole: a row a case, in their order, and the gate."""
        with interrupt_deferred():
            pairs = {}
            for case in cases:
                records = self._records[case.table]
                # Rows of cases that are not asked for now come first, and stay.
                visits = self._visits[case.table, case.id]
                if case.id in records:
                    self._count_what_failed_before(case, visits)
                    record = records.pop(case.id)
                    records[case.id] = self._with_visits(case.table, case.id, record)
                elif visits:
                    # The process was killed between both.
                    self._store_row(case, visits)
                if isinstance(case, KnownPair):
                    pairs[case] = visits
            for table, records in self._records.items():
                if records:
                    self.run.replace(table, records.values())
            if any(pairs.values()):
                self.gate = {"session": self._session, **verdict(pairs)}
                self.run.replace(GATES, [*self._former_gates, self.gate])

    def visits(self, case: AnyCase) -> Sequence[Visit]:
        """Return all visits of a case, in the order made."""
        return self._visits[case.table, case.id]

    def found(self, case: AnyCase) -> tuple[Measured, list[float]]:
        """Return the row of a case that was visited, and the times in ns that it is of."""
        row = self.row(case)
        assert row
        ok = [visit for visit in self._visits[case.table, case.id] if visit.status == "ok"]
        return row, [visit.time_ns for visit in telling(ok) if visit.time_ns]

    def close(self) -> None:
        """Let go of the device and the run folder."""
        self._bench.close()
        self.run.close()

    def _store_row(self, case: AnyCase, visits: Sequence[Visit]) -> None:
        row = self._counted_row(case, visits)
        self.run.append(row)
        self._records[case.table][case.id] = row.record()

    def _count_what_failed_before(self, case: AnyCase, visits: Sequence[Visit]) -> None:
        """Have a row counted once a visit succeeds; it is stored with all others, later."""
        record = self._records[case.table][case.id]
        if record["status"] != "ok" and any(visit.status == "ok" for visit in visits):
            self._records[case.table][case.id] = self._counted_row(case, visits).record()

    def _counted_row(self, case: AnyCase, visits: Sequence[Visit]) -> Measured:
        figures = measured_figures(visits, self._settings.precision)
        if figures["status"] == "ok" and not isinstance(case, KnownPair):
            counted = self._ask(Request("count", case))
            figures |= counted.figures
            # Counting may end the process: what was timed stays.
            figures["message"] = (
                counted.message if counted.status == "ok" else f"not counted: {counted.message}"
            )
            figures |= self._floor(case, figures)
        if isinstance(case, Case) and "occurrences" in figures_of(case.table):
            figures["occurrences"] = self._occurrences.get((case.channels, case.height, case.width))
        if isinstance(case, Case) and "fits_cache" in figures_of(case.table):
            figures["fits_cache"] = self._fits_cache(case)
        return new_row(case, **figures)

    def _with_visits(self, table: str, case_id: str, figures: dict[str, Any]) -> dict[str, Any]:
        # A run of a version before has none.
        if not (visits := self._visits[table, case_id]):
            return figures
        return with_visits(figures, visits, self._settings.precision)

    def _ask(self, request: Request) -> Answer:
        """Ask for what a row can do without: no process to be had is one more reason."""
        try:
            return self._bench.ask(request)
        except WorkerError as error:
            return Answer("crashed", str(error))

    def _fits_cache(self, case: Case) -> bool | None:
        cache_bytes = self._bench.info.environment["device"].get("cache_bytes")
        if cache_bytes is None:
            return None
        inputs = activations.input_channels(case.activation, 1)
        return bool((inputs + 1) * case.input_bytes <= cache_bytes)

    def _floor(self, case: AnyCase, figures: Mapping[str, Any]) -> dict[str, Any]:
        if isinstance(case, NetworkCase) or "floor_time_ns" not in figures_of(case.table):
            return {}
        self._ceilings = self._ceilings or self._known_ceilings()
        return self._ceilings.figures(
            case.input_bytes,
            case.dtype,
            figures.get("traffic_floor_bytes"),
            figures.get("flops"),
        )

    def _known_ceilings(self) -> Ceilings:
        record = self.run.ceilings()
        if record is None:
            answer = self._ask(Request("limits"))
            # Rows without a floor are still rows.
            found = (
                answer.figures
                if answer.status == "ok"
                else {"copies": [], "flops_per_s": {}, "case_s": 0.0, "message": answer.message}
            )
            record = {"session": self._session, **found}
            self.run.store_ceilings(record)
        return Ceilings.of(record)
