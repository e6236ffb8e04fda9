"""A network, its inputs and its loss of the user's own: found by name, or refused in one line."""

import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dynact.networks import architecture, create, example_input, find_sites, shapes_in
from dynact.networks.loss import backward_of
from dynact.networks.own import parse_factory, usual_name

CODE = """
import random

import numpy
import torch
from torch import nn

limit = 3

class Net(nn.Module):
    def __init__(self, width=4, *, act="SiLU"):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.act = getattr(nn, act)()

    def forward(self, x):
        return self.act(self.conv(x))

def build(width=4):
    return Net(width).half().float()

def text():
    return "a network"

def fails(size=1):
    raise RuntimeError(f"no weights\\nof size {size}")

def one(batch):
    return torch.randn(batch, 3, 6, 5)

def several(batch):
    return {"x": one(batch), "lengths": torch.arange(batch)}

def drawn(batch):
    return one(batch) + random.random() + numpy.random.rand()

def drawn_net():
    return Net(random.randrange(1, 999) + numpy.random.randint(999))

def leaves():
    raise SystemExit("no weights")

def listed(batch):
    return [one(batch)]

def mean(output):
    return output.mean()

def itself(output):
    return output
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module in a folder of the user's own."""
    # Each its own, as a module is imported once.
    name = f"mine_{tmp_path.name}".replace("-", "_").replace("[", "_").replace("]", "_")
    (tmp_path / f"{name}.py").write_text(CODE)
    (tmp_path / f"{name}_broken.py").write_text("import there_is_none_such\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize(
    ("typed", "place", "arguments"),
    [
        ("a.b:C", "a.b:C", {}),
        ("a:b()", "a:b", {}),
        (
            "a:b(c=2, d='x,y)', e=[1, (2, None)], f=-1.5)",
            "a:b",
            {"c": 2, "d": "x,y)", "e": [1, (2, None)], "f": -1.5},
        ),
    ],
)
def test_a_factory_and_its_arguments(typed: str, place: str, arguments: dict[str, object]) -> None:
    assert parse_factory(typed) == (place, arguments)


@pytest.mark.parametrize(
    "typed", ["a.b:build(width=2, act='SiLU')", 'a.b:build(act="SiLU",width=2)']
)
def test_it_has_one_name_however_it_is_written(typed: str) -> None:
    assert usual_name(typed) == architecture(typed).name == "a.b:build(act='SiLU', width=2)"


def test_it_is_a_network_like_any_other(here: str) -> None:
    name = f"{here}:Net(act='Mish', width=6)"
    network = create(name)

    assert architecture(name).title == name
    assert network.conv.out_channels == 6
    assert example_input(name).shape == (1, 3, 224, 224)
    assert example_input(name, 2, 40).shape == (2, 3, 40, 40)
    assert [site.original for site in find_sites(network, example_input(name, 1, 8))] == ["mish"]
    assert shapes_in(name, sample="3x7x9") == {(6, 7, 9): 1}
    assert shapes_in(f"{here}:build", sample=f"{here}:one") == {(4, 6, 5): 1}


def test_inputs_are_the_same_each_time_and_move_no_generator(here: str) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()

    first, second = (example_input(f"{here}:build", 3, sample=f"{here}:drawn") for _ in range(2))
    several = example_input(f"{here}:build", 3, sample=f"{here}:several")

    assert first.shape == (3, 3, 6, 5)
    assert torch.equal(first, second)
    assert set(several) == {"x", "lengths"}
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nothing_here:build", "nothing_here:build: there is no module 'nothing_here' in the cur"),
        ("{}.sub:build", "{0}.sub:build: there is no module '{0}.sub' in the current folder"),
        (
            "{}_broken:build",
            "{0}_broken:build cannot be imported: ModuleNotFoundError: No module named 'there_is",
        ),
        ("{}:biuld", "{0}:biuld: there is no 'biuld' in {0}; did you mean build?"),
        ("{}:limit", "{0}:limit is of type int, which cannot be called"),
        ("{}:build(widht=2)", "{0}:build(widht=2): got an unexpected keyword argument 'widht'; it"),
        ("{}:build(width='a')", "{0}:build(width='a') fails: "),
        ("{}:fails(size=2)", "{0}:fails(size=2) fails: RuntimeError: no weights"),
        ("{}:leaves", "{0}:leaves fails: SystemExit: no weights"),
        ("{}.py:build", "a network of your own takes a module's name, not its file's: {0}:build"),
        ("{}:text", "{0}:text makes a value of type str, not a torch.nn.Module"),
    ],
)
def test_a_network_that_cannot_be_made(here: str, name: str, line: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(line.format(here))) as caught:
        create(name.format(here))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sample", "line"),
    [
        ("{}:fails", "{0}:fails, called with a batch of 2, fails: RuntimeError: no weights"),
        ("{}:listed", "{0}:listed makes a value of type list; a network takes a tensor, a tuple"),
        ("3xtall", "a sample's sizes are channels × height × width, as 3x480x640, or others, as 1"),
    ],
)
def test_inputs_that_cannot_be_made(here: str, sample: str, line: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(line.format(here))) as caught:
        example_input(f"{here}:build", 2, sample=sample.format(here))
    assert "\n" not in str(caught.value)


def test_a_loss_is_a_scalar(here: str) -> None:
    output = torch.arange(4.0, requires_grad=True)
    name = f"{here}:build"

    backward_of(name, f"{here}:mean")(output)

    assert output.grad is not None
    assert output.grad.tolist() == 4 * [0.25]
    with pytest.raises(
        ValueError, match=r"itself is a tensor of shape \(4,\), not a scalar tensor$"
    ):
        backward_of(name, f"{here}:itself")(output)
    with pytest.raises(
        ValueError, match=rf"^{here}:meen: there is no 'meen' in {here}; did you mean mean"
    ):
        backward_of(name, f"{here}:meen")


def test_every_process_has_the_same_network(here: str) -> None:
    networks = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        networks.append(create(f"{here}:drawn_net").state_dict())
        after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        assert torch.equal(before[0], after[0])
        assert before[1:] == after[1:]

    first, second = networks
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_it_is_looked_for_from_the_current_folder_on(
    here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path not in ("", str(tmp_path))])

    assert create(f"{here}:Net").conv.out_channels == 4


def test_a_folder_that_another_hides_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pytest has made "tests" the suite's own.
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "nets.py").write_text(CODE)
    (tmp_path / "dynact").mkdir()
    (tmp_path / "dynact" / "__init__.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)

    for place, hidden in (("tests.nets:build", "tests"), ("dynact:measure_network", "dynact")):
        with pytest.raises(ValueError, match=f"^{place}: another '{hidden}' hides that of the cur"):
            create(place)


def test_it_is_named_before_it_is_made() -> None:
    assert architecture("not.yet:written(a=1)").is_own
