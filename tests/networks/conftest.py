"""All of these make networks and run them."""

import pytest


@pytest.fixture(autouse=True)
def always_one_thread(one_thread: None) -> None:
    """Torch uses one thread."""
