from dynact.report.comparison.subjects import subjects, subjects_in_order
from tests.report.conftest import build_rows
from tests.report.networks_sample import build_networks


def test_layers_are_told_apart_by_activation_in_the_registrys_order() -> None:
    rows = build_rows(("dyrelu_b", "my.layers:Own", "prelu"))
    assert set(subjects(rows)) == {"DY-ReLU-B", "Own", "PReLU"}
    assert subjects_in_order(rows) == ["PReLU", "DY-ReLU-B", "Own"]


def test_networks_by_network_activation_and_placement() -> None:
    networks, _ = build_networks(
        ("resnet18", "lenet"), ("frelu", "prelu"), placements=("all", "paper")
    )
    assert subjects_in_order(networks) == [
        "LeNet, PReLU", "LeNet, PReLU (paper)", "LeNet, FReLU", "LeNet, FReLU (paper)",
        "ResNet-18, PReLU", "ResNet-18, PReLU (paper)",
        "ResNet-18, FReLU", "ResNet-18, FReLU (paper)",
    ]  # fmt: skip
    line = networks[(networks["network"] == "resnet18") & (networks["placement"] == "paper")]
    assert set(subjects(line)) == {"ResNet-18, PReLU (paper)", "ResNet-18, FReLU (paper)"}
    assert set(subjects(line.assign(replaced="silu"))) == {
        "ResNet-18, PReLU (for SiLU, paper)", "ResNet-18, FReLU (for SiLU, paper)",
    }  # fmt: skip
