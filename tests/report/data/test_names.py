"""How activations and networks read."""

import subprocess
import sys

import pytest

from dynact import activations
from dynact.networks import architectures
from dynact.report.data.names import (
    cell_ratio,
    display_name,
    display_names,
    shortened,
)
from dynact.report.data.network_frames import network_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        *[("dyrelu_b", "DY-ReLU-B"), ("my.layers:FastFReLU", "FastFReLU")],
        *[("unheard_of", "unheard_of"), ("dyrelu_b fused", "DY-ReLU-B fused")],
        ("frelu my.layers:Fast", "FReLU Fast"),
    ],
)
def test_an_activation_reads_by_its_title_or_its_class(name: str, shown: str) -> None:
    assert display_name(name) == shown


def test_activations_are_in_the_registrys_order_and_ones_own_behind() -> None:
    known = list(activations.names())

    names = display_names(["b:Own", *reversed(known), "a:Mine"])

    assert list(names) == [*known, "a:Mine", "b:Own"]


def test_implementations_stand_behind_their_activation() -> None:
    asked = ["silu", "dyrelu_b fused", "frelu", "dyrelu_b my:Fast", "dyrelu_b", "dyrelu_b lines"]

    names = display_names(asked)

    assert list(names) == [
        *("silu", "frelu", "dyrelu_b", "dyrelu_b lines", "dyrelu_b fused", "dyrelu_b my:Fast"),
    ]
    # Where one alone is there, it needs no more than its title.
    assert (names["frelu"], names["dyrelu_b"]) == ("FReLU", "DY-ReLU-B reference")


def test_of_two_that_would_read_alike_the_whole_path_is_shown() -> None:
    names = display_names(["a:Swish", "b:Swish", "relu"])

    assert names == {"relu": "ReLU", "a:Swish": "a:Swish", "b:Swish": "b:Swish"}


def test_every_network_reads_by_its_title() -> None:
    shown = {name: network_name(name) for name in architectures.names()}

    assert shown["mobilenet_v2_x0_35"] == "MobileNetV2 0.35×"
    assert shown["fcn_resnet50"] == "FCN ResNet-50"
    assert all(shown.values())


def test_a_network_that_is_not_declared_reads_as_itself() -> None:
    assert network_name("a_network_of_former_days") == "a_network_of_former_days"


def test_reading_a_run_costs_no_import_of_torch() -> None:
    asked = (
        "import sys; from dynact.report import render, tensorboard; "
        "from dynact.report.data import names, network_frames; "
        "print(names.display_name('frelu'), network_frames.network_name('resnet18'), "
        "sorted({'torch', 'torchvision'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)

    assert done.stdout == "FReLU ResNet-18 []\n"


def test_two_classes_of_one_name_are_told_apart() -> None:
    names = display_names(["a.b:Swish", "c:Swish", "d:FReLU", "frelu", "silu", "e:Mine"])
    assert names == {
        "silu": "SiLU",
        "frelu": "frelu",
        "a.b:Swish": "a.b:Swish",
        "c:Swish": "c:Swish",
        "d:FReLU": "d:FReLU",
        "e:Mine": "Mine",
    }


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        *[(0.97, "0.97×"), (2.6, "2.6×"), (12.3, "12×"), (107.4, "107×"), (1.04, "1.04×")],
        *[(0.00234, "0.0023×"), (1.996, "2.0×"), (9.97, "10×"), (0.05, "0.05×")],
    ],
)
def test_cells_read(ratio: float, text: str) -> None:
    assert cell_ratio(ratio) == text


def test_long_names_lose_their_middle() -> None:
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert shortened("abcde", 5) == "abcde"
