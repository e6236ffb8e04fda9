"""What the counters of operators share."""

from torch.utils._python_dispatch import TorchDispatchMode


class OperatorWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that starts at once."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Or torch imports all of dynamo, for seconds, at the first operator.
        return False
