"""A session of measuring: every row on disk before the next case."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from dynact.schema.cases import CASE_TYPES, AnyCase, Case, SiteCase
from dynact.schema.limits import Ceilings
from dynact.schema.messages import Answer, Request, WorkerInfo
from dynact.schema.rows import Measured, figures_of, new_row
from dynact.schema.run_folder import RunFolder
from dynact.sweep.interrupt import interrupt_deferred
from dynact.sweep.networks import Shape
from dynact.sweep.worker import WorkerError

# Of a case's time by its table: a site is one of many terms of a sum, and wants less precision.
TIME_SHARES = {SiteCase.table: 0.3}


class Bench(Protocol):
    """What measures: `dynact.sweep.worker.Worker`, or `dynact.worker.serve.InProcess`."""

    info: WorkerInfo

    def ask(self, request: Request) -> Answer:
        """Return the answer, whatever comes of the request."""

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
        of_case = f" of {request.case.activation}" if request.case else ""
        raise WorkerError(f"{request.verb.replace('_', ' ')}{of_case}: {answer.message}")
    return answer


class Sweep:
    """Measures cases one after the other, and stores each row before the next.

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
        started: datetime,
        occurrences: Mapping[Shape, int] | None = None,
    ) -> None:
        self.run = run
        self.rows: dict[str, list[Measured]] = {table: [] for table in CASE_TYPES}
        """This session's by their table, in the order measured."""
        self.latest: Measured
        self.gates: list[dict[str, Any]] = []
        self._bench = bench
        self._started = started
        self._session = started.isoformat(timespec="seconds")
        self._ceilings: Ceilings | None = None
        self._occurrences = occurrences or {}

    def measure(self, case: AnyCase) -> tuple[Measured, tuple[float, ...]]:
        """Return the case's row, which is on disk, and its samples in ns.

        Raises
        ------
        KeyboardInterrupt
            After the row is stored, if Ctrl-C came meanwhile; a second one ends it at once.
        """
        with interrupt_deferred():
            ceilings = self._ceilings = self._ceilings or self._known_ceilings()
            timed = self._time(case)
            figures, message = dict(timed.figures), timed.message
            if timed.status == "ok":
                counted = self._ask(Request("count", case))
                figures |= counted.figures
                # Counting may end the process: what was timed stays.
                message = counted.message if counted.status == "ok" else _not_counted(counted)
                figures |= self._floor(ceilings, case, figures)
            if isinstance(case, Case):
                shape = case.channels, case.height, case.width
                figures["occurrences"] = self._occurrences.get(shape)
            row = new_row(
                case,
                timed.status,
                message,
                **figures,
                session=self._session,
                elapsed_s=(datetime.now() - self._started).total_seconds(),
            )
            self.run.append(row)
            self.rows[case.table].append(row)
            self.latest = row
        return row, timed.samples_ns

    @property
    def measured(self) -> int:
        """How many cases this session has measured."""
        return sum(map(len, self.rows.values()))

    def compare_known_pairs(self) -> tuple[dict[str, Any], tuple[float, ...]]:
        """Return whether ratios can be trusted, which is on disk, and the samples in ns."""
        with interrupt_deferred():
            answer = ask_or_raise(self._bench, Request("known_pairs"))
            verdict = {"session": self._session, **answer.figures}
            self.run.append_gate(verdict)
            self.gates.append(verdict)
        return verdict, answer.samples_ns

    def close(self) -> None:
        """Let go of the device and the run folder."""
        self._bench.close()
        self.run.close()

    def _time(self, case: AnyCase) -> Answer:
        share = TIME_SHARES.get(case.table, 1.0)
        answer = self._bench.ask(Request("compare", case, {"time_share": share}))
        # What cannot even be made ready is to a row what fails when it is timed.
        return answer if answer.status != "refused" else Answer("error", answer.message)

    def _ask(self, request: Request) -> Answer:
        """Ask for what a row can do without: no process to be had is one more reason."""
        try:
            return self._bench.ask(request)
        except WorkerError as error:
            return Answer("crashed", str(error))

    @staticmethod
    def _floor(ceilings: Ceilings, case: AnyCase, figures: Mapping[str, Any]) -> dict[str, Any]:
        if "floor_time_ns" not in figures_of(case.table):
            return {}
        return ceilings.figures(
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


def _not_counted(answer: Answer) -> str:
    return f"not counted: {answer.message}"
