"""Networks from a real command line to their files."""

from pathlib import Path

import pytest

from dynact.schema.run_folder import load, load_network_rows, load_site_rows
from tests.sweeping import SHORT, House, Outcome

NETWORKS = (
    *SHORT, "--networks", "lenet", "--activations", "frelu", "--phases", "inference",
    "-k", "bench_network or bench_site",
)  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("house") / "dynact")


@pytest.fixture(scope="module")
def finished(house: House) -> Outcome:
    return house.sweep(*NETWORKS, "--run", "first")


@pytest.fixture(scope="module")
def first(house: House, finished: Outcome) -> Path:
    assert finished.returncode == 0, finished.said
    return house.reports / "first"


def test_a_network_is_a_row_and_its_layers_are(first: Path) -> None:
    networks, sites = load_network_rows(first), load_site_rows(first)

    assert list(networks["case_id"]) == ["lenet-frelu-inference-2x3x32x32-float32-cpu"]
    assert list(networks["status"]) == ["ok"]
    assert list(networks.columns[networks.isna().any()]) == []
    assert list(sites["case_id"]) == [
        f"frelu-inference-2x{shape}-float32-cpu" for shape in ("6x28x28", "16x10x10")
    ]
    assert (sites["baseline"] == "relu").all()
    assert (sites["overhead"] > 0).all()
    # What was asked for is networks; no row of the grid is among them.
    assert load(first).empty


def test_the_closing_table_names_the_network(finished: Outcome) -> None:
    lines = finished.output.splitlines()

    assert any(line.startswith("lenet-frelu-inference-2x3x32x32-float32-cpu ") for line in lines)
    # Its layers are there to explain it, not to be read one by one.
    assert not any(line.startswith("frelu-inference-2x6x28x28") for line in lines)


def test_what_is_done_is_not_done_again(house: House, first: Path) -> None:
    files = ("network_rows.jsonl", "site_rows.jsonl")
    before = [(first / name).read_text() for name in files]

    outcome = house.sweep(*NETWORKS, "--placements", "all", "--run", "first", "--resume")

    # pytest's own code for a session in which it ran nothing.
    assert outcome.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, outcome.said
    assert "dynact: 0 cases in about 0 s" in outcome.output
    assert [(first / name).read_text() for name in files] == before


def test_shapes_from_a_network_are_swept_with_how_often_it_has_them(house: House) -> None:
    outcome = house.sweep(
        "--sweep", "smoke", "--max-seconds", "0.02", "--shapes-from", "lenet,resnet18",
        "--image-size", "32", "--batches", "1", "--activations", "prelu",
        "--phases", "inference", "--run", "shapes", "-k", "bench_activation",
    )  # fmt: skip

    assert outcome.returncode == 0, outcome.said
    rows = load(house.reports / "shapes")
    found = {
        (row["channels"], row["height"]): row["occurrences"] for row in rows.to_dict("records")
    }
    # LeNet: after both convolutions. ResNet-18: after the first, then two in each of eight
    # blocks; the first of a stage has half the resolution from its first convolution on.
    assert found == {
        (6, 28): 1, (16, 10): 1, (64, 16): 1, (64, 8): 4, (128, 4): 4, (256, 2): 4, (512, 1): 4,
    }  # fmt: skip
    assert not (house.reports / "shapes" / "network_rows.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--networks", "resnet81"), "unknown network 'resnet81'; did you mean resnet18"),
        (("--shapes-from", "lent"), "unknown network 'lent'; did you mean lenet?"),
        (("--networks", "resnet18", "--image-size", "8"), "32 × 32 pixels or more, got 8"),
        (("--networks", "lenet", "--placements", "papre"), "unknown placement 'papre'"),
        (("--networks", "lenet", "--placements", "paper"), "no 'paper' placement"),
        (("--shapes-from", "lenet", "--channels", "8"), "--shapes-from and --channels exclude"),
        (("--channels", "8", "--image-size", "64"), "--image-size is of networks, and none is"),
        (("--networks", "none", "--placements", "all"), "--placements is of networks, and none"),
        (("--networks", "lenet", "--modes", "compile"), "networks take no --modes; leave it out"),
        (("--networks", "lenet", "--budget", "10m"), "networks take no --budget; leave it out"),
        (("--image-size", "0", "--networks", "lenet"), "--image-size takes positive integers"),
    ],
)
def test_bad_input_is_one_line(house: House, options: tuple[str, ...], message: str) -> None:
    outcome = house.sweep("--activations", "frelu", *options, "--run", "bad")

    assert outcome.returncode == 4
    lines = [line for line in outcome.errors.splitlines() if line]
    assert len(lines) == 1, outcome.said
    assert message in lines[0]
    assert not (house.reports / "bad").exists()
