"""The command line's words, good and bad, and what they ask for together."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynact.activations import names
from dynact.schema.settings import Settings
from dynact.sweep.options import (
    NetworkOptions,
    SweepOptions,
    add_options,
    check_run_name,
    parse_count,
    parse_multiple,
    parse_number,
    parse_resolutions,
    parse_seconds,
    parse_shapes,
    parse_share,
    parse_sizes,
    read_options,
    split_list,
)
from tests.sweeping import ROOT

Parser = Callable[[str, str], Any]
PARSERS = (
    parse_count,
    parse_multiple,
    parse_number,
    parse_resolutions,
    parse_seconds,
    parse_shapes,
    parse_share,
    parse_sizes,
    split_list,
)


@pytest.mark.parametrize(
    ("parser", "text", "value"),
    [
        (split_list, "relu", ("relu",)),
        (split_list, "relu, prelu ,relu", ("relu", "prelu", "relu")),
        (parse_count, "1", 1),
        (parse_count, "0012", 12),
        (parse_number, "3", 3.0),
        (parse_number, ".25", 0.25),
        (parse_number, "1.50", 1.5),
        (parse_share, "0.01", 0.01),
        (parse_share, "0.999", 0.999),
        (parse_sizes, "64", (64,)),
        (parse_sizes, "64, 8,64,16", (8, 16, 64)),
        (parse_resolutions, "56", ((56, 56),)),
        (parse_resolutions, "56x28,7,56,7x7", ((7, 7), (56, 28), (56, 56))),
        (parse_shapes, "64x40x40", ((64, 40, 40),)),
        (parse_shapes, "128x20x10, 64x40x40,128x20x10", ((128, 20, 10), (64, 40, 40))),
        (parse_multiple, "1.5x", 1.5),
        (parse_multiple, "2×", 2.0),
        (parse_multiple, ".8", 0.8),
        (parse_seconds, "90s", 90.0),
        (parse_seconds, "10m", 600.0),
        (parse_seconds, "1.5h", 5400.0),
        (parse_seconds, ".5m", 30.0),
        (parse_seconds, "8760h", 365 * 24 * 3600.0),
    ],
)
def test_good(parser: Parser, text: str, value: object) -> None:
    assert parser(text, "--option") == value


@pytest.mark.parametrize(
    ("parser", "texts"),
    [
        (split_list, ("", " ", ",", "a,", ",a", "a,,b")),
        (parse_count, ("", "0", "00", "-1", "+1", "1.0", "1e3", "x", " 1", "1_000", "²", "٣")),
        (parse_number, ("", "0", "0.0", "-1", "1e3", "inf", "nan", "x", ".", "1,5", "9" * 400,
                        "9" * 308)),
        (parse_share, ("0", "1", "1.5", "-0.1", "1%", "nan")),
        (parse_sizes, ("", "0", "8,0", "8,-1", "8,x", "8,", "8.5")),
        (parse_resolutions, ("", "0", "56x", "x56", "56x0", "56x56x56", "56*28", "7,", "a")),
        (parse_shapes, ("", "64", "64x40", "4x64x40x40", "64x40x0", "64xx40", "64x40x", "64×40×40",
                        "64X40X40", "64x40x40,", "64x40x40;8x7x7")),
        (parse_multiple, ("", "x", "0", "0x", "-1x", "1.5xx", "1,5x", "1.5 x", "inf", "nan",
                          "9" * 400, "1e2", "50%")),
        (parse_seconds, ("", "10", "0s", "-5m", "m", "1d", "1m30s", "1 m", "5M", "nanm", "١s",
                         "9" * 400 + "s", "9" * 308 + "h", "8760.1h", "31536001s",
                         "99999999999999999999h")),
    ],
)  # fmt: skip
def test_bad(parser: Parser, texts: tuple[str, ...]) -> None:
    for text in texts:
        with pytest.raises(ValueError, match=r"^--option takes ") as error:
            parser(text, "--option")
        # It names the value, or the part of the list that is wrong.
        message = str(error.value)
        parts = (text, *text.split(","), *text.split("x"))
        assert any(repr(word) in message for part in parts for word in (part, part.strip()))
        assert "\n" not in message


@pytest.mark.parametrize("parser", PARSERS)
@given(text=st.text("0123456789.,x-+emshn \n\t∞١", max_size=12))
@example(text="9" * 5000)
@example(text="1\n")
def test_any_word_is_a_value_or_one_line(parser: Parser, text: str) -> None:
    message = "--option takes "
    try:
        value = parser(text, "--option")
    except ValueError as error:
        message, value = str(error), "none"
    assert value
    assert message.startswith("--option takes ")
    assert "\n" not in message


@given(st.lists(st.integers(1, 10**6), min_size=1))
def test_sizes_are_sorted_and_unique(sizes: list[int]) -> None:
    assert list(parse_sizes(",".join(map(str, sizes)), "-")) == sorted(set(sizes))


@given(st.lists(st.tuples(st.integers(1, 999), st.integers(1, 999)), min_size=1))
def test_resolutions_are_sorted_and_unique(sides: list[tuple[int, int]]) -> None:
    text = ",".join(f"{height}x{width}" for height, width in sides)
    assert list(parse_resolutions(text, "-")) == sorted(set(sides))


def read(*typed: str) -> SweepOptions:
    parser = argparse.ArgumentParser()
    add_options(parser.add_argument)
    return read_options(parser.parse_args(typed))


class TestWhatIsAskedFor:
    def test_nothing_is_the_quick_sweep_with_the_presets_networks(self) -> None:
        assert read() == SweepOptions(
            preset="quick",
            layers=True,
            axes={},
            shapes=None,
            shapes_from=None,
            shapes_image_size=224,
            shapes_sample="",
            networks=NetworkOptions(),
            within=None,
            own_layers=(),
            own_impls=(),
            baseline="relu",
            at_most=None,
            budget_s=None,
            run=None,
            resume=False,
            in_process=False,
            settings=Settings(device=None, threads=None),
        )

    @pytest.mark.parametrize(
        ("typed", "axis", "values"),
        [
            ("--activations=frelu,relu", "activations", ("frelu", "relu")),
            ("--activations=all", "activations", names()),
            ("--activations=a.b:C, frelu,a.b:C", "activations", ("a.b:C", "frelu")),
            ("--activations=a.b:C,all", "activations", ("a.b:C", *names())),
            ("--impls=reference", "impls", ("reference",)),
            ("--phases=training", "phases", ("training",)),
            ("--modes=eager,compile", "modes", ("eager", "compile")),
            ("--dtypes=bfloat16,float64", "dtypes", ("bfloat16", "float64")),
            ("--memory-formats=channels_last", "memory_formats", ("channels_last",)),
            ("--batches=8,1", "batches", (1, 8)),
            ("--channels=64", "channels", (64,)),
            ("--resolutions=56,28x14", "resolutions", ((28, 14), (56, 56))),
        ],
    )
    def test_an_axis_takes_the_place_of_the_presets(
        self, typed: str, axis: str, values: tuple[object, ...]
    ) -> None:
        assert read(typed).axes == {axis: values}

    def test_settings(self) -> None:
        found = read(
            "--device", "cuda:1", "--threads", "4", "--precision", "0.05", "--max-seconds", ".5",
            "--cache", "cold",
        )  # fmt: skip

        assert found.settings == Settings("cuda:1", 4, 0.05, 0.5, cache="cold")

    @pytest.mark.parametrize("typed", ["hot", "", "Cold", "warm,cold"])
    def test_caches_are_warm_or_cold(self, typed: str) -> None:
        with pytest.raises(ValueError, match=rf"^unknown cache state '{typed}'; .*(warm|cold)"):
            read("--cache", typed)

    @pytest.mark.parametrize("times", ["eager", "device", "both"])
    def test_which_times_of_an_accelerator(self, times: str) -> None:
        assert read("--clock", times).settings == Settings(clock=times)
        assert read().settings.clock == "both"

    def test_all_the_rest(self) -> None:
        found = read(
            "--sweep", "full", "--activation-from", "a.b:C", "--activation-from", "d:E",
            "--baseline", "silu", "--budget", "2m", "--run", "night", "--resume", "--in-process",
        )  # fmt: skip

        assert found.preset == "full"
        assert found.own_layers == ("a.b:C", "d:E")
        assert (found.baseline, found.budget_s) == ("silu", 120.0)
        assert (found.run, found.resume, found.in_process) == ("night", True, True)


class TestNetworks:
    @pytest.mark.parametrize(
        "typed",
        [
            ("--networks", "none"),
            ("--channels", "8"),
            ("--dtypes", "float16"),
            ("--batches", "8"),
            ("--modes", "compile"),
            ("--budget", "10m"),
            ("--shapes", "64x40x40"),
            ("--shapes-from", "lenet"),
            ("--shapes-from", "lenet", "--image-size", "64"),
        ],
        ids=" ".join,
    )
    def test_where_layers_are_asked_for_there_are_none(self, typed: tuple[str, ...]) -> None:
        assert read(*typed).networks is None

    def test_in_a_budget_are_those_that_are_named(self) -> None:
        found = read("--networks", "lenet", "--budget", "10m")

        assert found.networks
        assert (found.networks.networks, found.budget_s) == (("lenet",), 600)
        alone = read("--activations", "none", "--budget", "10m")
        assert alone.networks
        assert (alone.layers, alone.budget_s) == (False, 600)

    @pytest.mark.parametrize(
        ("typed", "asked"),
        [
            ((), NetworkOptions()),
            (("--activations", "frelu", "--phases", "training"), NetworkOptions()),
            (("--image-size", "64"), NetworkOptions(image_size=64, timm_image_size=64)),
            (
                ("--networks", "lenet,resnet18", "--channels", "8"),
                NetworkOptions(("lenet", "resnet18")),
            ),
            (
                ("--networks", "resnet50", "--placements", "all,paper", "--image-size", "96"),
                NetworkOptions(("resnet50",), ("all", "paper"), 96, timm_image_size=96),
            ),
            (
                ("--network-from", "a:B", "--replace", "silu,relu,silu"),
                NetworkOptions(("a:B",), replaced="relu+silu"),
            ),
            (
                ("--networks", "lenet", "--placements", "sites:4+2+3,all,sites:2-4"),
                NetworkOptions(("lenet",), ("sites:2-4", "all")),
            ),
            # A network whose own size is smaller gets that.
            (
                ("--networks", "lenet", "--image-size", "224"),
                NetworkOptions(("lenet",), image_size=224, timm_image_size=224),
            ),
            (("--network-from", "my.net:build"), NetworkOptions(("my.net:build",))),
            # However it is written.
            (
                (
                    *("--network-from", "a:B", "--network-from", "a:B()"),
                    *("--networks", 'a:B( ),c:d( w=(1,2),e = "f" ),lenet'),
                ),
                NetworkOptions(("a:B", "c:d(e='f', w=(1, 2))", "lenet")),
            ),
            # What is of the user's own networks is of no others.
            (
                (
                    *("--networks", "lenet,a:B", "--input-shape", "1x64x64"),
                    *("--image-size", "32"),
                ),
                NetworkOptions(
                    ("lenet", "a:B"), image_size=32, timm_image_size=32, own_sample="1x64x64"
                ),
            ),
            # Beside what else is named; of the axes of layers, and with a default of its own.
            (
                (
                    "--network-from",
                    "a:B(width=2, depth=[1, 2])",
                    "--network-from",
                    "c:d",
                    "--networks",
                    "lenet",
                    "--channels",
                    "8",
                    "--input-shape",
                    "3x64x64",
                    "--loss-from",
                    "a:loss",
                ),
                NetworkOptions(
                    ("lenet", "a:B(depth=[1, 2], width=2)", "c:d"),
                    own_image_size=64,
                    own_loss="a:loss",
                ),
            ),
            (
                ("--network-from", "a:B", "--image-size", "96"),
                NetworkOptions(("a:B",), image_size=96, timm_image_size=96, own_image_size=96),
            ),
            *(
                (("--network-from", "a:B", *typed), NetworkOptions(("a:B",), own_sample=sample))
                for typed, sample in (
                    (("--input-shape", "3x480x640"), "3x480x640"),
                    (("--input-shape", "1x64x64"), "1x64x64"),
                    (("--input-shape", "128"), "128"),
                    (("--input-shape", "3x16x112x112"), "3x16x112x112"),
                    (("--example-from", "a:inputs"), "a:inputs"),
                )
            ),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_where_they_are_asked_for_or_nothing_is(
        self, typed: tuple[str, ...], asked: NetworkOptions
    ) -> None:
        assert read(*typed).networks == asked

    @pytest.mark.parametrize(
        ("typed", "there"),
        [
            ((), True),
            (("--networks", "lenet"), True),
            (("--network-from", "a:B"), False),
            (("--network-from", "a:B", "--activations", "frelu", "--batches", "4"), False),
            (("--network-from", "a:B", "--networks", "lenet"), False),
            (("--network-from", "a:B", "--channels", "8"), True),
            (("--network-from", "a:B", "--sweep", "quick"), True),
            (("--network-from", "a:B", "--shapes-from", "lenet"), True),
            (("--network-from", "a:B", "--shapes", "64x40x40"), True),
        ],
    )
    def test_a_network_of_ones_own_brings_no_sweep_of_layers(
        self, typed: tuple[str, ...], there: bool
    ) -> None:
        assert read(*typed).layers is there

    @pytest.mark.parametrize(
        ("typed", "asked"),
        [
            ((), NetworkOptions()),
            (("--sweep", "smoke", "--batches", "4"), NetworkOptions()),
            (("--networks", "lenet"), NetworkOptions(("lenet",))),
            (("--network-from", "a:B"), NetworkOptions(("a:B",))),
        ],
    )
    def test_without_activations_they_are_alone_with_those_of_the_preset(
        self, typed: tuple[str, ...], asked: NetworkOptions
    ) -> None:
        found = read("--activations", "none", *typed)

        assert (found.layers, found.networks) == (False, asked)
        assert "activations" not in found.axes

    def test_shapes_of_the_users_own(self) -> None:
        asked = read("--shapes-from", "a:B", "--input-shape", "3x480x640")

        assert (asked.shapes_from, asked.shapes_sample) == (("a:B",), "3x480x640")

    def test_the_shape_of_the_users_own_samples_is_of_no_other_network(self) -> None:
        asked = read(
            "--shapes-from", "resnet18", "--network-from", "a:B", "--input-shape", "3x64x64"
        )

        assert (asked.shapes_image_size, asked.shapes_sample) == (224, "3x64x64")
        assert asked.networks == NetworkOptions(("a:B",), own_image_size=64)

    def test_shapes_are_those_of_networks_at_224_pixels_or_as_asked_for(self) -> None:
        usual = read("--shapes-from", "lenet,resnet18")
        small = read("--shapes-from", "resnet18", "--image-size", "64")

        assert (usual.shapes_from, usual.shapes_image_size) == (("lenet", "resnet18"), 224)
        assert (small.shapes_from, small.shapes_image_size) == (("resnet18",), 64)


# What is typed, and what the line must say.
BAD = [
    ("--sweep quik", "unknown preset 'quik'; did you mean quick"),
    ("--activations frelu,dyrelu_x", "unknown activation 'dyrelu_x'; did you mean dyrelu_"),
    ("--activations a,,b", "--activations takes a comma list without empty parts, got 'a,,b'"),
    ("--dtypes float23", "unknown dtype 'float23'; did you mean float"),
    ("--phases trainning", "unknown phase 'trainning'; did you mean training"),
    ("--impls referense", "unknown impl 'referense'; did you mean reference?"),
    ("--impls reference,nosuch", "unknown impl 'nosuch'; choose from: reference, fused, lines"),
    (
        "--activations prelu,silu --impls fused,lines",
        "silu has no implementation fused or lines: it has reference; leave it out",
    ),
    ("--impl-from frelu", "--impl-from takes NAME=PKG.MOD:CLASS, got 'frelu'"),
    ("--impl-from frelu=mine", "--impl-from takes NAME=PKG.MOD:CLASS, got 'frelu=mine'"),
    ("--impl-from frlu=my.layers:Fast", "unknown activation 'frlu'; did you mean frelu"),
    ("--modes compiled", "unknown mode 'compiled'; did you mean compile"),
    (
        "--memory-formats channel_last",
        "unknown memory_format 'channel_last'; did you mean channels_last",
    ),
    ("--batches 0", "--batches takes positive integers, got '0'"),
    ("--channels=-8", "--channels takes positive integers, got '-8'"),
    ("--channels many", "--channels takes positive integers, got 'many'"),
    ("--resolutions 7x7x7", "--resolutions takes 56 or 56x28, got '7x7x7'"),
    ("--resolutions 7x0", "--resolutions takes positive integers, got '0'"),
    ("--activation-from own_layers", "--activation-from takes PKG.MOD:CLASS, got 'own_layers'"),
    ("--activation-from a:b:c", "--activation-from takes PKG.MOD:CLASS, got 'a:b:c'"),
    ("--clock devise", "unknown clock 'devise'; did you mean device"),
    ("--baseline rellu", "unknown activation 'rellu'; did you mean relu"),
    ("--run a:b", "--run takes a name of letters, digits, '.', '_' and '-', got 'a:b'"),
    ("--run latest", "--run takes a name of letters, digits, '.', '_' and '-', got 'latest'"),
    ("--run ..", "--run takes a name of letters, digits, '.', '_' and '-', got '..'"),
    ("--run=", "--run takes a name of letters, digits, '.', '_' and '-', got ''"),
    ("--budget 10", "--budget takes a duration such as 90s, 10m or 1.5h, got '10'"),
    ("--threads 0", "--threads takes positive integers, got '0'"),
    (
        "--threads 99999999",
        f"--threads 99999999: this machine runs {os.cpu_count()} at once; "
        f"name {16 * (os.cpu_count() or 1)} or fewer",
    ),
    ("--threads=", "--threads takes positive integers, got ''"),
    ("--precision 1", "--precision takes a share between 0 and 1, got '1'"),
    ("--precision 1%", "--precision takes a positive number, got '1%'"),
    ("--max-seconds 0", "--max-seconds takes a positive number, got '0'"),
    ("--max-seconds nan", "--max-seconds takes a positive number, got 'nan'"),
    ("--networks resnet81", "unknown network 'resnet81'; did you mean resnet18"),
    ("--networks lenet,,", "--networks takes a comma list without empty parts, got 'lenet,,'"),
    ("--networks=", "--networks takes a comma list without empty parts, got ''"),
    ("--networks lenet --placements=", "--placements takes a comma list without empty parts"),
    ("--activations=", "--activations takes a comma list without empty parts, got ''"),
    ("--activations none,frelu", "--activations takes none by itself, got 'none,frelu'"),
    ("--activations my.py:Layer", "--activations takes a module's name, not its file's: my:Layer"),
    ("--activations a:b:c", "--activations takes PKG.MOD:CLASS, got 'a:b:c'"),
    ("--activations swish", "unknown activation 'swish'; did you mean silu (swish) or hard"),
    ("--activations al", "unknown activation 'al'; "),
    ("--baseline all", "unknown activation 'all'; "),
    *(
        (
            f"--activations none {option} {value}",
            f"--activations none measures networks alone, and {option} is of layers; leave one",
        )
        for option, value in (
            ("--channels", "8"),
            ("--modes", "compile"),
            ("--shapes", "8x7x7"),
            ("--shapes-from", "lenet"),
            ("--activation-from", "a:B"),
        )
    ),
    ("--at-most 1.5y", "--at-most takes a positive multiple of the baseline's time, as 1.5x, got"),
    *(
        (f"--at-most 1.5 {typed}", "--at-most is of layers, and none is measured; name --sweep or")
        for typed in ("--activations none", "--network-from a:B")
    ),
    (
        "--activations none --networks none",
        "--activations none and --networks none leave nothing to measure",
    ),
    ("--shapes=", "--shapes takes a comma list without empty parts, got ''"),
    ("--shapes 64x40", "--shapes takes channels x height x width, as 64x40x40, got '64x40'"),
    ("--shapes 64x0x40", "--shapes takes positive integers, got '0'"),
    *(
        (f"--shapes 64x40x40 {option} {value}", f"--shapes and {option} exclude each other; name")
        for option, value in (("--channels", 8), ("--resolutions", 8), ("--shapes-from", "lenet"))
    ),
    ("--shapes-from=", "--shapes-from takes a comma list without empty parts, got ''"),
    ("--network-from mine", "a network of your own is PKG.MOD:FACTORY or PKG.MOD:FACTORY(key=val"),
    ("--network-from a:b(2)", "a:b(2): name each argument, as in width=2"),
    ("--network-from a:b(c=d)", "a:b(c=d): d is no literal of Python's; a text is quoted, 'd'"),
    ("--network-from a:b(c=)", "a:b(c=): what is in brackets is not key=value, …"),
    (
        "--network-from a:b --networks none",
        "--networks none and --network-from exclude each other; name one of them",
    ),
    ("--network-from a:b(c=1,c=2)", "a:b(c=1,c=2): name each argument once"),
    ("--network-from a:b(c='/home/me/w.pt')", "a:b(c='/home/me/w.pt'): the folders would stand in"),
    ("--network-from a.py:b", "a network of your own takes a module's name, not its file's: a:b"),
    ("--network-from a:b --input-shape 6y4", "--input-shape takes CxHxW, as 3x640x480, or other"),
    ("--network-from a:b --input-shape 3x0x4", "--input-shape takes CxHxW, as 3x640x480, or other"),
    *(
        (
            f"--network-from a:b --image-size 32 {option}",
            f"--image-size and {option.split()[0]} exclude each other where all networks are your",
        )
        for option in ("--input-shape 1x32x32", "--example-from c:d")
    ),
    ("--network-from a:b --example-from c", "--example-from takes PKG.MOD:FUNCTION, got 'c'"),
    ("--network-from a:b --loss-from c:d:e", "--loss-from takes PKG.MOD:FUNCTION, got 'c:d:e'"),
    (
        "--network-from a:b --input-shape 3x8x8 --example-from c:d",
        "--input-shape and --example-from exclude each other; name one of them",
    ),
    *(
        (
            f"--networks lenet {option}",
            f"{option.split()[0]} is of networks of your own; name one by --network-from",
        )
        for option in ("--input-shape 3x8x8", "--example-from a:b", "--loss-from a:b")
    ),
    ("--shapes-from lent", "unknown network 'lent'; did you mean lenet or"),
    (
        "--networks resnet18 --image-size 8",
        "resnet18 takes images of 32 × 32 pixels or more, got 8",
    ),
    (
        "--shapes-from resnet18 --image-size 8",
        "resnet18 takes images of 32 × 32 pixels or more, got 8",
    ),
    (
        "--networks lenet --placements sites:0",
        "a placement at sites names their numbers, as sites:1-3+7, got 'sites:0'",
    ),
    ("--networks lenet --placements papre", "unknown placement 'papre'; did you mean paper?"),
    (
        "--shapes-from lenet --channels 8",
        "--shapes-from and --channels exclude each other; name one of them",
    ),
    (
        "--shapes-from lenet --resolutions 8",
        "--shapes-from and --resolutions exclude each other; name one of them",
    ),
    (
        "--channels 8 --image-size 64",
        "--image-size is of networks, and none is measured; name some",
    ),
    (
        "--networks none --placements all",
        "--placements is of networks, and none is measured; name some",
    ),
    (
        "--networks none --replace silu",
        "--replace is of networks, and none is measured; name some",
    ),
    (
        "--networks none --within 1.3x",
        "--within is of networks, and none is measured; name some",
    ),
    *(
        (
            f"--networks lenet --within {text}",
            f"--within takes a multiple of a network's own time above 1, as 1.3x, got '{text}'",
        )
        for text in ("1", "0.9x", "x", "30%")
    ),
    (
        "--networks lenet --within 1.3 --placements paper",
        "--within gives up sites of placement all; name it in --placements too",
    ),
    ("--networks lenet --replace=", "--replace takes a comma list without empty parts"),
    ("--networks lenet --replace nn.SiLU", "--replace takes names of activations, as silu, got"),
    (
        "--networks lenet --modes compile",
        "networks take no --modes; leave it out, or add --networks none",
    ),
    (
        "--networks lenet --memory-formats channels_last",
        "networks take no --memory-formats; leave it out, or add --networks none",
    ),
    ("--networks lenet --image-size 0", "--image-size takes positive integers, got '0'"),
]


class TestMistake:
    @pytest.mark.parametrize(("typed", "says"), BAD, ids=[typed for typed, _ in BAD])
    def test_it_is_one_line_that_says_what_is_wrong(self, typed: str, says: str) -> None:
        with pytest.raises(ValueError, match=r"\A.*\Z") as caught:
            read(*typed.split())

        assert str(caught.value).startswith(says)

    @pytest.mark.parametrize("name", ["night", "2026-03-01T10-00-00", "a.b_c-d", "größer"])
    def test_names_that_a_run_can_have(self, name: str) -> None:
        check_run_name(name)

    def test_it_is_told_before_any_process_starts_or_a_library_is_imported(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Of the tests' own session.
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
        script = (
            "import json, sys\n"
            "started = []\n"
            "def note(event, details):\n"
            "    if event == 'subprocess.Popen':\n"
            "        started.append(str(details[1]))\n"
            "sys.addaudithook(note)\n"
            "import pytest\n"
            "code = pytest.main(['benches', '--benchmark-only', '--sweep', 'quik'])\n"
            "print(json.dumps([code, started, sorted(sys.modules)]))\n"
        )

        done = subprocess.run(
            (sys.executable, "-c", script), cwd=ROOT, capture_output=True, text=True, check=True
        )

        code, started, modules = json.loads(done.stdout)
        assert "unknown preset 'quik'" in done.stderr
        assert code == pytest.ExitCode.USAGE_ERROR
        # pytest-benchmark asks git for the commit.
        assert not [command for command in started if "dynact" in command]
        assert not {"torch", "pandas"} & set(modules)


@pytest.mark.parametrize("text", ["1.3", "1.3x", "1.3×"])
def test_a_budget_of_networks_is_a_multiple_of_their_own_time(text: str) -> None:
    assert read("--within", text).within == 1.3
    assert read().within is None
