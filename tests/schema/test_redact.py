"""No folder of a published file is somebody's own."""

import re
import string
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynact.schema.redact import error_line, one_line, without_folders, without_paths

BLANKS = "".join(c for c in map(chr, range(sys.maxunicode)) if c.isspace() and c != "\n")
PUNCTUATION = re.sub(r"[/\\]", "", string.punctuation)
# Each may also be a part of a folder's name; blanks without a width are none to str.isspace.
GLUE = st.one_of(
    st.text(BLANKS + "\u200b\ufeff" + PUNCTUATION, max_size=3),
    st.text(" " + PUNCTUATION, max_size=3),
    st.tuples(
        st.sampled_from(BLANKS),
        st.sampled_from(
            ("-x", "--opt=", "-", "~", "~a", "$A", "C:", "..", "file:", "https:", "a.py", "'", "(")
        ),
    ).map("".join),
    st.sampled_from((": ", ", ", "' '", "', '", "; ", " = ", ":", " (1)", "..", " - ", "")),
)
# Distinct from anything else in a text, so that a survivor is seen.
WORD = st.sampled_from(("Q", "\u00e9Q", "Q\u65e5", "0Q", "Q_1", "Q.Q", ".Q"))


def is_like_a_file(name: str) -> bool:
    """Whether a name is documented to be taken for a file's: x.py and then a blank or the like."""
    return re.match(r"\s*\w[\w.+-]*\.\w+[\s:;,='\"(]", name) is not None


# Every word of a name is distinct, as any of them may survive alone.
FOLDER = (
    st.tuples(GLUE, st.lists(st.tuples(WORD, GLUE).map("".join), min_size=1, max_size=3))
    .map(lambda parts: parts[0] + "".join(parts[1]))
    .filter(lambda name: not is_like_a_file(name))
)
ANY_FOLDER = st.one_of(
    st.text(st.characters(exclude_characters="/\\\0", codec="utf-8"), max_size=6).map(
        lambda text: f"Q{text}Q"
    ),
    st.sampled_from(("Q(12): fQ", "Q(12): Q:3", "Q from Q", "Q:Q", "Q;Q", "Q in Q", "<Q> from Q")),
)
FILE = st.from_regex(r"[a-z][a-z0-9_]{0,5}\.py", fullmatch=True)
ROOT = st.sampled_from(
    (
        "/", "//", "~/", "~Qname/", "~Q name/", "~7Q/", "$Q/", "${Q}/", "C:\\", "d:/", "\\\\",
        "\\\\?\\", "file:///", "file://",
    )
)  # fmt: skip
SLASH = st.sampled_from(("/", "\\", "//", "\\\\", "/\\"))
BEFORE = st.sampled_from(
    (
        "", "--rootdir=", "--out ", "--out=a b ", "a:", "'", '"', "`", "(", "[", "{", "<", "-I",
        "-isystem", "--in-dir", "x,", "x;", "x|", "x@", "x+", "x>", "ada@host:", "\t", "\u00a0",
        "\u200b", "\u201c", "\u00ab", "3/4 of ", "at 5 B/s in ", "aten::x/y: ", "x\n", "a.py: ",
        "see https://example.org/a/b ", "torch/nn/relu.py:3: ", "1 / 2, ",
    )
)  # fmt: skip
AFTER = st.sampled_from(("", ": no such file", "' failed", ")", ", line 3", "\nmore", "\t3 times"))
BETWEEN = st.sampled_from(
    (
        " ", ":", ",", ";", ", ", "; ", "' '", "', '", "' -> '", " and ", ":\u00a0", "=", "\n",
        ": see 3/4 of ", " at 5 B/s, ", " -I", "', '-L", " (", ") (", "\t", " / 2: ",
    )
)  # fmt: skip
RELATIVE = st.from_regex(
    r"(?:\./)?[a-z]\w{0,5}(?:/[\w.-]*\w){0,3}(?:::\w+\[[\w-]+\])?", fullmatch=True
)
OPTION = st.from_regex(r"--?[a-z]+(?:-[a-z]+)*(?:[= ][\w.:,%-]+)?", fullmatch=True)
HARMLESS = st.sampled_from(
    (
        "No module named 'x'", "3/4", "-3/4", "(3/4)", "and/or", "ms/step", "5 B/s", "GB/s,", "n/a",
        "1.5 GB/s / 2 GB/s", "(FLOP/s)/(B/s)", "7 // 2", "[2, 16, 7, 7]", "(2, 3)", "~0.5 ms/step",
        "aten::x/y", "torch/nn/modules/linear.py", "torch/.../relu.py:3:", "a.py: error:", "C: no",
        "f<int>(a)/b", "x = a[0]/b", "Torch-Compiled Region: 0/0", "'a', 'b'", "it's", "$ pytest",
        "https://pytorch.org/docs/stable/notes/a-b.html#c", "http://localhost:6006/x_1/~y/",
    )
)  # fmt: skip


