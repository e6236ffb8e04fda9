"""Tests marked `gpu` are skipped, with the reason, where torch reaches no accelerator."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    # Only here: most tests do without torch, which takes seconds to import.
    import torch

    if not torch.accelerator.is_available():
        skip = pytest.mark.skip(reason="torch.accelerator finds no device on this machine")
        for item in marked:
            item.add_marker(skip)
