"""A mistake on a command line is answered in one line."""

import errno
from pathlib import Path

import pytest

from dynact.sweep.one_line_parser import OneLineParser


@pytest.fixture
def parser() -> OneLineParser:
    parser = OneLineParser(prog="draw.py")
    parser.add_argument("--format", choices=("png", "svg"))
    return parser


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["--nonsense"], "--nonsense"),
        (["--format", "gif"], "invalid choice: 'gif'"),
        (["--format"], "expected one argument"),
    ],
)
def test_a_mistake(
    parser: OneLineParser, capsys: pytest.CaptureFixture[str], typed: list[str], says: str
) -> None:
    with pytest.raises(SystemExit) as end:
        parser.parse_args(typed)

    output, errors = capsys.readouterr()
    assert (end.value.code, output) == (2, "")
    assert errors.startswith("draw.py: ")
    assert errors.count("\n") == 1
    assert says in errors


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "reports/a/table.csv"),
            "draw.py: reports/a/table.csv: No space left on device\n",
        ),
        # A full disk is met when a file is closed, whose name is not known any more.
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "draw.py: reports/a: No space left on device\n",
        ),
        (OSError("the archive is not whole"), "draw.py: reports/a: the archive is not whole\n"),
    ],
)
def test_what_could_not_be_written_is_named_as_seen_from_here(
    parser: OneLineParser,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if error.filename:
        error.filename = str(tmp_path / error.filename)

    with pytest.raises(SystemExit) as end:
        parser.cannot_write(error, tmp_path / "reports/a")

    assert end.value.code == 2
    assert capsys.readouterr().err == line
