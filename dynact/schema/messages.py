"""What the parent asks the worker, and what it answers: plain values that travel as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dynact.schema.cases import AnyCase, case_of_record, case_record


@dataclass(frozen=True)
class Request:
    """A line of the worker's table, and what it is to be done with."""

    verb: str
    case: AnyCase | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Passed by name; values that JSON has."""

    def to_json(self) -> bytes:
        """Return one line, without its end."""
        case = case_record(self.case) if self.case else None
        return json.dumps([self.verb, case, dict(self.arguments)]).encode()

    @classmethod
    def from_json(cls, line: bytes) -> "Request":
        """Return the request of a line that `to_json` made."""
        verb, case, arguments = json.loads(line)
        return cls(verb, case_of_record(case) if case else None, arguments)


@dataclass(frozen=True)
class Answer:
    """What came of a request."""

    status: str = "ok"
    """``"refused"``: it cannot be done as asked, and the message is for the user; else one of
    `dynact.schema.rows.STATUSES`."""
    message: str = ""
    """Why the status is not ``"ok"``, in one line; or what is to be said all the same."""
    figures: dict[str, Any] = field(default_factory=dict)
    """By name; values that JSON has."""

    def to_json(self) -> bytes:
        """Return one line, without its end."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, line: bytes) -> "Answer":
        """Return the answer of a line that `to_json` made."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker says of itself when it is ready."""

    device: str
    is_accelerator: bool
    """Whether it has memory and a queue of its own."""
    free_bytes: int
    """Memory for tensors that nobody has taken."""
    environment: dict[str, Any]
    """What a measurement depends on; names neither machine nor user."""
    has_graphs: bool = False
    """Whether it can replay kernels as a graph."""
    notice: str = ""
    """What the user is to know of the device before anything is measured; empty if nothing is."""
    flushed_bytes: int = 0
    """Of the last-level cache that is emptied before each timed call, as far as its size is known
    or else as it is assumed; 0 where calls start from warm caches."""
