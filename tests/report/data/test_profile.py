"""A run's profile is read whole or not at all."""

import csv
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynact.report.data.profile import Profile, load_profile
from dynact.schema.profile import columns
from dynact.schema.run_folder import RunError
from tests.report.profile_sample import build_profile, write_tables

RELU, FRELU = "relu-training-2x8", "pkg:Ünï-inference-2x8"
KERNEL = 'void f<int, "λ">(a|b)\n, c'
TABLES = ("steps", "kernels", "timeline", "memory", "failed")
AGAIN = "; remove traces/ and run profile_traces.py again"


def two_cases() -> Profile:
    profile = build_profile(
        [
            (RELU, "relu", "training", "aten::relu", "pointwise", "forward", 0, 400_000),
            (RELU, "relu", "training", "aten::max", "reduction", "backward", 500_000, 600_001),
            (FRELU, "pkg:Ünï", "inference", KERNEL, "other", "forward", 20, 70),
            (FRELU, "pkg:Ünï", "inference", KERNEL, "other", "forward", 100, 80),
            (FRELU, "pkg:Ünï", "inference", "aten::add", "pointwise", "forward", 190, 1),
        ],
        [
            (RELU, 10, 1_000, "forward"), (RELU, 500_000, 0, "backward"),
            (FRELU, 20, 5_120, "forward"), (FRELU, 200, 0, "other"),
        ],
    )  # fmt: skip
    failed = pd.DataFrame([("se", 'no memory, "λ"'), ("sé", "")], columns=["case_id", "message"])
    return replace(profile, failed=failed)


def cells(profile: Profile) -> dict[str, dict[str, list[object]]]:
    """All cells, what is empty as None."""
    return {
        name: {
            str(column): [None if pd.isna(cell) or cell == "" else cell for cell in cells]
            for column, cells in table.items()
        }
        for name, table in vars(profile).items()
    }


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    write_tables(run, two_cases())
    return run


def load_with(run: Path, folder: Path, name: str, content: bytes) -> Profile | None:
    """Load a run's tables with another content in one of them."""
    (folder / "traces").mkdir(exist_ok=True)
    for table in TABLES:
        whole = (run / f"traces/{table}.csv").read_bytes()
        (folder / f"traces/{table}.csv").write_bytes(content if table == name else whole)
    return load_profile(folder)


def test_what_was_stored_is_read_back(stored: Path) -> None:
    read = load_profile(stored)
    assert read is not None
    written = cells(two_cases())
    for name, table in cells(read).items():
        assert {column: written[name][column] for column in table} == table


def test_implementations_are_told_apart_and_stand_at_one_setting(tmp_path: Path) -> None:
    fused = f"{RELU.replace('relu', 'frelu')}-impl_fused"
    profile = build_profile(
        [
            (RELU, "relu", "training", "aten::relu", "pointwise", "forward", 0, 400_000),
            (fused, "frelu", "training", "Graph", "other", "forward", 0, 700_000),
        ]
    )
    profile.steps.loc[profile.steps["case_id"] == fused, "impl"] = "fused"
    write_tables(tmp_path, profile)

    loaded = load_profile(tmp_path)

    assert loaded is not None
    assert loaded.setting == "2x8"
    assert loaded.activations == ["relu", "frelu fused"]
    assert loaded.names == {"relu": "ReLU", "frelu fused": "FReLU fused"}
    assert set(loaded.of(loaded.kernels)["activation"]) == {"relu", "frelu fused"}


def test_without_a_whole_case_there_is_none(tmp_path: Path) -> None:
    assert load_profile(tmp_path) is None
    # As left by a process that died while it stored the first case.
    write_tables(tmp_path, two_cases())
    (tmp_path / "traces/steps.csv").unlink()
    (tmp_path / "traces/failed.csv").unlink()
    assert load_profile(tmp_path) is None


