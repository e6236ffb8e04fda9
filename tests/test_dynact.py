"""What dynact offers by itself."""

import subprocess
import sys

import pytest

import dynact
from dynact import activations, networks, timing
from dynact.report import run
from dynact.worker import own_network


def test_importing_it_imports_neither_torch_nor_pandas() -> None:
    asked = "import sys, dynact; print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("compare", timing),
        ("create", activations),
        ("load", run),
        ("measure_network", own_network),
        ("swap_activations", networks),
    ],
)
def test_it_offers_what_its_rooms_do(name: str, home: object) -> None:
    assert name in dynact.__all__
    assert getattr(dynact, name) is getattr(home, name)


def test_what_it_does_not_offer_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="'dynact' has no attribute 'lod'"):
        dynact.lod  # noqa: B018
