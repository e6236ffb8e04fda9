"""The state of autograd in which a case is called."""

from contextlib import AbstractContextManager, nullcontext

import torch

from dynact.schema.cases import AnyCase

MEMORY_FORMATS = {
    "contiguous": torch.contiguous_format,
    "channels_last": torch.channels_last,
}


def grad_mode(case: AnyCase) -> AbstractContextManager[object]:
    """Return the context in which a case is called."""
    return nullcontext() if case.phase == "training" else torch.inference_mode()


def watched_mode(case: AnyCase) -> AbstractContextManager[object]:
    """Return the context in which a case's operators are watched one by one.

    Not inference mode: there, operators made of others show as one.
    """
    return nullcontext() if case.phase == "training" else torch.no_grad()
