"""A stranger's network, from a folder of the stranger's own: sweep, figures, page."""

import json
import shutil
import sys
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from tests.networks.yolo_like import build
from tests.sweeping import ROOT, House, finish

ACTIVATIONS = ("frelu", "dyrelu_b", "acon_c")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("suite"))
    shutil.copytree(ROOT / "scripts", house.folder / "scripts")
    own = tmp_path_factory.mktemp("own")
    shutil.copy(ROOT / "tests" / "networks" / "yolo_like.py", own / "mynet.py")
    swept = finish(
        house.start_command(
            ["pytest", str(house.folder / "benches"), "--benchmark-only", "--run", "mine",
             "--network-from", "mynet:build", "--input-shape", "3x64x64",
             "--activations", ",".join(ACTIVATIONS), "--passes", "2", "--max-seconds", "0.02"],
            cwd=own,
        )
    )  # fmt: skip
    assert swept.returncode == 0, swept.said
    drawn = finish(
        house.start_command(
            [sys.executable, str(house.folder / "scripts" / "plot_overhead.py"), "mine",
             "--format", "png"],
            cwd=own,
        )
    )  # fmt: skip
    assert drawn.returncode == 0, drawn.said
    assert [path.name for path in own.iterdir() if path.suffix] == ["mynet.py"]
    return house


class SiluCalls(TorchFunctionMode):
    """Counts the calls of SiLU that reach torch, from a module or not."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += function is functional.silu
        return function(*args, **kwargs or {})


def rows(house: House) -> list[dict[str, object]]:
    lines = (house.reports / "mine" / "network_rows.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_each_activation_is_measured_at_each_call_of_silu(house: House) -> None:
    with SiluCalls() as calls:
        build()(torch.randn(1, 3, 64, 64))
    modules = sum(isinstance(module, nn.SiLU) for module in build().modules())
    assert 0 < modules < calls.count

    found = rows(house)

    assert Counter((row["activation"], row["phase"]) for row in found) == Counter(
        (activation, phase) for activation in ACTIVATIONS for phase in ("inference", "training")
    )
    for row in found:
        assert (row["status"], row["message"]) == ("ok", "")
        assert [site["original"] for site in row["sites"]] == calls.count * ["silu"]
        assert [site["original"] for site in row["kept_sites"]] == 2 * ["sigmoid"]


def test_the_new_parameters_are_those_of_the_layers(house: House) -> None:
    widths = [site["channels"] for site in rows(house)[0]["sites"]]
    for row in rows(house):
        # As in their papers: a channel has in FReLU a 3×3 window with bias and BatchNorm, three in
        # ACON-C, and in DY-ReLU-B two fully connected layers, an eighth as wide between.
        expected = {
            "frelu": sum(12 * c for c in widths),
            "acon_c": sum(3 * c for c in widths),
            "dyrelu_b": sum(
                c * h + h + h * 4 * c + 4 * c for c in widths for h in [max(1, c // 8)]
            ),
        }[row["activation"]]
        assert row["parameters"] - row["baseline_parameters"] == expected


def test_figures_and_page_are_there(house: House) -> None:
    run = house.reports / "mine"
    figures = {path.stem for path in (run / "figures").iterdir()}

    assert {"network_heatmap", "network_sites"} <= figures
    assert "mynet:build" in (run / "index.html").read_text()
    assert "### mynet:build" in (run / "summary.md").read_text()
