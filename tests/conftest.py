"""What holds for tests of every folder."""

import os

import pytest

# Of torch, here and in what tests start, read when it is imported: more threads, on cores that
# others use too, wait more than they work, for gradients of convolutions up to 70 times as long.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu`, with the reason, where torch reaches no accelerator."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    # Only here: most tests do without torch, which takes seconds to import.
    import torch

    if not torch.accelerator.is_available():
        skip = pytest.mark.skip(reason="torch.accelerator finds no device on this machine")
        for item in marked:
            item.add_marker(skip)
