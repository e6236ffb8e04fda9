"""The profiler's tables as both sides know them, and those of a former version."""

from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given

from dynact.schema.cases import Case
from dynact.schema.profile import TABLES, columns, files_folder, read_table, table_path
from dynact.schema.run_folder import RunError
from tests.sweeping import CASES, case_of

# As the last version without the case's fields wrote it.
FORMER_HEADER = (
    "case_id,activation,phase,steps,step_ns,untraced_ns,coverage,operators,memory_lines,trace,"
    "memory_page,memory_snapshot"
)
FORMER_FIGURES = "16,400000,380000.5,0.97,3,5,tensorboard/x/trace.json.gz,memory.html,"


def write_steps(run: Path, *lines: str) -> None:
    path = table_path(run, "steps")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def former_line(case: Case) -> str:
    return f"{case.id},{case.activation},{case.phase},{FORMER_FIGURES}"


@given(case=CASES)
def test_steps_of_a_former_version_have_the_fields_that_their_ids_say(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    run = tmp_path_factory.mktemp("run")
    write_steps(run, FORMER_HEADER, former_line(case))

    [line] = read_table(run, "steps")

    step = dict(zip(columns("steps"), line, strict=True))
    assert {name: step[name] for name in asdict(case)} == {
        name: str(value) for name, value in asdict(case).items()
    }
    assert step["on_accelerator"] == str(case.device in ("cuda", "cuda:1", "xpu"))
    figures = [step[name] for name in FORMER_HEADER.split(",")[3:]]
    assert ",".join(figures) == FORMER_FIGURES


def test_a_baseline_may_be_called_as_a_mode(tmp_path: Path) -> None:
    case = case_of("frelu", baseline="my-compile")
    write_steps(tmp_path, FORMER_HEADER, former_line(case))

    [line] = read_table(tmp_path, "steps")

    step = dict(zip(columns("steps"), line, strict=True))
    assert (step["mode"], step["baseline"]) == ("eager", "my-compile")


@pytest.mark.parametrize(
    "case_id", ["", "relu-inference", "relu-inference-2x8x7-float32-cpu", "relu-inference-x-y-z"]
)
def test_a_former_line_whose_id_is_cut_short_is_refused(tmp_path: Path, case_id: str) -> None:
    line = former_line(case_of("relu")).replace(case_of("relu").id, case_id)
    write_steps(tmp_path, FORMER_HEADER, line)

    with pytest.raises(RunError, match=r"^traces/steps\.csv is cut short; remove traces/"):
        read_table(tmp_path, "steps")


def test_cells_are_read_to_the_letter_and_in_the_order_of_the_columns(tmp_path: Path) -> None:
    path = table_path(tmp_path, "failed")
    path.parent.mkdir()
    path.write_text('of_a_later_version,message,case_id\n1,"no, ""never""\n",se\n', "utf-8")

    lines = read_table(tmp_path, "failed")

    assert lines == [["se", 'no, "never"\n']]


def test_every_table_is_of_cases() -> None:
    for name in TABLES:
        assert columns(name)[0] == "case_id"
        assert len(set(columns(name))) == len(columns(name))


def test_each_case_has_a_folder_of_its_own_that_any_file_system_takes() -> None:
    own, other = (case_of(f"pkg:{name}").id for name in ("Own", "Other"))

    assert files_folder(own) != files_folder(other)
    assert files_folder(own).parent == Path("tensorboard")
    assert ":" not in str(files_folder(own))
