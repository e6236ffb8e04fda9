"""What holds for tests of every folder."""

from collections.abc import Iterator

import pytest


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch use one: two, on cores that others use too, wait more than they work."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
