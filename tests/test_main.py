"""What `python -m dynact list` lists, from any folder and without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from dynact import __main__ as command_line
from dynact import activations
from dynact.networks import architectures
from dynact.report.figures.registry import FIGURES
from dynact.schema.cases import Case, NetworkCase
from dynact.schema.rows import columns_of
from tests.sweeping import ROOT

COLUMNS = {column.name for table in (Case, NetworkCase) for column in columns_of(table.table)}
# Tells of a module that was run whether it imported torch.
WITHOUT_TORCH = (
    "import runpy, sys; runpy.run_module('dynact', run_name='__main__', alter_sys=True);"
    "assert 'torch' not in sys.modules"
)


def listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, what: str) -> str:
    monkeypatch.setattr(sys, "argv", ["dynact", "list", what])
    command_line.main()
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("activations", set(activations.names())),
        ("networks", set(architectures.names())),
        ("figures", set(FIGURES)),
        ("columns", COLUMNS),
    ],
)
def test_every_name_has_a_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    names: set[str],
) -> None:
    lines = listed(capsys, monkeypatch, what).splitlines()

    assert len(lines) == len(names)
    assert {line.split()[0] for line in lines} == names


@pytest.mark.parametrize(
    ("what", "name", "cells"),
    [
        ("activations", "dyrelu_b", ["DY-ReLU-B", "arXiv 2003.10027", "reference, lines, fused"]),
        ("activations", "geglu", ["GEGLU", "arXiv 2002.05202",
            "reference; in no network: its input has twice the channels of its output"]),
        ("networks", "resnet18", ["ResNet-18", "3x224x224", "classification"]),
        ("networks", "lenet", ["LeNet", "3x32x32", "classification"]),
        ("networks", "r3d_18", ["R3D-18", "3x16x112x112", "classification"]),
        ("figures", "roofline", ["Distance from the device’s limits"]),
        ("columns", "overhead_lo", ["all rows", "×",
            "Lower end of the 95 % interval of `overhead`, from the scatter between visits; none "
            "of one visit alone."]),
        ("columns", "channels", ["layers", "count",
            "Channels of the output and the input; the input of `swiglu` and `geglu` has twice as "
            "many."]),
        ("columns", "network", ["networks",
            "A name that `--networks` takes, or `pkg.mod:factory` for a network of one's own."]),
    ],
)  # fmt: skip
def test_a_line_says_what_it_is(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    name: str,
    cells: list[str],
) -> None:
    (line,) = [
        line for line in listed(capsys, monkeypatch, what).splitlines() if line.split()[0] == name
    ]

    assert [cell.strip() for cell in line.split("  ") if cell.strip()] == [name, *cells]


@pytest.mark.parametrize("what", ["activations", "networks", "figures", "columns"])
def test_torch_is_not_waited_for_in_any_folder(tmp_path: Path, what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "list", what],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["list", "activatons"], "unknown list 'activatons'; did you mean activations?"),
        (["list", "x"], "unknown list 'x'; choose from: activations, networks, figures, columns"),
        (["lsit", "columns"], "unknown command 'lsit'; did you mean list?"),
        (["list"], "the following arguments are required: WHAT"),
        ([], "the following arguments are required: list, WHAT"),
    ],
    ids=lambda typed: " ".join(typed) if isinstance(typed, list) else "",
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: list[str],
    says: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["dynact", *typed])

    with pytest.raises(SystemExit) as end:
        command_line.main()

    assert end.value.code == 2
    assert capsys.readouterr() == ("", f"python -m dynact: {says}\n")
