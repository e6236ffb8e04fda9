"""What tests of visits share."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.worker.graphs import Graphs
from tests.worker.noting import GRADIENTS, SEEN, WEIGHT_GRADIENTS


@pytest.fixture
def fresh_dynamo() -> Iterator[None]:
    """Let no graph outlive a test."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Graphs:
    """Have torch.compile hand its graphs to these, whatever else it is told."""
    graphs = Graphs()
    compiler = torch.compile

    def compile_with_notes(model: Any, **how: Any) -> Any:
        return compiler(model, backend=graphs, **how)

    monkeypatch.setattr(torch, "compile", compile_with_notes)
    return graphs


@pytest.fixture
def fresh_notes() -> Iterator[None]:
    for notes in (SEEN, GRADIENTS, WEIGHT_GRADIENTS):
        notes.clear()
    yield
    for notes in (SEEN, GRADIENTS, WEIGHT_GRADIENTS):
        notes.clear()