def test_a_message_becomes_one_printable_line_without_folders() -> None:
    message = "\n cannot open /home/ada/x.so:\x1b[31m no\tsuch file\nmore"
    assert one_line(message) == "cannot open x.so: [31m no such file"
    assert len(one_line("x" * 10_000)) == 300


@st.composite
def folders_of(draw: st.DrawFn) -> str:
    """Folders, each with what parts it from the next."""
    folders = draw(st.lists(st.tuples(FOLDER, SLASH).map("".join), min_size=1, max_size=4))
    # A slash between blanks divides.
    return "".join(folders).lstrip()


@st.composite
def absolute_paths(draw: st.DrawFn) -> str:
    return draw(ROOT) + draw(folders_of()) + draw(FILE)


@settings(max_examples=300)
@given(BEFORE, ROOT, folders_of(), FILE, AFTER)
def test_no_folder_survives(before: str, root: str, folders: str, file: str, after: str) -> None:
    without = without_paths(before + root + folders + file + after)

    assert "Q" not in without
    # The file's name says what was done.
    assert without.endswith(file + after)


@settings(max_examples=300)
@given(BEFORE, st.integers(1, 3), SLASH, folders_of(), FILE, AFTER)
def test_a_path_that_climbs_names_no_folder(
    before: str, climbs: int, slash: str, folders: str, file: str, after: str
) -> None:
    up = f"..{slash}" * climbs

    without = without_paths(before + up + folders + file + after)

    assert without == before + up + file + after


@settings(max_examples=300)
@given(st.lists(st.tuples(BETWEEN, absolute_paths()).map("".join), min_size=2, max_size=3))
def test_nor_one_of_several(paths: list[str]) -> None:
    text = "".join(paths)

    assert "Q" not in without_paths(text)
    assert "Q" not in one_line(text)


@given(st.lists(absolute_paths(), min_size=2, max_size=3), st.sampled_from(": ,;"))
def test_files_of_a_list_stay(paths: list[str], separator: str) -> None:
    files = [re.split(r"[/\\]", path)[-1] for path in paths]

    # How a file's address begins is none of its folders.
    without = without_paths(separator.join(paths)).replace("file:", "")

    assert without == separator.join(files)


@given(st.lists(st.one_of(RELATIVE, OPTION, HARMLESS), max_size=4), st.sampled_from((" ", "\n")))
def test_what_names_no_folder_outside_stays(words: list[str], blank: str) -> None:
    for word in words:
        assert without_paths(word) == word
    text = blank.join(words)
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
        ("7 // 2, 3/4", "7 // 2, 3/4"),
        ("../my -x/proj/a.py", "../a.py"),
        ("../my\u00a0-x/proj/a.py", "../a.py"),
        ("../../benches", "../../benches"),
        ("/home/ada/a /proj/x.py", "x.py"),
        ("/home/ada/a.b / secret/x.py", "x.py"),
        ("C:\\Users\\Ada/proj\\x.py", "x.py"),
        ("\\\\server\\share\\x.py", "x.py"),
        ("--opt=/a b/c", "--opt=c"),
        ("-isystem/usr/secret/x.h", "-isystemx.h"),
        ("'/home/Ada's laptop/x.py'", "'x.py'"),
        ("/opt/x.so: undefined symbol: a/b", "x.so: undefined symbol: a/b"),
        ("x.so.2: see https://a.org/b/c", "x.so.2: see https://a.org/b/c"),
        ("['/usr/bin/gcc', '/tmp/a.c', '-o', '/tmp/a.so']", "['a.c', '-o', 'a.so']"),
        (
            "[Errno 2] No such file: '/a/b.py' -> '/c/d.py'",
            "[Errno 2] No such file: 'b.py' -> 'd.py'",
        ),
        ("--channels 8,16", "--channels 8,16"),
        ("my.layers:Swish", "my.layers:Swish"),
    ],
)
def test_examples(text: str, kept: str) -> None:
    assert without_paths(text) == kept


# What a profiler names.

FRAME = st.sampled_from(
    (
        "{}(12): forward", "{}(3): <lambda>", "{}:774", "{}",
        "<eval_with_key>.0 from {}:4 in forward(4): forward",
        "<eval_with_key>.1 from <eval_with_key>.0 from {}:4 in forward:5 in forward:6",
    )
)  # fmt: skip
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


class Layer:
    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Layer(), f"<{__name__}.Layer object>"),
        (Layer().__call__, f"<bound method Layer.__call__ of <{__name__}.Layer object>>"),
        (Layer.__call__, "<function Layer.__call__>"),
        (object, "<class 'object'>"),
    ],
)
def test_no_address_of_an_object_is_in_an_error(value: object, shown: str) -> None:
    line = error_line(TypeError(f"cannot call {value!r}, {value!r}"))
    assert line == f"TypeError: cannot call {shown}, {shown}"


def test_a_number_in_an_error_is_no_address() -> None:
    assert error_line(ValueError("a byte 0x7f at 0x")) == "ValueError: a byte 0x7f at 0x"
