"""A machine in virtual time: blocks last what a stream of disturbances says, at no real cost."""

from collections.abc import Callable, Iterable, Iterator
from itertools import repeat

from dynact.timing import Clock


class Machine:
    """Time that passes only through work."""

    def __init__(self) -> None:
        self.now_ns = 0.0


class Work:
    """A callable of known cost; it notes its calls in the machine's diary."""

    def __init__(self, machine: Machine, name: str, cost_ns: float) -> None:
        self.machine = machine
        self.name = name
        self.cost_ns = cost_ns
        self.later_costs_ns: list[float] = []
        """What a call costs after each of the next ones."""
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        self.machine.now_ns += self.cost_ns
        if self.later_costs_ns:
            self.cost_ns = self.later_costs_ns.pop(0)


class VirtualClock(Clock):
    """Reads a machine's time; a block lasts its cost times the next disturbance.

    Only the settling call really calls the work: a block is one sum, so that a run of thousands
    of blocks takes milliseconds.
    """

    name = "virtual"
    min_block_ns = 100e3

    def __init__(
        self,
        machine: Machine,
        disturbances: Iterable[float] = repeat(1.0),
        spell: Callable[[str, float], float] = lambda _name, _now_ns: 1.0,
    ) -> None:
        super().__init__()
        self.machine = machine
        self.blocks: list[tuple[str, int]] = []
        """Side and number of calls of each block timed."""
        self.settled: list[int] = []
        """How often that side had been called by itself when the block started."""
        self._disturbances: Iterator[float] = iter(disturbances)
        self._spell = spell

    def now_s(self) -> float:
        return self.machine.now_ns / 1e9

    def _block_ns(self, call: Callable[[], object], calls: int) -> float:
        assert isinstance(call, Work)
        self.blocks.append((call.name, calls))
        self.settled.append(call.calls)
        slowness = next(self._disturbances) * self._spell(call.name, self.machine.now_ns)
        duration_ns = call.cost_ns * calls * slowness
        self.machine.now_ns += duration_ns
        return duration_ns
