"""Ctrl-C comes when what is under way is whole; a second one comes at once."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from dynact.sweep.interrupt import interrupt_deferred


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def work(*steps: Callable[[], object]) -> None:
    """Do what is not to be interrupted."""
    with interrupt_deferred():
        for step in steps:
            step()


def fail() -> None:
    raise RuntimeError("disk full")


def test_without_one_nothing_happens() -> None:
    done: list[str] = []

    work(partial(done.append, "all"))

    assert done == ["all"]


def test_the_work_is_finished_first() -> None:
    done: list[str] = []

    with pytest.raises(KeyboardInterrupt):
        work(ctrl_c, partial(done.append, "first"), partial(done.append, "second"))

    assert done == ["first", "second"]


def test_a_second_one_ends_it_at_once() -> None:
    done: list[str] = []

    with pytest.raises(KeyboardInterrupt):
        work(ctrl_c, partial(done.append, "first"), ctrl_c, partial(done.append, "second"))

    assert done == ["first"]


def test_an_error_of_the_work_comes_through() -> None:
    with pytest.raises(RuntimeError, match="disk full"):
        work(ctrl_c, fail)


@pytest.mark.parametrize("steps", [(), (ctrl_c,), (ctrl_c, ctrl_c), (fail,)])
def test_afterwards_ctrl_c_does_what_it_did_before(steps: tuple[Callable[[], object], ...]) -> None:
    heard: list[int] = []
    # Of its own: a shell starts what runs in the background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, lambda number, _frame: heard.append(number))

    try:
        with suppress(KeyboardInterrupt, RuntimeError):
            work(*steps)
        ctrl_c()
    finally:
        signal.signal(signal.SIGINT, before)

    assert heard == [signal.SIGINT]
