"""No folder of a published file is somebody's own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.redact import one_line, without_paths

# Distinct from anything else in a command, so that a survivor is seen.
FOLDER = st.from_regex(r"Q[\w.@+-]{0,6}(?: [\w.-]{1,4})?Q", fullmatch=True)
FILE = st.from_regex(r"[a-z][a-z0-9_]{0,5}\.py", fullmatch=True)
ROOT = st.sampled_from(("/", "//", "~/", "~Qname/", "C:\\", "d:/", "\\\\", "file:///"))
BEFORE = st.sampled_from(("", "--rootdir=", "--out ", "a:", "'", '"', "(", "-I", "x,"))
RELATIVE = st.from_regex(
    r"(?:\.{1,2}/)?[a-z]\w{0,5}(?:/[\w.-]*\w){0,3}(?:::\w+\[[\w-]+\])?", fullmatch=True
)
OPTION = st.from_regex(r"--?[a-z]+(?:-[a-z]+)*(?:[= ][\w.:,%-]+)?", fullmatch=True)


def test_a_message_becomes_one_printable_line_without_folders() -> None:
    message = "\n cannot open /home/ada/x.so:\x1b[31m no\tsuch file\nmore"
    assert one_line(message) == "cannot open x.so: [31m no such file"
    assert len(one_line("x" * 10_000)) == 300


@st.composite
def absolute_paths(draw: st.DrawFn) -> str:
    root = draw(ROOT)
    separator = "\\" if "\\" in root else "/"
    folders = draw(st.lists(FOLDER, min_size=1, max_size=4))
    return root + separator.join([*folders, draw(FILE)])


@given(BEFORE, absolute_paths())
def test_no_folder_survives(before: str, path: str) -> None:
    without = without_paths(before + path)
    assert "Q" not in without
    assert not re.search(r"[/\\~]", without)
    # The file's name says what was done.
    assert without.endswith(re.split(r"[/\\]", path)[-1])


@given(st.lists(absolute_paths(), min_size=2, max_size=3), st.sampled_from(": ,;"))
def test_nor_one_of_a_list(paths: list[str], separator: str) -> None:
    without = without_paths(separator.join(paths))
    assert "Q" not in without
    assert "/" not in without


@given(st.lists(st.one_of(RELATIVE, OPTION), max_size=4))
def test_relative_paths_and_options_stay(words: list[str]) -> None:
    for word in words:
        assert without_paths(word) == word
    text = " ".join(words)
    assert without_paths(text) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/home/ada/benches/bench_gate.py::bench_gate", "bench_gate.py::bench_gate"),
        ("--benchmark-json=/tmp/out.json", "--benchmark-json=out.json"),
        ("C:\\Users\\Ada Lovelace\\x.json", "x.json"),
        ("~ada/x.json", "x.json"),
        ("/opt/libjemalloc.so:/opt/b.so", "libjemalloc.so:b.so"),
        ("/opt/libjemalloc.so /opt/b.so", "libjemalloc.so b.so"),
        ("benches/bench_gate.py", "benches/bench_gate.py"),
        ("../benches", "../benches"),
        ("./benches", "./benches"),
        ("--channels 8,16", "--channels 8,16"),
        ("my.layers:Swish", "my.layers:Swish"),
    ],
)
def test_examples(text: str, kept: str) -> None:
    assert without_paths(text) == kept
