"""The profiler's words are kept, and nobody else's."""

import os

import pytest

from dynact.worker.profile import words as words_module
from dynact.worker.profile.words import words_kept

SAID = (
    "WARNING:2026-03-01 10:00:00 712:712 init.cpp:183] CUPTI initialization failed - 15\n"
    "STAGE:2026-03-01 10:00:00 712:712 Handler.cpp:38] Completed Stage: Warm Up\n"
    "of a layer: ERROR in my words\n"
    "ERROR:2026-03-01 10:00:01 712:713 Api.cpp:56] failed with code 35\n"
    "without an end"
)


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_module, "_said", {})


def test_errors_and_warnings_are_kept_and_what_others_write_comes_out(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with words_kept() as words:
        os.write(2, SAID.encode())

    assert words == [
        "init.cpp:183] CUPTI initialization failed - 15", "Api.cpp:56] failed with code 35"
    ]  # fmt: skip
    assert capfd.readouterr().err == "of a layer: ERROR in my words\nwithout an end"


def test_standard_error_is_itself_again_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        with words_kept():
            os.write(2, b"before\n")
            raise KeyError

    with pytest.raises(KeyError):
        fails()

    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_what_is_said_once_a_process_holds_for_all_that_follows() -> None:
    for line in (SAID, SAID, ""):
        with words_kept() as words:
            os.write(2, line.encode())

    assert len(words) == 2
