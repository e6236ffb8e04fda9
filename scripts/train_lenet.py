"""Train the CIFAR-10 tutorial's LeNet with several activations and seeds, and compare them."""

import argparse
import os
import sys
import time
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Works from a checkout too, where dynact is not installed.
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from dynact.activations import obstacle_in_networks  # noqa: E402
from dynact.report.learning.figure import HEADER, reading_notes, table_lines, write_learning  # noqa: E402
from dynact.report.learning.findings import findings  # noqa: E402
from dynact.report.learning.points import load_points  # noqa: E402
from dynact.report.tables.table import Table  # noqa: E402
from dynact.schema.duration import format_seconds  # noqa: E402
from dynact.schema.learning import Point  # noqa: E402
from dynact.schema.redact import without_paths  # noqa: E402
from dynact.sweep.interrupt import interrupt_deferred  # noqa: E402
from dynact.sweep.listing import add_list  # noqa: E402
from dynact.sweep.one_line_parser import OneLineParser  # noqa: E402
from dynact.sweep.options import ACTIVATIONS, check_run_name, parse_activations, parse_count  # noqa: E402
from dynact.worker.device import open_device  # noqa: E402
from dynact.worker.environment import describe_environment  # noqa: E402
from dynact.worker.learning.data import DATA, load_data  # noqa: E402
from dynact.worker.learning.store import LearningFolder  # noqa: E402
from dynact.worker.learning.training import (  # noqa: E402
    LEARNING_RATE,
    MOMENTUM,
    rehearse,
    train,
    trainings,
)


def main() -> None:
    """Run the command line."""
    parser = OneLineParser(description=__doc__)
    add = parser.add_argument
    add("--activations", default="relu,frelu,dyrelu_b", metavar="LIST",
        help=f"{ACTIVATIONS}; compared with relu (default: %(default)s)")  # fmt: skip
    add("--data", choices=DATA, default=DATA[0], help="default: %(default)s")
    add("--data-root", type=Path, metavar="DIR", help="has CIFAR-10, or is to get it")
    add("--epochs", default="2", metavar="N", help="default: %(default)s")
    add("--batch-size", default="4", metavar="N", help="default: %(default)s")
    add("--seeds", default="5", metavar="N", help="trainings of each (default: %(default)s)")
    add("--device", metavar="NAME", help="default: the accelerator if there is one, else cpu")
    add("--run", metavar="NAME", help="folder in reports/ (default: lenet-DATA); what it has of"
        " the same settings is not trained again")  # fmt: skip
    add_list(parser.add_argument)
    options = parser.parse_args()
    folder = ROOT / "reports"
    try:
        folder /= _run_name(options)
        diverged = _experiment(options, folder)
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.cannot_write(error, folder)
    except KeyboardInterrupt:
        parser.exit(130, "interrupted; trainings that ended are kept, the same command goes on\n")
    sys.exit(1 if diverged else 0)


def _run_name(options: argparse.Namespace) -> str:
    name: str = options.run or f"lenet-{options.data}"
    check_run_name(name)
    return name


def _experiment(options: argparse.Namespace, folder: Path) -> bool:
    """Train what is missing and tell of all that is there; return whether a loss diverged."""
    named = parse_activations(options.activations, "--activations")
    obstacles = {name: obstacle for name in named if (obstacle := obstacle_in_networks(name))}
    activations = [name for name in named if name not in obstacles]
    if not activations:
        raise ValueError(
            f"--activations {options.activations} leaves nothing to train; name others, or all"
        )
    epochs = parse_count(options.epochs, "--epochs")
    batch_size = parse_count(options.batch_size, "--batch-size")
    planned = trainings(activations, parse_count(options.seeds, "--seeds"))
    device = open_device(options.device)
    if device.default_threads:
        torch.set_num_threads(device.default_threads)
    data = load_data(options.data, options.data_root).to(device.torch_device)
    for activation in activations:
        rehearse(activation, data, batch_size, device)

    run = LearningFolder(
        folder,
        {
            "started": datetime.now().isoformat(timespec="seconds"),
            "command": ["train_lenet.py", *map(without_paths, sys.argv[1:])],
            "settings": {
                "data": options.data,
                "train_images": len(data.train),
                "test_images": len(data.test),
                "epochs": epochs,
                "batch_size": batch_size,
                "learning_rate": LEARNING_RATE,
                "momentum": MOMENTUM,
            },
            **describe_environment(device),
        },
    )
    for name, obstacle in obstacles.items():
        print(f"{name} is left out: {obstacle}")
    ended = run.ended()
    missing = [training for training in planned if training not in ended]
    print(
        f"{len(planned)} trainings, {len(planned) - len(missing)} of them done before", flush=True
    )
    start_s = time.perf_counter()
    for done, (activation, seed) in enumerate(missing):
        points = train(activation, seed, data, epochs, batch_size, device)
        while True:
            with interrupt_deferred():
                point = next(points, None)
                if point is None:
                    break
                run.append(point)
            if point.epoch:
                share = (done + (point.epoch / epochs if point.status == "ok" else 1)) / len(
                    missing
                )
                print(_progress_line(point, share, time.perf_counter() - start_s), flush=True)
    run.close()
    return _tell(folder)


def _progress_line(point: Point, share: float, elapsed_s: float) -> str:
    left = format_seconds(elapsed_s / share * (1 - share))
    finding = (
        f"LOSS NOT FINITE, training stopped: {point.message}"
        if point.accuracy is None
        else f"epoch {point.epoch}: accuracy {point.accuracy:.1%}"
    )
    return f"[{share:4.0%}] {left} left · {point.activation}, seed {point.seed}, {finding}"


def _tell(folder: Path) -> bool:
    """Print the findings of a run and write its figure and tables; return if any diverged."""
    found = findings(load_points(folder))
    print("", Table(list(HEADER), table_lines(found)).text(), "", sep="\n")
    print(*reading_notes(found), *map(os.path.relpath, write_learning(folder)), sep="\n")
    return bool(found["diverged"].any())


if __name__ == "__main__":
    main()
