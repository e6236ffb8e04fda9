"""Fused implementations trained by several processes."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dynact.activations.fused import graph
from tests.activations.samples import EXACT, layer, normal

RANKS = 2
SAMPLES = 3


def network() -> nn.Module:
    """Layers that take each sample for itself: parts of a batch have the gradients of the whole."""
    fused = (layer(name, 6, impl="fused") for name in ("dyrelu_b", "acon_c", "se", "prelu"))
    return nn.Sequential(*fused).train()


def step(module: nn.Module, x: Tensor, gradient: Tensor) -> None:
    for _ in range(2):
        module.zero_grad()
        module(x).backward(gradient)


def as_they_are(of: Any, _dynamic: bool | None) -> Any:
    """Run a formula without generated code, which takes seconds a graph."""
    return of


def train_a_part(rank: int, folder: str) -> None:
    graph.compiled = as_they_are
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS
    )
    part = slice(rank * SAMPLES, (rank + 1) * SAMPLES)
    # The first process's parameters are every one's.
    mine = network() if rank == 0 else copy.deepcopy(network()).apply(forget)
    parallel = DistributedDataParallel(mine)
    step(parallel, batch(1)[part], batch(2)[part])
    torch.save([p.grad for p in parallel.parameters()], f"{folder}/rank_{rank}")
    torch.distributed.destroy_process_group()


def forget(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        nn.init.zeros_(parameter)


def batch(seed: int) -> Tensor:
    return normal(RANKS * SAMPLES, 6, 5, 4, seed=seed)


@pytest.mark.usefixtures("without_code")
def test_gradients_of_two_processes_are_those_of_one_over_the_whole_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Or gloo asks for the address of the host's name.
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = network()
    step(alone, batch(1), batch(2))

    torch.multiprocessing.spawn(train_a_part, (str(tmp_path),), nprocs=RANKS)

    for rank in range(RANKS):
        found = torch.load(tmp_path / f"rank_{rank}")
        for (name, parameter), mean in zip(alone.named_parameters(), found, strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(
                RANKS * mean, parameter.grad, **EXACT, msg=lambda text, name=name: f"{name}: {text}"
            )
