"""No folder of a published file is somebody's own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.redact import one_line, without_folders, without_paths

# Distinct from anything else in a command, so that a survivor is seen.
FOLDER = st.from_regex(
    r"Q[\w.@+=,:;()-]{0,6}(?:[\w.@+;()-][ \u00a0][\w.=,:-]{0,3}[\w.-])?Q", fullmatch=True
)
ANY_FOLDER = st.text(st.characters(exclude_characters="/\\\0", codec="utf-8"), max_size=6).map(
    lambda text: f"Q{text}Q"
)
FILE = st.from_regex(r"[a-z][a-z0-9_]{0,5}\.py", fullmatch=True)
ROOT = st.sampled_from(("/", "//", "~/", "~Qname/", "C:\\", "d:/", "\\\\", "file:///"))
BEFORE = st.sampled_from(("", "--rootdir=", "--out ", "a:", "'", '"', "(", "-I", "x,"))
RELATIVE = st.from_regex(
    r"(?:\./)?[a-z]\w{0,5}(?:/[\w.-]*\w){0,3}(?:::\w+\[[\w-]+\])?", fullmatch=True
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


@given(BEFORE, st.integers(1, 3), st.lists(FOLDER, min_size=1, max_size=4), FILE)
def test_a_path_that_climbs_names_no_folder(
    before: str, climbs: int, folders: list[str], file: str
) -> None:
    up = "../" * climbs
    # An option's letter, glued: no word begins there.
    assert without_paths(before + up + "/".join([*folders, file])) == before + up + file


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
        ("../../home/ada/secret/x.py", "../../x.py"),
        ("benches/../../ada/x.py", "benches/../../x.py"),
        ("/home/ada/my=proj/secret/x.py", "x.py"),
        ("/home/ada/a,b/secret/x.py", "x.py"),
        ("/home/ada/client:acme/x.py", "x.py"),
        ("/home/ada/a\u00a0b/secret/x.py", "x.py"),
        ("f<int>(a)/b", "f<int>(a)/b"),
        ("1.5 GB/s / 2 GB/s", "1.5 GB/s / 2 GB/s"),
        ("(FLOP/s)/(B/s)", "(FLOP/s)/(B/s)"),
        ("./benches", "./benches"),
        ("--channels 8,16", "--channels 8,16"),
        ("my.layers:Swish", "my.layers:Swish"),
    ],
)
def test_examples(text: str, kept: str) -> None:
    assert without_paths(text) == kept


# What a profiler names.

FRAME = st.sampled_from(("{}(12): forward", "{}(3): <lambda>", "{}:774", "{}"))
OUTSIDE = st.sampled_from(
    ("/", "//", "~/", "~Qname/", "C:\\", "d:/", "\\\\", "../", "x/../", "file:///")
)
SYMBOLS = st.one_of(
    st.sampled_from(
        (
            "aten::mul", "torch/nn/modules/linear.py(134): forward", "<frozen os>:676",
            "nn.Module: DyReLUB_0", "void f<int>(a)/b", "[2, 16, 7, 7]", "float",
            "<built-in method add of type object>", "Torch-Compiled Region: 0/0",
        )
    ),
    st.text(st.characters(exclude_characters="/\\~:.", codec="utf-8"), max_size=20),
)  # fmt: skip


@given(OUTSIDE, st.lists(ANY_FOLDER, min_size=1, max_size=4), FILE, FRAME)
def test_no_folder_survives_in_a_frame(
    root: str, folders: list[str], file: str, frame: str
) -> None:
    separator = "\\" if "\\" in root else "/"
    path = root + separator.join([*folders, file])
    assert without_folders(frame.format(path)) == frame.format(file)


@given(st.lists(st.tuples(st.lists(ANY_FOLDER, max_size=3), FILE), min_size=1, max_size=4))
def test_nor_in_a_stack(files: list[tuple[list[str], str]]) -> None:
    stack = [f"/home/{'/'.join([*folders, file])}(7): f" for folders, file in files]
    assert without_folders(";".join(stack)) == ";".join(f"{file}(7): f" for _, file in files)


@given(SYMBOLS)
def test_what_is_no_file_outside_stays(text: str) -> None:
    assert without_folders(text) == text
