"""What holds for all cases of a session."""

from dataclasses import dataclass

CACHES = ("warm", "cold")
# Of an accelerator: eager time, gaps between kernels included; what the device takes without any
# waiting for its host; or the first, with the second beside.
TIMES = ("eager", "device", "both")
BOTH = "both"


@dataclass(frozen=True)
class Settings:
    """How a session measures."""

    device: str | None = None
    """``None`` takes the accelerator where there is one, else the CPU."""
    threads: int | None = None
    """Of torch on the host; ``None`` is 1 on a CPU and torch's own choice beside an accelerator."""
    precision: float = 0.01
    """The half-width at which a case's interval is narrow enough, as a share of the ratio."""
    max_seconds: float = 0.6
    """The most time to spend in timing a case, over all passes."""
    passes: int = 12
    """How often to visit each case, if its interval does not become narrow before."""
    cache: str = "warm"
    """The state of the caches that each timed call starts from: one of `CACHES`."""
    clock: str = BOTH
    """One of `TIMES`."""

    @property
    def visit_s(self) -> float:
        """How long to time a case in each pass."""
        return self.max_seconds / self.passes
