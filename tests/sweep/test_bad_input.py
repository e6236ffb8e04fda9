"""What people mistype: one line that says what is wrong, before anything is measured."""

import resource
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from dynact.schema.run_folder import load
from tests.sweeping import NO_GATE, SHORT, House, Outcome

LAYERS = """
from torch import nn

class Flattens(nn.Module):
    def forward(self, x):
        return x.flatten(1)

class InPlace(nn.Module):
    def forward(self, x):
        return x.mul_(2)

class NoModule:
    pass
"""
SMOKE = ("--sweep", "smoke", *NO_GATE)
# What is typed, and what the line must say.
BAD = [
    (("--sweep", "quik"), "unknown preset 'quik'; did you mean quick"),
    (("--activations", "frelu,dyrelu_x"), "unknown activation 'dyrelu_x'; did you mean dyrelu_"),
    (("--activations", "a,,b"), "--activations takes a comma list without empty parts, got 'a,,b'"),
    (("--dtypes", "float23"), "unknown dtype 'float23'; did you mean float"),
    (("--phases", "trainning"), "unknown phase 'trainning'; did you mean training"),
    (("--modes", "compiled"), "unknown mode 'compiled'; did you mean compile"),
    (
        ("--memory-formats", "channel_last"),
        "unknown memory_format 'channel_last'; did you mean channels_last",
    ),
    (("--batches", "0"), "--batches takes positive integers, got '0'"),
    (("--channels=-8",), "--channels takes positive integers, got '-8'"),
    (("--channels", "many"), "--channels takes positive integers, got 'many'"),
    (("--resolutions", "7x7x7"), "--resolutions takes 56 or 56x28, got '7x7x7'"),
    (("--resolutions", "7x0"), "--resolutions takes positive integers, got '0'"),
    (("--channels", "99999999999"), "cases fits into the"),
    (("--device", "abacus"), "device 'abacus' is not there; this machine has: cpu"),
    (("--activation-from", "no_such:Layer"), "No module named 'no_such'"),
    (
        ("--activation-from", "own_layers"),
        "--activation-from takes PKG.MOD:CLASS, got 'own_layers'",
    ),
    (("--activation-from", "own_layers:NoModule"), "not a torch.nn.Module"),
    (("--activation-from", "own_layers:Flattens"), "changes the shape from (2, "),
    (
        ("--activation-from", "own_layers:InPlace"),
        "activation 'own_layers:InPlace' writes into its input; make it in-place=False",
    ),
    (("--resume",), "no run 'latest'; there are none yet"),
    (("--resume", "--run", "nothing"), "no run 'nothing'; there are none yet"),
    (("--run", "a/b"), "--run takes a name of letters, digits, '.', '_' and '-', got 'a/b'"),
    (("--run", "latest"), "--run takes a name"),
    (("--run", ".."), "--run takes a name"),
    (("--budget", "10"), "--budget takes a duration such as 90s, 10m or 1.5h, got '10'"),
    (("--budget", "1s", "--max-seconds", "1"), "budget for 0 cases is too small"),
    (("--threads", "0"), "--threads takes positive integers, got '0'"),
    (("--threads", ""), "--threads takes positive integers, got ''"),
    (("--precision", "1"), "--precision takes a share between 0 and 1, got '1'"),
    (("--precision", "1%"), "--precision takes a positive number, got '1%'"),
    (("--max-seconds", "0"), "--max-seconds takes a positive number, got '0'"),
    (("--max-seconds", "nan"), "--max-seconds takes a positive number, got 'nan'"),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("house") / "dynact")
    (house.folder / "own_layers.py").write_text(LAYERS)
    return house


@pytest.fixture(scope="module")
def outcomes(house: House) -> Iterator[dict[tuple[str, ...], Future[Outcome]]]:
    """Start all commands, two at a time: each waits for imports most of its life."""
    with ThreadPoolExecutor(2) as pool:
        yield {typed: pool.submit(house.sweep, *SMOKE, *typed) for typed, _ in BAD}
        pool.shutdown(cancel_futures=True)


def check_one_line(outcome: Outcome, says: str) -> None:
    lines = [line for line in outcome.said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    assert len(errors) == 1, outcome.said
    assert lines == errors, outcome.said
    assert says in errors[0]
    assert outcome.returncode != 0


@pytest.mark.parametrize(("typed", "says"), BAD, ids=[" ".join(typed) for typed, _ in BAD])
def test_is_one_line(
    house: House,
    outcomes: dict[tuple[str, ...], Future[Outcome]],
    typed: tuple[str, ...],
    says: str,
) -> None:
    check_one_line(outcomes[typed].result(), says)
    assert not house.reports.exists()


def test_reports_that_cannot_be_written(tmp_path: Path) -> None:
    house = House(tmp_path / "dynact")
    house.reports.write_text("mine")
    check_one_line(house.sweep(*SMOKE, "--run", "mine"), "cannot write to reports/mine: ")
    assert house.reports.read_text() == "mine"


def test_a_full_disk_keeps_what_was_measured(tmp_path: Path) -> None:
    house = House(tmp_path / "dynact")
    options = (*SHORT, *NO_GATE, "--activations", "prelu", "--channels", "4,8,16,32,64")
    size = 6000

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    outcome = house.sweep(*options, "--run", "full", preexec_fn=limit_file_size)
    assert outcome.returncode != 0
    assert "Traceback" not in outcome.said
    assert "Exit: cannot append to rows.jsonl: " in outcome.output
    rows = load(house.reports / "full")
    stored = (house.reports / "full" / "rows.jsonl").read_bytes()
    # As many whole rows as there was space for; a row's length varies by a few digits.
    assert stored.endswith(b"\n")
    assert stored.count(b"\n") == len(rows) >= 2
    assert size - 2 * max(map(len, stored.splitlines())) < len(stored) <= size
    assert set(rows["status"]) == {"ok"}
    again = house.sweep(*options, "--run", "full", "--resume")
    assert again.returncode == 0, again.said
    rows = load(house.reports / "full")
    assert len(rows) == 10
    assert rows["case_id"].is_unique
