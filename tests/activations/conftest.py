"""Fused implementations without generated code, which takes seconds a graph."""

import pytest

from dynact.activations.fused import acon, attention, dynamic, funnel, graph, pools, static


def graphs() -> list[graph.Graph]:
    """All graphs of the package."""
    return [
        value
        for module in (acon, attention, dynamic, funnel, pools, static)
        for value in vars(module).values()
        if isinstance(value, graph.Graph)
    ]


@pytest.fixture
def without_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have formulas and their derivatives run as they are."""
    for each in graphs():
        monkeypatch.setattr(each, "_compiled", {})
        monkeypatch.setattr(each, "_ran_at", set())
    monkeypatch.setattr(graph, "compiled", lambda of, _dynamic: of)
