"""The command that trains LeNet with several activations."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dynact.activations import names
from dynact.report.learning.points import load_points

ROOT = Path(__file__).parents[2]
QUICK = ("--batch-size", "128", "--epochs", "1", "--device", "cpu")
OWN_LAYERS = """
from torch import nn

class Exploding(nn.Module):
    def forward(self, x):
        return x * 1e30
"""


Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder of its own for the script, which writes its reports beside itself."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/train_lenet.py", tmp_path / "scripts")
    (tmp_path / "own_layers.py").write_text(OWN_LAYERS)
    return tmp_path


@pytest.fixture
def run(checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the script in this process: a new one spends its time on importing torch."""
    monkeypatch.chdir(checkout)
    monkeypatch.syspath_prepend(str(checkout))

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["scripts/train_lenet.py", *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_path("scripts/train_lenet.py", run_name="__main__")
        output, errors = capfd.readouterr()
        return end.value.code, output, errors

    return run


def test_it_trains_tells_and_does_nothing_twice(checkout: Path, run: Run) -> None:
    options = ("--activations", "relu,frelu", "--seeds", "2", *QUICK)
    status, output, errors = run(*options)
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == "4 trainings, 0 of them done before"
    assert [line[:6] for line in lines[1:5]] == ["[ 25%]", "[ 50%]", "[ 75%]", "[100%]"]
    # The second seed the other way round.
    assert [line.split(" · ")[1].split(", epoch")[0] for line in lines[1:5]] == [
        "relu, seed 0", "frelu, seed 0", "frelu, seed 1", "relu, seed 1",
    ]  # fmt: skip
    assert all(" left · " in line for line in lines[1:5])
    table = [line for line in lines if line.startswith(("activation ", "ReLU ", "FReLU "))]
    assert len(table) == 3
    assert "not other data" in output
    written = [line for line in lines if line.startswith("reports/")]
    assert len(written) == 4
    assert all((checkout / path).stat().st_size for path in written)
    folder = checkout / "reports/lenet-digits"
    stored = (folder / "learning.jsonl").read_bytes()
    assert len(stored.splitlines()) == 4 * 2
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["settings"]["train_images"] == 1437
    assert str(checkout) not in json.dumps(environment)

    status, output, errors = run(*options, "--seeds", "1")
    assert (status, errors) == (0, "")
    assert output.splitlines()[0] == "2 trainings, 2 of them done before"
    assert "[100%]" not in output
    assert (folder / "learning.jsonl").read_bytes() == stored
    # What is stored is told, whatever was asked for this time.
    assert [line for line in output.splitlines() if line.startswith("FReLU ")] == table[2:]


def test_ctrl_c_keeps_what_ended_and_the_same_command_goes_on(checkout: Path, run: Run) -> None:
    options = ("--activations", "relu,prelu,frelu", "--seeds", "4", *QUICK)
    command = [sys.executable, "scripts/train_lenet.py", *options]
    # A shell has what it runs in the background ignore the signal, and that would be inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    signal.signal(signal.SIGINT, before)
    assert process.stdout
    assert process.stdout.readline().startswith("12 trainings, 0")
    assert process.stdout.readline().startswith("[  8%]")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().startswith("interrupted; trainings that ended are kept")
    assert len(errors.strip().splitlines()) == 1
    folder = checkout / "reports/lenet-digits"
    before = load_points(folder)
    kept = set(zip(before["activation"], before["seed"], strict=True))
    assert ("relu", 0) in kept
    assert len(kept) < 12

    status, output, errors = run(*options)
    assert (status, errors) == (0, "")
    assert output.splitlines()[0] == f"12 trainings, {len(kept)} of them done before"
    after = load_points(folder)
    assert len(after) == 12 * 2
    assert after[: len(before)].equals(before)


def test_a_loss_that_is_not_finite_is_told_stored_and_no_success(checkout: Path, run: Run) -> None:
    own = "own_layers:Exploding"
    status, output, errors = run(
        "--activations", f"relu,{own}", "--seeds", "1", "--run", "mine", *QUICK
    )
    assert (status, errors) == (1, "")
    (told,) = [line for line in output.splitlines() if "LOSS NOT FINITE" in line]
    assert f"{own}, seed 0" in told
    assert "at step 1 of epoch 1" in told
    assert "Diverged, and left out of means and curves: Exploding with 1 of 1 seeds." in output
    points = load_points(checkout / "reports/mine")
    assert set(points[points["activation"] == own]["status"]) == {"ok", "diverged"}
    assert set(points[points["activation"] == "relu"]["status"]) == {"ok"}
    assert [path.name for path in (checkout / "reports").iterdir()] == ["mine"]


@pytest.mark.slow
def test_all_are_those_that_have_a_place(checkout: Path, run: Run) -> None:
    status, output, errors = run("--activations", "all", "--seeds", "1", *QUICK)

    assert (status, errors) == (0, "")
    left_out = {line.split()[0] for line in output.splitlines() if " is left out: " in line}
    assert left_out == {"swiglu", "geglu", "relu_inplace"}
    trained = load_points(checkout / "reports/lenet-digits")["activation"]
    assert set(trained) == {*names()} - left_out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--activations", "relu,frelv"], "unknown activation 'frelv'; did you mean frelu"),
        (["--activations", "none"], "--activations none leaves nothing to train; name others"),
        (["--activations", "swiglu"], "--activations swiglu leaves nothing to train; name others"),
        (["--activations", "relu,,frelu"], "--activations takes a comma list"),
        (
            ["--activations", "nowhere:Layer"],
            "nowhere:Layer: there is no module",
        ),
        (["--epochs", "0"], "--epochs takes positive integers, got '0'"),
        (["--batch-size", "many"], "--batch-size takes positive integers, got 'many'"),
        (["--seeds", "-1"], "--seeds takes positive integers, got '-1'"),
        (["--data", "cifar100"], "invalid choice: 'cifar100'"),
        (["--data", "cifar10"], "--data cifar10 needs --data-root DIR"),
        (["--data", "cifar10", "--data-root", "scripts/train_lenet.py"], "CIFAR-10 is not whole"),
        (["--device", "xpu:9"], "device 'xpu:9' is not there"),
        (["--run", "../elsewhere"], "--run takes a name of letters"),
        (["--run", "latest"], "--run takes a name of letters"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_mistake_is_answered_in_one_line_and_leaves_nothing(
    checkout: Path, run: Run, arguments: list[str], message: str
) -> None:
    status, output, errors = run(*arguments)
    assert (status, output) == (2, "")
    assert len(errors.splitlines()) == 1
    assert message in errors
    assert not (checkout / "reports").exists()


def test_other_settings_need_another_run(checkout: Path, run: Run) -> None:
    options = ("--activations", "relu", "--seeds", "1", *QUICK)
    assert run(*options)[0] == 0
    path = checkout / "reports/lenet-digits/learning.jsonl"
    before = path.read_bytes()
    status, _, errors = run(*options, "--epochs", "2")
    assert status == 2
    assert len(errors.splitlines()) == 1
    assert "settings.epochs was 1 and is 2" in errors
    assert "name another --run" in errors
    assert path.read_bytes() == before
    assert run(*options, "--epochs", "2", "--run", "longer")[0] == 0