def test_what_could_not_be_profiled_is_read_where_nothing_else_was(tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces/failed.csv").write_text("case_id,message\nse,no memory\n")
    read = load_profile(tmp_path)
    assert read is not None
    assert read.failed.to_dict("records") == [{"case_id": "se", "message": "no memory"}]
    assert read.steps.empty
    assert read.setting == ""
    assert read.activations == []


@pytest.mark.parametrize("written", range(4))
def test_lines_of_a_case_that_steps_do_not_name_are_left_out(tmp_path: Path, written: int) -> None:
    """As left by a process that died after some of the tables of its second case."""
    both = two_cases()
    first = {name: table[table["case_id"] == RELU] for name, table in vars(both).items()}
    order = ("kernels", "timeline", "memory")
    stored = first | {name: vars(both)[name] for name in order[:written]}
    write_tables(tmp_path, Profile(**stored))
    read = load_profile(tmp_path)
    assert read is not None
    assert cells(read) == {
        name: {column: cells(Profile(**first))[name][column] for column in table}
        for name, table in vars(read).items()
    }


def test_a_case_that_runs_no_operator_is_whole(tmp_path: Path) -> None:
    profile = two_cases()
    identity = profile.steps.tail(1).assign(
        case_id="i", step_ns=0, operators=0, coverage=0.0, memory_lines=1, timeline_lines=0
    )
    still = pd.DataFrame([("i", 0, 0, "forward")], columns=profile.memory.columns)
    profile = Profile(
        pd.concat([profile.steps, identity]), profile.kernels, profile.timeline,
        pd.concat([profile.memory, still]),
    )  # fmt: skip
    write_tables(tmp_path, profile)
    read = load_profile(tmp_path)
    assert read is not None
    assert list(read.steps["case_id"]) == [RELU, FRELU, "i"]


def test_an_accelerators_timeline_may_hold_more_than_its_operators(tmp_path: Path) -> None:
    profile = two_cases()
    profile.steps["operators"] -= 1
    write_tables(tmp_path, profile)
    assert load_profile(tmp_path) is not None


def outcome(run: Path, folder: Path, name: str, content: bytes) -> Profile | str:
    """Return what is loaded, or the line that says why nothing is."""
    try:
        read = load_with(run, folder, name, content)
    except RunError as error:
        return str(error)
    assert read is not None
    return read


def line_ends(content: bytes) -> list[int]:
    return [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_cut_at_a_line_is_refused(stored: Path, tmp_path: Path, name: str) -> None:
    content = (stored / f"traces/{name}.csv").read_bytes()
    *before, end = line_ends(content)
    cuts = [0, *(n + beside for n in before for beside in (-1, 0, 1)), end - 1]
    found = {n: outcome(stored, tmp_path, name, content[:n]) for n in cuts}
    taken = [n for n, read in found.items() if read != f"traces/{name}.csv is cut short{AGAIN}"]
    # A case that steps do not name was not stored yet, and nothing counts those that failed.
    assert taken == (before if name in ("steps", "failed") else [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(TABLES), st.data())
def test_a_table_that_is_cut_anywhere_else_is_refused(
    stored: Path, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    content = (stored / f"traces/{name}.csv").read_bytes()
    within = sorted(set(range(len(content))) - set(line_ends(content)))
    length = data.draw(st.sampled_from(within), "length")
    found = outcome(stored, tmp_path, name, content[:length])
    assert found == f"traces/{name}.csv is cut short{AGAIN}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(TABLES), st.data())
def test_whatever_the_bytes_there_is_one_line_or_a_table(
    stored: Path, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    content = (stored / f"traces/{name}.csv").read_bytes()
    start = data.draw(st.integers(0, len(content)), "start")
    end = data.draw(st.integers(start, len(content)), "end")
    middle = data.draw(st.binary(max_size=4), "in place of what is between")
    found = outcome(stored, tmp_path, name, content[:start] + middle + content[end:])
    if isinstance(found, str):
        assert re.fullmatch(rf"traces/\w+\.csv [\w ]+{AGAIN}", found)


@pytest.mark.parametrize("name", ["kernels", "timeline", "memory"])
def test_a_line_that_is_gone_is_missed(stored: Path, tmp_path: Path, name: str) -> None:
    text = (stored / f"traces/{name}.csv").read_text("utf-8")
    header, *lines = csv.reader(StringIO(text))
    for i in range(len(lines)):
        kept = StringIO()
        csv.writer(kept, lineterminator="\n").writerows([header, *lines[:i], *lines[i + 1 :]])
        found = outcome(stored, tmp_path, name, kept.getvalue().encode())
        assert found == f"traces/{name}.csv is cut short{AGAIN}"


@pytest.mark.parametrize(
    ("name", "before", "after", "why"),
    [
        ("kernels", b",occupancy_percent", b"", "is cut short"),
        ("kernels", b"400000", b"4OOOOO", "is cut short"),
        ("kernels", b"400000", b"", "is cut short"),
        ("steps", RELU.encode(), b"", "is cut short"),
        ("steps", b"16,", b"17,,", "is cut short"),
        ("steps", b",False,", b",no,", "is cut short"),
        ("steps", b",64,56,", b",64,5.6,", "is cut short"),
        ("failed", b"message", b"why", "was written by an older version"),
        ("memory", b"at_ns", b"at", "was written by an older version"),
        ("steps", b"memory_page", b"memory", "was written by an older version"),
    ],
)
def test_what_is_wrong_is_said(
    stored: Path, tmp_path: Path, name: str, before: bytes, after: bytes, why: str
) -> None:
    content = (stored / f"traces/{name}.csv").read_bytes()
    assert before in content
    with pytest.raises(RunError) as caught:
        load_with(stored, tmp_path, name, content.replace(before, after, 1))
    assert str(caught.value) == f"traces/{name}.csv {why}{AGAIN}"


def test_steps_of_a_former_version_say_the_same_by_their_ids(tmp_path: Path) -> None:
    """Where steps.csv had no more of a case than its id, its activation and its phase."""
    host, device = (f"relu-training-8x64x56x56-float32-{end}" for end in ("cpu-compile", "cuda:0"))
    kernel = ("aten::relu", "pointwise", "forward", 0, 400_000)
    profile = build_profile([(case_id, "relu", "training", *kernel) for case_id in (host, device)])
    write_tables(tmp_path, profile)
    path = tmp_path / "traces/steps.csv"
    present = load_profile(tmp_path)
    steps = pd.read_csv(path)
    added = set(columns("steps")[: columns("steps").index("steps")])
    former = steps.drop(columns=added - {"case_id", "activation", "phase"})
    former.to_csv(path, index=False, lineterminator="\n")

    read = load_profile(tmp_path)

    assert read is not None
    assert present is not None
    assert list(former.columns)[:4] == ["case_id", "activation", "phase", "steps"]
    pd.testing.assert_frame_equal(read.steps, present.steps)
    assert list(read.steps["on_accelerator"]) == [False, True]
    assert list(read.steps["mode"]) == ["compile", "eager"]


LATER = {
    "steps": ["steps_taken", "steps_disturbed", "tries", "step_p20_ns", "step_p80_ns",
              "timeline_lines"],
    "kernels": ["time_p20_ns", "time_p80_ns"],
}  # fmt: skip


def test_tables_of_one_step_still_load_and_are_still_held_against_each_other(
    stored: Path, tmp_path: Path
) -> None:
    (tmp_path / "traces").mkdir()
    for name in TABLES:
        table = pd.read_csv(stored / f"traces/{name}.csv", dtype=object, keep_default_na=False)
        former = table.drop(columns=LATER.get(name, []))
        former.to_csv(tmp_path / f"traces/{name}.csv", index=False, lineterminator="\n")

    read = load_profile(tmp_path)

    assert read is not None
    present = load_profile(stored)
    for name, added in LATER.items():
        assert vars(read)[name][added].isna().all(axis=None)
        pd.testing.assert_frame_equal(
            vars(read)[name].drop(columns=added), vars(present)[name].drop(columns=added)
        )
    lines = (tmp_path / "traces/timeline.csv").read_bytes().splitlines(keepends=True)
    with pytest.raises(RunError, match=r"timeline\.csv is cut short"):
        load_with(tmp_path, tmp_path, "timeline", b"".join(lines[:-1]))


def test_tables_of_an_older_version_and_tables_that_are_gone(stored: Path, tmp_path: Path) -> None:
    kernels = pd.read_csv(stored / "traces/kernels.csv")
    older = kernels.drop(columns=["ceiling_bytes_per_s", "occupancy_percent"])
    with pytest.raises(RunError) as caught:
        load_with(stored, tmp_path, "kernels", older.to_csv(index=False).encode())
    assert str(caught.value) == f"traces/kernels.csv was written by an older version{AGAIN}"
    (tmp_path / "traces/kernels.csv").unlink()
    with pytest.raises(RunError) as caught:
        load_profile(tmp_path)
    assert str(caught.value) == f"traces/kernels.csv is missing{AGAIN}"
