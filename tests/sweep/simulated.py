"""A device whose every cost is known, on a clock that nobody waits for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic

from dynact.schema.visits import Visit
from dynact.sweep.passes import Case, Passes
from dynact.sweep.progress import Kind, Progress

PASSES_A_PROCESS = 2


@dataclass
class Simulated(Generic[Case]):
    """Visits cases as a session does; `now_s` is what that takes."""

    call_s: Callable[[Case], float]
    """How long a visit takes at least, whatever time it is given: a slow layer's few calls."""
    making_s: float = 0.1
    """Of a case, in each process."""
    compiling_s: float = 0.0
    """Of a case, in the first process; in each further one a part of it."""
    counting_s: float = 0.05
    opening_s: float = 4.0
    """Of a process."""
    storing_s: float = 0.5
    """Of all rows, after each pass."""
    slower: Callable[[float], float] = lambda _now_s: 1.0
    """How many times as long everything takes at a moment."""
    status: Callable[[Case], str] = lambda _case: "ok"
    limit_s: float = 78.0
    """After so long a visit that hangs is ended, and its process with it."""
    scatter: float = 0.5
    """Of ratios, as a share: intervals that never end a case's visits."""
    now_s: float = 0.0
    longest_s: float = 0.0
    """Of its visits so far."""
    made: list[tuple[int, Case]] = field(default_factory=list)
    process: int = 0
    _known: set[tuple[int, Case]] = field(default_factory=set)
    _is_open: bool = True

    def sweep(self, passes: Passes[Case], visit_s: float, progress: Progress | None = None) -> None:
        """Make all visits that are to be made."""
        begun = passes_begun = 0
        for number, due in passes:
            if number != begun:
                self._take(self.storing_s if begun else 0.0)
                passes_begun += 1
                if passes_begun > 1 and passes_begun % PASSES_A_PROCESS == 1:
                    self._is_open = False
                begun = number
            if progress:
                kinds = [Kind("layer", bool(self.compiling_s))] * len(due)
                progress.begin_pass(number, kinds, passes.expected_of_pass_s(due), None)
            for visited in due:
                if passes.has_time_for(visited):
                    begun_s = self.now_s
                    visit = self._visit(visited.case, number, visited.share * visit_s)
                    if not visited.visits and visit.status == "ok":
                        self._take(self.counting_s)
                    visited.visits.append(visit)
                    self.made.append((number, visited.case))
                    self.longest_s = max(self.longest_s, self.now_s - begun_s)
                    if progress:
                        progress.visited("")

    def _take(self, seconds: float) -> None:
        self.now_s += seconds * self.slower(self.now_s)

    def _visit(self, case: Case, number: int, seconds: float) -> Visit:
        if not self._is_open:
            self._take(self.opening_s)
            self.process += 1
            self._is_open = True
        begun_s = self.now_s
        compile_s = 0.0
        if (self.process, case) not in self._known:
            compile_s = self.compiling_s * (0.4 if any(of == case for _, of in self._known) else 1)
            self._take(self.making_s + compile_s)
        figures: dict[str, Any] = {}
        status = self.status(case)
        if status == "timeout":
            # Real time, whatever the device.
            self.now_s += self.limit_s
            self._is_open = False
        elif status == "ok":
            self._known.add((self.process, case))
            timing_s = max(seconds, self.call_s(case) * self.slower(self.now_s))
            self.now_s += timing_s
            ratio = 2.0 * (1 + self.scatter * (number % 3 - 1))
            figures = {"timing_s": timing_s, "overhead": ratio, "compile_s": compile_s}
        if status != "timeout":
            figures["visit_s"] = self.now_s - begun_s
        return Visit(
            "rows.jsonl", str(case), number, status, "", seconds, session="now",
            elapsed_s=self.now_s, process=self.process, **figures,
        )  # fmt: skip
